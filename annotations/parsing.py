"""Completion → labels: the inverse of ``prompts.render_labels``, tolerant of a model's manners, never guessing.

A label is found by its value or its title, whatever the case, the punctuation and the words around it. It is None
(unparsed, and counted as such) where no label is named, where two are, or where the only one is denied ("not urgent")
or asked about ("urgent?").
What a model marks as its answer ("Answer: soon", "urgency: soon") counts before what it says elsewhere; so does a first
line that is nothing but a label, whatever explanation follows.
"""

import json
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from annotations.models import Study

# Stored beside every parsed completion; raise it whenever the same text may parse differently.
PARSER_VERSION = 2

# Reasoning before the answer: cut off in the middle, or without its opening tag where the chat template wrote that.
THINKING = re.compile(r"<think>.*?(?:</think>|\Z)|\A(?:(?!<think>).)*</think>", re.DOTALL | re.IGNORECASE)
QUOTES = r"[\"'*_`]*"  # of JSON and Markdown
ANSWER = r"(?:final\s+|correct\s+)?answer"
# "Answer: X", "**Answer:** X", "the answer is X"
MARK = QUOTES + r"\s*(?:[:=]|\bis\b:?)" + QUOTES
# A denial reaches to the end of its clause, or stands behind the label ("urgent? no").
CLAUSE = re.compile(r"[.,;:!?\n—–()]|\b(?:but|so|therefore|hence)\b", re.IGNORECASE)
DENIED = re.compile(
    r"\b(?:not?|never|neither|nor|cannot|non|without|unlikely|rather\s+than|instead\s+of|less|(?<!at )least"
    r"|hardly|barely|scarcely|doubt\w*|impossible|unable|refuse|(?:wrong|incorrect|mistake|mistaken|unsafe)\s+to)\b|n['’]t\b",
    re.IGNORECASE,
)
NO_DOUBT = re.compile(r"\b(?:no|without(?:\s+an?y?)?)\s+(?:doubt|question)\b", re.IGNORECASE)
DENIED_BEHIND = re.compile(
    QUOTES + r"(?:\s*[?:=]\s*(?:no|false)\s*(?:$|[.,;\n])"
    # "routine follow-up would be dangerous"
    r"|\s+(?:(?!(?:because|as|since|if|when|and|or|but|that|which|who|whose)\b)[\w-]+\s+){0,2}(?:is|was|would\s+be|seems)"
    r"\s+(?:not|wrong|incorrect|impossible|unlikely|dangerous|unsafe|inappropriate)\b)",
    re.IGNORECASE,
)
# "I doubt that the answer is yes"
DENIED_MARK = re.compile(
    r"(?:\b(?:not|never|cannot|unlikely|hardly|doubt|doubtful|impossible|unclear|unsure)\b|n['’]t\b)\s+(?:\w+\s+){0,5}$",
    re.IGNORECASE,
)
# A label in a question is no answer, unless the question is answered at once: "urgent? Yes."
ASKED = re.compile(r"[^.;!?\n]*\?(?!" + QUOTES + r"\s*(?:yes|true|correct)\b)", re.IGNORECASE)
# Of an answer in free text: numbers, words, and the signs that tell "HIV-" from "HIV+" or "< 5" from "> 5". A hyphen is
# a sign behind a word ("O-"), before a number ("-2") or at the end, else it only joins ("beta-blocker", "5-10").
SIGN = r"[<>]=?|[+=%]|(?<=\w)-(?!\w)|(?<!\w)-(?=\.?\d)|(?<=\w\s)-(?=[\s.,;)*`]*\Z)"
ANSWER_TOKEN = re.compile(rf"\d*\.\d+|[^\W_]+|{SIGN}")
SIGNS = str.maketrans({"−": "-", "–": "-", "‐": "-", "‑": "-", "≤": "<=", "≥": ">=", "﹣": "-"})
WORD_BREAK = r"[\s_\-/]+"
# Labels that are also everyday words count only where they end a phrase: "no fever" and "other patients" name no label.
EVERYDAY = {"no", "none", "other", "soon"}
ENDS_PHRASE = r"(?=" + QUOTES + r"\s*(?:$|[.,;:!?()\]\n}]|(?:or|and|but)\b))"
# A single letter only as "(A)", "A." at the start of a line, "is A", "option A".
BEFORE_LETTER = (
    r"(?:^\s*|(?<=[(\[\"'*,])|(?<=\bis )|(?<=\bor )|(?<=\band )|(?<=\boption )|(?<=\bchoice )|(?<=\banswer ))"
)


@dataclass(frozen=True)
class Field:
    """A label field, ready to be looked for: ``mentions`` holds (pattern, value) for each value and title."""

    name: str
    mentions: tuple[tuple[re.Pattern[str], str], ...]
    exact: dict[str, str]  # normalised value or title → value
    asks: bool  # a label's own name ends with a question mark
    marker: str


def parse(study: Study, text: str) -> dict[str, str | None]:
    """What ``text`` answers: {label field: value or None}; {"answer": text or None} for reasoning; {} for summaries."""
    text = THINKING.sub(" ", text)
    if study.task == Study.Task.REASONING:
        return {"answer": final_answer(text)}
    if study.task == Study.Task.SUMMARISATION or not study.label_fields:
        return {}
    fields = _fields(json.dumps(study.label_fields, sort_keys=True))
    if len(fields) == 1:
        return {fields[0].name: _single(fields[0], text)}
    return _several(fields, text)


def final_answer(text: str) -> str | None:
    """The text after the last "Answer:" or "the answer is": the rest of its line, else the next line."""
    found = [m for m in re.finditer(rf"\b{ANSWER}{MARK}", text, re.IGNORECASE) if not _denied_mark(text, m.start())]
    rest = text[found[-1].end() :].strip() if found else ""
    return rest.splitlines()[0].strip(" \t*_`") or None if rest else None


def normalised(text: str) -> str:
    """Words only, lower case, single spaces: how labels are compared."""
    return " ".join(re.findall(r"[^\W_]+", text.casefold()))


def normalised_answer(text: str) -> str:
    """An answer in free text as words, numbers and signs, lower case, single spaces; for ``same_answer``.

    >>> normalised_answer("HIV-"), normalised_answer("≥ 1.5 %."), normalised_answer("Beta-blocker")
    ('hiv -', '>= 1.5 %', 'beta blocker')
    """
    plain = unicodedata.normalize("NFKC", text).translate(SIGNS).casefold().replace("->", " ")
    tokens = ANSWER_TOKEN.findall(plain)
    return " ".join(f"0{token}" if token.startswith(".") else token for token in tokens)


def same_answer(a: str, b: str) -> bool:
    """Whether two answers in free text say the same; a text without words, numbers or signs is no answer."""
    return bool(normalised_answer(a)) and normalised_answer(a) == normalised_answer(b)


def has_sign(text: str) -> bool:
    """Whether an answer carries one of the signs + - < > = %."""
    return any(re.fullmatch(r"[<>]=?|[-+=%]", token) for token in normalised_answer(text).split())


@lru_cache(maxsize=64)
def _fields(label_fields: str) -> tuple[Field, ...]:
    return tuple(_field(field) for field in json.loads(label_fields))


def _field(field: dict[str, Any]) -> Field:
    names = [
        (name, label["value"]) for label in field["labels"] for name in (label["value"], label.get("title")) if name
    ]
    return Field(
        name=field["name"],
        mentions=tuple((_mention(name), value) for name, value in names),
        exact={normalised(name): value for name, value in names},
        asks=any(name.strip().endswith("?") for name, _ in names),
        marker="|".join(_words(name) for name in (field["name"], field.get("title")) if name),
    )


def _words(name: str) -> str:
    """Pattern of a name whose words may be joined by spaces, underscores, hyphens or slashes."""
    return WORD_BREAK.join(re.escape(word) for word in re.split(WORD_BREAK, name.strip()) if word)


def _mention(name: str) -> re.Pattern[str]:
    pattern = rf"(?<!\w){_words(name)}(?!\w)"
    if name.casefold() in EVERYDAY:
        pattern += ENDS_PHRASE
    elif len(name) == 1 and name.isalpha():
        pattern = BEFORE_LETTER + pattern + ENDS_PHRASE
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)


def _mentioned(field: Field, text: str) -> set[str]:
    """Values of the labels that ``text`` names and doesn't deny. "urgent" inside the label "non-urgent" is no name."""
    found = [(m.start(), m.end(), value) for pattern, value in field.mentions for m in pattern.finditer(text)]
    values = set()
    for start, end, value in found:
        inside = any(s <= start and end <= e and (e - s) > (end - start) for s, e, _ in found)
        clause = NO_DOUBT.sub(" ", CLAUSE.split(text[:start])[-1])
        asked = not field.asks and ASKED.match(text, end)
        if not (inside or asked or DENIED.search(clause) or DENIED_BEHIND.match(text, end)):
            values.add(value)
    return values


def _denied_mark(text: str, start: int) -> bool:
    """Whether the clause before a marker takes it back: "I doubt that the answer is yes"."""
    clause = NO_DOUBT.sub(" ", re.split(r"\band\b", CLAUSE.split(text[:start])[-1])[-1])
    return bool(DENIED_MARK.search(clause))


def _exact(field: Field, text: str) -> str | None:
    """The label that ``text`` is, with nothing else; a question is none."""
    question = not field.asks and text.rstrip(" \t\n\"'*_`").endswith("?")
    return None if question else field.exact.get(normalised(text))


def _only(values: set[str]) -> str | None:
    return next(iter(values)) if len(values) == 1 else None


def _answers(field: Field, segments: list[str]) -> str | None:
    """The label that segments behind a marker agree on: in the first sentence, and no other label beside it."""
    values: set[str] = set()
    for segment in segments:
        value = _exact(field, segment)
        if value is not None:
            values.add(value)
        elif _mentioned(field, re.split(r"[.;](?:\s|$)", segment)[0]):
            values |= _mentioned(field, segment)
    return _only(values)


def _first_line(text: str) -> str:
    return next((line.strip() for line in text.splitlines() if line.strip()), "")


def _single(field: Field, text: str) -> str | None:
    if (value := _exact(field, text)) is not None:
        return value
    marks = list(re.finditer(rf"\b(?:{ANSWER}|label|category|{field.marker}){MARK}", text, re.IGNORECASE))
    if marks:
        ends = [mark.start() for mark in marks[1:]] + [len(text)]
        meant = [pair for pair in zip(marks, ends, strict=True) if not _denied_mark(text, pair[0].start())]
        return _answers(field, [_first_line(text[mark.end() : end]) for mark, end in meant])
    lines = [_exact(field, line) for line in text.splitlines() if line.strip()]
    if lines and lines[0] is not None:
        return _only({value for value in lines if value is not None})
    return _only(_mentioned(field, text))


def _several(fields: tuple[Field, ...], text: str) -> dict[str, str | None]:
    marks = sorted(
        (m.start(), m.end(), f.name)
        for f in fields
        for m in re.finditer(rf"\b(?:{f.marker}){MARK}", text, re.IGNORECASE)
    )
    segments: dict[str, list[str]] = {}
    for (start, end, name), until in zip(marks, [mark[0] for mark in marks[1:]] + [len(text)], strict=bool(marks)):
        if not _denied_mark(text, start):
            segments.setdefault(name, []).append(_first_line(text[end:until]))
    result: dict[str, str | None] = {}
    for field in fields:
        if field.name in segments:
            result[field.name] = _answers(field, segments[field.name])
        else:
            others = {name for other in fields if other is not field for name in other.exact}
            result[field.name] = None if marks or others & set(field.exact) else _bare(field, text)
    return result


def _bare(field: Field, text: str) -> str | None:
    """The label among the pieces of a list without names ("physician, urgent"), each piece nothing but a label."""
    pieces = (_exact(field, piece) for piece in re.split(r"[\n,;/|]|\s[-–—]\s", text))
    return _only({piece for piece in pieces if piece is not None})
