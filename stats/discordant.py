"""Two arms' correctness on the same cases, from the pairs on which they differ: mid-P, and Tango's score method.

With f cases that only a has right and g that only b has right, of n, the difference of the proportions is (g - f) / n.
Rows are taken as independent: with clusters use the functions of `paired`.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

from stats.intake import among, check_confidence, dropped, same_length
from stats.results import Estimate, TestResult, join_notes

NO_PAIRS = "no case has both values"


def mcnemar_mid_p(a_correct: npt.ArrayLike, b_correct: npt.ArrayLike, confidence: float = 0.95) -> TestResult:
    """McNemar's test with the mid-P value; effect = proportion of b minus that of a, with Tango's interval.

    Twice P(X < min(f, g)) + P(X = min(f, g)) / 2 for X binomial (f + g, 1/2), at most 1. Not exact, but in Fagerland's
    9595 scenarios never above its level, where the exact test is well below it. `statistic` is min(f, g). No pair
    nan; no discordant pair gives P = 1.

    Source: Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91.

    >>> a, b = [1] + [1] + [0] * 7 + [0] * 12, [1] + [0] + [1] * 7 + [0] * 12
    >>> round(mcnemar_mid_p(a, b).p_value, 3)
    0.039
    """
    check_confidence(confidence)
    only_a, only_b, n, note = _discordant(a_correct, b_correct)
    if n == 0:
        return TestResult.undefined("McNemar's test, mid-P", join_notes(NO_PAIRS, note))
    smaller, discordant = min(only_a, only_b), only_a + only_b
    below, at = stats.binom.cdf(smaller, discordant, 0.5), stats.binom.pmf(smaller, discordant, 0.5)
    p = min(1.0, float(2 * below - at)) if discordant else 1.0
    low, high = _bounds(only_a, only_b, n, confidence)
    method = f"McNemar's test, mid-P ({discordant} discordant pairs); Tango's score interval"
    note = join_notes(note, "" if discordant else "no discordant pair")
    return TestResult(float(smaller), p, (only_b - only_a) / n, low, high, n, method, note)


def tango(a: npt.ArrayLike, b: npt.ArrayLike, confidence: float = 0.95) -> Estimate:
    """Proportion of b minus proportion of a on the same cases (n,) of 0 and 1, with Tango's score interval.

    All differences d with |g - f - n d| <= z sqrt(n (2 q + d (1 - d))), q the maximum likelihood estimate of the
    chance of "only a" when the difference is d. Range -1 to 1; never of width 0, unlike Wald's. nan without pairs.

    Source: Tango 1998, Stat Med 17:891.

    >>> estimate = tango([1] * 25 + [0] * 593, [0] * 25 + [1] * 28 + [0] * 565, confidence=0.90)
    >>> round(estimate.low, 4), round(estimate.high, 4)
    (-0.0148, 0.0247)
    """
    check_confidence(confidence)
    only_a, only_b, n, note = _discordant(a, b)
    name = "paired difference of proportions"
    if n == 0:
        return Estimate.undefined(name, join_notes(NO_PAIRS, note))
    low, high = _bounds(only_a, only_b, n, confidence)
    return Estimate((only_b - only_a) / n, low, high, n, f"{name}; Tango's score interval", note)


def tango_equivalence(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    margin: float,
    non_inferiority: bool = False,
    confidence: float = 0.95,
) -> TestResult:
    """Is the proportion of b within ±margin of that of a (`non_inferiority`: above -margin)? One-sided score tests.

    P is the larger of the one-sided P values of the score test at -margin and +margin, each at level 1 - confidence;
    the interval has the confidence that goes with it (90 % for 0.95), so that P < 0.05 and an interval within the
    margin say the same. `statistic` is the score statistic nearer to 0.

    Source: Tango 1998, Stat Med 17:891.

    >>> a, b = [1] * 90 + [0] * 10, [0] + [1] * 89 + [1] + [0] * 9
    >>> tango_equivalence(a, b, margin=0.1).p_value < 0.001
    True
    """
    check_confidence(2 * confidence - 1)
    if not 0 < margin < 1:
        raise ValueError(f"margin must lie between 0 and 1, not {margin}")
    name = "non-inferiority" if non_inferiority else "equivalence"
    only_a, only_b, n, note = _discordant(a, b)
    if n == 0:
        return TestResult.undefined(name, join_notes(NO_PAIRS, note))
    scores = [_score(-margin, only_a, only_b, n)]
    if not non_inferiority:
        scores.append(-_score(margin, only_a, only_b, n))
    low, high = _bounds(only_a, only_b, n, 2 * confidence - 1)
    method = f"{name} within {margin:g}: one-sided score tests; {100 * (2 * confidence - 1):g} % Tango's score interval"
    nearest = min(scores)
    return TestResult(nearest, float(stats.norm.sf(nearest)), (only_b - only_a) / n, low, high, n, method, note)


def _discordant(a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[int, int, int, str]:
    first, second = among(a, (0.0, 1.0), "a"), among(b, (0.0, 1.0), "b")
    same_length(a=first, b=second)
    keep = ~(np.isnan(first) | np.isnan(second))
    first, second = first[keep], second[keep]
    note = dropped(int((~keep).sum()), "a value is missing")
    return int((first > second).sum()), int((second > first).sum()), len(first), note


def _score(d: float, f: int, g: int, n: int) -> float:
    """Tango's statistic for the difference d: falls from +infinity to -infinity as d rises."""
    # q solves 2 n q^2 + (-(f + g) + (2 n - g + f) d) q - f d (1 - d) = 0
    linear = -(f + g) + (2 * n - g + f) * d
    q = (np.sqrt(max(linear**2 + 8 * n * f * d * (1 - d), 0.0)) - linear) / (4 * n)
    variance = n * (2 * q + d * (1 - d))
    distance = g - f - n * d
    if variance <= 0:
        return float(np.sign(distance) * np.inf) if distance else 0.0
    return float(distance / np.sqrt(variance))


def _bounds(f: int, g: int, n: int, confidence: float) -> tuple[float, float]:
    z, d = float(stats.norm.ppf(0.5 + confidence / 2)), (g - f) / n
    edge = 1 - 1e-12
    low = -1.0 if f == n else optimize.brentq(lambda x: _score(x, f, g, n) - z, -edge, d, xtol=1e-10)
    high = 1.0 if g == n else optimize.brentq(lambda x: _score(x, f, g, n) + z, d, edge, xtol=1e-10)
    return float(low), float(high)
