"""Counts behind the figures: confusion matrices and how often each point of a scale was given."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from annotations.models import Campaign, Revision, Study
from reports import scoring
from reports.scoring import Outputs, without_defective
from reports.votes import Votes
from stats import classification

Names = dict[tuple[int, str], str]


def confusion(loaded: Sequence[Outputs], names: Names) -> dict[str, dict[str, Any]]:
    """{label field: {"title", "labels", "arms": {arm: rows reference, columns predicted, last column unparsed}}}."""
    found: dict[str, dict[str, Any]] = {}
    for outputs in loaded:
        study = outputs.evaluation.study
        for label_field in study.label_fields if study.task != Study.Task.REASONING else []:
            read = scoring.predictions(outputs, label_field)
            titles = [str(label.get("title") or label["value"]) for label in label_field["labels"]]
            entry = found.setdefault(label_field["name"], {"title": label_field["title"], "labels": titles, "arms": {}})
            for arm in outputs.arms:
                keep = np.flatnonzero(read.present[arm])
                gold, predicted = [read.gold[i] for i in keep], [read.predicted[arm][i] for i in keep]
                table = classification.confusion(gold, predicted, read.labels)
                entry["arms"][names[outputs.evaluation.pk, arm]] = table.tolist()
    return found


def likert(loaded: Sequence[Outputs], scored: Mapping[int, Votes], names: Names) -> dict[str, dict[str, Any]]:
    """{criterion: {"title", "anchors", "arms": {arm: judgements a point, the worst first}}}: those that were scored."""
    found: dict[str, dict[str, Any]] = {}
    for outputs in loaded:
        place = outputs.place_of()
        for campaign, rows in scored[outputs.evaluation.pk].judged.items():
            if campaign.kind != Campaign.Kind.LIKERT:
                continue
            counted = [a for a in without_defective(rows) if a.outcome == Revision.Outcome.JUDGED]
            for criterion in campaign.rubric["criteria"]:
                for answer in counted:
                    value = answer.values.get(criterion["name"])
                    if answer.a not in place or value is None:
                        continue
                    entry = found.setdefault(
                        criterion["name"],
                        {"title": criterion["title"], "anchors": criterion["anchors"], "arms": {}},
                    )
                    name = names[outputs.evaluation.pk, place[answer.a][0]]
                    points = entry["arms"].setdefault(name, [0] * len(criterion["anchors"]))
                    points[int(value) - 1] += 1
    order = list(names.values())
    for entry in found.values():
        entry["arms"] = dict(sorted(entry["arms"].items(), key=lambda pair: order.index(pair[0])))
    return found
