"""Generations as rows: queued, stopped, tried again. What they do is in ``job``."""

from collections.abc import Iterable, Mapping
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import doorbell, prompts
from annotations.generation.sampling import check_samples, complete_sampling
from annotations.models import Case, Generation, Model, Status, Study

QUEUE = "generation"
WRITTEN_ELSEWHERE = (Model.Kind.IMPORTED, Model.Kind.IDEAL)


def queue_generation(
    *,
    study: Study,
    model: Model,
    split: str = "",
    n: int = 1,
    sampling: Mapping[str, Any] | None = None,
    limit: int | None = None,
    case_ids: Iterable[int] | None = None,
    actor: User | None = None,
    ring: bool = True,
) -> Generation:
    """Queue ``n`` completions of ``model`` for the cases of ``split`` (empty: all) or ``case_ids``, up to ``limit``.

    ``sampling`` may leave out what has a default. ``ring=False``: the caller does the work in this process.
    Raises UserError where nothing could come of it.
    """
    from annotations.tasks import generate

    if model.kind in WRITTEN_ELSEWHERE:
        raise UserError(f"“{model}” is {model.get_kind_display()}: it has no weights or server to generate with.")
    if split and split not in Case.Split.values:
        raise UserError(f"There is no split “{split}”. Splits: {', '.join(Case.Split.values)}.")
    if limit is not None and limit < 1:
        raise UserError(f"The limit is {limit}; it must be at least 1.")
    chosen = complete_sampling(study, sampling)
    check_samples(n, chosen)
    row = Generation(
        study=study,
        model=model,
        split=split,
        n=n,
        sampling=chosen.as_dict(),
        limit=limit,
        case_ids=None if case_ids is None else sorted(case_ids),
        created_by=actor,
    )
    first = cases_of(row).first()
    if first is None:
        raise UserError(
            f"There are no cases{f' in the split “{split}”' if split else ''} to generate for. Import some."
        )
    prompts.messages(study, first)  # a template that doesn't fit is said now, not in the worker
    with transaction.atomic():
        row.save()
        audit(actor, "queue_generation", row, study=study.pk, model=model.pk, split=split, n=n, sampling=row.sampling)
        if ring:
            doorbell.ring(generate, row)
    return row


def cases_of(generation: Generation) -> QuerySet[Case]:
    """The cases a generation is for, in the order of their import."""
    cases = generation.study.cases.order_by("pk")
    if generation.split:
        cases = cases.filter(split=generation.split)
    if generation.case_ids is not None:
        cases = cases.filter(pk__in=generation.case_ids)
    return cases[: generation.limit] if generation.limit else cases


def request_stop(generation: Generation, actor: User | None) -> Generation:
    """Cancel what is queued; ask what is running to stop. What was written stays."""
    with transaction.atomic():
        after = Status.CANCELLED if generation.status == Status.QUEUED else Status.STOPPING
        generation.transition(after, note="asked to stop")
        audit(actor, "stop_generation", generation)
    return generation


def retry(generation: Generation, actor: User | None) -> Generation:
    """Queue a generation again that failed or was interrupted; it goes on where it stopped."""
    from annotations.tasks import generate

    with transaction.atomic():
        generation.transition(Status.QUEUED, error="", note="tried again")
        audit(actor, "retry_generation", generation)
        doorbell.ring(generate, generation)
    return generation
