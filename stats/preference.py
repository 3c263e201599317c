"""Pairwise preferences: win rate and odds, their sign-flip test, and the Bradley-Terry model for three or more."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.bradley_terry import BradleyTerry, bradley_terry
from stats.intake import FloatArray, IntArray, check_confidence, cluster_codes, dropped, floats, kept
from stats.paired import wilson
from stats.resampling import bootstrap_interval, bootstrap_method, mean_sign_flip
from stats.results import NAN, Estimate, TestResult, join_notes

__all__ = ["BradleyTerry", "bradley_terry", "sign_flip", "win_odds", "win_rate"]

Clusters = Sequence[Any] | npt.NDArray[Any] | None
NO_OUTCOMES = "no outcomes"


def win_rate(
    outcomes: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean of outcomes (n,): 1 won, 0 lost, 0.5 tied, missing left out; case (or cluster) bootstrap interval.

    Range 0 to 1, 0.5 is no preference. Rows should be independent: where several annotators compared one case, give
    the mean of their outcomes (anything from 0 to 1) as one row; where one patient has several cases, give clusters.
    Wins alone (or losses alone) have no spread to resample: the interval is then Wilson's, each cluster taken as one
    comparison. All one half: no interval. nan without outcomes.

    >>> win_rate([1, 1, 0.5, 0], n_resamples=100).value
    0.625
    """
    check_confidence(confidence)
    values, groups, note = _outcomes(outcomes, clusters)
    n = len(values)
    if n == 0:
        return Estimate.undefined("win rate", join_notes(NO_OUTCOMES, note))
    low, high, method, why = _interval(values, groups, n_resamples, confidence, seed)
    return Estimate(float(values.mean()), low, high, n, f"win rate, ties one half; {method}", join_notes(note, why))


def win_odds(
    outcomes: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """(wins + ties / 2) / (losses + ties / 2) = w / (1 - w) with w the win rate, and w's interval carried over.

    outcomes as in `win_rate`. Range 0 to infinity, 1 is no preference. Where nothing was lost or tied the odds are nan,
    and an upper bound that resampling does not find is infinite. Test of odds 1: `sign_flip`.

    Source: Dong et al. 2020, Stat Biopharm Res 12:99.

    >>> round(win_odds([1] * 6 + [0.5] * 2 + [0] * 2, n_resamples=100).value, 4)
    2.3333
    """
    rate = win_rate(outcomes, clusters, n_resamples, confidence, seed)
    value, low, high = (w / (1 - w) if w != 1 else math.inf for w in (rate.value, rate.low, rate.high))
    if rate.value == 1:
        value, note = NAN, join_notes(rate.note, "nothing lost or tied: the odds have no upper bound")
    else:
        note = join_notes(rate.note, "the odds have no upper bound" if high == math.inf else "")
    return Estimate(value, low, high, rate.n, rate.method.replace("win rate", "win odds", 1), note)


def sign_flip(
    outcomes: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """Is the win rate 0.5? Winner and loser are exchanged at random, case by case or cluster by cluster.

    outcomes as in `win_rate`; effect and interval are the win rate's; `statistic` is win rate - 0.5. All 2^n patterns
    where they are few, else random ones with P = (1 + b) / (1 + m). All one half: P = 1.

    >>> sign_flip([1] * 9 + [0]).p_value
    0.021484375
    """
    check_confidence(confidence)
    values, groups, note = _outcomes(outcomes, clusters)
    n = len(values)
    if n == 0:
        return TestResult.undefined("win rate against one half", join_notes(NO_OUTCOMES, note))
    low, high, interval, why = _interval(values, groups, n_resamples, confidence, seed)
    p, method, floor = mean_sign_flip(values - 0.5, groups, n_resamples, seed)
    rate = float(values.mean())
    method = f"win rate against one half; {method}; {interval}"
    return TestResult(rate - 0.5, p, rate, low, high, n, method, join_notes(note, why, floor))


def _outcomes(outcomes: npt.ArrayLike, clusters: Clusters) -> tuple[FloatArray, IntArray | None, str]:
    values = floats(outcomes, "outcomes")
    if ((values < 0) | (values > 1)).any():
        raise ValueError("outcomes must lie between 0 (lost) and 1 (won), or be missing")
    groups = cluster_codes(clusters, len(values))
    keep = ~np.isnan(values)
    return values[keep], kept(groups, keep), dropped(int((~keep).sum()), "no outcome", "comparison")


def _interval(
    values: FloatArray, groups: IntArray | None, n_resamples: int, confidence: float, seed: int
) -> tuple[float, float, str, str]:
    if np.ptp(values) == 0:
        if values[0] == 0.5:
            return NAN, NAN, "no interval", "every outcome is one half, as of a tie: no interval"
        n_units = len(values) if groups is None else int(groups.max()) + 1
        bounds = wilson(values[0] * n_units, n_units, confidence)
        return bounds.low, bounds.high, "Wilson interval", "no variation: bootstrap replaced by Wilson's interval"
    rows = np.column_stack([values, np.ones(len(values))])
    low, high, why = bootstrap_interval(rows, lambda s: s[:, 0] / s[:, 1], groups, n_resamples, confidence, seed)
    return low, high, bootstrap_method(groups, n_resamples), why
