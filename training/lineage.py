"""What an adapter has seen: the cases of its run's dataset and of every parent's; none may test it (C5, C7)."""

from collections.abc import Iterable

from django.db.models import Q, QuerySet

from annotations.models import Case, Model
from training.models import DatasetRow, Run

# Kinds of model that may have been trained on anything, where no run of ours is known to have made them.
TRAINED_ELSEWHERE = (Model.Kind.ADAPTER, Model.Kind.ENDPOINT, Model.Kind.IMPORTED)


def runs_of(model: Model) -> list[Run]:
    """The run that made ``model`` and its parents, the newest first; empty for a model that no run made."""
    chain: dict[int, Run] = {}
    for made in _made(model):
        run: Run | None = made
        while run is not None and run.pk not in chain:
            chain[run.pk] = run
            run = Run.objects.select_related("dataset", "parent").get(pk=run.parent_id) if run.parent_id else None
    return list(chain.values())


def _made(model: Model) -> QuerySet[Run]:
    """The run that made ``model``, also where its adapter was registered again or is served under the run's name."""
    same = Q(model=model)
    if model.kind == Model.Kind.ADAPTER:
        same |= Q(model__path=model.path)
        if model.sha256:  # equal weights, copied to another directory
            same |= Q(model__sha256=model.sha256) | Q(result__adapter_sha256=model.sha256)
    elif model.kind == Model.Kind.ENDPOINT:
        served = model.served_name or model.name
        same |= Q(name=served) | Q(model__name=served) | Q(model__path=served)
    return Run.objects.select_related("dataset", "parent").filter(same).order_by("-pk")


def unknown(models: Iterable[Model]) -> list[Model]:
    """Those of ``models`` whose training data nobody here knows, so that ``leaked`` can't check them.

    Adapters that no run made, servers that can't be traced to a run, and models whose outputs were imported.
    """
    return [model for model in models if model.kind in TRAINED_ELSEWHERE and not runs_of(model)]


def training_cases(model: Model) -> QuerySet[Case]:
    """Every case in the lineage of ``model``, train and validation rows alike, parent runs included."""
    datasets = [run.dataset_id for run in runs_of(model)]
    return Case.objects.filter(dataset_rows__dataset__in=datasets).distinct()


def leaked(models: Iterable[Model], cases: Iterable[Case]) -> dict[int, str]:
    """{case id: why} for those of ``cases`` that an evaluation of ``models`` must not use.

    A case leaks by itself, or because another case of its group (patient or encounter, within a study) was trained on.
    """
    cases = list(cases)
    found: dict[int, str] = {}
    for model in models:
        by_case, by_group = _seen(model)
        for case in cases:
            if case.pk in found:
                continue
            if case.pk in by_case:
                found[case.pk] = f"It is in the training data of {model} ({by_case[case.pk]})."
            elif sibling := by_group.get((case.study_id, case.group)):
                found[case.pk] = f"{sibling[0]}, of the same group, is in the training data of {model} ({sibling[1]})."
    return found


def _seen(model: Model) -> tuple[dict[int, str], dict[tuple[int, str], tuple[str, str]]]:
    """What ``model`` was trained on: {case id: where}, {(study, group): (external id, where)}."""
    by_case: dict[int, str] = {}
    by_group: dict[tuple[int, str], tuple[str, str]] = {}
    for run in runs_of(model):
        rows = DatasetRow.objects.filter(dataset=run.dataset_id)
        columns = ("case_id", "split", "case__study_id", "case__group", "case__external_id")
        for case_id, split, study_id, group, external_id in rows.values_list(*columns).distinct():
            where = f"dataset {run.dataset_id}, {split}, run {run.name}"
            by_case.setdefault(case_id, where)
            by_group.setdefault((study_id, group), (external_id, where))
    return by_case, by_group
