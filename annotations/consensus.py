"""The agreed answer, by rule. Pure: values in, a value or None out. None in the input is a missing answer."""

from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from statistics import median
from typing import TypeVar

from annotations.models import Campaign

Value = TypeVar("Value", bound=Hashable)
Rule = Campaign.Consensus

# Where judgements of campaigns with different rules come together, the one that asks for most holds.
STRICTEST = (Rule.UNANIMOUS, Rule.ADJUDICATED, Rule.MAJORITY, Rule.MEAN)
# The rules under which a lead may decide what the annotators left open.
DECIDED_BY_LEAD = (Rule.MAJORITY, Rule.ADJUDICATED)

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


def agreed(rule: str, values: Iterable[Value | None]) -> Value | None:
    """What the answers agree on by a campaign's rule; None where the rule leaves it open.

    A mean is no agreement, and where it is the rule nothing is left open: what is asked of it here (the outcome of a
    comparison, a label) goes by the majority.

    >>> agreed("majority", ["yes", "yes", "no"]), agreed("adjudicated", ["yes", "yes", "no"])
    ('yes', None)
    """
    return unanimous(values) if rule in (Rule.UNANIMOUS, Rule.ADJUDICATED) else majority(values)


def settled(rule: str, values: Iterable[Value | None], decision: Value | None = None) -> Value | None:
    """What is agreed; where the rule leaves it open and lets a lead decide, the lead's decision.

    >>> settled("adjudicated", ["yes", "no"], "no"), settled("unanimous", ["yes", "no"], "no")
    ('no', None)
    >>> settled("majority", ["yes", "yes", "no"], "no")  # never against the annotators
    'yes'
    """
    found = agreed(rule, values)
    return decision if found is None and rule in DECIDED_BY_LEAD else found


def strictest(rules: Iterable[str]) -> str:
    """The rule for judgements that come from campaigns with these rules; majority where there are none.

    >>> strictest(["majority", "adjudicated"])
    'adjudicated'
    """
    found = set(rules)
    return next((rule.value for rule in STRICTEST if rule in found), Rule.MAJORITY.value)


def may_be_decided(kind: str, rule: str) -> bool:
    """Whether a campaign can leave an item open for its lead.

    By the majority, Likert points can't: they are averaged unless a rule asks all annotators for the same.
    """
    return rule in DECIDED_BY_LEAD and not (kind == Campaign.Kind.LIKERT and rule == Rule.MAJORITY)


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
