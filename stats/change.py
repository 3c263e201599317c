"""How many cases got better, stayed, or got worse from one arm to another: what a mean difference hides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.intake import cluster_codes, dropped, floats, kept, same_length
from stats.paired import proportion
from stats.results import Estimate, join_notes

NO_PAIRS = "no case has both values"


@dataclass(frozen=True)
class Shares:
    """Shares of the cases, which add up to 1; each with an interval of its own."""

    improved: Estimate
    same: Estimate
    worse: Estimate

    def to_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name).to_dict() for name in ("improved", "same", "worse")}


def shares(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    within: float = 0.0,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Shares:
    """Share of cases (n,) in which b is higher than a by more than `within`, lower, or neither.

    Wilson intervals, or by cluster with clusters (see `paired.proportion`). The three intervals are not simultaneous. A
    case with a missing value is left out and counted; without a case, nan.

    >>> result = shares([3, 4, 2, 5], [4, 4, 3, 1])
    >>> result.improved.value, result.same.value, result.worse.value
    (0.5, 0.25, 0.25)
    """
    if within < 0:
        raise ValueError(f"within must not be negative: {within}")
    first, second = floats(a, "a"), floats(b, "b")
    groups = cluster_codes(clusters, same_length(a=first, b=second))
    keep = ~(np.isnan(first) | np.isnan(second))
    note = dropped(int((~keep).sum()), "a value is missing")
    difference, groups = (second - first)[keep], kept(groups, keep)
    limit = within + 1e-9 * float(np.abs(first[keep]).max(initial=1.0))  # means of the same judgements tie again

    def share(name: str, which: npt.NDArray[np.bool_]) -> Estimate:
        method = f"share of cases {name}"
        if len(difference) == 0:
            return Estimate.undefined(method, join_notes(NO_PAIRS, note))
        found = proportion(which.astype(np.float64), groups, n_resamples, confidence, seed)
        method = found.method.replace("proportion", method, 1)
        return Estimate(found.value, found.low, found.high, found.n, method, join_notes(found.note, note))

    return Shares(
        improved=share("improved", difference > limit),
        same=share("the same", np.abs(difference) <= limit),
        worse=share("worse", difference < -limit),
    )
