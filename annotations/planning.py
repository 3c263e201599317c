"""From completions to a campaign: which items there are, in which order, and what annotators will be shown."""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import access, unblinding
from annotations.models import Campaign, Case, Completion, Item, Model, RubricVersion, Study

Kind = Campaign.Kind
SECONDS_PER_JUDGEMENT = 45  # until a campaign's own times are known
NO_COMPLETION = "no_completion"
IDENTICAL_TEXTS = "identical_texts"


@dataclass(frozen=True)
class Slot:
    """An item to be: completions in the fixed order of their models' names (None where the kind has none)."""

    case: Case
    a: Completion | None = None
    b: Completion | None = None


@dataclass(frozen=True)
class Layout:
    slots: list[Slot]
    dropped: dict[str, list[str]] = field(default_factory=dict)  # {reason: [external_id]} (C4)


def plan_campaign(
    *,
    study: Study,
    kind: str,
    name: str,
    annotators: Sequence[User],
    overlap: int,
    models: Sequence[Model] = (),
    split: str = "",
    seed: int = 0,
    completions: QuerySet[Completion] | None = None,
    case_ids: Sequence[int] | None = None,
    simulated: bool = False,
    show_reference: bool | None = None,
    reason: str = "optional",
    actor: User | None = None,
) -> Campaign:
    """Make a campaign with its items in one transaction, or raise UserError and make nothing.

    ``completions`` restricts which completions may be used (for example one evaluation's), ``case_ids`` which cases.
    ``show_reference`` defaults to yes where correctness is judged, and no elsewhere.
    """
    people = list(dict.fromkeys(annotators))
    check(study=study, kind=kind, name=name, annotators=people, overlap=overlap, models=models)
    layout = lay_out(study=study, kind=kind, models=models, split=split, completions=completions, case_ids=case_ids)
    require_items(layout, split)
    with transaction.atomic():
        campaign = Campaign.objects.create(
            study=study,
            name=name.strip(),
            kind=kind,
            split=split,
            overlap=overlap,
            seed=seed,
            rubric=rubric_for(study, kind, show_reference=show_reference, reason=reason),
            dropped=layout.dropped,
            simulated=simulated,
            created_by=actor,
        )
        RubricVersion.objects.create(campaign=campaign, number=1, content=campaign.rubric, created_by=actor)
        campaign.annotators.set(people)
        campaign.models.set(models)
        Item.objects.bulk_create(
            Item(
                campaign=campaign,
                case=slot.case,
                completion_a=slot.a,
                completion_b=slot.b,
                position=position,
                overlap=overlap,
            )
            for position, slot in enumerate(shuffled(layout.slots, campaign))
        )
        audit(actor, "plan campaign", campaign, study=study.pk, items=len(layout.slots), overlap=overlap)
    return campaign


def shuffled(slots: Sequence[Slot], campaign: Campaign) -> list[Slot]:
    """The slots in the campaign's order: drawn from its seed and secret, so that nobody who judges can work it out."""
    places = sorted(range(len(slots)), key=lambda place: campaign.draw("order", place))
    return [slots[place] for place in places]


def check(
    *, study: Study, kind: str, name: str, annotators: Sequence[User], overlap: int, models: Sequence[Model]
) -> None:
    """Raise UserError for whatever can be said before looking at the cases."""
    if kind not in Kind.values:
        raise UserError(f"There is no kind of campaign “{kind}”. Kinds: {', '.join(Kind.values)}.")
    if kind == Kind.LABEL and not study.label_fields:
        raise UserError("A label campaign needs label fields, and this study has none. Add them to the study first.")
    if kind == Kind.LIKERT and not study.criteria:
        raise UserError("A Likert campaign needs criteria, and this study has none. Add them to the study first.")
    if kind == Kind.LABEL and models:
        raise UserError("A label campaign shows cases, not completions: leave the models out.")
    if kind != Kind.LABEL and not models:
        raise UserError(f"A {kind} campaign judges completions: choose at least one model.")
    if not name.strip():
        raise UserError("Give the campaign a name.")
    if study.campaigns.filter(name=name.strip()).exists():
        raise UserError(f"This study already has a campaign “{name.strip()}”. Choose another name.")
    if not annotators:
        raise UserError("Choose at least one annotator.")
    if overlap < 1:
        raise UserError(f"Overlap is {overlap}; it is how many annotators judge each item, so at least 1.")
    if overlap > len(annotators):
        raise UserError(
            f"Overlap is {overlap}, but there are only {len(annotators)} annotators, and nobody judges an item twice. "
            "Lower the overlap or add annotators."
        )
    members = set(access.members(study).filter(user__in=annotators).values_list("user_id", flat=True))
    strangers = [person.username for person in annotators if person.pk not in members]
    if strangers:
        raise UserError("These people are not members of the study; add them on its People page first.", strangers)
    unblinding.require_blind(study, annotators)


def require_items(layout: Layout, split: str) -> None:
    if layout.slots:
        return
    where = f"in the split “{split}”" if split else "in this study"
    found = [f"{reason}: {len(ids)} case{'s' if len(ids) != 1 else ''}" for reason, ids in layout.dropped.items()]
    raise UserError(
        f"There is nothing to judge {where}. Import or generate completions of the chosen models first."
        if found
        else f"There is nothing to judge: there are no cases {where}.",
        found,
    )


def rubric_for(
    study: Study, kind: str, *, show_reference: bool | None = None, reason: str = "optional"
) -> dict[str, Any]:
    """What annotators are shown, frozen: later edits of the study don't change a campaign that has begun."""
    return {
        "instructions": study.instructions,
        "criteria": study.criteria if kind == Kind.LIKERT else [],
        "label_fields": study.label_fields if kind == Kind.LABEL else [],
        "show_reference": kind == Kind.CORRECTNESS if show_reference is None else show_reference,
        "reason": reason,
    }


def lay_out(
    *,
    study: Study,
    kind: str,
    models: Sequence[Model] = (),
    split: str = "",
    completions: QuerySet[Completion] | None = None,
    case_ids: Sequence[int] | None = None,
) -> Layout:
    """The items a campaign would have, unshuffled, and the cases left out by reason. Writes nothing."""
    cases = study.cases.all()
    if split:
        cases = cases.filter(split=split)
    if case_ids is not None:
        cases = cases.filter(pk__in=case_ids)
    if kind == Kind.LABEL:
        return Layout([Slot(case) for case in cases])
    usable = Completion.objects.all() if completions is None else completions
    usable = usable.filter(case__in=cases, model__in=models)
    ordered = sorted(models, key=lambda model: model.name)
    if kind != Kind.COMPARISON:
        return _single_slots(cases, ordered, _first_of_each(usable))
    if len(ordered) == 1:
        return _sample_slots(cases, usable)
    return _pair_slots(cases, ordered, _first_of_each(usable))


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


def _pair_slots(cases: Iterable[Case], models: Sequence[Model], first: dict[tuple[int, int], Completion]) -> Layout:
    """Every unordered pair of models with completions of both."""
    slots: list[Slot] = []
    dropped: dict[str, list[str]] = defaultdict(list)
    for case in cases:
        for left, right in itertools.combinations(models, 2):
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


def minutes(items: int, overlap: int, seconds: float = SECONDS_PER_JUDGEMENT) -> int:
    """Clinicians' time for a campaign, all of them together."""
    return max(1, round(items * overlap * seconds / 60))
