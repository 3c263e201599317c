"""Sampling parameters: checked, complete, and the same for every generator.

Greedy unless asked otherwise (temperature 0), so that an evaluation is repeatable. The number of tokens is what the
task's answers need: a label or two, a short argument, a summary.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from accounts.errors import UserError
from annotations.models import Study

MAX_TOKENS = {
    Study.Task.CLASSIFICATION: 24,
    Study.Task.TRIAGE: 32,
    Study.Task.REASONING: 192,
    Study.Task.SUMMARISATION: 128,
}
MAX_SAMPLES = 64


@dataclass(frozen=True)
class Sampling:
    """Temperature 0 is greedy, top_p cuts the distribution's tail, max_tokens limits the answer; seed: see below."""

    temperature: float = 0.0
    top_p: float = 1.0
    max_tokens: int = 128
    seed: int = 0

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Checked. Raises UserError."""
        if unknown := sorted(set(given) - set(cls.__dataclass_fields__)):
            known = ", ".join(cls.__dataclass_fields__)
            raise UserError(f"There is no sampling parameter “{unknown[0]}”. Known: {known}.")
        sampling = cls(**{name: _number(name, value, type(getattr(cls, name))) for name, value in given.items()})
        limits = {"temperature": (0, 2), "top_p": (0.001, 1), "max_tokens": (1, 8192), "seed": (0, 2**31 - 1)}
        for name, (low, high) in limits.items():
            if not low <= getattr(sampling, name) <= high:
                raise UserError(f"{name} is {getattr(sampling, name)}; it must be from {low} to {high}.")
        return sampling

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def _number(name: str, value: Any, kind: type) -> Any:
    """``value`` as an int or a float. Raises UserError where it is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or kind(value) != value:
        raise UserError(f"{name} is {value!r}; it must be a {'whole ' if kind is int else ''}number.")
    return kind(value)


def complete_sampling(study: Study, given: Mapping[str, Any] | None) -> Sampling:
    """What was given, with the defaults for the rest. Raises UserError."""
    stated = {name: value for name, value in (given or {}).items() if value is not None}
    return Sampling.of({"max_tokens": MAX_TOKENS[Study.Task(study.task)], **stated})


def check_samples(n: int, sampling: Sampling) -> None:
    """Raises UserError where ``n`` completions a case make no sense."""
    if not 1 <= n <= MAX_SAMPLES:
        raise UserError(f"The number of completions a case is {n}; it must be from 1 to {MAX_SAMPLES}.")
    if n > 1 and sampling.temperature == 0:
        raise UserError(
            f"At temperature 0 all {n} completions of a case would be identical. Ask for one, or raise the temperature "
            "(0.8, for example)."
        )


def request_seed(seed: int, external_id: str, index: int) -> int:
    """The seed of one completion: the same for every model, another for every case and index."""
    digest = hashlib.sha256(f"{seed}:{index}:{external_id}".encode()).digest()
    return int.from_bytes(digest[:4]) >> 1  # 31 bits, which every server takes
