"""Krippendorff's alpha as a function of sums over items, so that its bootstrap is a matrix product.

An item with m >= 2 judgements contributes (a) how often it uses each category, (b) for each pair of different
categories {c, k} the number of pairs of judgements in it that hold c and k, divided by m - 1: its part of the
coincidence matrix. With n_c the summed counts, n their total, o_ck the summed pairs, both over c < k,

    alpha = 1 - (n - 1) * sum o_ck d_ck / sum n_c n_k d_ck

For fixed metrics (nominal, interval, ratio) an item's part of the numerator is one number. The ordinal metric
depends on the marginals, so pairs are kept apart and d is recomputed in every resample. Writing
mid_c = n_1 + … + n_c - n_c/2, Krippendorff's ordinal metric is d_ck = (mid_k - mid_c)^2, and the expected
disagreement is n * sum n_c (mid_c - n/2)^2: no V x V array is needed, nor is one for nominal or interval data.

Source: Krippendorff 2011, Computing Krippendorff's alpha-reliability.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import sparse

from stats.intake import FloatArray, IntArray
from stats.resampling import Statistic, by_cluster

LEVELS = ("nominal", "ordinal", "interval", "ratio")
RATIO_CATEGORIES = 2000  # the ratio metric alone needs V x V products
NO_VARIATION = 1e-14  # an expected disagreement under this share of n^2 range^2 is rounding


def patterns(codes: IntArray) -> tuple[IntArray, IntArray, IntArray]:
    """Distinct multisets of judgements among the items with two or more.

    Returns the patterns (P, m_max), missing -1 last; the pattern of each item (n_kept,); which items were kept.
    """
    n_judged = (codes >= 0).sum(axis=1)
    kept = np.flatnonzero(n_judged >= 2)
    if len(kept) == 0:
        return np.zeros((0, 0), dtype=np.int64), kept, kept
    ordered = np.sort(codes[kept], axis=1)[:, ::-1][:, : n_judged.max()]
    distinct, owner = np.unique(ordered, axis=0, return_inverse=True)
    return distinct, owner.reshape(-1), kept


def pairs(pattern: IntArray) -> tuple[IntArray, IntArray, IntArray, FloatArray]:
    """Pairs of different judgements in each pattern: pattern, lower code, higher code, 1 / (m - 1)."""
    m = (pattern >= 0).sum(axis=1)
    first, second = np.triu_indices(pattern.shape[1], k=1)
    high, low = pattern[:, first], pattern[:, second]  # codes fall along a pattern
    row, column = np.nonzero((low >= 0) & (low != high))
    return row, low[row, column], high[row, column], 1.0 / (m[row] - 1)


def _metric(level: str, low: FloatArray, high: FloatArray) -> FloatArray:
    """Squared distance of two values; the ordinal one is elsewhere since it needs the marginals."""
    if level == "nominal":
        return np.asarray(low != high, dtype=np.float64)
    if level == "interval":
        return (high - low) ** 2
    total = high + low
    return np.asarray(np.divide(high - low, total, out=np.zeros(np.broadcast(low, high).shape), where=total != 0) ** 2)


def _expected(level: str, counts: FloatArray, values: FloatArray) -> FloatArray:
    """sum over c < k of n_c n_k d_ck for each row of counts (R, V)."""
    n = counts.sum(axis=1)
    if level == "nominal":
        return np.asarray((n**2 - (counts**2).sum(axis=1)) / 2)
    if level == "interval":
        span = np.ptp(values)
        mean = (counts @ values) / n
        spread = n * ((counts @ values**2) - n * mean**2)
        return np.where(spread > NO_VARIATION * n**2 * span**2, spread, 0.0)
    expected = np.zeros(len(counts))
    for start in range(0, len(values), 500):  # blocks of V x V
        block = _metric(level, values[None, start : start + 500], values[:, None])
        expected += ((counts @ block) * counts[:, start : start + 500]).sum(axis=1) / 2
    return expected


def _alpha(n: FloatArray, observed: FloatArray, expected: FloatArray) -> FloatArray:
    return np.where(expected > 0, 1.0 - (n - 1) * observed / expected, np.nan)


def contributions(pattern: IntArray, categories: npt.NDArray[Any], level: str) -> tuple[Any, Statistic]:
    """Sparse rows (P, k) of the patterns, and alpha as a function of their sums (R, k)."""
    n_patterns, n_categories = len(pattern), len(categories)
    row, column = np.nonzero(pattern >= 0)
    shape = (n_patterns, n_categories)
    counts = sparse.csr_array((np.ones(len(row)), (row, pattern[row, column])), shape=shape)
    owner, low, high, share = pairs(pattern)
    if level == "ordinal":
        return _ordinal(counts, owner, low, high, share)

    # Centring the values keeps the sums of squares of the interval metric exact.
    values = np.arange(n_categories) if level == "nominal" else categories.astype(np.float64)
    values = values - values.mean() if level == "interval" else values.astype(np.float64)
    disagreement = np.bincount(owner, share * _metric(level, values[low], values[high]), minlength=n_patterns)
    rows = sparse.hstack([sparse.csr_array(disagreement[:, None]), counts], format="csr")

    def alpha(sums: FloatArray) -> FloatArray:
        used = sums[:, 1:]
        return _alpha(used.sum(axis=1), sums[:, 0], _expected(level, used, values))

    return rows, alpha


def _ordinal(counts: Any, owner: IntArray, low: IntArray, high: IntArray, share: FloatArray) -> tuple[Any, Statistic]:
    n_patterns, n_categories = counts.shape
    seen, which = np.unique(low * n_categories + high, return_inverse=True)
    apart = sparse.csr_array((share, (owner, which.reshape(-1))), shape=(n_patterns, len(seen)))
    lower, upper = seen // n_categories, seen % n_categories

    def alpha(sums: FloatArray) -> FloatArray:
        used, coincident = sums[:, :n_categories], sums[:, n_categories:]
        n = used.sum(axis=1)
        mid = np.cumsum(used, axis=1) - used / 2  # (R, V)
        observed = (coincident * (mid[:, upper] - mid[:, lower]) ** 2).sum(axis=1)
        expected = n * (used * (mid - n[:, None] / 2) ** 2).sum(axis=1)
        return _alpha(n, observed, expected)

    return sparse.hstack([counts, apart], format="csr"), alpha


def cluster_rows(rows: Any, owner: IntArray, clusters: IntArray) -> Any:
    """Sums of the patterns' rows over the items of each cluster, (n_clusters, k), sparse."""
    return by_cluster(rows[owner], clusters)
