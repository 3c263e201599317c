"""How far the annotators of a campaign agree, a criterion at a time."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from annotations.models import Campaign, Revision
from reports.analysis import Plan
from reports.measures import options
from reports.scoring import Answer, without_defective
from stats import agreement as statistics
from stats.results import Estimate

CORRECTNESS = {"incorrect": 0, "partly": 1, "correct": 2}
Outcome = Revision.Outcome


@dataclass(frozen=True)
class Scale:
    """One thing that was judged: its name, level of measurement, and how to read it from an answer (None: missing)."""

    name: str
    title: str
    level: str
    read: Callable[[Answer], Any]


def scales(campaign: Campaign) -> list[Scale]:
    """What the campaign's annotators were asked, by its frozen rubric."""
    if campaign.kind == Campaign.Kind.COMPARISON:
        # Tie and both unacceptable lie on no line between A and B, hence nominal; coded by completion, never by side.
        # A criterion does lie on one: from A clearly to B clearly, in the item's fixed order.
        criteria = [_points(criterion) for criterion in campaign.rubric.get("criteria", [])]
        return [*criteria, Scale("preference", "Preference", "nominal", _preference)]
    if campaign.kind == Campaign.Kind.CORRECTNESS:
        return [
            Scale("correctness", "Correctness", "ordinal", lambda a: CORRECTNESS.get(a.values.get("correctness", "")))
        ]
    if campaign.kind == Campaign.Kind.LIKERT:
        return [_points(criterion) for criterion in campaign.rubric.get("criteria", [])]
    return [_labels(label_field) for label_field in campaign.rubric.get("label_fields", [])]


def _preference(answer: Answer) -> str | None:
    return None if answer.outcome == Outcome.CANNOT_JUDGE else answer.outcome


def _points(criterion: dict[str, Any]) -> Scale:
    name = criterion["name"]
    return Scale(name, criterion["title"], "ordinal", lambda a: a.values.get(name))


def _labels(label_field: dict[str, Any]) -> Scale:
    name, level = label_field["name"], label_field.get("level", "nominal")
    place = {str(label["value"]): i for i, label in enumerate(label_field["labels"])}

    def read(answer: Answer) -> Any:
        value = answer.values.get(name)
        if value is None:
            return None
        if level == "ordinal":
            return place.get(str(value))
        return place.setdefault(str(value), len(place))  # labels are text: “1” and “01” differ, and “nan” is a label

    return Scale(name, label_field["title"], level, read)


def campaign_agreement(campaign: Campaign, judged: Sequence[Answer], decided: Plan) -> dict[str, Any]:
    """{criterion: alpha with its interval, percent agreement, counts}. Surplus judgements count here."""
    return {scale.name: _one(scale, judged, decided) for scale in scales(campaign)}


def _one(scale: Scale, judged: Sequence[Answer], decided: Plan) -> dict[str, Any]:
    everything, judged = judged, without_defective(judged)
    items = list(dict.fromkeys(answer.item_id for answer in judged))
    people = sorted({answer.annotator_id for answer in judged})
    row, column = {pk: i for i, pk in enumerate(items)}, {pk: i for i, pk in enumerate(people)}
    ratings = np.full((len(items), len(people)), None, dtype=object)
    groups = [""] * len(items)
    for answer in judged:
        groups[row[answer.item_id]] = answer.group
        if answer.outcome != Outcome.CANNOT_JUDGE:
            ratings[row[answer.item_id], column[answer.annotator_id]] = scale.read(answer)
    # Items of one case or patient are drawn together: this makes the interval a case (or patient) bootstrap.
    clusters = groups if len(set(groups)) < len(groups) else None
    counts = {
        "level": scale.level,
        "title": scale.title,
        "n_items": len(items),
        "n_annotators": len(people),
        "n_judgements": int(sum(value is not None for value in ratings.flat)),
        "n_cannot_judge": sum(answer.outcome == Outcome.CANNOT_JUDGE for answer in judged),
        "n_defective_left_out": len(everything) - len(judged),
        "n_surplus": sum(answer.surplus for answer in judged),
    }
    if len(people) < 2:
        why = "nothing judged yet" if not people else "one annotator: agreement needs two"
        alpha = percent = Estimate.undefined("Krippendorff's alpha", why)
    else:
        alpha = statistics.krippendorff_alpha(ratings, scale.level, clusters, **options(decided))
        percent = statistics.percent_agreement(ratings, clusters=clusters, **options(decided))
    return {"alpha": alpha.to_dict(), "percent_agreement": percent.to_dict(), **counts}
