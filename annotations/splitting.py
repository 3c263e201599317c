"""Splits by group: a patient's cases never stand on both sides of an evaluation (C7)."""

import math
import random
from collections import Counter
from collections.abc import Mapping, Sequence

from accounts.errors import UserError
from annotations.models import Case

SPLITS = tuple(Case.Split.values)  # train, validation, test
DEFAULT_FRACTIONS = (0.7, 0.1, 0.2)


def parse_fractions(text: str) -> tuple[float, ...]:
    """ "0.7,0.1,0.2" → fractions of train, validation and test. Raises UserError."""
    try:
        fractions = tuple(float(part) for part in text.split(","))
    except ValueError:
        fractions = ()
    return check_fractions(fractions)


def check_fractions(fractions: Sequence[float]) -> tuple[float, ...]:
    if (
        len(fractions) != 3
        or not all(0 <= f <= 1 for f in fractions)
        or not math.isclose(sum(fractions), 1, abs_tol=1e-6)
    ):
        raise UserError(
            "Split fractions are three numbers from 0 to 1 that add up to 1, for train, validation and test, as "
            "0.7,0.1,0.2."
        )
    return tuple(fractions)


def assign_splits(
    group_sizes: Mapping[str, int], *, fractions: Sequence[float], seed: int, fixed: Mapping[str, str]
) -> dict[str, str]:
    """{group: split}, so that the cases are shared out as ``fractions`` say, as nearly as whole groups allow.

    Groups are shuffled with ``seed``, and each goes to the split that lacks most cases. Groups in ``fixed`` keep
    theirs. The order in which groups are given makes no difference.
    """
    splits = {group: fixed[group] for group in group_sizes if group in fixed}
    free = sorted(group for group in group_sizes if group not in fixed)
    random.Random(seed).shuffle(free)  # noqa: S311 (a draw to be repeated, not a secret)
    total = sum(group_sizes[group] for group in free)
    wanted = {split: fraction * total for split, fraction in zip(SPLITS, fractions, strict=True)}
    placed: Counter[str] = Counter()
    for group in free:
        split = max((s for s in SPLITS if wanted[s] > 0), key=lambda s: wanted[s] - placed[s])
        splits[group] = split
        placed[split] += group_sizes[group]
    return splits
