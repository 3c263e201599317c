"""Wilcoxon's signed-rank test with Pratt's zeros, exact under ties, and by cluster."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse, stats

from stats.intake import FloatArray, check_confidence, cluster_codes, dropped, floats, kept, same_length
from stats.resampling import bootstrap_interval, bootstrap_method, mean_sign_flip
from stats.results import NAN, TestResult, join_notes

EXACT_UP_TO = 50  # non-zero differences
FEW_NONZERO = 20  # under so many validate_stats finds intervals of the effect that cover under 90 %


def wilcoxon_signed_rank(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Wilcoxon's signed-rank test of b - a (n,); effect = matched-pairs rank-biserial correlation, -1 to 1.

    Pratt: zero differences are ranked with the others, then their ranks are put aside. With W+ and W- the rank sums
    of positive and negative differences, `statistic` = min(W+, W-) and effect = (W+ - W-) / (W+ + W-), positive when
    b is higher. P: exact up to 50 non-zero differences (ties and zeros included), else scipy's normal approximation
    with ties corrected and no continuity correction; with clusters, signs are flipped by cluster. Only zeros: P = 1,
    effect nan. The interval of the effect is a bootstrap that ranks each resample anew.

    Source: Wilcoxon 1945, Biometrics Bull 1:80; Pratt 1959, J Am Stat Assoc 54:655; Kerby 2014, Compr Psychol 3:1.

    >>> darwin = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
    >>> result = wilcoxon_signed_rank([0] * 15, darwin, n_resamples=100)
    >>> result.statistic, round(result.p_value, 5)
    (24.0, 0.04126)
    """
    check_confidence(confidence)
    first, second = floats(a, "a"), floats(b, "b")
    groups = cluster_codes(clusters, same_length(a=first, b=second))
    keep = ~(np.isnan(first) | np.isnan(second))
    first, second, groups = first[keep], second[keep], kept(groups, keep)
    note, name = dropped(int((~keep).sum()), "a value is missing"), "Wilcoxon signed-rank test, Pratt's zeros"
    n = len(first)
    if n == 0:
        return TestResult.undefined(name, join_notes("no case has both values", note))
    scale = float(np.abs([first, second]).max()) or 1.0
    d = np.round((second - first) / scale, 12)  # means of the same judgements tie again
    zeros = int((d == 0).sum())
    note = join_notes(note, f"{zeros} of {n} differences are zero" if zeros else "")
    if zeros == n:
        return TestResult(0.0, 1.0, NAN, NAN, NAN, n, name, join_notes(note, "nothing to rank"))

    signed = np.sign(d) * stats.rankdata(np.abs(d))
    up, down = float(signed[signed > 0].sum()), float(-signed[signed < 0].sum())
    rows, effect_of = _rank_biserial(d)
    low, high, why = bootstrap_interval(rows, effect_of, groups, n_resamples, confidence, seed)
    if groups is not None:
        p, method, floor = mean_sign_flip(signed, groups, n_resamples, seed)
        why = join_notes(why, floor)
    elif n - zeros <= EXACT_UP_TO:
        p, method = _exact_p(np.abs(signed[signed != 0]), min(up, down)), "exact"
    else:
        method = "normal approximation"
        p = float(stats.wilcoxon(d, zero_method="pratt", correction=False, method="asymptotic").pvalue)
    if n - zeros < FEW_NONZERO:
        why = join_notes(why, f"only {n - zeros} differences are not zero: the interval may cover under 90 %")
    method = f"{name}, {method}; effect rank-biserial, {bootstrap_method(groups, n_resamples)}"
    return TestResult(min(up, down), p, (up - down) / (up + down), low, high, n, method, join_notes(note, why))


def _exact_p(ranks: FloatArray, smaller: float) -> float:
    """2 P(W <= smaller) over all sign patterns of these ranks, by adding one rank at a time to the distribution of W.

    Midranks are multiples of one half, so doubled ranks are whole numbers.
    """
    doubled = np.rint(2 * ranks).astype(np.int64)
    chance = np.zeros(int(doubled.sum()) + 1)
    chance[0] = 1.0
    for rank in doubled:
        moved = np.zeros_like(chance)
        moved[rank:] = chance[: len(chance) - rank]
        chance = (chance + moved) / 2
    return min(1.0, 2 * float(chance[: round(2 * smaller) + 1].sum()))


def _rank_biserial(d: FloatArray) -> tuple[Any, Any]:
    """Rows (n, 2 V): which magnitude, positive or negative; and the effect from their sums, ranks included."""
    magnitudes, which = np.unique(np.abs(d), return_inverse=True)
    v, n = len(magnitudes), len(d)
    column = which.reshape(-1) + np.where(d < 0, v, 0)
    rows = sparse.csr_array((np.ones(n), (np.arange(n), column)), shape=(n, 2 * v))

    def effect(sums: FloatArray) -> FloatArray:
        positive, negative = sums[:, :v], sums[:, v:]
        tied = positive + negative
        rank = np.cumsum(tied, axis=1) - tied / 2 + 0.5  # midranks, (R, V)
        rank[:, magnitudes == 0] = 0.0
        return np.asarray(((positive - negative) * rank).sum(axis=1) / (tied * rank).sum(axis=1))

    return (rows if v > 50 else rows.toarray()), effect
