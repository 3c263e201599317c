"""Evaluations: every arm answers the same cases with the same decoding, and nothing it was trained on (C7)."""

import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import InvalidTransition, UserError
from accounts.models import User, audit
from annotations import doorbell
from annotations.generation.sampling import complete_sampling
from annotations.models import Case, Completion, Generation, Model, Status, Study, Worker
from reports import analysis
from reports.models import Arm, Evaluation
from training import lineage

LISTED = 20  # leaked cases named in the message; all are counted
# As for generations: a living worker may be silent for long while it loads a large model.
SILENT_AND_WORKER_GONE = timedelta(seconds=60)
SILENT = timedelta(minutes=10)
TRIES = 3
WRITTEN_ELSEWHERE = (Model.Kind.IMPORTED, Model.Kind.IDEAL)
Progress = Callable[[str], None]


def start(
    *,
    study: Study,
    arms: Sequence[Model],
    split: str = "test",
    sampling: Mapping[str, Any] | None = None,
    exclude_leaked: bool = False,
    override: str = "",
    actor: User | None = None,
    ring: bool = True,
) -> Evaluation:
    """Fix the cases and the arms, queue a generation for each arm that generates, and ring. Needs the plan locked.

    ``ring=False``: the caller runs the evaluation in this process.
    Raises UserError, listing the cases, where an arm was trained on a case of the split or of the same group, unless
    they are excluded or kept with a reason that the report prints.
    """
    from reports.tasks import evaluate

    analysis.require_lock(study)
    cases, excluded = _cases(study, arms, split, exclude_leaked, override.strip())
    decoding = complete_sampling(study, sampling).as_dict()
    with transaction.atomic():
        evaluation = Evaluation.objects.create(
            study=study,
            split=split,
            sampling=decoding,
            case_ids=[case.pk for case in cases],
            excluded=excluded,
            leak_override=override.strip() if not exclude_leaked else "",
            created_by=actor,
        )
        _add_arms(evaluation, arms, actor)
        audit(actor, "start evaluation", evaluation, arms=[model.pk for model in arms], split=split, cases=len(cases))
        if ring:
            doorbell.ring(evaluate, evaluation)
    return evaluation


def _add_arms(evaluation: Evaluation, arms: Sequence[Model], actor: User | None) -> None:
    """The arms in order, with a queued generation for those that don't have their outputs from elsewhere."""
    for position, model in enumerate(arms):
        Arm.objects.create(evaluation=evaluation, model=model, position=position)
        if model.kind not in WRITTEN_ELSEWHERE:
            _add_generation(evaluation, model, actor)


def _add_generation(evaluation: Evaluation, model: Model, actor: User | None) -> None:
    from annotations.generation.queue import queue_generation

    generation = queue_generation(
        study=evaluation.study,
        model=model,
        split=evaluation.split,
        sampling=evaluation.sampling,
        case_ids=evaluation.case_ids,
        actor=actor,
        ring=False,  # the evaluation's own task does it
    )
    evaluation.generations.add(generation)


def _cases(
    study: Study, arms: Sequence[Model], split: str, exclude_leaked: bool, override: str
) -> tuple[list[Case], dict[str, list[str]]]:
    """The cases to evaluate and those left out, by reason. Raises UserError for whatever a person can mend."""
    if not arms:
        raise UserError("Choose at least one arm.")
    if len({model.pk for model in arms}) != len(arms):
        raise UserError("An arm is named twice. Each model can be one arm only.")
    if split not in Case.Split.values:
        raise UserError(f"There is no split “{split}”. Splits: {', '.join(Case.Split.values)}.")
    cases = list(study.cases.filter(split=split).order_by("external_id"))
    if not cases:
        raise UserError(f"The split “{split}” of this study has no cases. Import cases first.")
    empty = [
        model.name
        for model in arms
        if model.kind in WRITTEN_ELSEWHERE and not Completion.objects.filter(model=model, case__in=cases).exists()
    ]
    if empty:
        raise UserError(
            f"No completions of {', '.join(empty)} for the split “{split}” were imported. Import them with "
            f"`manage.py import_completions {study.slug} FILE --model {empty[0]}` or on the Completions page."
        )
    leaked = lineage.leaked(list(arms), cases)
    if not leaked or (override and not exclude_leaked):
        return cases, {}
    if not exclude_leaked:
        raise _leak(cases, leaked)
    kept = [case for case in cases if case.pk not in leaked]
    if not kept:
        raise UserError(f"Every case of the split “{split}” is in the training lineage of an arm; none is left.")
    return kept, {"leaked": [case.external_id for case in cases if case.pk in leaked]}


def _leak(cases: Sequence[Case], leaked: Mapping[int, str]) -> UserError:
    named = [f"{case.external_id}: {leaked[case.pk]}" for case in cases if case.pk in leaked]
    more = [f"… and {len(named) - LISTED} more"] if len(named) > LISTED else []
    return UserError(
        f"{len(named)} of {len(cases)} cases are, by themselves or by another case of their group, in the training "
        "lineage of an arm, so results on them would not be held out. Exclude them (--exclude-leaked), or keep them "
        "with a reason that the report prints (--override).",
        named[:LISTED] + more,
    )


def models_named(names: Sequence[str]) -> list[Model]:
    """The models, in the order given. Raises UserError that names those there are."""
    found = {model.name: model for model in Model.objects.filter(name__in=names)}
    missing = [name for name in names if name not in found]
    if missing:
        known = ", ".join(Model.objects.values_list("name", flat=True)[:30]) or "none yet"
        raise UserError(f"There is no model called {', '.join(f'“{name}”' for name in missing)}. Models: {known}.")
    return [found[name] for name in names]


def run_evaluation(evaluation_id: int, *, worker: str, progress: Progress = lambda line: None) -> Evaluation:
    """Do the generations one after another (a base model is loaded once), then fix which completions are compared.

    Only the worker that claims the row works; anybody else returns at once.
    """
    evaluation = Evaluation.objects.get(pk=evaluation_id)
    if not evaluation.claim(worker):
        return evaluation
    try:
        _generate(evaluation, worker, progress)
    except UserError as error:
        return _end(evaluation, failure=str(error))
    except Exception as error:
        _end(evaluation, failure=f"{type(error).__name__}; the worker's log says more.")
        raise
    return _end(evaluation)


def _end(evaluation: Evaluation, failure: str = "") -> Evaluation:
    """Finish or fail it, unless it was taken from us meanwhile: believed dead, and given to another worker."""
    try:
        return evaluation.transition(Status.FAILED, error=failure) if failure else finish(evaluation)
    except InvalidTransition:
        evaluation.refresh_from_db()
        return evaluation


def _generate(evaluation: Evaluation, worker: str, progress: Progress) -> None:
    from annotations.generation.job import run_generation

    for generation in evaluation.generations.select_related("model").order_by("pk"):
        progress(f"{generation.model.name}: generating")
        while generation.is_active:
            if generation.status == Status.QUEUED:
                generation = run_generation(generation.pk, worker=worker, progress=lambda *done: evaluation.beat())
            else:
                generation = _wait(evaluation, generation)
        if generation.status != Status.SUCCEEDED:
            raise UserError(f"The generation of {generation.model.name} ended {generation.status}. {generation.error}")


def _wait(evaluation: Evaluation, generation: Generation) -> Generation:
    """Another worker has it; should that one die, the sweep queues it again and it comes to us."""
    from annotations.tasks import sweep as sweep_generations

    evaluation.beat()
    time.sleep(settings.POLL_SECONDS)
    generation.refresh_from_db()
    if generation.heartbeat_at and timezone.now() - generation.heartbeat_at > SILENT_AND_WORKER_GONE:
        sweep_generations()
        generation.refresh_from_db()
    return generation


def finish(evaluation: Evaluation) -> Evaluation:
    """All outputs are there: say which completions are compared, and succeed."""
    with transaction.atomic():
        evaluation.completions.set(compared_completions(evaluation))
        return evaluation.transition(Status.SUCCEEDED)


def compared_completions(evaluation: Evaluation) -> list[int]:
    """One completion an arm and case: what answers the arm's generation, or the newest imported one."""
    from annotations.generation.job import completions_for

    generations = {generation.model_id: generation for generation in evaluation.generations.all()}
    chosen: list[int] = []
    for arm in evaluation.arms.all():
        generation = generations.get(arm.model_id)
        if generation is not None:
            chosen += completions_for(generation).filter(index=0).values_list("pk", flat=True)
        else:
            stored = Completion.objects.filter(case__in=evaluation.case_ids, model=arm.model_id, index=0).order_by("pk")
            chosen += dict(stored.values_list("case_id", "pk")).values()
    return chosen


def scope(evaluation: Evaluation, models: Sequence[Model] = ()) -> dict[str, Any]:
    """What ``plan_campaign`` takes to have exactly this evaluation's outputs judged, of all arms or of ``models``."""
    if evaluation.status != Status.SUCCEEDED:
        raise UserError(f"{evaluation} is {evaluation.status}; its outputs can be judged when it has succeeded.")
    arms = [arm.model for arm in evaluation.arms.select_related("model")]
    strangers = [model.name for model in models if model not in arms]
    if strangers:
        raise UserError(f"{', '.join(strangers)} is not an arm of {evaluation}. Arms: {', '.join(map(str, arms))}.")
    return {
        "models": list(models) or arms,
        "split": evaluation.split,
        "case_ids": evaluation.case_ids,
        "completions": Completion.objects.filter(evaluations=evaluation),
    }


def retry(evaluation: Evaluation, actor: User | None = None) -> Evaluation:
    """Queue an evaluation that failed or was interrupted again; what was generated is kept.

    A generation that somebody stopped stays stopped; a new one takes its place and makes what is missing.
    """
    from reports.tasks import evaluate

    with transaction.atomic():
        for generation in evaluation.generations.exclude(status=Status.SUCCEEDED).select_related("model"):
            if generation.status == Status.CANCELLED:
                evaluation.generations.remove(generation)
                _add_generation(evaluation, generation.model, actor)
            elif generation.status in (Status.FAILED, Status.INTERRUPTED):
                generation.transition(Status.QUEUED, error="", note="evaluation tried again")
        evaluation.transition(Status.QUEUED, error="", note="tried again")
        audit(actor, "retry evaluation", evaluation)
        doorbell.ring(evaluate, evaluation)
    return evaluation


def sweep() -> None:
    """See to evaluations whose worker died, and ring again for the first that waits."""
    from reports.tasks import evaluate

    for evaluation in Evaluation.objects.filter(status=Status.RUNNING):
        if _is_dead(evaluation):
            _bury(evaluation)
    waiting = Evaluation.objects.filter(status=Status.QUEUED).order_by("pk").first()
    # While the workers are at something nobody could answer, and the bell would only fill the broker.
    busy = any(rows.filter(status=Status.RUNNING).exists() for rows in (Evaluation.objects, Generation.objects))
    if waiting is not None and not busy:
        evaluate.delay(waiting.pk)


def _is_dead(evaluation: Evaluation) -> bool:
    silent = timezone.now() - (evaluation.heartbeat_at or evaluation.queued_at)
    since = timezone.now() - timedelta(seconds=settings.WORKER_ALIVE_SECONDS)
    gone = not Worker.objects.filter(name=evaluation.claimed_by, heartbeat_at__gte=since).exists()
    # "host:pid --here" is a person's own process, which writes no heartbeat but the row's.
    gone = gone and not evaluation.claimed_by.endswith("--here")
    return silent > SILENT or (gone and silent > SILENT_AND_WORKER_GONE)


def _bury(evaluation: Evaluation) -> None:
    """Finish what is all there; queue the rest again, as nothing is generated twice; after three deaths, fail."""
    deaths = evaluation.history().filter(after=Status.INTERRUPTED).count() + 1
    try:
        evaluation.transition(Status.INTERRUPTED, note=f"no sign of life from {evaluation.claimed_by}")
        if not evaluation.generations.exclude(status=Status.SUCCEEDED).exists():
            finish(evaluation)
        elif deaths < TRIES:
            evaluation.transition(Status.QUEUED, note="queued again")
        else:
            error = f"The worker died {deaths} times while doing this. Look at its log (memory?), then try again."
            Evaluation.objects.filter(pk=evaluation.pk).update(error=error)
    except InvalidTransition:
        pass  # another worker's sweep was first


def earlier_evaluations(evaluation: Evaluation) -> int:
    """How often this study's split had been evaluated before (C12); who failed or was cancelled has shown nothing."""
    return other_evaluations(evaluation).filter(pk__lt=evaluation.pk).count()


def other_evaluations(evaluation: Evaluation) -> QuerySet[Evaluation]:
    """The study's other finished evaluations of the same split, earlier and later ones: choices may rest on any."""
    same = Evaluation.objects.filter(study=evaluation.study, split=evaluation.split, status=Status.SUCCEEDED)
    return same.exclude(pk=evaluation.pk)


def progress_by_arm(evaluation: Evaluation) -> list[dict[str, Any]]:
    """For each arm: its status and how many of the cases have an output."""
    generations: dict[int, Generation] = {g.model_id: g for g in evaluation.generations.all()}
    lines = []
    for arm in evaluation.arms.select_related("model"):
        generation, done = generations.get(arm.model_id), 0
        if evaluation.status == Status.SUCCEEDED:
            done = evaluation.completions.filter(model=arm.model).count()
        elif generation is not None and generation.status == Status.SUCCEEDED:
            done = len(evaluation.case_ids) - sum(len(ids) for ids in generation.skipped.values())
        elif generation is not None:
            done = generation.completions.count()
        status = generation.status if generation else "imported"
        lines.append({"arm": arm.model, "status": status, "done": done, "total": len(evaluation.case_ids)})
    return lines
