"""What the blinding check of a campaign found: could annotators tell which arm wrote what?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.db.models import F, Q

from annotations import guessing
from annotations.models import Campaign, Guess, Model
from reports.analysis import Plan
from reports.measures import options
from stats import blinding as statistics


@dataclass(frozen=True)
class Guessed:
    """One guess: about an output of which model, of which patient or case, and 1 right, -1 wrong, 0 don't know."""

    model_id: int
    group: str
    annotator_id: int
    score: int


def campaign_blinding(campaign: Campaign, decided: Plan) -> dict[str, Any]:
    """Share guessed right against chance and, for two arms, Bang's index of each; {"asked": False} where nobody was."""
    words = guessing.wordings(campaign)
    wanted = int(campaign.blinding_check.get("items", 0))
    if not wanted or len(words) < 2:
        return {"asked": False}
    guesses = Guess.objects.filter(assignment__item__campaign=campaign)
    rows = [
        Guessed(model, group, annotator, 0 if guessed is None else 1 if guessed == model else -1)
        for model, group, annotator, guessed in guesses.order_by("pk").values_list(
            "completion__model_id", "completion__case__group", "assignment__annotator_id", "guessed_id"
        )
    ]
    late = guesses.filter(Q(created_at__gte=F("assignment__item__campaign__closed_at")))
    names = dict(Model.objects.filter(pk__in=words).values_list("pk", "name"))
    return {
        "asked": True,
        "items_each": wanted,
        "annotators": campaign.annotators.count(),
        "annotators_asked": len({row.annotator_id for row in rows}),
        "after_closing": late.count(),
        "chance": 0.5 if campaign.kind == Campaign.Kind.COMPARISON else 1 / len(words),
        **_counts(rows),
        "share_right": _share(rows, "guessed", decided),
        "share_right_of_all": _share(rows, "all", decided),
        "arms": {
            names[pk]: _arm(text, [row for row in rows if row.model_id == pk], len(words) == 2, decided)
            for pk, text in words.items()
            if pk in names
        },
    }


def _counts(rows: Sequence[Guessed]) -> dict[str, int]:
    return {
        "guesses": len(rows),
        "right": sum(row.score == 1 for row in rows),
        "wrong": sum(row.score == -1 for row in rows),
        "dont_know": sum(row.score == 0 for row in rows),
    }


def _clusters(rows: Sequence[Guessed]) -> list[str] | None:
    """Cases (or patients) where any of them was guessed about twice: guesses about one are drawn together."""
    groups = [row.group for row in rows]
    return groups if len(set(groups)) < len(groups) else None


def _share(rows: Sequence[Guessed], of: str, decided: Plan) -> dict[str, Any]:
    scores = [row.score for row in rows]
    return statistics.share_right(scores, of, _clusters(rows), **options(decided)).to_dict()


def _arm(text: str, rows: Sequence[Guessed], two_arms: bool, decided: Plan) -> dict[str, Any]:
    index = None
    if two_arms:
        scores = [row.score for row in rows]
        index = statistics.bang_index(scores, _clusters(rows), **options(decided)).to_dict()
    return {"words": text, **_counts(rows), "bang": index}
