"""The outputs of an item as one annotator sees them: by side, and nothing else of them (C6)."""

from dataclasses import dataclass

from django.utils.safestring import SafeString

from annotations.difference import Span, difference
from annotations.forms_judging import SIDES, Sheet
from annotations.models import Assignment, Completion
from annotations.rendering import markdown
from annotations.sentences import sentences


@dataclass(frozen=True)
class Sentence:
    """A sentence that can be marked. ``mark``: a key of MARKS, or nothing."""

    name: str  # of its menu in the form
    text: str
    mark: str


@dataclass(frozen=True)
class Output:
    side: str
    letter: str  # empty where there is one output only
    text: str
    html: SafeString | str  # empty where the text is
    sentences: list[Sentence]  # empty where the rubric asks for no marks
    difference: list[Span] | None  # None where there is nothing to compare with, or too much

    @property
    def name(self) -> str:
        return f"Output {self.letter}".strip()

    @property
    def marked(self) -> int:
        return sum(bool(sentence.mark) for sentence in self.sentences)


def shown_texts(assignment: Assignment) -> dict[str, str]:
    """{side: the text shown there}; one output alone is on the left."""
    item = assignment.item
    shown: list[Completion | None] = [item.completion_a, item.completion_b]
    if assignment.a_is_left is False:
        shown.reverse()
    texts = [completion.text for completion in shown if completion is not None]
    return dict(zip(SIDES, texts, strict=False))


def outputs_of(assignment: Assignment, sheet: Sheet | None = None) -> list[Output]:
    """The outputs of an assignment from left to right, with what ``sheet`` says of their sentences."""
    sheet = sheet or Sheet(assignment.item.campaign.kind, {})
    shown = shown_texts(assignment)
    pair = len(shown) == len(SIDES)
    spans = difference(*shown.values()) if pair else None
    return [
        Output(
            side=side,
            letter="AB"[place] if pair else "",
            text=text,
            html=markdown(text) if text.strip() else "",
            sentences=_sentences(side, text, sheet) if sheet.rubric.get("marks") else [],
            difference=spans[place] if spans else None,
        )
        for place, (side, text) in enumerate(shown.items())
    ]


def _sentences(side: str, text: str, sheet: Sheet) -> list[Sentence]:
    return [
        Sentence(f"mark-{side}-{number}", sentence, sheet.mark(side, number))
        for number, sentence in enumerate(sentences(text))
    ]
