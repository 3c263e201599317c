"""Every pair of arms on every measure; which of them were planned, and the P values of those adjusted (C12)."""

from collections.abc import Mapping, Sequence
from typing import Any

from annotations.models import Case, Study
from reports import analysis
from reports.analysis import Pair, Plan
from reports.measures import Comparison, Measure
from reports.scoring import Outputs
from reports.votes import Votes
from stats import multiplicity

Row = dict[str, Any]


def contrasts(
    study: Study,
    loaded: Sequence[Outputs],
    measured: Mapping[int, Sequence[Measure]],
    scored: Mapping[int, Votes],
    decided: Plan,
) -> list[Row]:
    """The planned ones on the primary metric first. A contrast of the plan that can't count as planned says why."""
    rows: list[Row] = []
    taken: dict[tuple[str, Pair], int] = {}  # the evaluation that a contrast of the plan was first made in
    for found in loaded:
        pk = found.evaluation.pk
        for measure in measured[pk]:
            if measure.compare is None:
                continue
            for pair, in_plan in analysis.contrasts_among(decided, found.arms):
                declared = in_plan and decided.is_primary(measure.metric, measure.criterion)
                why = _why_exploratory(study, found, measure, scored[pk]) if declared else ""
                if declared and found.evaluation.split == Case.Split.TEST:
                    first = taken.setdefault((measure.key, pair), pk)
                    if not why and first != pk:
                        why = f"evaluation {first}, also in this report, made it first"
                row = _row(pk, measure, pair, measure.compare(*pair))
                rows.append({**row, "planned": declared and not why, "exploratory_because": why})
    return _adjusted(rows, family_size(study, decided))


def _why_exploratory(study: Study, found: Outputs, measure: Measure, votes: Votes) -> str:
    """Why a contrast that the plan declares may not be called planned; empty where it may."""
    if not analysis.unchanged_since_lock(study):
        return "the analysis plan is no longer the one that was locked"
    if found.evaluation.split != Case.Split.TEST:
        return f"the {found.evaluation.split} split is not the test split"
    if early := votes.before(measure.judged_in, study.analysis_locked_at):
        return f"{early} of its judgements were made before the analysis plan was locked"
    return ""


def _row(pk: int, measure: Measure, pair: Pair, result: Comparison) -> Row:
    test = result.test
    return {
        "evaluation": pk,
        "key": measure.key,
        "metric": measure.metric,
        "criterion": measure.criterion,
        "title": measure.title,
        "first": pair[0],
        "second": pair[1],
        "effect": test.effect,
        "low": test.low,
        "high": test.high,
        "null": result.null,
        "statistic": test.statistic,
        "p_value": test.p_value,
        "p_adjusted": None,
        "n": test.n,
        "method": test.method,
        "effect_method": result.effect_method,
        "note": test.note,
        **result.extra,
    }


def family_size(study: Study, decided: Plan) -> int:
    """How many comparisons the plan declares: its contrasts, on each criterion or label field that is primary."""
    names = [decided.primary_criterion] if decided.primary_criterion else []
    return len(decided.planned_contrasts) * len(names or analysis.criteria_of(study, decided.primary_metric))


def _adjusted(rows: list[Row], declared: int) -> list[Row]:
    """Holm within the family that the plan declared, also where this report doesn't hold all of it.

    A comparison that is missing or has no P value counts as one with P = 1. Nothing outside the family is adjusted.
    """
    family = [row for row in rows if row["planned"]]
    p_values = [1.0 if row["p_value"] != row["p_value"] else row["p_value"] for row in family]
    adjusted = multiplicity.adjust([*p_values, *[1.0] * (declared - len(family))], method="holm")
    for row, p_adjusted in zip(family, adjusted, strict=False):
        row["p_adjusted"] = float(p_adjusted) if row["p_value"] == row["p_value"] else None
    return sorted(rows, key=lambda row: not row["planned"])
