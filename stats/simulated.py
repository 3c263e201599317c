"""What a design can be expected to give where no formula fits: width of the interval and power, by simulation.

Annotators who judge the same case don't give independent answers. Here each of them says what the case itself calls
for with probability sqrt(icc), and else draws from the overall shares: two of them then correlate by exactly `icc`
whatever the scores, and Krippendorff's alpha of the design is `icc` at every level of measurement. Given the case, the
answers are independent, so that the distribution of a case's result (a mean, a majority, a pattern of ratings) is
known exactly, and a simulated study is one multinomial draw of n cases from it: no case is simulated by itself.

Cases are taken as independent (one a patient). Every result carries its Monte Carlo error, one standard error.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import combinations_with_replacement
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stats.coincidence import contributions
from stats.intake import FloatArray, check_confidence
from stats.results import NAN, join_notes, json_ready

N_SIMULATIONS = 4_000
MOST_PATTERNS = 2_000  # ways in which the annotators of one case can answer
MOST_DRAWS = 1_000_000  # simulations times patterns: with more, there are fewer simulations


@dataclass(frozen=True, slots=True)
class Simulated:
    """Expected width of the interval and power for n cases, each with its Monte Carlo standard error."""

    n: int
    width: float
    width_error: float
    power: float
    power_error: float
    n_simulations: int
    method: str
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return json_ready(asdict(self))


def _check(n: int, overlap: int, icc: float, confidence: float) -> None:
    check_confidence(confidence)
    if n < 2:
        raise ValueError("n must be at least 2")
    if overlap < 1 or not 0 <= icc <= 1:
        raise ValueError("overlap must be at least 1, and the agreement between 0 and 1")


def _shares(shares: npt.ArrayLike) -> FloatArray:
    p = np.asarray(shares, dtype=np.float64)
    if p.ndim != 1 or len(p) < 2 or not np.isfinite(p).all() or (p < -1e-12).any() or p.sum() <= 0:
        raise ValueError("shares must be two or more numbers from 0 up, not all of them 0")
    p = np.clip(p, 0, None)
    return np.asarray(p / p.sum(), dtype=np.float64)


def given_case(shares: npt.ArrayLike, icc: float) -> FloatArray:
    """(V, V): row c is how one annotator answers a case that calls for category c."""
    p, follows = _shares(shares), math.sqrt(icc)
    return np.asarray(follows * np.eye(len(p)) + (1 - follows) * p, dtype=np.float64)


def case_means(shares: npt.ArrayLike, overlap: int, icc: float) -> tuple[FloatArray, FloatArray]:
    """Distribution of the mean score of `overlap` annotators of one case; the categories score 0, 1 … V - 1.

    Returns the possible means and their probabilities, both (overlap (V - 1) + 1,).

    >>> means, p = case_means([0.5, 0.0, 0.5], overlap=2, icc=1.0)
    >>> means.tolist(), p.tolist()
    ([0.0, 0.5, 1.0, 1.5, 2.0], [0.5, 0.0, 0.0, 0.0, 0.5])
    """
    p = _shares(shares)
    total = np.zeros(overlap * (len(p) - 1) + 1)
    for share, one in zip(p, given_case(p, icc), strict=True):
        summed = np.ones(1)
        for _ in range(overlap):
            summed = np.convolve(summed, one)
        total += share * summed
    return np.arange(len(total)) / overlap, total / total.sum()


def _mean_test(
    values: FloatArray, shares: FloatArray, n: int, null: float, confidence: float, n_simulations: int, seed: int
) -> tuple[float, float, float, float]:
    """t interval of the mean of n cases: expected width and power against `null`, each with its error."""
    counts = np.random.default_rng(seed).multinomial(n, shares, size=n_simulations)
    mean = counts @ values / n
    variance = np.clip((counts @ values**2 - n * mean**2) / (n - 1), 0, None)
    half = stats.t.ppf(0.5 + confidence / 2, n - 1) * np.sqrt(variance / n)
    found = np.abs(mean - null) > half
    return (*_average(2 * half), *_share(found))


def _average(values: FloatArray) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1) / math.sqrt(len(values)))


def _share(found: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """A share of simulations and its error; that of 0 or 1 is taken as if one simulation had gone the other way."""
    n, p = len(found), float(found.mean())
    safe = min(max(p, 1 / n), 1 - 1 / n)
    return p, math.sqrt(safe * (1 - safe) / n)


def win_rate(
    rate: float,
    n: int,
    ties: float = 0.0,
    overlap: int = 1,
    icc: float = 0.0,
    confidence: float = 0.95,
    n_simulations: int = N_SIMULATIONS,
    seed: int = 0,
) -> Simulated:
    """Win rate of n cases, each the mean of `overlap` annotators' outcomes (1, 0.5 for a tie, 0), against one half.

    rate: expected win rate; ties: share of ties. The interval is the t interval of the case means, which the expanded
    percentile bootstrap of reports equals in width. With overlap 1 the power is near `power.win_rate`'s.

    >>> round(win_rate(0.6, n=194).power, 2)
    0.81
    """
    _check(n, overlap, icc, confidence)
    if not 0 <= ties < 1 or not ties / 2 <= rate <= 1 - ties / 2:
        raise ValueError("ties must lie in [0, 1) and rate between ties / 2 and 1 - ties / 2")
    means, shares = case_means([1 - rate - ties / 2, ties, rate - ties / 2], overlap, icc)
    result = _mean_test(means / 2, shares, n, 0.5, confidence, n_simulations, seed)
    return Simulated(n, *result, n_simulations, "win rate over case means, t interval, simulated")


def mean_difference(
    difference: float,
    n: int,
    sd: float = 1.0,
    points: int = 5,
    overlap: int = 1,
    icc: float = 0.0,
    confidence: float = 0.95,
    n_simulations: int = N_SIMULATIONS,
    seed: int = 0,
) -> Simulated:
    """Paired difference of two arms on a scale of `points` points: case means over `overlap` annotators, n cases.

    difference: expected, in points; sd: of one annotator's differences, before they are rounded to whole points, as
    they are here (a normal variable rounded, its tails kept on the scale's end).
    """
    _check(n, overlap, icc, confidence)
    if not sd > 0 or points < 2 or abs(difference) > points - 1:
        raise ValueError("sd must be positive, points at least 2, and the difference must fit on the scale")
    steps = np.arange(1 - points, points)
    cuts = stats.norm.cdf((steps[:-1] + 0.5 - difference) / sd)
    means, shares = case_means(np.diff([0.0, *cuts, 1.0]), overlap, icc)
    result = _mean_test(means + steps[0], shares, n, 0.0, confidence, n_simulations, seed)
    return Simulated(n, *result, n_simulations, "mean of case differences, t interval, simulated")


def chance_right(agreement: float, share: float) -> float:
    """How often one annotator is right about a yes/no question, for alpha = `agreement` and a true share of yes.

    Two annotators who are right with probability q independently have alpha = s (1 - s) x^2 / (1/4 - x^2 (s - 1/2)^2)
    with x = 2q - 1; solved for q. Range 0.5 (alpha 0) to 1.

    >>> chance_right(1.0, 0.3), chance_right(0.0, 0.3)
    (1.0, 0.5)
    """
    if not 0 <= agreement <= 1 or not 0 < share < 1:
        raise ValueError("agreement must lie between 0 and 1, and the share strictly between them")
    x = math.sqrt(agreement / 4 / (share * (1 - share) + agreement * (share - 0.5) ** 2))
    return 0.5 + x / 2


def majority(chance: float, overlap: int) -> tuple[float, float, float]:
    """Chances that more than half of `overlap` annotators say what is right, what is wrong, or neither (a draw).

    >>> [round(p, 3) for p in majority(0.8, 3)]
    [0.896, 0.104, 0.0]
    """
    votes = stats.binom.pmf(np.arange(overlap + 1), overlap, chance)
    twice = 2 * np.arange(overlap + 1)
    return (
        float(votes[twice > overlap].sum()),
        float(votes[twice < overlap].sum()),
        float(votes[twice == overlap].sum()),
    )


def _truth(difference: float, discordant: float, accuracy: float) -> FloatArray:
    """(2, 2) probabilities: first arm wrong or right, second arm wrong or right."""
    only_second, only_first = (discordant + difference) / 2, (discordant - difference) / 2
    both = accuracy - only_first
    table = np.array([[1 - both - discordant, only_second], [only_first, both]])
    if not 0 < discordant <= 1 or (table < -1e-12).any():
        raise ValueError("these accuracies, their difference and the share of discordant cases can't go together")
    return np.clip(table, 0, None)


def proportion_difference(
    difference: float,
    n: int,
    discordant: float = 0.3,
    accuracy: float = 0.6,
    overlap: int = 1,
    agreement: float = 1.0,
    confidence: float = 0.95,
    n_simulations: int = N_SIMULATIONS,
    seed: int = 0,
) -> Simulated:
    """Paired difference of accuracies, correct by the majority of `overlap` annotators, with McNemar's test.

    difference: true, second minus first; discordant: share of cases that one arm alone gets right; accuracy: the first
    arm's; agreement: alpha of the annotators. Where they don't agree perfectly, the difference that is seen is smaller
    than the true one, and a case without a majority for either output is lost. Interval: Newcombe's method 10. With
    agreement 1 the power is near `power.mcnemar`'s.
    """
    _check(n, overlap, agreement, confidence)
    truth = _truth(difference, discordant, accuracy)
    right, wrong, _ = majority(chance_right(agreement, _inner(accuracy + difference / 2)), overlap)
    said = np.array([[right, wrong], [wrong, right]])  # truth (wrong, right) to consensus (wrong, right)
    seen = said.T @ truth @ said
    cells = np.append(seen.ravel(), max(0.0, 1 - seen.sum()))
    counts = np.random.default_rng(seed).multinomial(n, cells / cells.sum(), size=n_simulations)
    neither, second, first, both = counts[:, :4].T.astype(np.float64)
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    width = newcombe_width(both, first, second, neither, z)
    found = (second - first) ** 2 > z**2 * (second + first)
    lost = float(cells[4])
    note = f"{lost:.0%} of cases lost: no majority on one of the outputs" if lost > 0.005 else ""
    method = "paired difference of proportions, McNemar's test, simulated"
    return Simulated(n, *_average(width), *_share(found), n_simulations, method, note)


def newcombe_width(
    both: FloatArray, only_first: FloatArray, only_second: FloatArray, neither: FloatArray, z: float
) -> FloatArray:
    """Width of Newcombe's method 10 for many tables at once, as `paired.proportion_difference` has it for one.

    Counts (n_simulations,) of pairs; 2, the whole range, where there is no pair.
    """
    n = both + only_first + only_second + neither
    with np.errstate(divide="ignore", invalid="ignore"):
        down_first, up_first = _wilson_arms((both + only_first) / n, n, z)
        down_second, up_second = _wilson_arms((both + only_second) / n, n, z)
        association = both * neither - only_first * only_second
        association = np.where(association > 0, np.maximum(association - n / 2, 0), association)
        margins = (both + only_first) * (only_second + neither) * (both + only_second) * (only_first + neither)
        phi = np.where(margins > 0, association / np.sqrt(margins), 0.0)
        below = down_second**2 - 2 * phi * down_second * up_first + up_first**2
        above = up_second**2 - 2 * phi * up_second * down_first + down_first**2
        width = np.sqrt(np.clip(below, 0, None)) + np.sqrt(np.clip(above, 0, None))
    return np.where(n > 0, width, 2.0)


def _wilson_arms(p: FloatArray, n: FloatArray, z: float) -> tuple[FloatArray, FloatArray]:
    """How far Wilson's interval reaches below and above p."""
    spread = z**2 / n
    centre, half = (p + spread / 2) / (1 + spread), z * np.sqrt(p * (1 - p) / n + spread / (4 * n)) / (1 + spread)
    return p - np.maximum(centre - half, 0), np.minimum(centre + half, 1) - p


def _inner(share: float) -> float:
    return min(max(share, 1e-6), 1 - 1e-6)


def f1_difference(
    difference: float,
    n: int,
    discordant: float = 0.3,
    accuracy: float = 0.6,
    prevalence: float = 0.5,
    overlap: int = 1,
    agreement: float = 1.0,
    confidence: float = 0.95,
    n_simulations: int = N_SIMULATIONS,
    seed: int = 0,
) -> Simulated:
    """Paired difference of binary F1 against labels that are the majority of `overlap` annotators; n cases.

    difference: of the accuracies (F1 follows from it and from prevalence, the share of positive cases); the rest as in
    `proportion_difference`; an arm is equally often right on positive and negative cases. Interval: normal, with the
    simulated standard error. F1's own expected difference is in the note.
    """
    _check(n, overlap, agreement, confidence)
    if not 0 < prevalence < 1:
        raise ValueError("prevalence must lie between 0 and 1")
    truth = _truth(difference, discordant, accuracy)
    right, wrong, draw = majority(chance_right(agreement, prevalence), overlap)
    # Axes: true class (negative, positive), first arm wrong/right, second arm wrong/right, label wrong/right.
    cells = np.einsum("y,ab,g->yabg", [1 - prevalence, prevalence], truth, [wrong, right])
    y, a, b, g = np.indices(cells.shape)
    label, first, second = (np.where(ok == 1, y, 1 - y).ravel() for ok in (g, a, b))
    shares = np.append(cells.ravel(), draw)
    counts = np.random.default_rng(seed).multinomial(n, shares / shares.sum(), size=n_simulations)[:, :-1]

    def f1(predicted: npt.NDArray[Any], weights: npt.NDArray[Any]) -> FloatArray:
        twice = 2.0 * (weights @ ((predicted == 1) & (label == 1)))
        return np.asarray(twice / np.maximum(weights @ ((predicted == 1) * 1.0 + (label == 1)), 1e-12))

    change = f1(second, counts) - f1(first, counts)
    error = float(change.std(ddof=1))
    z = float(stats.norm.ppf(0.5 + confidence / 2))
    exact = cells.ravel()[None, :]
    expected = float((f1(second, exact) - f1(first, exact))[0])
    note = join_notes(
        f"expected difference of F1: {expected:.3f}",
        f"{draw:.0%} of cases lost: no majority on the label" if draw > 0.005 else "",
    )
    width = 2 * z * error
    method = "paired difference of binary F1, normal interval, simulated"
    return Simulated(
        n, width, width / math.sqrt(2 * (n_simulations - 1)), *_share(np.abs(change) > z * error),
        n_simulations, method, note,
    )  # fmt: skip


def alpha(
    agreement: float,
    n: int,
    overlap: int,
    shares: Sequence[float],
    level: str = "ordinal",
    floor: float = 0.667,
    confidence: float = 0.95,
    n_simulations: int = N_SIMULATIONS,
    seed: int = 0,
) -> Simulated:
    """Krippendorff's alpha of n items, each judged by `overlap` annotators whose true alpha is `agreement`.

    shares: how often each category is used, in order (sums to 1 or to any total); skewed shares widen the interval,
    which no formula shows. Width: 2 t SE with the simulated standard error. Power: how often the interval lies above
    `floor` (0.667: the least for tentative conclusions, Krippendorff 2004, Hum Commun Res 30:411). nan for overlap 1.
    """
    _check(n, overlap, agreement, confidence)
    p = _shares(shares)
    method = f"Krippendorff's alpha, {level}, simulated"
    if overlap < 2:
        return Simulated(n, NAN, NAN, NAN, NAN, 0, method, "agreement needs two annotators an item")
    if math.comb(len(p) + overlap - 1, overlap) > MOST_PATTERNS:
        raise ValueError("too many categories and annotators an item to simulate: lower one of them")
    n_simulations = min(n_simulations, MOST_DRAWS // math.comb(len(p) + overlap - 1, overlap))
    pattern = np.array(list(combinations_with_replacement(range(len(p)), overlap)))[:, ::-1]
    uses = np.stack([(pattern == c).sum(axis=1) for c in range(len(p))], axis=1)
    ways = np.array([math.factorial(overlap) / math.prod(map(math.factorial, row)) for row in uses.tolist()])
    chances = sum(
        share * ways * np.prod(one**uses, axis=1) for share, one in zip(p, given_case(p, agreement), strict=True)
    )
    rows, statistic = contributions(pattern, np.arange(len(p)), level)
    counts = np.random.default_rng(seed).multinomial(n, chances / np.sum(chances), size=n_simulations)
    with np.errstate(divide="ignore", invalid="ignore"):
        found = statistic(np.asarray((rows.T @ counts.T.astype(np.float64)).T))
    found = found[np.isfinite(found)]
    lost = n_simulations - len(found)
    note = f"{lost} of {n_simulations:,} simulated studies had no variation" if lost else ""
    if len(found) < 2:
        return Simulated(n, NAN, NAN, NAN, NAN, n_simulations, method, note)
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1) * found.std(ddof=1))
    error = 2 * half / math.sqrt(2 * (len(found) - 1))
    return Simulated(n, 2 * half, error, *_share(found - half > floor), n_simulations, method, note)
