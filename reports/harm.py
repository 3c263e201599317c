"""Harm that annotators reported: how many outputs of each arm, how bad, and in which cases. No passage is printed."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from annotations.models import Campaign, HarmReport, Revision
from reports.analysis import Plan
from stats import paired

SEVERITIES = list(HarmReport.Severity.values)  # the mildest first
NOT_JUDGED = "reported, but judged by nobody: counted as judged"


@dataclass
class _Arm:
    seen: dict[int, str] = field(default_factory=dict)  # {completion id: its case's group}, judged or reported
    worst: dict[int, str] = field(default_factory=dict)  # {completion id: the worst severity reported}
    cases: set[str] = field(default_factory=set)
    reports: int = 0
    not_judged: int = 0


def harm(campaigns: Iterable[Campaign], names: Mapping[int, str], decided: Plan) -> dict[str, Any]:
    """By arm, outputs with at least one report of those that annotators judged; reports about cases apart.

    The unit is the output: several reports on it, by whomever, count once, with the worst severity. Items with a known
    answer were chosen and not sampled, so reports on them are counted apart too. What a program judged is left out.
    """
    real = [campaign for campaign in campaigns if not campaign.simulated]
    arms = _judged(real, names)
    about_cases, known = _Apart(), _Apart()
    for report in HarmReport.objects.filter(assignment__item__campaign__in=real).select_related(
        "assignment__item__case"
    ):
        item = report.assignment.item
        if item.gold is not None:
            known.add(report)
        elif report.completion_id is None:
            about_cases.add(report)
        else:
            _count(arms[names[report.completion_id]], report)
    return {
        "arms": {name: _described(arm, decided) for name, arm in sorted(arms.items())},
        "about_cases": about_cases.described(),
        "known_answers": known.described(),
    }


def _judged(campaigns: Sequence[Campaign], names: Mapping[int, str]) -> dict[str, _Arm]:
    """What annotators had before them when they judged: regular items and their hidden repeats, surplus or not."""
    rows = Revision.objects.filter(
        judgement__item__campaign__in=campaigns, judgement__item__gold__isnull=True, is_current=True
    ).exclude(outcome=Revision.Outcome.WITHDRAWN)
    arms: dict[str, _Arm] = defaultdict(_Arm)
    item = "judgement__item__"
    for a, b, group in rows.values_list(f"{item}completion_a", f"{item}completion_b", f"{item}case__group"):
        for pk in (a, b):
            if pk is not None:
                arms[names[pk]].seen[pk] = group
    return arms


def _count(arm: _Arm, report: HarmReport) -> None:
    pk = report.completion_id
    assert pk is not None
    if pk not in arm.seen:
        arm.seen[pk] = report.assignment.item.case.group
        arm.not_judged += 1
    arm.reports += 1
    arm.cases.add(report.assignment.item.case.external_id)
    arm.worst[pk] = max(arm.worst.get(pk, report.severity), report.severity, key=SEVERITIES.index)


def _described(arm: _Arm, decided: Plan) -> dict[str, Any]:
    n, groups = len(arm.seen), set(arm.seen.values())
    share = paired.clopper_pearson(len(arm.worst), n, decided.confidence).to_dict()
    notes = [f"{arm.not_judged} {NOT_JUDGED}"] if arm.not_judged else []
    if len(groups) < n:
        notes.append("outputs of one patient are taken as independent")
    counts = Counter(arm.worst.values())
    return {
        **share,
        "note": "; ".join(filter(None, [share["note"], *notes])),
        "outputs_reported": len(arm.worst),
        "reports": arm.reports,
        "by_worst_severity": {severity: counts[severity] for severity in reversed(SEVERITIES)},
        "cases": sorted(arm.cases),
    }


class _Apart:
    """Reports that say nothing of an arm."""

    def __init__(self) -> None:
        self.severities: Counter[str] = Counter()
        self.cases: set[str] = set()

    def add(self, report: HarmReport) -> None:
        self.severities[report.severity] += 1
        self.cases.add(report.assignment.item.case.external_id)

    def described(self) -> dict[str, Any]:
        return {
            "reports": self.severities.total(),
            "by_severity": {severity: self.severities[severity] for severity in reversed(SEVERITIES)},
            "cases": sorted(self.cases),
        }


def table(document: dict[str, Any]) -> list[dict[str, Any]]:
    """A row an arm, for harm.csv."""
    return [
        {"arm": arm, **entry, **entry["by_worst_severity"], "cases": " ".join(entry["cases"])}
        for arm, entry in document.get("harm", {}).get("arms", {}).items()
    ]


COLUMNS = [
    *("arm", "outputs_reported", "n", "value", "low", "high", *reversed(SEVERITIES)),
    *("reports", "cases", "method", "note"),
]
