"""Where two texts differ, word by word. Symmetrical: which one comes first changes nothing, and hints at nothing."""

import re
from dataclasses import dataclass
from difflib import SequenceMatcher

# A word with what joins it ("3.5", "b.i.d", "follow-up"), or one sign.
_WORD = re.compile(r"\w+(?:[.,'’/-]\w+)*|[^\w\s]")
MAX_WORDS = 1500  # a text; the time grows with the square of it


@dataclass(frozen=True)
class Span:
    """A stretch of a text; ``differs``: the other text has something else here, or nothing."""

    text: str
    differs: bool


def difference(one: str, other: str) -> tuple[list[Span], list[Span]] | None:
    """Both texts as spans, in the order given; None where one is too long to compare. Spans joined give the text.

    >>> [span.text for span in difference("No fever today.", "High fever today.")[0] if span.differs]
    ['No']
    """
    if max(len(_WORD.findall(one)), len(_WORD.findall(other))) > MAX_WORDS:
        return None
    if one > other:
        # SequenceMatcher finds other matches for (b, a) than for (a, b); one fixed order makes them the same.
        second, first = _compare(other, one)
        return first, second
    return _compare(one, other)


def _compare(one: str, other: str) -> tuple[list[Span], list[Span]]:
    words = [list(_WORD.finditer(text)) for text in (one, other)]
    keys = [[word.group() for word in found] for found in words]
    matcher = SequenceMatcher(None, keys[0], keys[1], autojunk=False)
    alike: tuple[set[int], set[int]] = (set(), set())
    for block in matcher.get_matching_blocks():
        alike[0].update(range(block.a, block.a + block.size))
        alike[1].update(range(block.b, block.b + block.size))
    return _spans(one, words[0], alike[0]), _spans(other, words[1], alike[1])


def _spans(text: str, words: list[re.Match[str]], alike: set[int]) -> list[Span]:
    """The text cut where agreement begins and ends. The space between two words that differ differs with them."""
    spans: list[Span] = []
    start = 0
    for number, word in enumerate(words):
        differs = number not in alike
        if not spans and word.start() > 0:
            spans.append(Span(text[: word.start()], differs=False))
        elif spans:
            gap = text[start : word.start()]
            spans = _joined(spans, Span(gap, differs=differs and spans[-1].differs)) if gap else spans
        spans = _joined(spans, Span(word.group(), differs=differs))
        start = word.end()
    rest = text[start:]
    return _joined(spans, Span(rest, differs=False)) if rest else spans


def _joined(spans: list[Span], span: Span) -> list[Span]:
    if spans and spans[-1].differs == span.differs:
        return [*spans[:-1], Span(spans[-1].text + span.text, span.differs)]
    return [*spans, span]
