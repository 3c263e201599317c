"""The agreed answer, by rule. Pure: values in, a value or None out. None in the input is a missing answer."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from statistics import median
from typing import TypeVar

Value = TypeVar("Value", bound=Hashable)

# What annotators can agree on in a comparison; cannot judge is missing, defective is excluded (C11).
COMPARISON_CATEGORIES = ("prefer_a", "prefer_b", "tie", "both_unacceptable")


def majority(values: Iterable[Value | None]) -> Value | None:
    """The value that more than half of the answers share; None where no value does, or there is no answer.

    >>> majority(["yes", "yes", "no"])
    'yes'
    >>> majority(["yes", "no"]) is None
    True
    >>> majority(["yes", None])
    'yes'
    """
    answers = [value for value in values if value is not None]
    if not answers:
        return None
    value, count = Counter(answers).most_common(1)[0]
    return value if 2 * count > len(answers) else None


def unanimous(values: Iterable[Value | None]) -> Value | None:
    """The value that all answers share; None where they differ, or there is no answer.

    >>> unanimous(["yes", "yes", None])
    'yes'
    >>> unanimous(["yes", "yes", "no"]) is None
    True
    """
    answers = {value for value in values if value is not None}
    return answers.pop() if len(answers) == 1 else None


def comparison(outcomes: Iterable[str]) -> str | None:
    """The majority outcome of a comparison; outcomes that are no opinion (cannot judge, defective) are missing.

    >>> comparison(["prefer_a", "cannot_judge", "prefer_a", "tie"])
    'prefer_a'
    """
    return majority(outcome if outcome in COMPARISON_CATEGORIES else None for outcome in outcomes)


def is_defective(outcomes: Sequence[str]) -> bool:
    """Whether more than half of the annotators call the item defective.

    >>> is_defective(["defective", "defective", "tie"]), is_defective(["defective", "tie"])
    (True, False)
    """
    return 2 * sum(outcome == "defective" for outcome in outcomes) > len(outcomes)


def median_rating(values: Iterable[int | None]) -> float | None:
    """The median of the points given; None where nobody gave any.

    >>> median_rating([3, 4, None, 5])
    4
    """
    points = [value for value in values if value is not None]
    return median(points) if points else None
