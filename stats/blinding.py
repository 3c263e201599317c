"""Were they blind? How often annotators guess which arm wrote an output, against chance.

All functions take guesses (n,): 1 right, -1 wrong, 0 “don't know”, nan where nobody was asked. Several guesses about
one case (or patient) are not independent: give `clusters`, and the interval resamples cases, not guesses.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stats.intake import FloatArray, IntArray, among, check_confidence, cluster_codes, dropped, kept
from stats.paired import wilson
from stats.resampling import bootstrap_interval, bootstrap_method
from stats.results import NAN, Estimate, join_notes

Clusters = Sequence[Any] | npt.NDArray[Any] | None

ALLOWED = (-1.0, 0.0, 1.0)
NOBODY_ASKED = "nobody was asked"
NOBODY_GUESSED = "everybody answered “don't know”"


def share_right(
    guesses: npt.ArrayLike,
    of: str = "guessed",
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Share of guesses that were right: right / (right + wrong), or with of="all" right / (right + wrong + don't know).

    Range 0 to 1. Blind annotators guess right as often as chance has it: 1 / k with k arms to choose from, if they
    guess at all (of="guessed"). Interval: Wilson's for independent guesses, else cluster bootstrap (and Wilson's over
    the clusters where all guesses are alike, as there is nothing to resample). nan where nobody guessed.

    >>> share_right([1, 1, 1, -1, 0]).value
    0.75
    >>> share_right([1, 1, 1, -1, 0], of="all").value
    0.6
    """
    if of not in ("guessed", "all"):
        raise ValueError(f"of must be 'guessed' or 'all', not {of!r}")
    values, groups, note = _asked(guesses, clusters, confidence)
    name = "share guessed right, among those who guessed" if of == "guessed" else "share guessed right, among all"
    if of == "guessed":
        note = join_notes(note, dropped(int((values == 0).sum()), "don't know", "guess", "guesses"))
        groups, values = kept(groups, values != 0), values[values != 0]
    n = len(values)
    if n == 0:
        return Estimate.undefined(name, join_notes(note) or NOBODY_ASKED)
    right = (values == 1).astype(np.float64)
    if groups is None:
        bounds = wilson(float(right.sum()), n, confidence)
        return Estimate(float(right.mean()), bounds.low, bounds.high, n, f"{name}; Wilson interval", note)
    if np.ptp(right) == 0:
        n_clusters = int(groups.max()) + 1
        bounds = wilson(float(right[0]) * n_clusters, n_clusters, confidence)
        why = "no variation: bootstrap replaced by Wilson's interval over the clusters"
        return Estimate(float(right[0]), bounds.low, bounds.high, n, f"{name}; Wilson interval", join_notes(note, why))
    return _resampled(right, groups, name, note, n_resamples, confidence, seed)


def bang_index(
    guesses: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Bang's blinding index of one arm: (right - wrong) / n, “don't know” counted in n; guesses about that arm only.

    Equals (2 right / (right + wrong) - 1) (right + wrong) / n. Range -1 to 1: 1 everybody was right, 0 as good as
    random, -1 everybody was wrong. Interval: normal, with the multinomial variance
    (p_right + p_wrong - (p_right - p_wrong)^2) / n, for independent guesses; else cluster bootstrap. For two arms.

    Source: Bang, Ni & Davis 2004, Control Clin Trials 25:143; the example is its table 7 (CRISP, treatment arm).

    >>> round(bang_index([1] * 82 + [-1] * 25 + [0] * 170).value, 3)
    0.206
    """
    values, groups, note = _asked(guesses, clusters, confidence)
    name, n = "Bang's blinding index", len(values)
    if n == 0:
        return Estimate.undefined(name, join_notes(NOBODY_ASKED, note))
    if not values.any():
        note = join_notes(note, NOBODY_GUESSED)
    if groups is not None:
        return _resampled(values, groups, name, note, n_resamples, confidence, seed)
    index = float(values.mean())
    variance = (float((values != 0).mean()) - index**2) / n
    if variance <= 0:
        why = "every answer is the same: the normal interval says nothing"
        return Estimate(index, NAN, NAN, n, name, join_notes(note, why))
    half = float(stats.norm.ppf(0.5 + confidence / 2)) * math.sqrt(variance)
    low, high = max(-1.0, index - half), min(1.0, index + half)
    return Estimate(index, low, high, n, f"{name}; normal interval, multinomial variance", note)


def _asked(guesses: npt.ArrayLike, clusters: Clusters, confidence: float) -> tuple[FloatArray, IntArray | None, str]:
    check_confidence(confidence)
    values = among(guesses, ALLOWED, "guesses")
    groups = cluster_codes(clusters, len(values))
    keep = ~np.isnan(values)
    return values[keep], kept(groups, keep), dropped(int((~keep).sum()), "not asked", "guess", "guesses")


def _resampled(
    values: FloatArray, groups: IntArray, name: str, note: str, n_resamples: int, confidence: float, seed: int
) -> Estimate:
    """The mean of values (n,) with its cluster bootstrap interval."""
    rows = np.column_stack([values, np.ones(len(values))])
    low, high, why = bootstrap_interval(rows, lambda s: s[:, 0] / s[:, 1], groups, n_resamples, confidence, seed)
    method = f"{name}; {bootstrap_method(groups, n_resamples)}"
    return Estimate(float(values.mean()), low, high, len(values), method, join_notes(note, why))
