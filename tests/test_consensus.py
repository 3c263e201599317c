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


@pytest.mark.parametrize(
    ("rule", "values", "decision", "settled"),
    [
        ("majority", ["a", "a", "b"], "b", "a"),
        ("majority", ["a", "b"], "b", "b"),
        ("majority", ["a", "b"], None, None),
        ("unanimous", ["a", "a", "b"], "b", None),
        ("unanimous", ["a", "a", None], "b", "a"),
        ("adjudicated", ["a", "a", "b"], "b", "b"),
        ("adjudicated", ["a", "a"], "b", "a"),
        ("adjudicated", [None, None], "b", "b"),
        ("mean", ["a", "b"], "b", None),
        ("mean", ["a", "a", "b"], None, "a"),
    ],
)
def test_a_lead_settles_only_what_the_rule_leaves_open(rule, values, decision, settled):
    assert consensus.settled(rule, values, decision) == settled


def test_where_campaigns_come_together_the_strictest_rule_holds():
    assert consensus.strictest(["majority", "unanimous", "adjudicated"]) == "unanimous"
    assert consensus.strictest([]) == "majority"


def test_likert_points_are_averaged_unless_a_rule_asks_for_the_same():
    assert not consensus.may_be_decided("likert", "majority")
    assert not consensus.may_be_decided("likert", "mean")
    assert consensus.may_be_decided("likert", "adjudicated")
    assert consensus.may_be_decided("comparison", "majority")
    assert not consensus.may_be_decided("label", "unanimous")


def test_a_plurality_is_no_majority_in_a_comparison():
    assert consensus.comparison(["prefer_a", "prefer_a", "prefer_b", "tie"]) is None


def test_cannot_judge_and_defective_are_no_opinion():
    assert consensus.comparison(["cannot_judge", "defective"]) is None
    assert consensus.comparison(["cannot_judge", "both_unacceptable"]) == "both_unacceptable"
