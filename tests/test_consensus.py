"""The agreed answer is what more than half say; where there is none, none is made up."""

import doctest

import pytest

from annotations import consensus


def test_the_examples_in_the_docstrings_hold():
    assert doctest.testmod(consensus).failed == 0


@pytest.mark.parametrize(
    ("values", "agreed"),
    [
        ([], None),
        ([None], None),
        (["a"], "a"),
        (["a", "b"], None),
        (["a", "a", "b", "b", "c"], None),
        (["a", "a", "a", "b", "c"], "a"),
        (["a", None, None], "a"),
        ([0, 0, 1], 0),
    ],
)
def test_majority_is_more_than_half_of_those_who_answered(values, agreed):
    assert consensus.majority(values) == agreed


def test_a_plurality_is_no_majority_in_a_comparison():
    assert consensus.comparison(["prefer_a", "prefer_a", "prefer_b", "tie"]) is None


def test_cannot_judge_and_defective_are_no_opinion():
    assert consensus.comparison(["cannot_judge", "defective"]) is None
    assert consensus.comparison(["cannot_judge", "both_unacceptable"]) == "both_unacceptable"
