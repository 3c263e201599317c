"""The work behind a generation: what is missing is generated and stored, batch by batch.

A repeated job does nothing twice: a completion is known by its case, model, index and ``key`` (the hash of prompt,
sampling and weights), and those there already are left out before the model is asked.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet

from accounts.errors import InvalidTransition, UserError
from annotations import parsing, prompts
from annotations.generation.embedded import Embedded, Weights
from annotations.generation.interface import Answer, Generator, Prompt
from annotations.generation.openai_server import OpenAIServer
from annotations.generation.queue import cases_of
from annotations.generation.sampling import Sampling, request_seed
from annotations.models import Case, Completion, Generation, Model, Status

logger = logging.getLogger(__name__)
Progress = Callable[[int, int], object]  # done, total


@dataclass(frozen=True)
class Request:
    """One completion to be made."""

    case: Case
    index: int
    key: str
    prompt_sha256: str
    prompt: Prompt


def run_generation(generation_id: int, *, worker: str, progress: Progress = lambda done, total: None) -> Generation:
    """Claim a queued generation, do it, and say how it ended. Whoever comes second returns at once.

    A person's mistake ends it as failed with what to do; so does a mistake of ours, with its traceback in the log.
    """
    row = Generation.objects.select_related("study", "model__base").get(pk=generation_id)
    if not row.claim(worker):
        return row
    try:
        whole = _Job(row, progress).run()
    except UserError as error:
        return _end(row, Status.FAILED, error=str(error))
    except Exception as error:
        logger.exception("generation %s failed", row.pk)
        note = f"Something went wrong in the program ({type(error).__name__}); the worker's log says more"
        return _end(row, Status.FAILED, error=f"{note} (generation {row.pk}).")
    except BaseException:  # Ctrl-C, or the worker is told to go at once
        _end(row, Status.INTERRUPTED, error="Interrupted. Try again to go on where it stopped.")
        raise
    return _end(row, Status.SUCCEEDED if whole else Status.CANCELLED)


def _end(row: Generation, status: Status, error: str = "") -> Generation:
    """Say how it ended, unless the row was taken from us meanwhile (believed dead, and given to another worker)."""
    worker = row.claimed_by
    row.refresh_from_db()
    if row.claimed_by == worker and row.status in (Status.RUNNING, Status.STOPPING):
        try:
            row.transition(status, error=error)
        except InvalidTransition:  # taken, or asked to stop, this very moment
            row.refresh_from_db()
            if row.claimed_by == worker and row.status == Status.STOPPING:
                row.transition(status, error=error)
    return row


class _Job:
    def __init__(self, row: Generation, progress: Progress) -> None:
        self.row = row
        self.study = row.study
        self.model = row.model
        self.progress = progress
        self.sampling = Sampling.of(row.sampling)
        self.skipped: dict[str, list[str]] = {}
        self.done = self.total = 0
        self.requests: list[Request] = []

    def run(self) -> bool:
        """True when everything is there; False where somebody asked to stop."""
        self.requests, already = _missing(self.row)
        self.done, self.total = already, already + len(self.requests)
        self.progress(self.done, self.total)
        stopped = False

        def deliver(answers: list[Answer]) -> bool:
            nonlocal stopped
            self._store(answers)
            stopped = not self.row.beat()
            return not stopped

        if self.requests:
            generator_for(self.model).generate([request.prompt for request in self.requests], self.sampling, deliver)
        return not stopped or self.done == self.total

    def _store(self, answers: list[Answer]) -> None:
        if not answers:
            return
        rows = []
        for answer in answers:
            request = self.requests[answer.position]
            if answer.skipped:
                names = self.skipped.setdefault(answer.skipped, [])
                if request.case.external_id not in names:
                    names.append(request.case.external_id)
            else:
                rows.append(self._completion(request, answer))
        _create(rows)
        if self.skipped != self.row.skipped:
            self.row.skipped = {reason: list(names) for reason, names in self.skipped.items()}
            self.row.save(update_fields=["skipped"])
        self.done += len(answers)
        self.progress(self.done, self.total)

    def _completion(self, request: Request, answer: Answer) -> Completion:
        # What a database can't hold is no text of a model's that anybody could read.
        text = answer.text.replace("\x00", "").encode("utf-8", "replace").decode()
        parsed = parsing.parse(self.study, text)
        return Completion(
            case=request.case,
            model=self.model,
            generation=self.row,
            text=text,
            index=request.index,
            sampling=self.row.sampling,
            key=request.key,
            model_sha256=self.model.sha256,
            prompt_sha256=request.prompt_sha256,
            template_version=self.study.template_version,
            finish_reason=answer.finish_reason,
            tokens=answer.tokens,
            parsed=parsed,
            parser_version=parsing.PARSER_VERSION if parsed else None,
            created_by=self.row.created_by,
        )


def _create(rows: list[Completion]) -> None:
    """Store a batch. Another job may have made some of them in the meantime: the first stays, as they are equal."""
    try:
        with transaction.atomic():
            Completion.objects.bulk_create(rows)
    except IntegrityError:
        for row in rows:
            Completion.objects.get_or_create(
                case=row.case, model=row.model, key=row.key, index=row.index, defaults=_values(row)
            )


def _values(row: Completion) -> dict[str, Any]:
    identity = {"id", "case", "model", "key", "index", "created_at"}
    return {f.name: getattr(row, f.name) for f in Completion._meta.concrete_fields if f.name not in identity}


def generator_for(model: Model) -> Generator:
    """A server where the model has one, else transformers in this process."""
    if model.url:
        return OpenAIServer(model.url, model.served_name or model.name)
    if model.kind == Model.Kind.ADAPTER:
        base = model.base
        if base is None:  # the database forbids it
            raise UserError(f"The adapter “{model}” has no base model.")
        return Embedded(Weights(Path(base.path), base.sha256), Weights(Path(model.path), model.sha256))
    if model.kind == Model.Kind.BASE:
        return Embedded(Weights(Path(model.path), model.sha256))
    raise UserError(f"“{model}” is {model.get_kind_display()}: it has no weights or server to generate with.")


def completion_key(model: Model, sampling: dict[str, Any], prompt_sha256: str) -> str:
    """Hash of all that decides a completion but its index: prompt, sampling, weights (and whence they are served)."""
    base = model.base.sha256 if model.base else ""
    parts = [prompt_sha256, sorted(sampling.items()), model.sha256, base, model.url, model.served_name]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _requests(row: Generation) -> Iterator[Request]:
    """Every completion the generation asks for."""
    seed = Sampling.of(row.sampling).seed
    for case in cases_of(row).defer("reference", "metadata").iterator(chunk_size=1000):
        messages = prompts.messages(row.study, case)
        prompt_sha256 = prompts.prompt_sha256(messages)
        key = completion_key(row.model, row.sampling, prompt_sha256)
        for index in range(row.n):
            prompt = Prompt(messages, request_seed(seed, case.external_id, index))
            yield Request(case, index, key, prompt_sha256, prompt)


def _missing(row: Generation) -> tuple[list[Request], int]:
    """The completions that are not there yet, and how many are."""
    have = set(Completion.objects.filter(_of(row)).values_list("case_id", "key", "index"))
    wanted = list(_requests(row))
    missing = [request for request in wanted if (request.case.pk, request.key, request.index) not in have]
    return missing, len(wanted) - len(missing)


def _of(row: Generation) -> Q:
    return Q(model=row.model, case__study=row.study, index__lt=row.n)


def completions_for(row: Generation) -> QuerySet[Completion]:
    """The completions that answer a generation, whichever job wrote them: equal case, prompt, sampling and weights."""
    keys = {(request.case.pk, request.key) for request in _requests(row)}
    rows = Completion.objects.filter(_of(row)).values_list("pk", "case_id", "key")
    return Completion.objects.filter(pk__in=[pk for pk, case, key in rows if (case, key) in keys])
