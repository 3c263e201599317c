"""From a lead's choices to a campaign: which items there are, in which order, and what annotators will be shown.

``work_out`` says what a campaign would be and writes nothing; ``plan_campaign`` makes it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from django.db import transaction
from django.db.models import QuerySet

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import access, designs, known_answers, naming, unblinding, workload
from annotations.designs import Design, PlanError
from annotations.known_answers import Known
from annotations.lots import drawn
from annotations.models import Campaign, Completion, Item, Model, RubricVersion, Study
from annotations.naming import NAMES_ITSELF, Named
from annotations.slots import Layout, Slot, lay_out
from annotations.workload import SECONDS_PER_JUDGEMENT, Load, minutes

Kind = Campaign.Kind
KNOWN_ANSWER = "known_answer"

__all__ = [
    "SECONDS_PER_JUDGEMENT",
    "Blueprint",
    "Design",
    "PlanError",
    "lay_out",
    "minutes",
    "plan_campaign",
    "shuffled",
    "work_out",
]


@dataclass
class Blueprint:
    """A campaign as it would be: rows that are not saved yet. ``repeats`` point to items of ``regular``."""

    campaign: Campaign
    people: list[User]
    models: list[Model]
    regular: list[Item]
    training: list[Item]
    gold: list[Item]
    repeats: list[Item]
    named: list[Named] = field(default_factory=list)

    @property
    def judgements(self) -> int:
        """Those that estimates and consensus rest on."""
        return sum(item.overlap for item in self.regular)

    @property
    def loads(self) -> list[Load]:
        return workload.loads(
            self.campaign,
            self.people,
            regular=self.regular,
            repeats=self.repeats,
            gold=len(self.gold),
            training=len(self.training),
        )

    @property
    def minutes(self) -> int:
        """Clinicians' time, all of them together."""
        return minutes(sum(load.items for load in self.loads), 1)

    @property
    def leaves_out_named(self) -> bool:
        return bool(self.campaign.design["leave_out_named"])


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
    design: Design = designs.DEFAULT,
    actor: User | None = None,
) -> Campaign:
    """Make a campaign with its items in one transaction, or raise UserError and make nothing.

    ``completions`` restricts which completions may be used (for example one evaluation's), ``case_ids`` which cases.
    ``show_reference`` defaults to yes where correctness is judged, and no elsewhere.
    """
    plan = work_out(
        study=study,
        kind=kind,
        name=name,
        annotators=annotators,
        overlap=overlap,
        models=models,
        split=split,
        seed=seed,
        completions=completions,
        case_ids=case_ids,
        show_reference=show_reference,
        reason=reason,
        design=design,
    )
    campaign = plan.campaign
    campaign.simulated, campaign.created_by = simulated, actor
    with transaction.atomic():
        campaign.save()
        RubricVersion.objects.create(campaign=campaign, number=1, content=campaign.rubric, created_by=actor)
        campaign.annotators.set(plan.people)
        campaign.models.set(plan.models)
        for item in (*plan.regular, *plan.training, *plan.gold, *plan.repeats):
            item.campaign = campaign
        Item.objects.bulk_create([*plan.regular, *plan.training, *plan.gold])
        for item in plan.repeats:
            item.repeat_of = item.repeat_of  # takes the key that the original has only now
        Item.objects.bulk_create(plan.repeats)
        audit(
            actor,
            "plan campaign",
            campaign,
            study=study.pk,
            items=len(plan.regular),
            overlap=overlap,
            training=len(plan.training),
            gold=len(plan.gold),
            repeats=len(plan.repeats),
        )
    return campaign


def work_out(
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
    show_reference: bool | None = None,
    reason: str = "optional",
    design: Design = designs.DEFAULT,
) -> Blueprint:
    """What ``plan_campaign`` would make of the same arguments. Writes nothing; raises UserError for what can't be."""
    people, models = list(dict.fromkeys(annotators)), list(dict.fromkeys(models))
    check(study=study, kind=kind, name=name, annotators=people, overlap=overlap, models=models)
    designs.check(design, study=study, kind=kind, models=models, overlap=overlap)
    pairs = designs.compared(design, kind=kind, models=models)
    layout = lay_out(
        study=study, kind=kind, models=models, split=split, completions=completions, case_ids=case_ids, pairs=pairs
    )
    require_items(layout, split)
    campaign = Campaign(
        study=study,
        name=name.strip(),
        kind=kind,
        split=split,
        overlap=overlap,
        seed=seed,
        consensus=designs.consensus_of(design, kind),
        rubric=designs.rubric_for(study, kind, design, show_reference=show_reference, reason=reason),
        max_per_annotator=design.max_per_annotator,
        route_by=design.route_by.strip(),
        apart=design.apart,
        gold_rate=design.gold_rate,
        repeat_rate=design.repeat_rate,
        training_pass_mark=design.training_pass_mark if design.training_items else None,
    )
    if wordings := designs.arms(design, kind=kind, models=models):
        campaign.blinding_check = {"items": design.blinding_items, "arms": wordings}
    known = known_answers.choose(campaign, design, layout, models=models, n_people=len(people), pairs=pairs)
    named = _named(layout, known, models)
    if design.leave_out_named:
        layout, known = _without_named(layout, known, named)
    layout = _without_known(layout, known)
    require_items(layout, split)
    campaign.dropped = layout.dropped
    plan = _items(campaign, layout, known, people, models, design)
    plan.named = named
    slots = {slot.case.pk: slot.case for slot in layout.slots}
    workload.check_routing(campaign, slots, plan.regular, people)
    workload.check_capacity(campaign, people, regular=plan.regular, repeats=plan.repeats, gold=len(plan.gold))
    campaign.design = _record(plan, design)
    return plan


# --- what is asked of the lead


def check(
    *, study: Study, kind: str, name: str, annotators: Sequence[User], overlap: int, models: Sequence[Model]
) -> None:
    """Raise PlanError for whatever can be said before looking at the cases."""
    if kind not in Kind.values:
        raise PlanError("kind", f"There is no kind of campaign “{kind}”. Kinds: {', '.join(Kind.values)}.")
    if kind == Kind.LABEL and not study.label_fields:
        raise PlanError(
            "kind", "A label campaign needs label fields, and this study has none. Add them to the study first."
        )
    if kind == Kind.LIKERT and not study.criteria:
        raise PlanError(
            "kind", "A Likert campaign needs criteria, and this study has none. Add them to the study first."
        )
    if kind == Kind.LABEL and models:
        raise PlanError("models", "A label campaign shows cases, not completions: leave the models out.")
    if kind != Kind.LABEL and not models:
        raise PlanError("models", f"A {kind} campaign judges completions: choose at least one model.")
    if not name.strip():
        raise PlanError("name", "Give the campaign a name.")
    if study.campaigns.filter(name=name.strip()).exists():
        raise PlanError("name", f"This study already has a campaign “{name.strip()}”. Choose another name.")
    if not annotators:
        raise PlanError("annotators", "Choose at least one annotator.")
    if overlap < 1:
        raise PlanError("overlap", f"Overlap is {overlap}; it is how many annotators judge each item, so at least 1.")
    if overlap > len(annotators):
        raise PlanError(
            "overlap",
            f"Overlap is {overlap}, but there are only {len(annotators)} annotators, and nobody judges an item twice. "
            "Lower the overlap or add annotators.",
        )
    members = set(access.members(study).filter(user__in=annotators).values_list("user_id", flat=True))
    strangers = [person.username for person in annotators if person.pk not in members]
    if strangers:
        raise PlanError(
            "annotators", "These people are not members of the study; add them on its People page first.", strangers
        )
    unblinding.require_blind(study, annotators)


def require_items(layout: Layout, split: str) -> None:
    if layout.slots:
        return
    where = f"in the split “{split}”" if split else "in this study"
    found = [f"{reason}: {len(ids)} case{'s' if len(ids) != 1 else ''}" for reason, ids in layout.dropped.items()]
    if KNOWN_ANSWER in layout.dropped:
        raise PlanError(
            "known_answers",
            f"Every item {where} would have a known answer, so nothing would be left to judge. Ask for fewer training "
            "and gold items.",
            found,
        )
    raise UserError(
        f"There is nothing to judge {where}. Import or generate completions of the chosen models first."
        if found
        else f"There is nothing to judge: there are no cases {where}.",
        found,
    )


# --- what is left out of the estimate


def _named(layout: Layout, known: Iterable[Known], models: Sequence[Model]) -> list[Named]:
    """Outputs that name a model or a family, among all that annotators would be shown."""
    slots = [*layout.slots, *(row.slot for row in known)]
    writers = Model.objects.in_bulk({model_id for slot in slots for model_id in slot.model_ids})
    shown = ((slot.case, completion) for slot in slots for completion in slot.completions)
    return naming.find(shown, models=list(dict.fromkeys((*models, *writers.values()))), writers=writers)


def _without_named(layout: Layout, known: list[Known], named: Iterable[Named]) -> tuple[Layout, list[Known]]:
    telling = {row.case.pk for row in named}
    left_out = [slot.case.external_id for slot in layout.slots if slot.case.pk in telling]
    dropped = dict(layout.dropped)
    if left_out:
        dropped[NAMES_ITSELF] = list(dict.fromkeys(left_out))
    slots = [slot for slot in layout.slots if slot.case.pk not in telling]
    return Layout(slots, dropped), [row for row in known if row.slot.case.pk not in telling]


def _without_known(layout: Layout, known: Iterable[Known]) -> Layout:
    """An item whose answer is known is no question: it is taken out of the estimate, and counted."""
    keys = {row.slot.key for row in known}
    left_out = [slot.case.external_id for slot in layout.slots if slot.key in keys]
    dropped = layout.dropped | ({KNOWN_ANSWER: left_out} if left_out else {})
    return Layout([slot for slot in layout.slots if slot.key not in keys], dropped)


# --- the items


def shuffled(slots: Sequence[Slot], campaign: Campaign) -> list[Slot]:
    """The slots in the campaign's order: drawn from its seed and secret, so that nobody who judges can work it out."""
    places = sorted(range(len(slots)), key=lambda place: campaign.draw("order", place))
    return [slots[place] for place in places]


def _items(
    campaign: Campaign,
    layout: Layout,
    known: Sequence[Known],
    people: list[User],
    models: list[Model],
    design: Design,
) -> Blueprint:
    slots = shuffled(layout.slots, campaign)
    training, gold = known_answers.shared_out(known, design)

    def stratum(slot: Slot) -> tuple[str, str, tuple[int, ...]]:
        return slot.case.split, workload.tag_of(slot.case, campaign.route_by), slot.model_ids

    def share_of(share: float, what: str) -> list[Slot]:
        return drawn(slots, share, stratum=stratum, lot=lambda slot: campaign.draw(what, *slot.key))

    shared = set(slots if design.overlap_share == 1 else share_of(design.overlap_share, "overlap"))
    regular = {
        slot: _item(
            slot,
            position,
            overlap=campaign.overlap if slot in shared else 1,
            tag=workload.tag_of(slot.case, campaign.route_by),
        )
        for position, slot in enumerate(slots)
    }
    repeated = share_of(design.repeat_rate, "repeat")
    n = len(regular)
    first_gold = n + len(training)
    first_repeat = first_gold + len(gold)
    return Blueprint(
        campaign=campaign,
        people=people,
        models=models,
        regular=list(regular.values()),
        training=[
            _item(row.slot, place, overlap=0, gold=row.gold, training=True) for place, row in enumerate(training, n)
        ],
        gold=[_item(row.slot, place, overlap=0, gold=row.gold) for place, row in enumerate(gold, first_gold)],
        repeats=[
            _item(slot, place, overlap=0, tag=regular[slot].tag, repeat_of=regular[slot])
            for place, slot in enumerate(repeated, first_repeat)
        ],
    )


def _item(slot: Slot, position: int, **fields: Any) -> Item:
    return Item(case=slot.case, completion_a=slot.a, completion_b=slot.b, position=position, **fields)


def _record(plan: Blueprint, design: Design) -> dict[str, Any]:
    """What was asked for and what came of it, for whoever asks later how the judgements came about."""
    campaign = plan.campaign
    asked = replace(design, consensus=campaign.consensus, route_by=campaign.route_by)
    return asked.record() | {
        "chips": campaign.rubric["chips"],
        "models": [model.name for model in plan.models],
        "annotators": [person.username for person in plan.people],
        "seed": campaign.seed,
        "overlap": campaign.overlap,
        "items": len(plan.regular),
        "items_with_overlap": sum(item.overlap == campaign.overlap for item in plan.regular),
        "judgements": plan.judgements,
        "gold_items": len(plan.gold),
        "repeat_items": len(plan.repeats),
        "blinding_arms": {
            model.name: campaign.blinding_check["arms"][str(model.pk)]
            for model in plan.models
            if campaign.blinding_check
        },
        NAMES_ITSELF: naming.record(plan.named),
    }
