"""Beyond one coefficient: which annotator it hangs on, who is severe, whether they repeat themselves, and whether one
alpha differs from another.

All intervals resample items (or clusters), never annotators: inference is conditional on these annotators.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats
from scipy.sparse.csgraph import connected_components

from stats.agreement import NO_VARIATION, krippendorff_alpha, percent_agreement
from stats.coincidence import LEVELS, Statistic, contributions, patterns
from stats.intake import (
    FloatArray,
    IntArray,
    check_confidence,
    cluster_codes,
    dropped,
    floats,
    is_missing,
    kept,
    rating_codes,
    same_length,
)
from stats.paired import mean_difference, proportion
from stats.resampling import bootstrap, bootstrap_method, few_note, percentile, point, pool
from stats.results import NAN, Estimate, TestResult, join_notes

Clusters = Sequence[Any] | npt.NDArray[Any] | None


def alpha_without_each(
    ratings: npt.ArrayLike,
    level: str = "ordinal",
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Estimate]:
    """Krippendorff's alpha with one annotator left out, for each column of ratings (n_items, n_annotators) in turn.

    An annotator without whom alpha is much higher judges by another rule than the rest; one without whom it is much
    lower carries the agreement. Two annotators: nothing to compare remains, nan.

    >>> ratings = [[1, 1, 3], [2, 2, 1], [3, 3, 2], [4, 4, 1]]
    >>> [round(estimate.value, 2) for estimate in alpha_without_each(ratings, n_resamples=50)]
    [-0.49, -0.49, 1.0]
    """
    table = np.asarray(ratings, dtype=object)
    if table.ndim != 2:
        raise ValueError(f"ratings must have the shape (n_items, n_annotators), not {table.shape}")
    columns = range(table.shape[1])
    how: dict[str, Any] = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    if len(columns) < 3:
        name = f"Krippendorff's alpha, {level}"
        return [Estimate.undefined(name, "one annotator left: agreement needs two") for _ in columns]
    return [krippendorff_alpha(np.delete(table, i, axis=1), level, clusters, **how) for i in columns]


def compare_alphas(
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    level: str = "ordinal",
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Alpha of `second` minus alpha of `first`, both (n_items, …) on the same items: two criteria, arms or panels.

    Range -2 to 2. Items (clusters) are drawn once for both, so that what they share cancels. P is two-sided, from the
    same bootstrap: twice the tail beyond 0, by the t correction of the interval, so that P < 0.05 and an interval
    without 0 say the same. An item needs two judgements in one of the two. Undefined where one alpha is.

    Source: McKenzie et al. 1996, J Psychiatr Res 30:483 (for kappas).

    >>> items = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    >>> compare_alphas([[i, 6 - i] for i in items], [[i, i] for i in items], n_resamples=200).effect > 1
    True
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    check_confidence(confidence)
    name = f"difference of Krippendorff's alphas, {level}"
    rows_a, alpha_a, values_a = _alpha_rows(first, level)
    rows_b, alpha_b, values_b = _alpha_rows(second, level)
    n_items = same_length(first=values_a, second=values_b)
    used = values_a | values_b
    groups = kept(cluster_codes(clusters, n_items), used)
    note = dropped(int((~used).sum()), "fewer than two judgements")
    n = int(used.sum())
    if rows_a is None or rows_b is None:
        return TestResult.undefined(name, join_notes("no case has two judgements in one of the two", note), n)
    rows = sparse.hstack([rows_a, rows_b], format="csr")[used]
    width = rows_a.shape[1]

    def difference(sums: FloatArray) -> FloatArray:
        return np.asarray(alpha_b(sums[:, width:]) - alpha_a(sums[:, :width]))

    effect = point(rows, difference)
    if np.isnan(effect):
        return TestResult.undefined(name, join_notes(f"in one of the two, {NO_VARIATION}", note), n)
    units = pool(rows.toarray() if rows.shape[0] * rows.shape[1] < 4_000_000 else rows, groups)
    replicates = bootstrap(units, difference, n_resamples, seed)
    low, high, why = percentile(replicates, confidence, units.n)
    p = _tail_p(replicates, units.n)
    method = f"{name}; {bootstrap_method(groups, n_resamples)}"
    return TestResult(effect, p, effect, low, high, n, method, join_notes(note, why, few_note(units.n, groups)))


def _alpha_rows(ratings: npt.ArrayLike, level: str) -> tuple[Any, Statistic, npt.NDArray[np.bool_]]:
    """Sparse rows (n_items, k), zero for items that cannot disagree; alpha of their sums; which items can."""
    codes, categories = rating_codes(ratings, numeric=level != "nominal")
    pattern, owner, used = patterns(codes)
    pairable = np.zeros(len(codes), dtype=np.bool_)
    pairable[used] = True
    if len(used) == 0:
        return None, lambda sums: np.full(len(sums), NAN), pairable
    rows, alpha = contributions(pattern, categories, level)
    place = sparse.csr_array((np.ones(len(used)), (used, owner)), shape=(len(codes), len(pattern)))
    return place @ rows, alpha, pairable


def _tail_p(replicates: FloatArray, n_units: int) -> float:
    """The level at which the expanded percentile interval just reaches 0: the inverse of `percentile`."""
    defined = replicates[np.isfinite(replicates)]
    if n_units < 2 or len(defined) < 2:
        return NAN
    beyond = min(int((defined <= 0).sum()), int((defined >= 0).sum()))
    z = stats.norm.ppf((1 + beyond) / (2 + len(defined))) * np.sqrt((n_units - 1) / n_units)
    return float(min(1.0, 2 * stats.t.cdf(z, n_units - 1)))


def severity(
    ratings: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> list[Estimate]:
    """How much higher (milder) or lower (more severe) each annotator rates than the mean of them, on the same items.

    Least squares of rating = item + annotator, effects of the annotators adding up to 0, in units of the scale, so
    that who got the harder items is not called severe. Items judged once tell nothing and are left out. Undefined
    where no chain of shared items connects the annotators. The interval refits every resample.

    >>> [round(estimate.value, 2) for estimate in severity([[3, 4, None], [2, 3, 2], [5, None, 5]], n_resamples=50)]
    [-0.33, 0.67, -0.33]
    """
    check_confidence(confidence)
    values = floats(ratings, "ratings", ndim=2)
    judged = (~np.isnan(values)).astype(np.float64)
    used = judged.sum(axis=1) >= 2
    note = dropped(int((~used).sum()), "fewer than two judgements")
    groups = kept(cluster_codes(clusters, len(values)), used)
    values, judged, k, name = values[used], judged[used], values.shape[1], "severity, items held fixed"
    if len(values) == 0:
        return [Estimate.undefined(name, join_notes("no case has two judgements", note)) for _ in range(k)]
    if connected_components(sparse.csr_array(judged.T @ judged), directed=False)[0] > 1:
        why = "no chain of shared cases connects all annotators"
        return [Estimate.undefined(name, join_notes(why, note), len(values)) for _ in range(k)]

    # Per item: D - 1 1' / m over its judges, and their deviations from the item's mean.
    m = judged.sum(axis=1)
    normal = -(judged[:, :, None] * judged[:, None, :]) / m[:, None, None]
    normal[:, np.arange(k), np.arange(k)] += judged
    away = np.where(judged > 0, values - (np.where(judged > 0, values, 0.0).sum(axis=1) / m)[:, None], 0.0)
    rows = np.hstack([normal.reshape(len(values), k * k), away])

    def effects(sums: FloatArray) -> FloatArray:
        left = sums[:, : k * k].reshape(-1, k, k)
        lost = np.linalg.matrix_rank(left, tol=1e-9, hermitian=True) < k - 1
        left = np.where(lost[:, None, None], np.eye(k), left + 1.0)  # + 1: the effects add up to 0
        solved = np.linalg.solve(left, sums[:, k * k :, None])[:, :, 0]
        return np.where(lost[:, None], NAN, solved)

    point_values = effects(rows.sum(axis=0)[None, :])[0]
    units = pool(rows, groups)
    replicates = bootstrap(units, effects, n_resamples, seed)
    method, few = f"{name}; {bootstrap_method(groups, n_resamples)}", few_note(units.n, groups)
    made = []
    for i in range(k):
        low, high, why = percentile(replicates[:, i], confidence, units.n)
        made.append(Estimate(float(point_values[i]), low, high, len(values), method, join_notes(note, why, few)))
    return made


@dataclass(frozen=True)
class Repeatability:
    """Over all pairs, but `each`: exact, by annotator. `shift`: mean of the second answers minus that of the first."""

    exact: Estimate
    within_one: Estimate
    alpha: Estimate
    shift: TestResult
    each: dict[Hashable, Estimate]

    def to_dict(self) -> dict[str, Any]:
        named = {name: getattr(self, name).to_dict() for name in ("exact", "within_one", "alpha", "shift")}
        return {**named, "each": {str(who): estimate.to_dict() for who, estimate in self.each.items()}}


def repeatability(
    original: npt.ArrayLike,
    repeat: npt.ArrayLike,
    annotators: Sequence[Hashable] | npt.NDArray[Any],
    level: str = "ordinal",
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Repeatability:
    """Do annotators judge the same thing alike twice? One row (n,) a hidden repeat: both answers, and whose they are.

    exact and within_one: shares of the pairs; alpha: chance-corrected, pairs of one annotator; shift: does the second
    answer lie higher (fatigue, learning). For the nominal level within_one and shift are undefined. clusters: the case,
    where several annotators repeated it, or the patient. It bounds what two annotators can agree: more cannot be asked
    of them than they agree with themselves.

    >>> result = repeatability([1, 2, 3, 4], [1, 2, 4, 4], ["anna", "anna", "ben", "ben"], n_resamples=50)
    >>> result.exact.value, result.each["ben"].value, result.shift.effect
    (0.75, 0.5, 0.25)
    """
    pairs = np.column_stack([np.asarray(original, dtype=object), np.asarray(repeat, dtype=object)])
    same_length(pairs=pairs, annotators=annotators)
    how: dict[str, Any] = {"n_resamples": n_resamples, "confidence": confidence, "seed": seed}
    alike = np.array([NAN if is_missing(a) or is_missing(b) else float(a == b) for a, b in pairs])
    exact = proportion(alike, clusters, **how)
    alpha = krippendorff_alpha(pairs, level, clusters, **how)
    if level == "nominal":
        why = "categories without an order"
        within, shift = Estimate.undefined("within one", why), TestResult.undefined("shift", why)
    else:
        within = percent_agreement(pairs, 1, clusters, **how)
        first, second = floats(pairs, "ratings", ndim=2).T
        shift = mean_difference(first, second, clusters, **how)
    who = list(annotators)
    groups: IntArray | None = cluster_codes(clusters, len(pairs))
    each = {}
    for name in dict.fromkeys(who):
        own = np.array([other == name for other in who])
        each[name] = proportion(alike[own], None if groups is None else groups[own], **how)
    return Repeatability(exact, within, alpha, shift, each)
