"""What an annotator says is kept as said: once, whole, never overwritten, never by side."""

from dataclasses import replace
from datetime import timedelta

import pytest
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent
from annotations import judging
from annotations.assignment import next_assignment
from annotations.judging import Answer, Ideal, current_revisions, from_side, problems, to_side
from annotations.models import Assignment, Item, Judgement, Revision
from tests.factories import make_campaign, make_cases, make_completion, make_study

pytestmark = pytest.mark.django_db
CLEARLY_A = Answer("prefer_a", strength="clearly", reason="Nothing is missing.")


@pytest.fixture
def campaign(anna):
    return make_campaign(make_study(), [anna])


@pytest.fixture
def assignment(campaign, anna):
    return next_assignment(campaign, anna)


def submit(assignment, answer=CLEARLY_A, **options):
    return judging.submit(assignment, answer, actor=assignment.annotator, **options)


def test_a_preference_stores_the_chosen_completion_and_not_the_side(assignment):
    revision = judging.current(submit(assignment))
    assert revision.chosen == assignment.item.completion_a
    assert (revision.outcome, revision.strength, revision.number) == ("prefer_a", "clearly", 1)


@pytest.mark.parametrize("a_left", [True, False, None])
def test_sides_translate_to_the_fixed_order_and_back(a_left):
    shown_left = "prefer_a" if a_left is not False else "prefer_b"
    assert from_side("left", a_left) == shown_left
    for side in ("left", "right"):
        assert to_side(from_side(side, a_left), a_left) == side


def test_a_double_click_is_one_judgement(assignment):
    assert submit(assignment) == submit(assignment)
    assert Revision.objects.count() == 1


def test_a_different_answer_after_the_submit_is_refused_and_nothing_is_overwritten(assignment):
    judgement = submit(assignment)
    with pytest.raises(UserError, match="already submitted a different answer"):
        submit(assignment, Answer("tie"))
    assert judging.current(judgement).outcome == "prefer_a"


def test_a_draft_never_replaces_a_submission(assignment):
    submit(assignment)
    assert not judging.save_draft(assignment, {"choice": "tie"})
    assignment.refresh_from_db()
    assert assignment.draft is None


def test_a_draft_is_kept_and_extends_the_lease(assignment):
    soon = timezone.now() + timedelta(minutes=1)
    Assignment.objects.filter(pk=assignment.pk).update(lease_expires_at=soon)
    assignment.refresh_from_db()
    assert judging.save_draft(assignment, {"reason": "half a thought"})
    assignment.refresh_from_db()
    assert assignment.draft == {"reason": "half a thought"}
    assert assignment.lease_expires_at > soon + timedelta(minutes=20)


class TestLateSubmits:
    @pytest.fixture
    def late(self, anna, ben):
        study = make_study()
        campaign = make_campaign(study, [anna, ben], overlap=1, cases=make_cases(study, 1))
        assignment = next_assignment(campaign, anna)
        Assignment.objects.update(lease_expires_at=timezone.now() - timedelta(hours=1))
        assignment.refresh_from_db()
        return assignment

    def test_late_submit_takes_its_place_while_that_is_free(self, late):
        assert not submit(late).surplus

    def test_late_submit_is_kept_as_surplus_once_the_place_is_taken(self, late, ben):
        submit(next_assignment(late.item.campaign, ben))
        assert submit(late).surplus
        assert current_revisions(late.item.campaign).count() == 1
        assert current_revisions(late.item.campaign, surplus=True).count() == 2

    def test_a_surplus_judgement_takes_the_place_of_one_that_was_undone_and_skipped(self, late, ben):
        campaign = late.item.campaign
        counted = submit(next_assignment(campaign, ben))
        surplus = submit(late)
        judging.undo(counted, actor=ben)
        surplus.refresh_from_db()
        assert surplus.surplus  # Ben holds the place while he thinks again
        judging.skip(counted.assignment)
        assert list(current_revisions(campaign).values_list("judgement", flat=True)) == [surplus.pk]

    def test_a_draft_does_not_take_the_place_back(self, late, ben):
        other = next_assignment(late.item.campaign, ben)
        judging.save_draft(late, {"choice": "tie"})
        assert not submit(other).surplus
        assert submit(late).surplus


def test_a_closed_campaign_refuses(assignment):
    assignment.item.campaign.closed_at = timezone.now()
    assignment.item.campaign.save()
    with pytest.raises(UserError, match="has been closed"):
        submit(assignment)
    assert not Judgement.objects.exists()


class TestChanges:
    def test_a_correction_adds_a_revision_with_its_reason(self, assignment, anna):
        judgement = submit(assignment)
        revision = judging.revise(judgement, Answer("tie"), change_reason="Looked again", actor=anna)
        assert [r.outcome for r in judgement.revisions.all()] == ["prefer_a", "tie"]
        assert (revision.is_current, revision.change_reason, revision.chosen) == (True, "Looked again", None)
        assert AuditEvent.objects.filter(action="revise judgement", actor=anna).exists()

    def test_a_correction_needs_a_reason_and_a_difference(self, assignment, anna):
        judgement = submit(assignment)
        with pytest.raises(UserError, match="Say why"):
            judging.revise(judgement, Answer("tie"), change_reason=" ", actor=anna)
        with pytest.raises(UserError, match="nothing to change"):
            judging.revise(judgement, CLEARLY_A, change_reason="no idea", actor=anna)
        assert judgement.revisions.count() == 1

    def test_an_undo_withdraws_and_gives_the_item_back_with_the_answer_as_draft(self, assignment, campaign, anna):
        judgement = submit(assignment)
        side = assignment.a_is_left
        judging.undo(judgement, actor=anna)
        assert not current_revisions(campaign).exists()
        again = next_assignment(campaign, anna)
        assert again == assignment
        assert again.a_is_left == side
        assert again.draft["choice"] == to_side("prefer_a", side)
        submit(again, Answer("tie"))
        assert [r.outcome for r in judgement.revisions.all()] == ["prefer_a", "withdrawn", "tie"]
        assert Judgement.objects.count() == 1

    def test_an_undo_twice_is_one_undo(self, assignment, anna):
        judgement = submit(assignment)
        assert judging.undo(judgement, actor=anna) == judging.undo(judgement, actor=anna)

    def test_nothing_changes_after_the_campaign_is_closed(self, assignment, campaign, anna):
        judgement = submit(assignment)
        campaign.closed_at = timezone.now()
        campaign.save()
        with pytest.raises(UserError, match="closed"):
            judging.undo(judgement, actor=anna)
        with pytest.raises(UserError, match="closed"):
            judging.revise(judgement, Answer("tie"), change_reason="x", actor=anna)


class TestWholeAnswers:
    RUBRIC = {"criteria": [{"name": "faithful", "anchors": ["a", "b", "c"]}], "label_fields": [], "reason": "optional"}
    LABELS = {"label_fields": [{"name": "urgency", "labels": [{"value": "soon"}]}]}

    @pytest.mark.parametrize(
        ("kind", "answer", "missing"),
        [
            ("comparison", Answer(""), {"choice"}),
            ("comparison", Answer("judged"), {"choice"}),
            ("comparison", Answer("prefer_b"), {"strength"}),
            ("comparison", Answer("tie"), set()),
            ("comparison", Answer("both_unacceptable"), set()),
            ("comparison", Answer("defective"), set()),
            ("comparison", Answer("cannot_judge"), {"cannot_judge"}),
            ("comparison", Answer("cannot_judge", cannot_judge="outside_my_field"), set()),
            ("likert", Answer("judged"), {"faithful"}),
            ("likert", Answer("judged", values={"faithful": 4}), {"faithful"}),
            ("likert", Answer("judged", values={"faithful": 3}), set()),
            ("likert", Answer("judged", values={"faithful": 3, "style": 1}), {"style"}),
            ("likert", Answer("tie"), {"choice"}),
            ("likert", Answer("defective"), set()),
            ("label", Answer("judged", values={"urgency": "later"}), {"urgency"}),
            ("label", Answer("judged", values={"urgency": "soon"}), set()),
            ("correctness", Answer("judged", values={"correctness": "partly"}), set()),
            ("correctness", Answer("judged"), {"correctness"}),
            ("correctness", Answer("withdrawn"), {"choice"}),
        ],
    )
    def test_what_is_missing_is_named(self, kind, answer, missing):
        criteria = self.RUBRIC["criteria"] if kind == "likert" else []
        assert set(problems(answer, kind, self.RUBRIC | self.LABELS | {"criteria": criteria})) == missing

    def test_a_reason_can_be_asked_for(self):
        assert set(problems(Answer("tie"), "comparison", {"reason": "required"})) == {"reason"}

    def test_a_reason_has_a_longest_length(self):
        assert problems(Answer("tie", reason="x" * 10_000), "comparison", {}) == {}
        assert set(problems(Answer("tie", reason="x" * 10_001), "comparison", {})) == {"reason"}

    def test_an_incomplete_answer_is_not_kept(self, assignment):
        with pytest.raises(UserError, match="not complete"):
            submit(assignment, Answer("prefer_a"))
        assert not Judgement.objects.exists()

    def test_what_does_not_belong_to_the_outcome_is_not_kept(self, assignment):
        revision = judging.current(
            submit(assignment, Answer("tie", strength="clearly", cannot_judge="outside_my_field", values={"x": 1}))
        )
        assert (revision.strength, revision.cannot_judge, revision.values) == ("", "", {})


WHOLE = {
    "criteria": [{"name": "faithful", "title": "Faithful"}, {"name": "complete", "title": "Complete"}],
    "chips": ["invents a finding", "too long"],
    "marks": True,
    "ideal": True,
}
MARK = {"output": "a", "sentence": 1, "kind": "wrong", "severity": "major"}
FULL = Answer(
    "prefer_b",
    strength="slightly",
    values={"faithful": 2, "complete": 3},
    reason="Both miss the dose.",
    chips=["too long", "invents a finding"],
    marks=[MARK, {"output": "b", "sentence": 0, "kind": "correct", "severity": ""}],
    ideal=Ideal("b", "Cough for 3 days.\r\nNo fever."),
    flagged=True,
)


@pytest.fixture
def rich(anna):
    """An assignment of a comparison that asks for everything there is to ask."""
    study = make_study()
    case = make_cases(study, 1)[0]
    campaign = make_campaign(study, [anna], cases=[], models=("alpha", "beta"))
    campaign.rubric |= WHOLE
    campaign.save()
    a, b = (make_completion(case, model, f"Cough. {model} days.") for model in campaign.models.order_by("name"))
    campaign.items.create(case=case, completion_a=a, completion_b=b, position=0)
    return next_assignment(campaign, anna)


class TestEverythingThatCanBeSaid:
    def test_chips_marks_criteria_ideal_and_flag_are_kept(self, rich):
        revision = judging.current(submit(rich, FULL))
        assert revision.values == {"faithful": 2, "complete": 3}
        assert revision.chips == ["invents a finding", "too long"]  # in the rubric's order
        assert revision.flagged
        assert revision.ideal.text == "Cough for 3 days.\nNo fever."
        assert revision.ideal.edited_from == rich.item.completion_b
        assert revision.marks == [
            {**MARK, "quote": "alpha days."},
            {"output": "b", "sentence": 0, "kind": "correct", "severity": "", "quote": "Cough."},
        ]

    def test_the_same_answer_twice_is_one_judgement_whatever_the_order_of_its_parts(self, rich):
        first = submit(rich, FULL)
        assert submit(rich, replace(FULL, chips=FULL.chips[::-1], marks=FULL.marks[::-1])) == first
        assert Revision.objects.count() == 1

    @pytest.mark.parametrize(
        "change",
        [
            {"chips": []},
            {"marks": [MARK]},
            {"marks": [{**MARK, "severity": "minor"}]},
            {"ideal": None},
            {"ideal": Ideal("a", FULL.ideal.text)},
            {"flagged": False},
            {"values": {"faithful": 3, "complete": 3}},
        ],
    )
    def test_another_chip_mark_ideal_or_flag_is_another_answer(self, rich, anna, change):
        judgement = submit(rich, FULL)
        with pytest.raises(UserError, match="different answer"):
            submit(rich, replace(FULL, **change))
        judging.revise(judgement, replace(FULL, **change), change_reason="looked again", actor=anna)
        assert judgement.revisions.count() == 2

    @pytest.mark.parametrize("a_left", [True, False])
    def test_an_undo_gives_everything_back_as_it_was_shown(self, rich, anna, a_left):
        Assignment.objects.update(a_is_left=a_left)
        rich.refresh_from_db()
        judging.undo(submit(rich, FULL), actor=anna)
        rich.refresh_from_db()
        a, b = ("left", "right") if a_left else ("right", "left")
        assert rich.draft == {
            "choice": b,
            "strength": "slightly",
            "cannot_judge": "",
            "values": {"faithful": 2, "complete": 3} if a_left else {"faithful": 4, "complete": 3},
            "reason": "Both miss the dose.",
            "chips": ["invents a finding", "too long"],
            "marks": [
                {"side": a, "sentence": 1, "kind": "wrong", "severity": "major"},
                {"side": b, "sentence": 0, "kind": "correct", "severity": ""},
            ],
            "ideal": {"side": b, "text": "Cough for 3 days.\nNo fever."},
            "flagged": True,
        }

    def test_an_unchanged_text_is_no_correction(self, rich):
        text = rich.item.completion_b.text
        judgement = submit(rich, replace(FULL, ideal=Ideal("b", f" {text}\r\n")))
        assert judging.current(judgement).ideal is None
        assert submit(rich, replace(FULL, ideal=None)) == judgement

    def test_a_correction_is_kept_under_the_rubric_in_force(self, rich, anna):
        judgement = submit(rich, FULL)
        campaign = rich.item.campaign
        campaign.rubric_version = 2
        campaign.save()
        revision = judging.revise(judgement, replace(FULL, chips=[]), change_reason="looked again", actor=anna)
        assert [row.rubric_version for row in judgement.revisions.all()] == [1, 2]
        assert revision.ideal == judgement.revisions.first().ideal

    def test_who_cannot_judge_keeps_no_points(self, rich):
        judgement = submit(rich, replace(FULL, outcome="cannot_judge", cannot_judge="outside_my_field"))
        revision = judging.current(judgement)
        assert (revision.values, revision.chips, revision.flagged) == ({}, ["invents a finding", "too long"], True)

    def test_a_campaign_that_asks_for_no_reason_keeps_none(self, rich):
        campaign = rich.item.campaign
        campaign.rubric |= {"reason": "none"}
        campaign.save()
        assert judging.current(submit(rich, FULL)).reason == ""

    @pytest.mark.parametrize(
        ("change", "missing"),
        [
            ({"values": {"faithful": 2}}, {"complete"}),
            ({"values": {"faithful": 6, "complete": 1}}, {"faithful"}),
            ({"outcome": "tie", "values": {}}, {"faithful", "complete"}),
            ({"outcome": "both_unacceptable", "values": {}}, {"faithful", "complete"}),
            ({"outcome": "defective", "values": {}}, set()),
            ({"chips": ["rude"]}, {"chips"}),
            ({"marks": [{**MARK, "sentence": 2}]}, {"marks"}),
            ({"marks": [{**MARK, "sentence": -1}]}, {"marks"}),
            ({"marks": [{**MARK, "output": "c"}]}, {"marks"}),
            ({"marks": [{**MARK, "kind": "odd"}]}, {"marks"}),
            ({"marks": [{**MARK, "severity": ""}]}, {"marks"}),
            ({"marks": [{**MARK, "kind": "correct"}]}, {"marks"}),
            ({"marks": [{**MARK, "kind": "omission", "severity": "dangerous"}]}, set()),
            ({"marks": [MARK, MARK]}, {"marks"}),
            ({"ideal": Ideal("b", " ")}, {"ideal"}),
            ({"ideal": Ideal("b", "x" * 20_001)}, {"ideal"}),
            ({"ideal": Ideal("c", "x")}, {"ideal"}),
        ],
    )
    def test_what_is_wrong_is_named_and_nothing_is_kept(self, rich, change, missing):
        answer = replace(FULL, **change)
        assert set(problems(answer, "comparison", WHOLE, rich.item)) == missing
        if missing:
            with pytest.raises(UserError, match="not complete"):
                submit(rich, answer)
            assert not Judgement.objects.exists()

    def test_a_campaign_that_asks_for_none_of_it_refuses_all_of_it(self):
        assert set(problems(FULL, "comparison", {})) == {"chips", "marks", "ideal"}

    def test_a_chip_is_a_reason_where_one_is_required(self):
        rubric = {"reason": "required", "chips": ["too long"]}
        assert problems(Answer("tie", chips=["too long"]), "comparison", rubric) == {}
        assert set(problems(Answer("tie"), "comparison", rubric)) == {"reason"}

    def test_a_single_output_has_no_second_one_to_correct(self, anna):
        campaign = make_campaign(make_study(), [anna], kind="likert")
        item = campaign.items.first()
        rubric = campaign.rubric | {"ideal": True, "marks": True}
        answer = Answer("judged", values={"faithful": 1, "complete": 1}, ideal=Ideal("b", "x"))
        assert set(problems(answer, "likert", rubric, item)) == {"ideal"}
        answer = replace(answer, ideal=None, marks=[{**MARK, "output": "b", "sentence": 0}])
        assert set(problems(answer, "likert", rubric, item)) == {"marks"}


def test_a_judgement_of_an_item_outside_overlap_is_no_surplus(assignment):
    Item.objects.filter(pk=assignment.item_id).update(gold={"outcome": "tie"}, overlap=0)
    assert not submit(assignment).surplus


def test_repeats_gold_and_withdrawn_do_not_count(assignment, campaign, anna):
    submit(assignment)
    Item.objects.filter(pk=assignment.item_id).update(gold={"outcome": "tie"})
    assert not current_revisions(campaign, surplus=True).exists()


@pytest.mark.parametrize(("sent", "kept"), [(12.5, 12.5), (-3, 0), (float("nan"), 0), (1e9, 3600)])
def test_times_that_can_not_be_are_not_kept(assignment, sent, kept):
    submit(assignment, active_seconds=sent)
    assignment.refresh_from_db()
    assert assignment.active_seconds == kept
