"""Which words two outputs differ in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotations.difference import MAX_WORDS, Span, difference

TEXTS = st.text(alphabet=st.sampled_from("ab c.\n-3é"), max_size=40)


def differing(spans):
    return [span.text for span in spans if span.differs]


@pytest.mark.parametrize(
    ("one", "other", "in_one", "in_other"),
    [
        ("Give 3.5 mg now.", "Give 5 mg now.", ["3.5"], ["5"]),
        ("No fever.", "No fever.", [], []),
        ("A swollen calf.", "A calf.", ["swollen"], []),
        ("Start heparin now", "Stop all heparin now", ["Start"], ["Stop all"]),
        ("", "Text.", [], ["Text."]),
        ("b.i.d. dose", "b.i.d., dose", [], [","]),
    ],
)
def test_words_that_differ_are_found_on_both_sides(one, other, in_one, in_other):
    spans = difference(one, other)
    assert spans is not None
    assert (differing(spans[0]), differing(spans[1])) == (in_one, in_other)


@given(one=TEXTS, other=TEXTS)
def test_the_order_of_the_texts_tells_nothing(one, other):
    left, right = difference(one, other)
    assert difference(other, one) == (right, left)


@given(one=TEXTS, other=TEXTS)
def test_no_character_of_a_text_is_lost(one, other):
    for text, spans in zip((one, other), difference(one, other), strict=True):
        assert "".join(span.text for span in spans) == text


def test_a_text_differs_from_itself_in_nothing():
    assert difference("Two words.", "Two words.") == ([Span("Two words.", False)],) * 2


def test_texts_that_are_too_long_are_not_compared():
    long = "word " * (MAX_WORDS + 1)
    assert difference(long, "short") is None
    assert difference("short", long) is None
