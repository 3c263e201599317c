"""Three or more arms on the same cases: Cochran's Q and Friedman's test."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stats.intake import FloatArray, IntArray, among, cluster_codes, complete_rows, dropped, floats, kept
from stats.resampling import CHUNK, by_cluster, permutation_p
from stats.results import NAN, TestResult, join_notes

Clusters = Sequence[Any] | npt.NDArray[Any] | None


def cochran_q(matrix: npt.ArrayLike, clusters: Clusters = None, n_resamples: int = 10_000, seed: int = 0) -> TestResult:
    """Cochran's Q: have k arms (columns) the same share of ones in matrix (n, k) of 0 and 1?

    Q = (k - 1) * sum_j (T_j - mean T)^2 / sum_ij (x_ij - mean_i)^2, chi-square with k - 1 degrees of freedom. effect
    is Serlin's eta-squared, Q / (n (k - 1)), 0 to 1 (no interval). A row with a missing cell is left out. No row that
    differs between arms: P = 1. With clusters, arms are permuted cluster by cluster.

    Source: Cochran 1950, Biometrika 37:256; Serlin, Carr & Marascuilo 1982, Psychol Bull 92:786.

    >>> round(cochran_q([[1, 1, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [1, 1, 1]]).statistic, 3)
    4.5
    """
    return _test(among(matrix, (0.0, 1.0), "matrix", ndim=2), "Cochran's Q", clusters, n_resamples, seed)


def friedman(matrix: npt.ArrayLike, clusters: Clusters = None, n_resamples: int = 10_000, seed: int = 0) -> TestResult:
    """Friedman's test of k arms (columns) on n cases (rows), corrected for ties; effect = Kendall's W, 0 to 1.

    The same statistic as Cochran's Q, on the ranks within each row; W = chi-square / (n (k - 1)). A row with a missing
    cell is left out. All rows tied: P = 1, W nan. With clusters, arms are permuted cluster by cluster.

    Source: Friedman 1937, J Am Stat Assoc 32:675; Conover 1999, Practical Nonparametric Statistics, section 5.8.

    >>> round(friedman([[1, 2, 3], [2, 1, 3], [1, 2, 3], [1, 3, 2]]).effect, 4)
    0.5625
    """
    values = floats(matrix, "matrix", ndim=2)
    complete = complete_rows(values)
    ranks = np.where(complete[:, None], values, np.nan)
    if complete.any():
        ranks[complete] = stats.rankdata(values[complete], axis=1)
    return _test(ranks, "Friedman's test", clusters, n_resamples, seed)


def _test(scores: FloatArray, name: str, clusters: Clusters, n_resamples: int, seed: int) -> TestResult:
    groups = cluster_codes(clusters, len(scores))
    keep = complete_rows(scores)
    scores, groups, note = scores[keep], kept(groups, keep), dropped(int((~keep).sum()), "a cell is missing")
    n, k = scores.shape
    if n == 0:
        return TestResult.undefined(name, join_notes("no complete case", note))
    if k < 2:
        raise ValueError("matrix needs two or more columns, one an arm")
    centred = scores - scores.mean(axis=1, keepdims=True)
    spread = float((centred**2).sum())
    if spread < 1e-12:
        return TestResult(0.0, 1.0, NAN, NAN, NAN, n, name, join_notes(note, "no case differs between arms"))
    between = float((centred.sum(axis=0) ** 2).sum())
    statistic = (k - 1) * between / spread
    effect = statistic / (n * (k - 1))
    if groups is not None:
        null = _permuted(np.asarray(by_cluster(centred, groups)), n_resamples, seed)
        p, method = permutation_p(null, between, False, "greater"), f"arms permuted by cluster, {n_resamples:,} draws"
    else:
        p, method = float(stats.chi2.sf(statistic, k - 1)), f"chi-square, {k - 1} degrees of freedom"
    return TestResult(statistic, p, effect, NAN, NAN, n, f"{name}; {method}", note)


def _permuted(totals: FloatArray, n_resamples: int, seed: int) -> FloatArray:
    """Sum of squared column totals with the columns (C, k) of each cluster permuted on their own."""
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // totals.size)
    null = []
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        order: IntArray = rng.random((size, *totals.shape)).argsort(axis=2)
        shuffled = np.take_along_axis(np.broadcast_to(totals, order.shape), order, axis=2)
        null.append((shuffled.sum(axis=1) ** 2).sum(axis=1))
    return np.concatenate(null)
