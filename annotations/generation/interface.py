"""What a generator is: prompts in, answers handed over batch by batch."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from annotations.generation.sampling import Sampling

# Prompt, and what may be generated, together exceed the model's context. Nothing is ever truncated.
TOO_LONG = "prompt_too_long"


@dataclass(frozen=True)
class Prompt:
    """One completion to be made: the messages of C10 and a seed of its own."""

    messages: list[dict[str, str]]
    seed: int


@dataclass(frozen=True)
class Answer:
    """What came of the prompt at ``position`` in the list: a text, or the reason why there is none."""

    position: int
    text: str = ""
    finish_reason: str = ""  # "stop" at an end token, "length" at max_tokens
    tokens: int | None = None
    skipped: str = ""


# Takes finished answers, in any order; an empty list only says that the work goes on. False: stop.
Deliver = Callable[[list[Answer]], bool]


class Generator(Protocol):
    def generate(self, prompts: Sequence[Prompt], sampling: Sampling, deliver: Deliver) -> None:
        """Answer every prompt. Raises UserError that says what, where and what to do."""
