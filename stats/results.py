"""What every statistic returns: a frozen number with its interval, its method and, if it is undefined, the reason."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

NAN = float("nan")


def json_ready(fields: dict[str, Any]) -> dict[str, Any]:
    """nan and the infinities have no JSON spelling: they become None."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in fields.items()}


def join_notes(*notes: str) -> str:
    return "; ".join(note for note in notes if note)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its interval. `n` counts what was used (cases, pairs), after what is missing was left out.

    >>> Estimate(0.5, float("nan"), float("nan"), 1, "mean", "one case: no interval").to_dict()["low"] is None
    True
    """

    value: float
    low: float
    high: float
    n: int
    method: str
    note: str = ""

    @classmethod
    def undefined(cls, method: str, note: str, n: int = 0) -> Estimate:
        return cls(NAN, NAN, NAN, n, method, note)

    def to_dict(self) -> dict[str, Any]:
        return json_ready(asdict(self))


@dataclass(frozen=True, slots=True)
class TestResult:
    """A test: its statistic and two-sided P (unless `method` says otherwise), the effect and the effect's interval.

    Differences are second minus first.
    """

    __test__ = False  # not a pytest class, whatever its name says

    statistic: float
    p_value: float
    effect: float
    low: float
    high: float
    n: int
    method: str
    note: str = ""

    @classmethod
    def undefined(cls, method: str, note: str, n: int = 0) -> TestResult:
        return cls(NAN, NAN, NAN, NAN, NAN, n, method, note)

    def to_dict(self) -> dict[str, Any]:
        return json_ready(asdict(self))
