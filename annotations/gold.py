"""Is an answer right against an item's known answer, and how often an annotator was."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan
from typing import Any, Protocol

from accounts.models import User
from annotations.models import Campaign, Revision

LIKERT_WITHIN = 1  # points: neighbours on a scale of judgement are no error


class Said(Protocol):
    """An Answer or a Revision."""

    @property
    def outcome(self) -> str: ...

    @property
    def values(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class Score:
    right: int
    total: int

    @property
    def share(self) -> float:
        return self.right / self.total if self.total else nan


def is_right(said: Said, known: Mapping[str, Any] | None, kind: str, *, within: int = LIKERT_WITHIN) -> bool:
    """Whether ``said`` is the known answer (an Item's ``gold``) in a campaign of this kind.

    The outcome must be the same, and the strength of a preference doesn't matter. Likert points may be ``within``
    points of what is known, for each criterion that is known; labels and correctness must be the same.
    """
    if known is None or said.outcome != known["outcome"]:
        return False
    if said.outcome != Revision.Outcome.JUDGED:
        return True
    values: Mapping[str, Any] = known.get("values") or {}
    if kind == Campaign.Kind.LIKERT:
        return all(name in said.values and abs(said.values[name] - value) <= within for name, value in values.items())
    return all(said.values.get(name) == value for name, value in values.items())


def gold_score(campaign: Campaign, annotator: User) -> Score:
    """How many of the gold items that the annotator has judged they got right; training items are not gold."""
    return gold_scores(campaign, annotators=[annotator.pk]).get(annotator.pk, Score(0, 0))


def gold_scores(campaign: Campaign, *, annotators: Iterable[int] | None = None) -> dict[int, Score]:
    """{annotator: their score} of everybody who has judged a gold item, by their current answers (one query)."""
    rows = Revision.objects.filter(
        judgement__item__campaign=campaign,
        judgement__item__gold__isnull=False,
        judgement__item__repeat_of__isnull=True,
        judgement__item__training=False,
        is_current=True,
    ).exclude(outcome=Revision.Outcome.WITHDRAWN)
    if annotators is not None:
        rows = rows.filter(judgement__annotator__in=annotators)
    found: dict[int, list[bool]] = {}
    for row in rows.select_related("judgement__item"):
        right = is_right(row, row.judgement.item.gold, campaign.kind)
        found.setdefault(row.judgement.annotator_id, []).append(right)
    return {annotator: Score(sum(right), len(right)) for annotator, right in found.items()}
