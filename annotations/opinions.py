"""Everyone's judgements of one item as an adjudicator reads them: pseudonyms, the page's own sides, no models."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from annotations import judging
from annotations.models import Campaign, Item, Membership, Revision

Outcome = Revision.Outcome
OUTCOMES = {
    Outcome.TIE: "Tie, both good",
    Outcome.BOTH_UNACCEPTABLE: "Both unacceptable",
    Outcome.DEFECTIVE: "Defective item",
    Outcome.CANNOT_JUDGE: "Can't judge",
}
CORRECTNESS = {"correct": "Correct", "partly": "Partly correct", "incorrect": "Incorrect"}
COMPARED = ("{0} clearly", "{0} slightly", "no difference", "{1} slightly", "{1} clearly")


@dataclass(frozen=True)
class Option:
    value: str
    title: str


@dataclass(frozen=True)
class Question:
    """One value that is asked for, with what its values mean."""

    name: str
    title: str
    options: list[Option]

    def say(self, value: Any) -> str:
        return next((option.title for option in self.options if option.value == str(value)), str(value))


@dataclass(frozen=True)
class Opinion:
    """What one annotator said. ``swapped``: they saw A and B the other way round than this page shows them."""

    who: str
    said: str
    values: list[tuple[str, str]]
    reason: str
    chips: list[str]
    marks: list[str]
    ideal: tuple[str, str] | None
    flagged: bool
    swapped: bool
    surplus: bool


def questions(campaign: Campaign) -> list[Question]:
    """The values that a campaign asks for; none in a comparison, where the outcome is the question."""
    rubric = campaign.rubric
    if campaign.kind == Campaign.Kind.LIKERT:
        return [
            Question(c["name"], c["title"], [Option(str(n), f"{n}: {a}") for n, a in enumerate(c["anchors"], start=1)])
            for c in rubric["criteria"]
        ]
    if campaign.kind == Campaign.Kind.LABEL:
        return [
            Question(f["name"], f["title"], [Option(str(x["value"]), x["title"]) for x in f["labels"]])
            for f in rubric["label_fields"]
        ]
    if campaign.kind == Campaign.Kind.CORRECTNESS:
        return [Question("correctness", "Is the answer correct?", [Option(*pair) for pair in CORRECTNESS.items()])]
    return []


def a_is_first(item: Item) -> bool:
    """Which output this page calls A: drawn for each item, so that it says nothing about the models (C6)."""
    return item.campaign.draw("adjudication", item.position)[0] % 2 == 0


def opinions(item: Item) -> list[Opinion]:
    """The current judgements of an item, surplus ones last (two queries)."""
    names = dict(Membership.objects.filter(study=item.campaign.study_id).values_list("user_id", "pseudonym"))
    current = (
        Revision.objects.filter(judgement__item=item, is_current=True)
        .exclude(outcome=Outcome.WITHDRAWN)
        .select_related("judgement__assignment", "ideal")
    )
    rows = sorted(current, key=lambda row: (row.judgement.surplus, names.get(row.judgement.annotator_id, "")))
    return [_opinion(item, row, names.get(row.judgement.annotator_id, "former member")) for row in rows]


def _opinion(item: Item, row: Revision, who: str) -> Opinion:
    first = a_is_first(item)
    shown = row.judgement.assignment.a_is_left
    return Opinion(
        who=who,
        said=_said(row, first),
        values=list(_values(item.campaign, row, first)),
        reason=row.reason,
        chips=list(row.chips),
        marks=[_mark(mark, item, first) for mark in row.marks],
        ideal=_ideal(item, row, first),
        flagged=row.flagged,
        swapped=item.completion_b_id is not None and shown is not None and shown != first,
        surplus=row.judgement.surplus,
    )


def _said(row: Revision, first: bool) -> str:
    outcome = Outcome(row.outcome)
    if outcome in judging.PREFERENCES:
        return f"{_name(outcome == Outcome.PREFER_A, first)} {row.strength}".strip()
    if outcome == Outcome.CANNOT_JUDGE and row.cannot_judge:
        return f"{OUTCOMES[outcome]}: {Revision.CannotJudge(row.cannot_judge).label.lower()}"
    return OUTCOMES.get(outcome, "")


def _name(is_a: bool, first: bool) -> str:
    """What this page calls the item's completion a (or b)."""
    return "A" if is_a == first else "B"


def _values(campaign: Campaign, row: Revision, first: bool) -> Iterable[tuple[str, str]]:
    if campaign.kind == Campaign.Kind.COMPARISON:
        titles = {criterion["name"]: criterion["title"] for criterion in campaign.rubric.get("criteria", [])}
        for name, points in row.values.items():
            words = COMPARED[points - 1].format(_name(True, first), _name(False, first))
            yield titles.get(name, name), words
        return
    for question in questions(campaign):
        if question.name in row.values:
            yield question.title, question.say(row.values[question.name])


def _mark(mark: Mapping[str, Any], item: Item, first: bool) -> str:
    """`B, wrong (major): “no fever”`."""
    where = f"{_name(mark['output'] == 'a', first)}, " if item.completion_b_id else ""
    severity = f" ({mark['severity']})" if mark.get("severity") else ""
    return f"{where}{mark['kind']}{severity}: “{mark.get('quote', '')}”"


def _ideal(item: Item, row: Revision, first: bool) -> tuple[str, str] | None:
    """(which output, as the annotator would have it)."""
    if row.ideal is None:
        return None
    which = _name(row.ideal.edited_from_id == item.completion_a_id, first) if item.completion_b_id else "the output"
    return which, row.ideal.text
