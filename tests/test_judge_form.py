"""What the rating page's form says, read as a draft and as an answer; sides become the item's fixed order."""

import pytest
from django.http import QueryDict

from annotations import judging
from annotations.forms_judging import COMPARED, MARKS, Sheet, read_answer, read_draft, without_unchanged_ideal

CHIPS = ["wrong dose", "unsafe"]
CRITERIA = [{"name": "faithful", "title": "Faithful", "question": "Is it true?", "anchors": ["no", "yes"]}]
RUBRIC = {"criteria": CRITERIA, "chips": CHIPS, "marks": True, "ideal": True, "label_fields": [], "reason": "optional"}


def draft(rubric=RUBRIC, kind="comparison", **fields):
    post = QueryDict(mutable=True)
    for name, value in fields.items():
        post.setlist(name.replace("__", "-"), value if isinstance(value, list) else [value])
    return read_draft(post, kind, rubric)


class TestDraft:
    def test_chips_are_those_of_the_rubric_in_its_order(self):
        assert draft(chips=["unsafe", "made up", "wrong dose"])["chips"] == CHIPS
        assert draft(RUBRIC | {"chips": []}, chips=["unsafe"])["chips"] == []

    def test_marks_name_side_sentence_kind_and_severity(self):
        fields = {"mark__right__0": "omission:major", "mark__left__12": "wrong:dangerous", "mark__left__2": "correct"}
        assert draft(**fields)["marks"] == [
            {"side": "left", "sentence": 2, "kind": "correct", "severity": ""},
            {"side": "left", "sentence": 12, "kind": "wrong", "severity": "dangerous"},
            {"side": "right", "sentence": 0, "kind": "omission", "severity": "major"},
        ]

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("mark__middle__0", "correct"),
            ("mark__left__x", "correct"),
            ("mark__left__1", "wrong"),
            ("mark__left__1", ""),
        ],
    )
    def test_a_mark_that_does_not_exist_is_none(self, name, value):
        assert draft(**{name: value})["marks"] == []

    def test_what_the_rubric_does_not_ask_for_is_not_read(self):
        rubric = RUBRIC | {"marks": False, "ideal": False, "criteria": []}
        found = draft(rubric, mark__left__0="correct", ideal_side="left", ideal_text="x", value__faithful="3")
        assert (found["marks"], found["ideal"], found["values"]) == ([], {}, {})

    def test_a_criterion_of_a_comparison_has_five_points_whatever_its_anchors(self):
        assert draft(value__faithful="5")["values"] == {"faithful": 5}
        assert draft(value__faithful="6")["values"] == {}

    def test_an_ideal_needs_a_side_and_a_text(self):
        assert draft(ideal_side="right", ideal_text="Give\r\nheparin.")["ideal"] == {
            "side": "right",
            "text": "Give\nheparin.",
        }
        assert draft(ideal_side="right", ideal_text=" ")["ideal"] == {}
        assert draft(ideal_side="b", ideal_text="x")["ideal"] == {}

    def test_an_output_as_it_was_is_no_ideal(self):
        fields = draft(ideal_side="left", ideal_text="As it was.\r\n")
        assert without_unchanged_ideal(fields, {"left": "As it was.", "right": "Other."})["ideal"] == {}
        assert without_unchanged_ideal(fields, {"left": "Other.", "right": "As it was."})["ideal"]

    def test_a_flag_is_set_by_its_box_alone(self):
        assert draft(flagged="1")["flagged"] is True
        assert draft(flagged="yes")["flagged"] is False


class TestAnswer:
    @pytest.mark.parametrize(("a_is_left", "output", "point"), [(True, "a", 2), (False, "b", 4)])
    def test_everything_said_of_a_side_follows_the_fixed_order(self, a_is_left, output, point):
        fields = draft(
            choice="left",
            strength="clearly",
            value__faithful="2",
            mark__left__0="wrong:minor",
            ideal_side="left",
            ideal_text="Better.",
            flagged="1",
            chips=["unsafe"],
        )
        answer = read_answer(fields, "comparison", a_is_left)
        assert answer.outcome == f"prefer_{output}"
        assert answer.values == {"faithful": point}
        assert answer.marks[0]["output"] == output
        assert answer.ideal == judging.Ideal(output, "Better.")
        assert (answer.flagged, list(answer.chips)) == (True, ["unsafe"])

    def test_no_difference_is_no_difference_from_either_side(self):
        fields = draft(choice="tie", value__faithful="3")
        assert read_answer(fields, "comparison", False).values == read_answer(fields, "comparison", True).values

    def test_one_output_alone_is_a(self):
        rubric = RUBRIC | {"criteria": []}
        fields = draft(
            rubric,
            "correctness",
            value__correctness="partly",
            mark__left__0="correct",
            ideal_side="left",
            ideal_text="x",
        )
        answer = read_answer(fields, "correctness", None)
        assert (answer.outcome, answer.values) == ("judged", {"correctness": "partly"})
        assert (answer.marks[0]["output"], answer.ideal.output) == ("a", "a")


class TestSheet:
    def test_a_sheet_shows_what_the_draft_says(self):
        fields = draft(chips=["unsafe"], mark__right__1="wrong:major", value__faithful="4", mark__left__0="correct")
        sheet = Sheet("comparison", RUBRIC, fields)
        assert sheet.chips == [("wrong dose", False), ("unsafe", True)]
        assert (sheet.mark("right", 1), sheet.mark("left", 0), sheet.mark("left", 1)) == ("wrong:major", "correct", "")
        (question,) = sheet.questions
        assert [option.title for option in question.options] == list(COMPARED)
        assert [option.checked for option in question.options] == [False, False, False, True, False]

    def test_every_mark_of_the_menu_can_be_read_back(self):
        for value in MARKS:
            fields = draft(mark__left__0=value)
            assert Sheet("comparison", RUBRIC, fields).mark("left", 0) == value

    def test_a_draft_from_before_these_fields_is_still_a_draft(self):
        sheet = Sheet("comparison", RUBRIC, {"choice": "tie", "values": {}})
        assert (sheet.choice, sheet.ideal, sheet.mark("left", 0)) == ("tie", {}, "")
        assert not any(chosen for _, chosen in sheet.chips)
