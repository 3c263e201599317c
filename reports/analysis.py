"""The analysis plan (C12): what is primary is decided, hashed and locked before any result is seen."""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.models import Study

Pair = tuple[str, str]

# The first is the default (DESIGN, table of section 1).
METRICS: dict[str, tuple[str, ...]] = {
    Study.Task.CLASSIFICATION: ("f1", "accuracy"),
    Study.Task.TRIAGE: ("f1", "accuracy"),
    Study.Task.REASONING: ("accuracy",),
    Study.Task.SUMMARISATION: ("mean_likert", "win_rate"),
}
METRIC_TITLES = {
    "f1": "F1",
    "accuracy": "accuracy",
    "weighted_kappa": "quadratic weighted kappa",
    "mean_likert": "mean Likert score",
    "win_rate": "win rate",
}
AVERAGES = ("binary", "macro", "weighted")
MOST_RESAMPLES = 1_000_000
MARGIN_METRICS = ("accuracy", "mean_likert")  # those that have an equivalence test


@dataclass(frozen=True)
class Plan:
    """What was decided. Differences are second minus first of a contrast."""

    primary_metric: str
    primary_criterion: str  # a criterion or a label field; "" means the metric as a whole, or every label field
    arms: tuple[str, ...] = ()
    contrasts: tuple[Pair, ...] = ()
    average: str = "macro"
    family: str = "contrasts"
    margin: float | None = None
    partly_counts: bool = False
    unparsed_counts: str = "wrong"
    overlap_rule: str = "majority"
    confidence: float = 0.95
    n_resamples: int = 10_000
    seed: int = 0

    @property
    def planned_contrasts(self) -> tuple[Pair, ...]:
        """The declared contrasts, else each arm minus the one before it."""
        return self.contrasts or tuple(zip(self.arms, self.arms[1:], strict=False))

    @property
    def primary_title(self) -> str:
        return METRIC_TITLES[self.primary_metric]

    def is_primary(self, metric: str, criterion: str) -> bool:
        return metric == self.primary_metric and self.primary_criterion in ("", criterion)

    def to_dict(self) -> dict[str, Any]:
        return json.loads(json.dumps(asdict(self)))  # tuples become the lists that JSON gives back

    @property
    def sha256(self) -> str:
        return hashlib.sha256(canonical(self.to_dict())).hexdigest()


def canonical(value: Any) -> bytes:
    """One spelling of a JSON value, for hashing."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


def plan(study: Study, changes: Mapping[str, Any] | None = None) -> Plan:
    """The study's plan with defaults filled in by task. Raises UserError where it can't be carried out."""
    given = {**study.analysis, **(changes or {})}
    unknown = sorted(set(given) - {field.name for field in fields(Plan)})
    if unknown:
        known = ", ".join(field.name for field in fields(Plan))
        raise UserError(f"[analysis] has keys that mean nothing here: {', '.join(unknown)}. Known: {known}.")
    _check_types(given)
    metric = given.get("primary_metric") or METRICS[study.task][0]
    values: dict[str, Any] = {
        "average": "binary" if _positive(study) is not None else "macro",
        **given,
        "primary_metric": metric,
        "primary_criterion": given.get("primary_criterion") or _criterion(study, metric),
        "arms": tuple(given.get("arms") or ()),
        "contrasts": tuple((first, second) for first, second in given.get("contrasts") or ()),
    }
    result = Plan(**values)
    _check(study, result)
    return result


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_names(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(isinstance(name, str) and name for name in value)


def _is_pairs(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(_is_names(pair) and len(pair) == 2 for pair in value)


TYPES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "primary_metric": (_is_text, "text"),
    "primary_criterion": (_is_text, "text"),
    "arms": (_is_names, 'a list of model names, such as ["base", "sft"]'),
    "contrasts": (_is_pairs, 'a list of pairs of model names, such as [["base", "sft"]]'),
    "average": (_is_text, "text"),
    "family": (_is_text, "text"),
    "margin": (_is_number, "a number"),
    "partly_counts": (lambda value: isinstance(value, bool), "true or false, without quotes"),
    "unparsed_counts": (_is_text, "text"),
    "overlap_rule": (_is_text, "text"),
    "confidence": (_is_number, "a number, such as 0.95"),
    "n_resamples": (_is_count, "a whole number, such as 10000"),
    "seed": (_is_count, "a whole number from 0 on"),
}
EMPTY_MEANS_DEFAULT = ("primary_metric", "primary_criterion", "arms", "contrasts", "margin")


def _check_types(given: Mapping[str, Any]) -> None:
    """A plan can be locked once only, so that what it holds must be what the analysis can use."""
    problems = []
    for name, value in given.items():
        fits, wanted = TYPES[name]
        if not fits(value) and not (value is None and name in EMPTY_MEANS_DEFAULT):
            problems.append(f"{name} is {json.dumps(value, default=str)}; it must be {wanted}.")
    if problems:
        raise UserError("The analysis plan can't be carried out as it stands.", problems)


def _positive(study: Study) -> Any:
    return study.label_fields[0].get("positive") if len(study.label_fields) == 1 else None


def _criterion(study: Study, metric: str) -> str:
    """The first criterion for Likert; every label field for F1 and accuracy."""
    return str(study.criteria[0]["name"]) if metric == "mean_likert" and study.criteria else ""


def criteria_of(study: Study, metric: str) -> list[str]:
    """The names a metric is reported by: criteria, label fields, or one empty name."""
    if metric == "mean_likert":
        return [str(criterion["name"]) for criterion in study.criteria]
    if metric in ("f1", "accuracy", "weighted_kappa") and study.task != Study.Task.REASONING:
        return [str(field["name"]) for field in study.label_fields]
    return [""]


def _check(study: Study, result: Plan) -> None:
    allowed = METRICS[study.task]
    problems = []
    if result.primary_metric not in allowed:
        problems.append(f"primary_metric is “{result.primary_metric}”; for {study.task} it is {' or '.join(allowed)}.")
    elif result.primary_criterion and result.primary_criterion not in criteria_of(study, result.primary_metric):
        known = ", ".join(name for name in criteria_of(study, result.primary_metric) if name) or "none"
        problems.append(f"primary_criterion is “{result.primary_criterion}”; this study has: {known}.")
    if len(set(result.arms)) != len(result.arms):
        problems.append("arms names a model twice.")
    for first, second in result.contrasts:
        strangers = {first, second} - set(result.arms) if result.arms else set()
        if first == second or strangers:
            problems.append(
                f"contrast {second} − {first}: {'one arm twice' if first == second else 'not among the arms'}."
            )
    for name, value, choices in (
        ("average", result.average, AVERAGES),
        ("family", result.family, ("contrasts",)),
        ("unparsed_counts", result.unparsed_counts, ("wrong",)),
        ("overlap_rule", result.overlap_rule, ("majority",)),
    ):
        if value not in choices:
            problems.append(f"{name} is “{value}”; it can be {' or '.join(choices)}.")
    if result.average == "binary" and _positive(study) is None and result.primary_metric == "f1":
        problems.append("average is binary, but the label field names no positive label.")
    if result.margin is not None and not result.margin > 0:
        problems.append("margin must be above 0.")
    if not 0.5 < result.confidence < 1 or not 100 <= result.n_resamples <= MOST_RESAMPLES:
        problems.append(f"confidence must lie between 0.5 and 1, and n_resamples between 100 and {MOST_RESAMPLES:,}.")
    if problems:
        raise UserError("The analysis plan can't be carried out as it stands.", problems)


@transaction.atomic
def lock(study: Study, actor: User | None = None, *, changes: Mapping[str, Any] | None = None) -> Study:
    """Write the whole plan, defaults included, with its hash; from then on it can't be changed.

    Locking a locked plan changes nothing. Raises UserError when ``changes`` would alter a locked plan, or when the
    plan names no arms: contrasts decided after the results are not planned.
    """
    study.refresh_from_db()
    if study.analysis_locked_at:
        if changes and plan(study, changes) != plan(study):
            raise UserError(
                f"The analysis plan was locked on {study.analysis_locked_at:%-d %B %Y} and can't be changed. "
                "What is not in it is reported as exploratory."
            )
        return study
    final = plan(study, changes)
    if not final.arms:
        raise UserError(
            "The analysis plan names no arms. Say which models are compared, in order (base, SFT, DPO), then lock it."
        )
    if final.margin is not None and final.primary_metric not in MARGIN_METRICS:
        raise UserError(
            f"The plan declares a margin of {final.margin:g}, but there is no equivalence test for "
            f"{final.primary_title}, its primary metric. Leave the margin out, or choose another primary metric."
        )
    Study.objects.filter(pk=study.pk, analysis_locked_at__isnull=True).update(
        analysis=final.to_dict(), analysis_sha256=final.sha256, analysis_locked_at=timezone.now()
    )
    study.refresh_from_db()
    audit(actor, "lock_analysis", study, sha256=study.analysis_sha256)
    return study


def unchanged_since_lock(study: Study) -> bool:
    """Whether the plan still has the hash it was locked with."""
    return hashlib.sha256(canonical(study.analysis)).hexdigest() == study.analysis_sha256


def require_lock(study: Study) -> None:
    """Raises UserError that says how to lock."""
    if study.analysis_locked_at is None:
        raise UserError(
            "The analysis plan is not locked yet, and results may only be seen after it is. Lock it on the study's "
            f"Results page, or with `manage.py lock_analysis {study.slug} --arms BASE,SFT,DPO`."
        )


def contrasts_among(decided: Plan, arms: Sequence[str]) -> list[tuple[Pair, bool]]:
    """Every pair of ``arms`` once, with whether it was planned: the planned ones first, in the plan's direction."""
    planned = [pair for pair in decided.planned_contrasts if set(pair) <= set(arms)]
    others = [
        (first, second)
        for i, second in enumerate(arms)
        for first in arms[:i]
        if (first, second) not in planned and (second, first) not in planned
    ]
    return [(pair, True) for pair in planned] + [(pair, False) for pair in others]
