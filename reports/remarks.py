"""What annotators said beside their answers: reasons chosen from the list, and marks on sentences."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from annotations import judging
from annotations.answers import MARK_KINDS, MARK_SEVERITIES
from annotations.models import Campaign, Revision

# "correct", "wrong minor", "wrong major", …
MARK_NAMES = [MARK_KINDS[0], *(f"{kind} {severity}" for kind in MARK_KINDS[1:] for severity in MARK_SEVERITIES)]


def remarks(campaigns: Iterable[Campaign], names: Mapping[int, str]) -> dict[str, Any]:
    """{"reasons": a row a reason, "marks": a row an arm}, for the campaigns that asked; judgements within overlap."""
    reasons, marks = [], []
    for campaign in campaigns:
        if campaign.rubric.get("chips"):
            reasons += _reasons(campaign, names)
        if campaign.rubric.get("marks"):
            marks += _marks(campaign, names)
    return {"reasons": reasons, "marks": marks}


def _reasons(campaign: Campaign, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """How often each reason was chosen of an arm's outputs; in a comparison, for preferring which arm."""
    judged: Counter[str] = Counter()
    chosen: dict[str, Counter[str]] = defaultdict(Counter)
    for revision in judging.current_revisions(campaign):
        about = _about(revision, names)
        judged[about] += 1
        chosen[about].update(revision.chips)
    return [
        {"campaign": campaign.name, "about": about, "reason": reason, "n": n, "judgements": judged[about]}
        for about, counts in sorted(chosen.items())
        for reason, n in sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    ]


def _about(revision: Revision, names: Mapping[int, str]) -> str:
    item = revision.judgement.item
    if revision.chosen_id is not None:
        return f"{names[revision.chosen_id]} preferred"
    if revision.outcome == Revision.Outcome.JUDGED and item.completion_a_id is not None:
        return names[item.completion_a_id]
    return str(Revision.Outcome(revision.outcome).label)


def _marks(campaign: Campaign, names: Mapping[int, str]) -> list[dict[str, Any]]:
    """Marks of each kind per 100 readings; a reading is one annotator's judgement of one output."""
    readings: Counter[str] = Counter()
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for revision in judging.current_revisions(campaign).exclude(outcome__in=judging.ANY_KIND):
        item = revision.judgement.item
        wrote = {"a": item.completion_a_id, "b": item.completion_b_id}
        readings.update(names[pk] for pk in wrote.values() if pk is not None)
        for mark in revision.marks:
            pk = wrote[mark["output"]]
            if pk is not None:
                found[names[pk]][f"{mark['kind']} {mark['severity']}".strip()] += 1
    return [
        {
            "campaign": campaign.name,
            "arm": arm,
            "readings": n,
            **{name: {"n": found[arm][name], "per_100": round(100 * found[arm][name] / n, 1)} for name in MARK_NAMES},
        }
        for arm, n in sorted(readings.items())
    ]


def marks_table(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A row a campaign, arm and kind of mark, for marks.csv."""
    return [
        {"campaign": row["campaign"], "arm": row["arm"], "readings": row["readings"], "mark": name, **row[name]}
        for row in document.get("remarks", {}).get("marks", [])
        for name in MARK_NAMES
    ]
