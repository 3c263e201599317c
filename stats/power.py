"""Sample size, power or detectable effect in closed form: leave out (None) the one that is wanted.

`design_effect` is 1 + (cases a patient - 1) * intraclass correlation: the factor by which clustering inflates n.
`overlap` annotators judge each case and their mean is analysed; `icc` is the correlation of two of them on one case.
All tests are two-sided at level `alpha`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from scipy import optimize, stats

from stats.results import NAN, json_ready

LARGEST_N = 1e9


@dataclass(frozen=True, slots=True)
class Power:
    """The three numbers that belong together. `effect` is in the unit of the function's first argument."""

    n: float
    power: float
    effect: float
    alpha: float
    method: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return json_ready(asdict(self))


def _z(probability: float) -> float:
    return float(stats.norm.ppf(probability))


def _solve(
    power_at: Callable[[float, float], float],
    effect: float | None,
    n: float | None,
    power: float | None,
    null: float,
    bounds: tuple[float, float],
    alpha: float,
    method: str,
    smallest_n: float = 2.0,
) -> Power:
    """power_at(effect, n) rises with n and with the distance of effect from null; finds whichever is None."""
    if [effect, n, power].count(None) != 1:
        raise ValueError("exactly one of the effect, n and power must be None")
    if not 0 < alpha < 1 or (power is not None and not alpha < power < 1):
        raise ValueError("alpha must lie between 0 and 1, and power between alpha and 1")
    if n is not None and n < smallest_n:
        raise ValueError(f"n must be at least {smallest_n:g}")
    if power is None:
        assert effect is not None
        assert n is not None
        return Power(n, power_at(effect, n), effect, alpha, method)
    if n is None:
        assert effect is not None
        if effect == null or power_at(effect, LARGEST_N) < power:
            return Power(NAN, power, effect, alpha, method, "no n is large enough: the effect is too near to none")
        if power_at(effect, smallest_n) >= power:
            return Power(smallest_n, power, effect, alpha, method, "the smallest sample that the method allows")
        root = optimize.brentq(lambda m: power_at(effect, m) - power, smallest_n, LARGEST_N, xtol=1e-6)
        return Power(float(math.ceil(root - 1e-6)), power, effect, alpha, method)
    start, end = bounds
    if power_at(end, n) < power:
        return Power(n, power, NAN, alpha, method, f"not even an effect of {end:g} would be detected with this n")
    return Power(n, power, float(optimize.brentq(lambda e: power_at(e, n) - power, start, end)), alpha, method)


def mean_factor(overlap: int = 1, icc: float = 0.0) -> float:
    """Variance of the mean of `overlap` annotators over that of one: (1 + (overlap - 1) icc) / overlap.

    Range icc to 1: no overlap brings it below icc, which is what the cases themselves differ by.

    Source: Shrout & Fleiss 1979, Psychol Bull 86:420 (the Spearman-Brown formula, read as a variance).

    >>> mean_factor(3, icc=0.4)
    0.6
    """
    if overlap < 1 or not 0 <= icc <= 1:
        raise ValueError("overlap must be at least 1, and icc between 0 and 1")
    return (1 + (overlap - 1) * icc) / overlap


def mcnemar(
    difference: float | None = None,
    discordant: float = 0.3,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    design_effect: float = 1.0,
) -> Power:
    """McNemar's test. difference: of the proportions; discordant: share of cases on which the arms differ.

    n = (z_{1-alpha/2} sqrt(psi) + z_power sqrt(psi - d^2))^2 / d^2 cases, psi = discordant. |d| cannot exceed psi.

    Source: Connor 1987, Biometrics 43:207.

    >>> mcnemar(difference=0.1, discordant=0.3, power=0.8).n
    234.0
    """
    if not 0 < discordant <= 1 or (difference is not None and abs(difference) > discordant):
        raise ValueError("discordant must lie in (0, 1] and be no less than the difference")

    def power_at(d: float, m: float) -> float:
        m, d = m / design_effect, abs(d)
        spread = math.sqrt(max(discordant - d**2, 1e-300))
        return float(stats.norm.cdf((d * math.sqrt(m) - _z(1 - alpha / 2) * math.sqrt(discordant)) / spread))

    return _solve(power_at, difference, n, power, 0.0, (1e-9, discordant), alpha, "McNemar's test, Connor 1987")


def paired_mean(
    difference: float | None = None,
    sd: float = 1.0,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    design_effect: float = 1.0,
    overlap: int = 1,
    icc: float = 0.0,
) -> Power:
    """Paired t test (also a guide for case means on a Likert scale). difference: of the means; sd: of the differences.

    sd is that of one annotator; with overlap, the case means' is sd sqrt(mean_factor(overlap, icc)). n counts cases.

    Power = P(|T| > t_{1-alpha/2; n-1}) with T noncentral t, noncentrality difference * sqrt(n) / sd (normal
    beyond 300 degrees of freedom).

    Source: Cohen 1988, Statistical Power Analysis, chapter 2.

    >>> paired_mean(difference=0.5, sd=1.0, power=0.8).n
    34.0
    """
    if not sd > 0:
        raise ValueError("sd must be positive")
    sd = sd * math.sqrt(mean_factor(overlap, icc))

    def power_at(d: float, m: float) -> float:
        df = max(m / design_effect, 1.0 + 1e-9) - 1
        shift, critical = abs(d) / sd * math.sqrt(df + 1), float(stats.t.ppf(1 - alpha / 2, df))
        if df > 300:  # the normal limit; scipy's noncentral t returns nan for some large arguments
            return float(stats.norm.sf(critical - shift) + stats.norm.cdf(-critical - shift))
        other_tail = float(stats.nct.cdf(-critical, df, shift)) if shift < 5 else 0.0
        return min(1.0, float(stats.nct.sf(critical, df, shift)) + other_tail)

    return _solve(power_at, difference, n, power, 0.0, (1e-9 * sd, 37 * sd), alpha, "paired t test, noncentral t")


def win_rate(
    rate: float | None = None,
    ties: float = 0.0,
    n: float | None = None,
    power: float | None = None,
    alpha: float = 0.05,
    design_effect: float = 1.0,
    overlap: int = 1,
    icc: float = 0.0,
) -> Power:
    """Win rate (ties count one half) against 1/2. rate: expected win rate; ties: share of ties.

    n counts cases; with overlap, the variances below shrink by mean_factor(overlap, icc).

    n = (z_{1-alpha/2} sqrt(v0) + z_power sqrt(v1))^2 / (rate - 1/2)^2, with the variance of an outcome
    v0 = (1 - ties) / 4 at 1/2 and v1 = rate - ties / 4 - rate^2.

    >>> win_rate(rate=0.6, power=0.8).n
    194.0
    """
    if not 0 <= ties < 1 or (rate is not None and not ties / 2 <= rate <= 1 - ties / 2):
        raise ValueError("ties must lie in [0, 1) and rate between ties / 2 and 1 - ties / 2")

    factor = design_effect * mean_factor(overlap, icc)

    def power_at(r: float, m: float) -> float:
        m = m / factor
        null, spread = math.sqrt((1 - ties) / 4), math.sqrt(max(r - ties / 4 - r**2, 1e-300))
        return float(stats.norm.cdf((abs(r - 0.5) * math.sqrt(m) - _z(1 - alpha / 2) * null) / spread))

    return _solve(power_at, rate, n, power, 0.5, (0.5 + 1e-9, 1 - ties / 2), alpha, "win rate, normal approximation")


@dataclass(frozen=True, slots=True)
class Width:
    """Expected width of the interval of alpha for n items judged by n_annotators each."""

    alpha: float
    n_annotators: int
    n: float
    width: float
    confidence: float
    method: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return json_ready(asdict(self))


def alpha_width(
    alpha: float, n_annotators: int, n: float | None = None, width: float | None = None, confidence: float = 0.95
) -> Width:
    """Width of the interval of Krippendorff's alpha for n items, or the n for a width; approximate.

    Alpha is taken as the one-way intraclass correlation that it is near to for interval data:
    n = 8 z^2 (1 - r)^2 (1 + (k - 1) r)^2 / (k (k - 1) w^2) + 1. For few categories or skewed ones the true interval is
    wider; pilot data, resampled, say how much.

    Source: Bonett 2002, Stat Med 21:1331.

    >>> alpha_width(alpha=0.8, n_annotators=3, width=0.2).n
    36.0
    """
    if [n, width].count(None) != 1:
        raise ValueError("exactly one of n and width must be None")
    if n_annotators < 2 or not -1 / (n_annotators - 1) <= alpha < 1 or not 0 < confidence < 1:
        raise ValueError("needs two annotators, an alpha that they can have below 1, and a confidence in (0, 1)")
    k = n_annotators
    factor = 8 * _z(0.5 + confidence / 2) ** 2 * (1 - alpha) ** 2 * (1 + (k - 1) * alpha) ** 2 / (k * (k - 1))
    method, note = "interval of alpha, Bonett's approximation for the intraclass correlation", ""
    if width is None:
        assert n is not None
        if n < 2:
            raise ValueError("n must be at least 2")
        return Width(alpha, k, n, math.sqrt(factor / (n - 1)), confidence, method, note)
    if not width > 0:
        raise ValueError("width must be positive")
    items = factor / width**2 + 1
    if k == 2 and alpha >= 0.7:
        items, note = items + 5 * alpha, "5 alpha items added for two annotators, as Bonett advises"
    return Width(alpha, k, float(math.ceil(items - 1e-9)), width, confidence, method, note)
