"""Where the tokens of preference pairs go when a prompt is computed once: plain numbers, no tensors.

A pair is laid out as one sequence `prompt | chosen | rejected`. The positions of `rejected` begin again behind the
prompt, and attention.py keeps the two completions from seeing each other, so that each reads exactly what it would
read behind a prompt of its own. Several pairs stand one behind the other in one *pack*, without padding.

    token      p0 p1 p2 | c0 c1 | r0 r1 r2 || p0 p1 | c0 | r0      two pairs in one pack of 12 tokens
    position    0  1  2 |  3  4 |  3  4  5 ||  0  1 |  2 |  2
    predicts          c0+r0  c1    r1 r2          c0+r0            the last prompt token predicts twice

What is scored is laid out as TRL lays it out, only without the prompts: a row a completion, all chosen before all
rejected, one masked place where the prompt would end:

    completion_mask   chosen    [0 1 1 .]   [0 1 . .]      per-token values have one column less, shifted as in TRL
                      rejected  [0 1 1 1]   [0 1 . .]
"""

from collections.abc import Sequence
from dataclasses import dataclass

from training.recipes.rundir import UserError


@dataclass(frozen=True)
class Segment:
    """One pair in a pack: where it starts, and how many tokens its parts have.

    Not a tuple: the Trainer and accelerate take tuples to pieces on their way to the device.
    """

    start: int
    prompt: int
    chosen: int
    rejected: int


class OverBudget(UserError):
    """A pair that alone is longer than the token budget; `index` is its place in what was given."""

    def __init__(self, index: int, length: int, budget: int) -> None:
        super().__init__(
            f"Pair {index} has {length} tokens (prompt, chosen and rejected together), but token_budget is {budget}. "
            f"Raise token_budget to at least {length}, or set it to 0 to have it chosen."
        )
        self.index, self.length, self.budget = index, length, budget


def pack(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """The indices of `lengths` in as few groups of at most `budget` tokens as first-fit decreasing finds.

    Deterministic; inside a group, and among groups by their first member, the order is that of `lengths`.

    >>> pack([3, 9, 4, 2], budget=10)
    [[0, 2, 3], [1]]
    """
    groups: list[tuple[int, list[int]]] = []  # (room left, members)
    for index in sorted(range(len(lengths)), key=lambda i: (-lengths[i], i)):
        length = lengths[index]
        if length > budget:
            raise OverBudget(index, length, budget)
        place = next((at for at, (room, _) in enumerate(groups) if room >= length), None)
        if place is None:
            groups.append((budget - length, [index]))
        else:
            room, members = groups[place]
            groups[place] = (room - length, [*members, index])
    return sorted(sorted(members) for _, members in groups)


@dataclass(frozen=True)
class Layout:
    """A pack of n pairs with t tokens, of which k tokens of a completion are predicted."""

    input_ids: list[int]  # t
    position_ids: list[int]  # t
    segments: list[Segment]  # n
    predictors: list[int]  # k: index of the token whose hidden state predicts
    targets: list[int]  # k: the token it should predict
    rows: list[int]  # k: 0..n-1 chosen, n..2n-1 rejected
    columns: list[int]  # k: place in the row of per-token values
    completion_mask: list[list[int]]  # 2n rows of one width
    tokens: list[int]  # 2n: tokens of prompt and completion, as TRL counts them


def lay_out(pairs: Sequence[tuple[Sequence[int], Sequence[int], Sequence[int]]]) -> Layout:
    """The layout of (prompt, chosen, rejected) token ids.

    Without a prompt, the first token of a completion has nothing that predicts it: like TRL, it is not scored.
    """
    n = len(pairs)
    input_ids: list[int] = []
    position_ids: list[int] = []
    segments: list[Segment] = []
    scored: list[tuple[int, int, int, int]] = []  # predictor, target, row, column
    masks: list[list[int]] = [[] for _ in range(2 * n)]
    tokens = [0] * (2 * n)
    for i, (prompt, chosen, rejected) in enumerate(pairs):
        start = len(input_ids)
        segments.append(Segment(start, len(prompt), len(chosen), len(rejected)))
        input_ids += prompt
        position_ids += range(len(prompt))
        behind_prompt = int(bool(prompt))  # 1: a place in the mask for the end of the prompt
        for row, completion in ((i, chosen), (n + i, rejected)):
            first = len(input_ids)
            input_ids += completion
            position_ids += range(len(prompt), len(prompt) + len(completion))
            masks[row] = [0] * behind_prompt + [1] * len(completion)
            tokens[row] = len(prompt) + len(completion)
            for k, token in enumerate(completion):
                column = k + behind_prompt - 1
                if column >= 0:
                    predictor = first + k - 1 if k else start + len(prompt) - 1
                    scored.append((predictor, token, row, column))
    width = max(1, *(len(mask) for mask in masks))
    return Layout(
        input_ids=input_ids,
        position_ids=position_ids,
        segments=segments,
        predictors=[entry[0] for entry in scored],
        targets=[entry[1] for entry in scored],
        rows=[entry[2] for entry in scored],
        columns=[entry[3] for entry in scored],
        completion_mask=[mask + [0] * (width - len(mask)) for mask in masks],
        tokens=tokens,
    )
