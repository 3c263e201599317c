"""From cases and completions to the items a campaign would have. Reads the database and writes nothing."""

import itertools
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

from django.db.models import QuerySet

from annotations.models import Campaign, Case, Completion, Model, Study

NO_COMPLETION = "no_completion"
IDENTICAL_TEXTS = "identical_texts"


@dataclass(frozen=True)
class Slot:
    """An item to be: completions in the fixed order of their models' names (None where the kind has none)."""

    case: Case
    a: Completion | None = None
    b: Completion | None = None

    @property
    def key(self) -> tuple[int, int, int]:
        """What tells it from every other slot, and what lots are drawn with; 0 stands for no completion."""
        return self.case.pk, self.a.pk if self.a else 0, self.b.pk if self.b else 0

    @property
    def model_ids(self) -> tuple[int, ...]:
        return tuple(completion.model_id for completion in self.completions)

    @property
    def completions(self) -> tuple[Completion, ...]:
        return tuple(completion for completion in (self.a, self.b) if completion is not None)


@dataclass(frozen=True)
class Layout:
    slots: list[Slot]
    dropped: dict[str, list[str]] = field(default_factory=dict)  # {reason: [external_id]} (C4)


def lay_out(
    *,
    study: Study,
    kind: str,
    models: Sequence[Model] = (),
    split: str = "",
    completions: QuerySet[Completion] | None = None,
    case_ids: Collection[int] | None = None,
    pairs: Collection[frozenset[int]] | None = None,
) -> Layout:
    """The items a campaign would have, unshuffled, and the cases left out by reason.

    ``pairs`` restricts which models are compared with each other, by their ids.
    """
    cases = study.cases.all()
    if split:
        cases = cases.filter(split=split)
    if case_ids is not None:
        cases = cases.filter(pk__in=case_ids)
    if kind == Campaign.Kind.LABEL:
        return Layout([Slot(case) for case in cases])
    usable = Completion.objects.all() if completions is None else completions
    usable = usable.filter(case__in=cases, model__in=models)
    ordered = sorted(models, key=lambda model: model.name)
    if kind != Campaign.Kind.COMPARISON:
        return _single_slots(cases, ordered, _first_of_each(usable))
    if len(ordered) == 1:
        return _sample_slots(cases, usable)
    compared = [
        (left, right)
        for left, right in itertools.combinations(ordered, 2)
        if pairs is None or frozenset((left.pk, right.pk)) in pairs
    ]
    return _pair_slots(cases, compared, _first_of_each(usable))


def _first_of_each(completions: QuerySet[Completion]) -> dict[tuple[int, int], Completion]:
    """{(case, model): its completion of index 0}; the newest, where a model was asked more than once."""
    rows = completions.filter(index=0).order_by("pk")
    return {(row.case_id, row.model_id): row for row in rows}


def _single_slots(cases: Iterable[Case], models: Sequence[Model], first: dict[tuple[int, int], Completion]) -> Layout:
    slots: list[Slot] = []
    dropped: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        found = [first[case.pk, model.pk] for model in models if (case.pk, model.pk) in first]
        slots.extend(Slot(case, completion) for completion in found)
        if len(found) < len(models):
            dropped[NO_COMPLETION].append(case.external_id)
    return Layout(slots, dict(dropped))


def _pair_slots(
    cases: Iterable[Case], pairs: Sequence[tuple[Model, Model]], first: dict[tuple[int, int], Completion]
) -> Layout:
    """Every pair of models with completions of both."""
    slots: list[Slot] = []
    dropped: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        for left, right in pairs:
            a, b = first.get((case.pk, left.pk)), first.get((case.pk, right.pk))
            if reason := _unusable(a, b):
                dropped[reason].append(case.external_id)
            else:
                slots.append(Slot(case, a, b))
    return Layout(slots, dict(dropped))


def _sample_slots(cases: Iterable[Case], completions: QuerySet[Completion]) -> Layout:
    """Two samples of one model against each other: how on-policy pairs are made. The newest request with two counts."""
    samples: dict[int, dict[str, list[Completion]]] = defaultdict(lambda: defaultdict(list))
    for row in completions.order_by("pk"):
        samples[row.case_id][row.key].append(row)
    slots: list[Slot] = []
    dropped: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        requests = [rows for rows in samples[case.pk].values() if len(rows) >= 2]
        newest = max(requests, key=lambda rows: rows[-1].pk, default=[])
        a, b, *_ = [*sorted(newest, key=lambda row: row.index), None, None]
        if reason := _unusable(a, b):
            dropped[reason].append(case.external_id)
        else:
            slots.append(Slot(case, a, b))
    return Layout(slots, dict(dropped))


def _unusable(a: Completion | None, b: Completion | None) -> str:
    """Why a pair can't be judged; empty where it can. An empty completion is a completion."""
    if a is None or b is None:
        return NO_COMPLETION
    return IDENTICAL_TEXTS if a.text.strip() == b.text.strip() else ""
