"""Two or more arms on the same cases: proportions, means, signed ranks. Differences are second minus first.

The row is the case: several judgements of one case and arm are averaged before they come here. Without clusters the
textbook test or interval is used, which takes rows as independent; with clusters (usually the patient) the interval
is a cluster bootstrap and the test flips signs cluster by cluster, since tests that ignore clusters reject far too
often. A row with a missing value is left out and counted in the note.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stats.discordant import tango_equivalence
from stats.intake import (
    FloatArray,
    IntArray,
    among,
    check_confidence,
    cluster_codes,
    dropped,
    floats,
    kept,
    same_length,
)
from stats.many import cochran_q, friedman
from stats.resampling import bootstrap_interval, bootstrap_method, by_cluster, few_note, mean_sign_flip
from stats.results import NAN, Estimate, TestResult, join_notes
from stats.signed_rank import wilcoxon_signed_rank

__all__ = [
    "clopper_pearson",
    "cochran_q",
    "equivalence",
    "friedman",
    "mcnemar",
    "mean",
    "mean_difference",
    "proportion",
    "proportion_difference",
    "wilcoxon_signed_rank",
    "wilson",
]

Clusters = Sequence[Any] | npt.NDArray[Any] | None
NO_PAIRS = "no case has both values"
EXACT_BELOW = 25  # discordant pairs


def wilson(successes: float, n: int, confidence: float = 0.95) -> Estimate:
    """A proportion with Wilson's score interval, which lies in [0, 1] and never has width 0. nan when n is 0.

    Source: Wilson 1927, J Am Stat Assoc 22:209; Newcombe 1998, Stat Med 17:857, method 3.

    >>> estimate = wilson(81, 263)
    >>> round(estimate.low, 4), round(estimate.high, 4)
    (0.2553, 0.3662)
    """
    check_confidence(confidence)
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise ValueError(f"successes must lie between 0 and n: {successes} of {n}")
    if n == 0:
        return Estimate.undefined("proportion", "no cases")
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    p, spread = successes / n, z**2 / n
    centre, half = p + spread / 2, z * np.sqrt(p * (1 - p) / n + spread / (4 * n))
    low, high = max(0.0, (centre - half) / (1 + spread)), min(1.0, (centre + half) / (1 + spread))
    low, high = (0.0 if successes == 0 else float(low)), (1.0 if successes == n else float(high))
    return Estimate(p, low, high, n, "proportion; Wilson interval")


def clopper_pearson(successes: int, n: int, confidence: float = 0.95) -> Estimate:
    """A proportion with its exact interval: every p that the binomial test of level 1 - confidence doesn't reject.

    Its ends are quantiles of beta distributions: low of Beta(k, n - k + 1) at α/2, high of Beta(k + 1, n - k) at
    1 - α/2, with 0 and 1 where k is 0 or n. It covers at least as often as it says, also where events are rare, and is
    wider than Wilson's for it. Rows are taken as independent. nan when n is 0.
    Source: Clopper and Pearson 1934, Biometrika 26:404; Newcombe 1998, Stat Med 17:857, method 5.

    >>> estimate = clopper_pearson(0, 20)
    >>> estimate.low, round(estimate.high, 4)
    (0.0, 0.1684)
    """
    check_confidence(confidence)
    if n < 0 or not 0 <= successes <= max(n, 0):
        raise ValueError(f"successes must lie between 0 and n: {successes} of {n}")
    if n == 0:
        return Estimate.undefined("proportion", "no cases")
    tail = (1 - confidence) / 2
    low = float(stats.beta.ppf(tail, successes, n - successes + 1)) if successes else 0.0
    high = float(stats.beta.ppf(1 - tail, successes + 1, n - successes)) if successes < n else 1.0
    return Estimate(successes / n, low, high, n, "proportion; exact (Clopper-Pearson) interval")


def _mean_rows(values: FloatArray) -> FloatArray:
    return np.column_stack([values, np.ones(len(values))])


def _mean_of(sums: FloatArray) -> FloatArray:
    return np.asarray(sums[:, 0] / sums[:, 1])


def proportion(
    correct: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Share of ones among correct (n,), 0, 1 or missing: Wilson interval, with clusters on the effective n.

    Effective n: the cases over the design effect (never under 1), which is the jackknife variance over clusters divided
    by p (1 - p) / n; with the t quantile of clusters - 1. Where every value is the same there is no spread to see, and
    the clusters are taken as the n, which is wide but honest. Nothing is resampled: seed and n_resamples are not used.

    Source: A note on Wilson coverage intervals for proportions estimated from complex samples, Survey Methodology 2017,
    43(2).

    >>> proportion([1, 0, 1, 1]).value
    0.75
    """
    values = among(correct, (0.0, 1.0), "correct")
    groups = cluster_codes(clusters, len(values))
    keep = ~np.isnan(values)
    values, groups, note = values[keep], kept(groups, keep), dropped(int((~keep).sum()), "missing")
    n, successes = len(values), float(values.sum())
    if n == 0:
        return Estimate.undefined("proportion", join_notes("no cases", note))
    if groups is None:
        plain = wilson(successes, n, confidence)
        return Estimate(plain.value, plain.low, plain.high, n, plain.method, note)
    if successes in (0, n):
        n_clusters = int(groups.max()) + 1
        bounds = wilson(n_clusters if successes else 0, n_clusters, confidence)
        why = "no variation: the interval takes each cluster as one case"
        return Estimate(successes / n, bounds.low, bounds.high, n, bounds.method, join_notes(note, why))
    low, high, why = _clustered_wilson(values, groups, confidence)
    return Estimate(
        successes / n, low, high, n, "proportion; Wilson interval, effective n by cluster", join_notes(note, why)
    )


def _clustered_wilson(values: FloatArray, groups: IntArray, confidence: float) -> tuple[float, float, str]:
    """Low, high and note; values neither all 0 nor all 1."""
    check_confidence(confidence)
    sums = np.asarray(by_cluster(_mean_rows(values), groups))
    n_clusters, n, p = len(sums), len(values), float(values.mean())
    if n_clusters < 2:
        return NAN, NAN, "one cluster: no interval"
    without = _mean_of(sums.sum(axis=0) - sums)
    variance = (n_clusters - 1) / n_clusters * ((without - without.mean()) ** 2).sum()
    effective = n / max(1.0, variance * n / (p * (1 - p)))
    t = float(stats.t.ppf(0.5 + confidence / 2, n_clusters - 1))
    spread = t**2 / effective
    centre, half = p + spread / 2, t * np.sqrt(p * (1 - p) / effective + spread / (4 * effective))
    few = few_note(n_clusters, groups).replace("bootstrap ", "")
    return float((centre - half) / (1 + spread)), float((centre + half) / (1 + spread)), few


def mean(
    values: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of values (n,): t interval, or cluster bootstrap with clusters. nan without a value.

    Where n is under 25 times the squared skewness (Cochran's rule) the note warns of the t interval.

    >>> round(mean([4, 5, 3, 4]).low, 3)
    2.701
    """
    check_confidence(confidence)
    x = floats(values, "values")
    groups = cluster_codes(clusters, len(x))
    keep = ~np.isnan(x)
    x, groups, note = x[keep], kept(groups, keep), dropped(int((~keep).sum()), "missing")
    if len(x) == 0:
        return Estimate.undefined("mean", join_notes("no values", note))
    low, high, method, why = _mean_interval(x, groups, n_resamples, confidence, seed)
    return Estimate(float(x.mean()), low, high, len(x), f"mean; {method}", join_notes(note, why))


def _mean_interval(
    x: FloatArray, groups: IntArray | None, n_resamples: int, confidence: float, seed: int
) -> tuple[float, float, str, str]:
    """Low, high, method and note for the mean of x, at least one value."""
    if groups is not None and len(x) > 1 and np.ptp(x) == 0:
        return NAN, NAN, bootstrap_method(groups, n_resamples), "no variation: no interval"  # one of width 0 would lie
    if groups is not None:
        low, high, why = bootstrap_interval(_mean_rows(x), _mean_of, groups, n_resamples, confidence, seed)
        return low, high, bootstrap_method(groups, n_resamples), why
    if len(x) < 2:
        return NAN, NAN, "t interval", "one case: no interval"
    if np.ptp(x) == 0:
        return NAN, NAN, "t interval", "no variation: no interval"
    half = float(stats.t.ppf(0.5 + confidence / 2, len(x) - 1) * x.std(ddof=1) / np.sqrt(len(x)))
    skewness = float(stats.skew(x))  # Cochran's rule; Sugden, Smith & Jones 2000, J R Stat Soc B 62:787
    why = f"skewness {skewness:.1f}: the interval may cover too little" if len(x) < 25 * skewness**2 else ""
    return float(x.mean()) - half, float(x.mean()) + half, "t interval", why


def _pairs(
    a: npt.ArrayLike, b: npt.ArrayLike, clusters: Clusters, binary: bool
) -> tuple[FloatArray, FloatArray, IntArray | None, str]:
    """The rows that have both values, their clusters, and a note on the others."""
    first, second = (among(x, (0.0, 1.0), name) if binary else floats(x, name) for x, name in ((a, "a"), (b, "b")))
    groups = cluster_codes(clusters, same_length(a=first, b=second))
    keep = ~(np.isnan(first) | np.isnan(second))
    return first[keep], second[keep], kept(groups, keep), dropped(int((~keep).sum()), "a value is missing")


def mcnemar(
    a_correct: npt.ArrayLike,
    b_correct: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """McNemar's test of two arms' correctness (n,) on the same cases; effect = proportion of b minus that of a.

    With f cases that only a has right and g that only b has right: exact binomial P when f + g < 25 (conservative;
    the mid-P is in the note), else chi-square = (f - g)^2 / (f + g) without continuity correction. `statistic` is the
    smaller of f and g when exact, else chi-square. No discordant pair gives P = 1. Interval: Newcombe's method 10.

    Source: McNemar 1947, Psychometrika 12:153; Fagerland et al. 2013, BMC Med Res Methodol 13:91.

    >>> result = mcnemar([1] * 20 + [0] * 20, [1] * 19 + [0] * 12 + [1] * 9)
    >>> round(result.p_value, 4), round(result.effect, 2)
    (0.0215, 0.2)
    """
    first, second, groups, note = _pairs(a_correct, b_correct, clusters, binary=True)
    n = len(first)
    if n == 0:
        return TestResult.undefined("McNemar's test", join_notes(NO_PAIRS, note))
    interval = _difference_interval(first, second, groups, n_resamples, confidence, seed)
    effect = float((second - first).mean())
    if groups is not None:
        p, method, why = mean_sign_flip(second - first, groups, n_resamples, seed)
        note = join_notes(note, why, interval.note)
        return TestResult(effect, p, effect, interval.low, interval.high, n, f"{method}; {interval.method}", note)

    only_a, only_b = int((first > second).sum()), int((second > first).sum())
    discordant, smaller = only_a + only_b, min(only_a, only_b)
    if discordant < EXACT_BELOW:
        p = min(1.0, 2 * float(stats.binom.cdf(smaller, discordant, 0.5)))
        mid = min(
            1.0, 2 * float(stats.binom.cdf(smaller, discordant, 0.5) - stats.binom.pmf(smaller, discordant, 0.5) / 2)
        )
        statistic, method = float(smaller), f"McNemar's test, exact ({discordant} discordant pairs)"
        note = join_notes(note, f"mid-P = {mid:.4g}" if discordant else "no discordant pair")
    else:
        statistic = (only_b - only_a) ** 2 / discordant
        p = float(stats.chi2.sf(statistic, 1))
        method = f"McNemar's test, chi-square without correction ({discordant} discordant pairs)"
    return TestResult(statistic, p, effect, interval.low, interval.high, n, f"{method}; {interval.method}", note)


def proportion_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Proportion of b minus proportion of a on the same cases (n,): Newcombe's method 10, or cluster bootstrap.

    Method 10 joins the two Wilson intervals with the correlation phi of the pairs (its numerator reduced by n / 2
    where positive). Range -1 to 1; nan without pairs.

    Source: Newcombe 1998, Stat Med 17:2635.

    >>> estimate = proportion_difference([1] * 14 + [0] * 27, [1] * 19 + [0] * 22)
    >>> round(estimate.low, 3), round(estimate.high, 3)
    (0.011, 0.226)
    """
    first, second, groups, note = _pairs(a, b, clusters, binary=True)
    if len(first) == 0:
        return Estimate.undefined("paired difference of proportions", join_notes(NO_PAIRS, note))
    interval = _difference_interval(first, second, groups, n_resamples, confidence, seed)
    value, method = float((second - first).mean()), f"paired difference of proportions; {interval.method}"
    return Estimate(value, interval.low, interval.high, len(first), method, join_notes(note, interval.note))


def _difference_interval(
    first: FloatArray, second: FloatArray, groups: IntArray | None, n_resamples: int, confidence: float, seed: int
) -> Estimate:
    value, n = float((second - first).mean()), len(first)
    if groups is not None:
        low, high, why = bootstrap_interval(_mean_rows(second - first), _mean_of, groups, n_resamples, confidence, seed)
        return Estimate(value, low, high, n, bootstrap_method(groups, n_resamples), why)
    one, two = wilson(float(first.sum()), n, confidence), wilson(float(second.sum()), n, confidence)
    both, neither = float((first * second).sum()), float(((1 - first) * (1 - second)).sum())
    only_a, only_b = float(first.sum()) - both, float(second.sum()) - both
    association = both * neither - only_a * only_b
    if association > 0:
        association = max(association - n / 2, 0.0)
    margins = (both + only_a) * (only_b + neither) * (both + only_b) * (only_a + neither)
    phi = association / np.sqrt(margins) if margins else 0.0
    down_b, up_b, down_a, up_a = two.value - two.low, two.high - two.value, one.value - one.low, one.high - one.value
    below = np.sqrt(max(down_b**2 - 2 * phi * down_b * up_a + up_a**2, 0.0))
    above = np.sqrt(max(up_b**2 - 2 * phi * up_b * down_a + down_a**2, 0.0))
    return Estimate(value, float(value - below), float(value + above), n, "Newcombe's method 10")


def _differences(first: FloatArray, second: FloatArray) -> FloatArray:
    """second - first, without the rounding that turns equal means of judgements into unequal ones."""
    scale = float(np.abs([first, second]).max(initial=0.0)) or 1.0
    return np.asarray(np.round((second - first) / scale, 12) * scale)


def mean_difference(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Mean of b - a over cases (n,): paired t test and interval; with clusters, sign-flip P and cluster bootstrap.

    `statistic` is t (the mean difference with clusters). No variation of the differences gives nan and a note.

    >>> result = mean_difference([3, 4, 2, 5, 3], [4, 4, 3, 5, 5])
    >>> result.effect, round(result.p_value, 3)
    (0.8, 0.099)
    """
    check_confidence(confidence)
    first, second, groups, note = _pairs(a, b, clusters, binary=False)
    d, n = _differences(first, second), len(first)
    if n == 0:
        return TestResult.undefined("mean difference", join_notes(NO_PAIRS, note))
    low, high, interval, why = _mean_interval(d, groups, n_resamples, confidence, seed)
    effect = float(d.mean())
    if groups is not None:
        p, method, floor = mean_sign_flip(d, groups, n_resamples, seed)
        return TestResult(effect, p, effect, low, high, n, f"{method}; {interval}", join_notes(note, why, floor))
    if np.isnan(low):
        return TestResult(NAN, NAN, effect, low, high, n, "paired t test", join_notes(note, why, "no test"))
    test = stats.ttest_1samp(d, 0.0)
    statistic, p = float(test.statistic), float(test.pvalue)
    return TestResult(statistic, p, effect, low, high, n, f"paired t test; {interval}", join_notes(note, why))


def equivalence(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    margin: float,
    clusters: Clusters = None,
    non_inferiority: bool = False,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Is the mean of b - a within ±margin (or, `non_inferiority`, above -margin)? Two one-sided tests.

    P is the larger of the two one-sided P values, at level 1 - confidence each (5 %); the interval has the confidence
    that goes with it (90 %), so P < 0.05 and an interval within the margin say the same. t tests, or with clusters
    sign flips of the differences shifted by the margin, by cluster, and a cluster bootstrap interval. `statistic` is
    the t nearer to 0 (with clusters, the distance of the mean from the nearer margin). Values that are all 0 or 1 get
    Tango's score test instead of t, which rejects too often where arms seldom differ (`discordant.tango_equivalence`).

    Source: Schuirmann 1987, J Pharmacokinet Biopharm 15:657; Lakens 2017, Soc Psychol Personal Sci 8:355.

    >>> a = [1, 2, 3, 4, 5, 6, 7, 8]
    >>> equivalence(a, [1.1, 1.9, 3.1, 3.9, 5.1, 5.9, 7, 8], margin=0.5).p_value < 0.001
    True
    """
    check_confidence(2 * confidence - 1)
    if not margin > 0:
        raise ValueError(f"margin must be positive, not {margin}")
    name = "non-inferiority" if non_inferiority else "equivalence"
    first, second, groups, note = _pairs(a, b, clusters, binary=False)
    d, n = _differences(first, second), len(first)
    if n == 0:
        return TestResult.undefined(name, join_notes(NO_PAIRS, note))
    if groups is None and margin < 1 and bool(np.isin([first, second], (0.0, 1.0)).all()):
        return tango_equivalence(a, b, margin, non_inferiority, confidence)
    low, high, interval, why = _mean_interval(d, groups, n_resamples, 2 * confidence - 1, seed)
    effect, note, interval = float(d.mean()), join_notes(note, why), f"{100 * (2 * confidence - 1):g} % {interval}"
    shifted = [d + margin] if non_inferiority else [d + margin, margin - d]  # each should have a mean above 0
    if groups is not None:
        flips = [mean_sign_flip(x, groups, n_resamples, seed, "greater") for x in shifted]
        p, nearest = max(flip[0] for flip in flips), min(float(x.mean()) for x in shifted)
        method = f"{name} within {margin:g}: {flips[0][1]}, one-sided"
        return TestResult(nearest, p, effect, low, high, n, f"{method}; {interval}", note)
    if np.isnan(low):
        return TestResult(NAN, NAN, effect, low, high, n, f"{name} within {margin:g}", join_notes(note, "no test"))
    tests = [stats.ttest_1samp(x, 0.0, alternative="greater") for x in shifted]
    p, statistic = max(float(t.pvalue) for t in tests), min(float(t.statistic) for t in tests)
    method = f"{name} within {margin:g}: one-sided t tests; {interval}"
    return TestResult(statistic, p, effect, low, high, n, method, note)
