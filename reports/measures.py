"""One metric over all arms of an evaluation: an estimate an arm, and a paired comparison of any two."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from annotations.models import Campaign, Study
from reports import scoring
from reports.analysis import METRIC_TITLES, Plan
from reports.scoring import Answer, FloatArray, Outputs, Predictions, Preferences, Scores
from reports.votes import Votes
from stats import agreement, classification, paired, preference
from stats.results import Estimate, TestResult


@dataclass(frozen=True)
class Comparison:
    """Second against first. ``null`` is the effect that means no difference."""

    test: TestResult
    effect_method: str = ""
    null: float = 0.0
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Measure:
    """``case_scores``: one number a case for each arm, where the metric has one (F1 has none)."""

    metric: str
    criterion: str
    title: str
    arms: dict[str, Estimate]
    compare: Callable[[str, str], Comparison] | None
    left_out: dict[str, Counter[str]]
    case_scores: dict[str, FloatArray] = field(default_factory=dict)
    best: float | None = None  # the highest value a case can score: for the ceiling warning
    sole: bool = False  # the only criterion (or label field) of its metric, so that the metric's name says enough
    judged_in: str = ""  # the kind of campaign whose judgements were scored; "" where outputs were scored by program

    @property
    def key(self) -> str:
        return self.metric if self.sole or not self.criterion else f"{self.metric}.{self.criterion}"


def measures(found: Outputs, counted: Votes, decided: Plan) -> list[Measure]:
    """Every measure that the study's task has, and for which there is anything to measure."""
    study = found.evaluation.study
    if study.task in (Study.Task.CLASSIFICATION, Study.Task.TRIAGE):
        return [m for label_field in study.label_fields for m in _label_measures(found, label_field, decided)]
    if study.task == Study.Task.REASONING:
        return [_reasoning_accuracy(found, counted.of(Campaign.Kind.CORRECTNESS), decided)]
    rated = counted.of(Campaign.Kind.LIKERT)
    made = [_likert(found, rated, criterion, decided) for criterion in study.criteria] if rated else []
    wins = _win_rate(found, counted.of(Campaign.Kind.COMPARISON), decided)
    return [*made, wins] if wins else made


def options(decided: Plan) -> dict[str, Any]:
    return {"n_resamples": decided.n_resamples, "confidence": decided.confidence, "seed": decided.seed}


def _title(metric: str, criterion: dict[str, Any] | None) -> str:
    return f"{METRIC_TITLES[metric]}, {criterion['title'].lower()}" if criterion else METRIC_TITLES[metric]


# Labels: F1, accuracy and, for an ordered field, weighted kappa


def _label_measures(found: Outputs, label_field: dict[str, Any], decided: Plan) -> list[Measure]:
    read = scoring.predictions(found, label_field)
    left_out = {arm: Counter({scoring.NO_OUTPUT: int((~read.present[arm]).sum())}) for arm in found.arms}
    for counts in left_out.values():
        counts["no reference label"] = sum(value is None for value in read.gold)
    only = len(found.evaluation.study.label_fields) == 1
    made = [_f1(found, read, label_field, decided, left_out), _label_accuracy(found, read, label_field, decided)]
    if label_field.get("level") == "ordinal":
        made.append(_weighted_kappa(found, read, label_field, decided, left_out))
    titles = {measure.metric: _title(measure.metric, None if only else label_field) for measure in made}
    return [replace(measure, title=titles[measure.metric], sole=only) for measure in made]


def _kept(found: Outputs, read: Predictions, *arms: str) -> tuple[list[Any], list[list[Any]], list[str] | None]:
    """Gold, each arm's predictions and the clusters, of the cases for which all ``arms`` have an output."""
    keep = np.flatnonzero(np.logical_and.reduce([read.present[arm] for arm in arms]))
    clusters = found.clusters
    return (
        [read.gold[i] for i in keep],
        [[read.predicted[arm][i] for i in keep] for arm in arms],
        [clusters[i] for i in keep] if clusters else None,
    )


def _f1(
    found: Outputs, read: Predictions, label_field: dict[str, Any], decided: Plan, left_out: dict[str, Counter[str]]
) -> Measure:
    positive = label_field.get("positive")
    average = decided.average if positive is not None or decided.average != "binary" else "macro"
    how = {"average": average, "positive": positive if average == "binary" else None, **options(decided)}

    def estimate(arm: str) -> Estimate:
        gold, (predicted,), clusters = _kept(found, read, arm)
        return classification.f1(gold, predicted, read.labels, clusters=clusters, **how)

    def compare(first: str, second: str) -> Comparison:
        gold, (a, b), clusters = _kept(found, read, first, second)
        return Comparison(classification.paired_f1_difference(gold, a, b, read.labels, clusters=clusters, **how))

    return Measure("f1", label_field["name"], "", {arm: estimate(arm) for arm in found.arms}, compare, left_out)


def _label_accuracy(found: Outputs, read: Predictions, label_field: dict[str, Any], decided: Plan) -> Measure:
    scores = Scores(values={}, left_out={})
    for arm in found.arms:
        correct = [
            float(a == b) if here and a is not None else np.nan
            for a, b, here in zip(read.gold, read.predicted[arm], read.present[arm], strict=True)
        ]
        scores.values[arm] = np.array(correct, dtype=np.float64)
        absent, unlabelled = int((~read.present[arm]).sum()), sum(value is None for value in read.gold)
        scores.left_out[arm] = Counter({scoring.NO_OUTPUT: absent, "no reference label": unlabelled})
        if unparsed := read.unparsed(arm):
            scores.notes[arm] = f"{unparsed} unparsed, counted as wrong"
    return _accuracy(found, scores, decided, label_field["name"])


def _weighted_kappa(
    found: Outputs, read: Predictions, label_field: dict[str, Any], decided: Plan, left_out: dict[str, Counter[str]]
) -> Measure:
    """An unparsed answer is wrong, and as wrong as can be: it takes the label farthest from the reference."""
    code = {label: float(i) for i, label in enumerate(read.labels)}
    last = len(read.labels) - 1

    def coded(gold: Any, predicted: Any) -> tuple[float, float]:
        if gold is None:
            return np.nan, np.nan
        farthest = 0.0 if 2 * code[gold] > last else float(last)
        return code[gold], farthest if predicted is None else code[predicted]

    def estimate(arm: str) -> Estimate:
        gold, (predicted,), clusters = _kept(found, read, arm)
        pairs = np.array([coded(*pair) for pair in zip(gold, predicted, strict=True)], dtype=np.float64).reshape(-1, 2)
        how: dict[str, Any] = {"weights": "quadratic", "clusters": clusters, **options(decided)}
        unparsed = read.unparsed(arm)
        note = f"{unparsed} unparsed, counted as the label farthest from the reference" if unparsed else ""
        return _with_note(agreement.cohen_kappa(pairs[:, 0], pairs[:, 1], **how), note)

    arms = {arm: estimate(arm) for arm in found.arms}
    return Measure("weighted_kappa", label_field["name"], "", arms, None, left_out)


# Correct or not


def _reasoning_accuracy(found: Outputs, judged: Sequence[Answer], decided: Plan) -> Measure:
    if judged:
        made = _accuracy(found, scoring.correctness(found, judged, decided), decided)
        return replace(made, judged_in=Campaign.Kind.CORRECTNESS)
    return _accuracy(found, scoring.matched_answers(found), decided)


def _with_note(estimate: Estimate, note: str) -> Estimate:
    notes = "; ".join(part for part in (estimate.note, note) if part)
    return Estimate(estimate.value, estimate.low, estimate.high, estimate.n, estimate.method, notes)


def _accuracy(found: Outputs, scores: Scores, decided: Plan, criterion: str = "") -> Measure:
    clusters = found.clusters

    def estimate(arm: str) -> Estimate:
        plain = paired.proportion(scores.values[arm], clusters, **options(decided))
        return _with_note(plain, scores.notes.get(arm, ""))

    def compare(first: str, second: str) -> Comparison:
        a, b = scores.values[first], scores.values[second]
        extra = _equivalence(a, b, found, decided, "accuracy", criterion)
        return Comparison(paired.mcnemar(a, b, clusters, **options(decided)), extra=extra)

    arms = {arm: estimate(arm) for arm in found.arms}
    title = METRIC_TITLES["accuracy"]
    return Measure("accuracy", criterion, title, arms, compare, scores.left_out, scores.values, 1.0)


def _equivalence(
    a: FloatArray, b: FloatArray, found: Outputs, decided: Plan, metric: str, criterion: str
) -> dict[str, Any]:
    """The margin was declared for the primary measure, and is in its unit."""
    if decided.margin is None or not decided.is_primary(metric, criterion):
        return {}
    result = paired.equivalence(a, b, decided.margin, found.clusters, **options(decided))
    return {"equivalence": {"margin": decided.margin, **result.to_dict()}}


# Likert and preference


def _likert(found: Outputs, rated: Sequence[Answer], criterion: dict[str, Any], decided: Plan) -> Measure:
    scores, clusters = scoring.likert(found, rated, criterion["name"]), found.clusters

    def compare(first: str, second: str) -> Comparison:
        a, b = scores.values[first], scores.values[second]
        ranks = paired.wilcoxon_signed_rank(a, b, clusters, **options(decided))
        means = paired.mean_difference(a, b, clusters, **options(decided))
        method, _, biserial = ranks.method.partition("; effect ")
        # The P value is the signed-rank test's, the effect and its interval the mean difference's, and each says its
        # own; that the t test could not be made concerns nobody, as its P is not shown.
        about_p = [note for note in ranks.note.split("; ") if "interval" not in note and "resample" not in note]
        about_mean = [note for note in means.note.split("; ") if note != "no test"]
        note = "; ".join(dict.fromkeys(note for note in [*about_p, *about_mean] if note))
        test = TestResult(ranks.statistic, ranks.p_value, means.effect, means.low, means.high, means.n, method, note)
        rank_biserial: dict[str, Any] = {"value": ranks.effect, "low": ranks.low, "high": ranks.high}
        rank_biserial |= {"method": biserial, "note": ranks.note}
        equivalence = _equivalence(a, b, found, decided, "mean_likert", criterion["name"])
        interval = "t interval" if clusters is None else "cluster bootstrap"
        extra = {"rank_biserial": rank_biserial, **equivalence}
        return Comparison(test, f"mean of the cases' differences; {interval}", extra=extra)

    arms = {arm: paired.mean(scores.values[arm], clusters, **options(decided)) for arm in found.arms}
    title, best = _title("mean_likert", criterion), float(len(criterion["anchors"]))
    sole = len(found.evaluation.study.criteria) == 1
    made = Measure("mean_likert", criterion["name"], title, arms, compare, scores.left_out, scores.values, best, sole)
    return replace(made, judged_in=Campaign.Kind.LIKERT)


def _win_rate(found: Outputs, compared: Sequence[Answer], decided: Plan) -> Measure | None:
    """Each arm against all others it was compared with; a contrast is about its own pair."""
    pairs = [(first, second) for i, second in enumerate(found.arms) for first in found.arms[:i]]
    against: dict[tuple[str, str], Preferences] = {}
    for first, second in pairs:
        result = scoring.preferences(found, compared, first, second)
        if result.counts or result.left_out[scoring.DEFECTIVE]:
            against[second, first] = result
            against[first, second] = scoring.preferences(found, compared, second, first)
    if not against:
        return None

    def estimate(arm: str) -> Estimate:
        own = {other: rows for (name, other), rows in against.items() if name == arm}
        means = _case_means([rows.case_means for rows in own.values()], len(found.cases))
        result = preference.win_rate(means, found.clusters, **options(decided))
        return _with_note(result, f"against {', '.join(own)}" if own else "compared with no arm")

    def compare(first: str, second: str) -> Comparison:
        rows = against.get((second, first)) or scoring.preferences(found, compared, first, second)
        test = preference.sign_flip(rows.case_means, found.clusters, **options(decided))
        extra = {"counts": dict(sorted(rows.counts.items())), "n_cases": rows.n_cases, "left_out": dict(rows.left_out)}
        return Comparison(test, "win rate of the second arm: mean over cases, ties one half", 0.5, extra)

    arms = {arm: estimate(arm) for arm in found.arms}
    made = Measure("win_rate", "", METRIC_TITLES["win_rate"], arms, compare, {arm: Counter() for arm in found.arms})
    return replace(made, judged_in=Campaign.Kind.COMPARISON)


def _case_means(against: Sequence[FloatArray], n_cases: int) -> FloatArray:
    """One number a case: the mean over the arms it was compared with, nan where it was compared with none."""
    table = np.array(against, dtype=np.float64).reshape(-1, n_cases)
    compared = np.isfinite(table)
    n = compared.sum(axis=0)
    return np.where(n > 0, np.where(compared, table, 0.0).sum(axis=0) / np.maximum(n, 1), np.nan)
