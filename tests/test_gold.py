"""What is right against a known answer, and an annotator's score on the gold items they never recognise."""

from math import isnan

import pytest

from annotations import judging
from annotations.assignment import next_assignment
from annotations.gold import gold_score, gold_scores, is_right
from annotations.judging import Answer
from tests.factories import make_campaign, make_cases, make_item, make_study


@pytest.mark.parametrize(
    ("kind", "said", "known", "right"),
    [
        ("comparison", Answer("prefer_a", "slightly"), {"outcome": "prefer_a", "strength": "clearly"}, True),
        ("comparison", Answer("prefer_b", "clearly"), {"outcome": "prefer_a", "strength": "clearly"}, False),
        ("comparison", Answer("tie"), {"outcome": "prefer_a"}, False),
        ("comparison", Answer("cannot_judge", cannot_judge="outside_my_field"), {"outcome": "tie"}, False),
        ("likert", Answer("judged", values={"a": 4, "b": 2}), {"outcome": "judged", "values": {"a": 5, "b": 2}}, True),
        ("likert", Answer("judged", values={"a": 4, "b": 4}), {"outcome": "judged", "values": {"a": 5, "b": 2}}, False),
        ("likert", Answer("judged", values={"a": 4, "b": 4}), {"outcome": "judged", "values": {"a": 5}}, True),
        ("likert", Answer("judged", values={}), {"outcome": "judged", "values": {"a": 5}}, False),
        ("likert", Answer("defective"), {"outcome": "judged", "values": {"a": 5}}, False),
        ("label", Answer("judged", values={"x": "yes"}), {"outcome": "judged", "values": {"x": "yes"}}, True),
        ("label", Answer("judged", values={"x": "no"}), {"outcome": "judged", "values": {"x": "yes"}}, False),
        (
            "correctness",
            Answer("judged", values={"correctness": "partly"}),
            {"outcome": "judged", "values": {"correctness": "correct"}},
            False,
        ),
        ("correctness", Answer("defective"), {"outcome": "defective", "values": {}}, True),
    ],
)
def test_an_answer_is_right_by_its_kind(kind, said, known, right):
    assert is_right(said, known, kind) is right


def test_how_near_points_must_be_can_be_said():
    said, known = Answer("judged", values={"a": 3}), {"outcome": "judged", "values": {"a": 5}}
    assert is_right(said, known, "likert", within=2)
    assert not is_right(Answer("judged", values={"a": 4}), known, "likert", within=0)


@pytest.mark.django_db
class TestScore:
    @pytest.fixture
    def campaign(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], cases=make_cases(study, 4), gold_rate=0.3)
        for _ in range(2):
            make_item(campaign, gold={"outcome": "prefer_a", "feedback": "A is whole."})
        return campaign

    def judge_all(self, campaign, annotator, on_gold):
        while assignment := next_assignment(campaign, annotator):
            answer = on_gold if assignment.item.gold else Answer("tie")
            judging.submit(assignment, answer, actor=annotator)

    def test_it_counts_gold_items_alone(self, campaign, anna, ben):
        make_item(campaign, gold={"outcome": "tie"}, training=True)
        assert isnan(gold_score(campaign, anna).share)
        self.judge_all(campaign, anna, Answer("prefer_a", "slightly"))
        self.judge_all(campaign, ben, Answer("tie"))
        assert (gold_score(campaign, anna).right, gold_score(campaign, anna).total) == (2, 2)
        assert gold_score(campaign, ben).share == 0
        assert gold_scores(campaign) == {anna.pk: gold_score(campaign, anna), ben.pk: gold_score(campaign, ben)}

    def test_a_correction_counts_and_a_withdrawn_answer_does_not(self, campaign, anna):
        self.judge_all(campaign, anna, Answer("tie"))
        first, second = (item.judgements.get() for item in campaign.items.filter(gold__isnull=False))
        judging.revise(first, Answer("prefer_a", "clearly"), change_reason="Looked again", actor=anna)
        judging.undo(second, actor=anna)
        assert (gold_score(campaign, anna).right, gold_score(campaign, anna).total) == (1, 1)

    def test_it_is_one_query_for_everybody(self, campaign, anna, ben, django_assert_num_queries):
        self.judge_all(campaign, anna, Answer("tie"))
        self.judge_all(campaign, ben, Answer("tie"))
        with django_assert_num_queries(1):
            assert len(gold_scores(campaign)) == 2
