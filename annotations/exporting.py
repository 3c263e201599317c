"""Judgements as rows of contract C9: one row a value, every revision, in the order they were given.

The contract's columns come first and are always there; what a campaign may ask for besides stands in columns behind
them, repeated in every row of a revision: chips and marks as JSON lists, a corrected output with the output it is of
("a" or "b"), the flag, the rubric's version, and what kind of item it is: "" for a regular one, else repeat, gold or
training.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from annotations import judging
from annotations.models import Campaign, Item, Membership, Revision, Study

COLUMNS = (
    *("campaign", "case", "annotator", "model_a", "model_b", "shown_left", "criterion", "value"),
    *("strength", "reason", "revision", "started", "submitted"),
    *("chips", "marks", "ideal", "ideal_of", "flagged", "rubric", "item"),
)
REPEAT, GOLD, TRAINING = "repeat", "gold", "training"
PREFERENCE = "preference"
MARK_KEYS = ("output", "sentence", "quote", "kind", "severity")
Row = dict[str, Any]


def judgement_rows(*, study: Study, campaigns: Iterable[Campaign] | None = None, names: bool = False) -> Iterator[Row]:
    """Rows of every revision, withdrawn ones too; a judgement's highest revision is the one that counts.

    ``names`` gives user names instead of pseudonyms.
    """
    people = _people(study, names)
    chosen = study.campaigns.all() if campaigns is None else campaigns
    revisions = (
        Revision.objects.filter(judgement__item__campaign__in=chosen)
        .select_related(
            "judgement__assignment",
            "judgement__annotator",
            "judgement__item__campaign",
            "judgement__item__case",
            "judgement__item__completion_a__model",
            "judgement__item__completion_b__model",
            "ideal",
        )
        .order_by("judgement__item__campaign_id", "created_at", "pk")
    )
    for revision in revisions.iterator(chunk_size=1000):
        annotator = revision.judgement.annotator
        yield from revision_rows(revision, people.get(annotator.pk) or annotator.username)


def _people(study: Study, names: bool) -> dict[int, str]:
    members = Membership.objects.filter(study=study).select_related("user")
    return {row.user_id: row.user.username if names else row.pseudonym for row in members}


def revision_rows(revision: Revision, annotator: str) -> list[Row]:
    """One row for each value of a revision; where there is no value, each criterion says why."""
    judgement = revision.judgement
    item = judgement.item
    model_a, model_b = models_of(item)
    common: Row = {
        "campaign": item.campaign.name,
        "case": item.case.external_id,
        "annotator": annotator,
        "model_a": model_a,
        "model_b": model_b,
        "shown_left": _shown_left(item, judgement.assignment.a_is_left),
    }
    rest: Row = {
        "strength": revision.strength,
        "reason": revision.reason,
        "revision": revision.number,
        "started": judgement.assignment.created_at.isoformat(),
        "submitted": revision.created_at.isoformat(),
        **_besides(revision),
    }
    return [{**common, "criterion": name, "value": value, **rest} for name, value in values_of(revision).items()]


def _besides(revision: Revision) -> Row:
    ideal = judging.answer_of(revision).ideal
    return {
        "chips": revision.chips,
        # In one order of keys, whatever the database makes of them.
        "marks": [{name: mark[name] for name in MARK_KEYS} for mark in revision.marks],
        "ideal": ideal.text if ideal else "",
        "ideal_of": ideal.output if ideal else "",
        "flagged": revision.flagged,
        "rubric": revision.rubric_version,
        "item": item_kind(revision.judgement.item),
    }


def item_kind(item: Item) -> str:
    """Which kind of item it is; empty for a regular one."""
    if item.repeat_of_id is not None:
        return REPEAT
    if item.gold is None:
        return ""
    return TRAINING if item.training else GOLD


def values_of(revision: Revision) -> dict[str, Any]:
    """{criterion: value} as written in files."""
    asked, said = criteria_of(revision.judgement.item.campaign), revision.outcome
    if said in (*judging.COMPARISON_OUTCOMES, Revision.Outcome.JUDGED):
        # In the order of the rubric (PostgreSQL keeps the keys of a JSON object in an order of its own), and behind
        # them what only an earlier version of the rubric asked for.
        names = [name for name in asked if name in revision.values]
        values = {name: revision.values[name] for name in [*names, *sorted(set(revision.values) - set(names))]}
        return values if said == Revision.Outcome.JUDGED else {**values, PREFERENCE: said}
    if said == Revision.Outcome.CANNOT_JUDGE:
        said = f"{said}:{revision.cannot_judge}"
    return dict.fromkeys(asked, said)


def criteria_of(campaign: Campaign) -> list[str]:
    """What a campaign asks for, as the column ``criterion`` names it; a comparison's preference comes last."""
    return criteria_in(campaign.kind, campaign.rubric)


def criteria_in(kind: str, rubric: Mapping[str, Any]) -> list[str]:
    names = list(judging.allowed_values(kind, rubric))
    return [*names, PREFERENCE] if kind == Campaign.Kind.COMPARISON else names


def models_of(item: Item) -> tuple[str, str]:
    """Names of the models of both completions; empty where the item has none."""
    a, b = item.completion_a, item.completion_b
    return a.model.name if a else "", b.model.name if b else ""


def _shown_left(item: Item, a_is_left: bool | None) -> str:
    """The model on the left; "a" or "b" for two samples of one model; empty where unknown or there is no pair."""
    if a_is_left is None:
        return ""
    a, b = models_of(item)
    if a == b:
        return "a" if a_is_left else "b"
    return a if a_is_left else b
