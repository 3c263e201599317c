"""The rating page's form: what was posted, as an answer; what is known, as the fields to draw."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from annotations import judging, keys
from annotations.models import Assignment, Campaign

SIDES = ("left", "right")
CHOICES = (*SIDES, *judging.COMPARISON_OUTCOMES[2:], judging.Outcome.JUDGED, *judging.ANY_KIND)
CORRECTNESS = {
    "title": "Is the answer correct?",
    "options": [
        ("correct", "Correct", "Right in substance, nothing wrong that matters"),
        ("partly", "Partly correct", "Something that matters is missing or wrong"),
        ("incorrect", "Incorrect", "Wrong, or no answer"),
    ],
}
# The points of a criterion in a comparison: A is what is shown on the left.
COMPARED = ("A clearly", "A slightly", "no difference", "B slightly", "B clearly")
SEVERITIES = ("minor", "major", "dangerous")
# {what a sentence's menu sends: what it says}
MARKS = {
    "correct": "correct",
    **{f"wrong:{severity}": f"wrong, {severity}" for severity in SEVERITIES},
    **{f"omission:{severity}": f"omission, {severity}" for severity in SEVERITIES},
}
_MARK = re.compile(r"mark-(left|right)-(\d{1,4})")


@dataclass(frozen=True)
class Option:
    value: str
    title: str
    help: str
    number: int  # which point_N chooses it; 0 from the tenth on
    key: str  # the person's key for that, as printed; empty from the tenth on
    checked: bool


@dataclass(frozen=True)
class Question:
    """One thing that is asked, with all its answers and their texts."""

    name: str
    title: str
    prompt: str
    options: list[Option]
    is_scale: bool = False
    error: str = ""


@dataclass
class Sheet:
    """The fields of the page: what was chosen or typed so far, and what is still missing."""

    kind: str
    rubric: Mapping[str, Any]
    draft: Mapping[str, Any] = field(default_factory=dict)
    errors: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=lambda: keys.labels(keys.DEFAULTS))  # {action: key as printed}

    @property
    def questions(self) -> list[Question]:
        """What is asked besides the choice, in its order."""
        values = self.draft.get("values", {})
        return [
            Question(
                name=name,
                title=title,
                prompt=prompt,
                is_scale=is_scale,
                error=self.errors.get(name, ""),
                options=[
                    Option(
                        value=str(value),
                        title=label,
                        help=text,
                        number=n if n <= keys.POINTS else 0,
                        key=self.labels.get(f"point_{n}", ""),
                        checked=str(values.get(name, "")) == str(value),
                    )
                    for n, (value, label, text) in enumerate(options, start=1)
                ],
            )
            for name, title, prompt, is_scale, options in _asked(self.kind, self.rubric)
        ]

    @property
    def is_pair(self) -> bool:
        return self.kind == Campaign.Kind.COMPARISON

    @property
    def choice(self) -> str:
        return str(self.draft.get("choice", ""))

    @property
    def chips(self) -> list[tuple[str, bool]]:
        """(a ready-made reason, whether it is chosen)."""
        chosen = self.draft.get("chips", [])
        return [(text, text in chosen) for text in self.rubric.get("chips", [])]

    @property
    def ideal(self) -> Mapping[str, str]:
        """{"side", "text"} of an output that was edited; empty where none was."""
        return self.draft.get("ideal") or {}

    def mark(self, side: str, sentence: int) -> str:
        """What the menu of a sentence says: a key of MARKS, or nothing."""
        for mark in self.draft.get("marks", []):
            if (mark["side"], mark["sentence"]) == (side, sentence):
                return f"{mark['kind']}:{mark['severity']}" if mark["severity"] else str(mark["kind"])
        return ""


def _asked(kind: str, rubric: Mapping[str, Any]) -> list[tuple[str, str, str, bool, list[tuple[Any, str, str]]]]:
    """(name, title, prompt, is it a scale, [(value, title, help)]) for every question of a kind."""
    if kind == Campaign.Kind.COMPARISON:
        return [
            (c["name"], c["title"], c["question"], True, [(n, text, "") for n, text in enumerate(COMPARED, start=1)])
            for c in rubric.get("criteria", [])
        ]
    if kind == Campaign.Kind.LIKERT:
        return [
            (c["name"], c["title"], c["question"], True, [(n, a, "") for n, a in enumerate(c["anchors"], start=1)])
            for c in rubric["criteria"]
        ]
    if kind == Campaign.Kind.LABEL:
        return [
            (f["name"], f["title"], "", False, [(x["value"], x["title"], x.get("help", "")) for x in f["labels"]])
            for f in rubric["label_fields"]
        ]
    if kind == Campaign.Kind.CORRECTNESS:
        return [("correctness", str(CORRECTNESS["title"]), "", False, list(CORRECTNESS["options"]))]  # type: ignore[arg-type]
    return []


def read_draft(post: QueryDict, kind: str, rubric: Mapping[str, Any]) -> dict[str, Any]:
    """What was posted, as the fields of the page, whole or not; a choice that doesn't exist is none."""
    values = {}
    for name, *_, options in _asked(kind, rubric):
        by_text = {str(value): value for value, *_ in options}
        if (given := post.get(f"value-{name}")) in by_text:
            values[name] = by_text[given]
    return {
        "choice": _one_of(CHOICES, post.get("choice", "")),
        "strength": _one_of(judging.Revision.Strength.values, post.get("strength", "")),
        "cannot_judge": _one_of(judging.Revision.CannotJudge.values, post.get("cannot_judge", "")),
        "values": values,
        "reason": read_text(post, "reason"),
        "chips": [text for text in rubric.get("chips", []) if text in post.getlist("chips")],
        "marks": _read_marks(post) if rubric.get("marks") else [],
        "ideal": _read_ideal(post) if rubric.get("ideal") else {},
        "flagged": post.get("flagged") == "1",
    }


def _read_marks(post: QueryDict) -> list[dict[str, Any]]:
    """The sentences that were marked, from left to right and from top to bottom."""
    marks = []
    for name, given in post.items():
        found = _MARK.fullmatch(name)
        if found and given in MARKS:
            kind, _, severity = str(given).partition(":")
            marks.append({"side": found[1], "sentence": int(found[2]), "kind": kind, "severity": severity})
    return sorted(marks, key=lambda mark: (mark["side"], mark["sentence"]))


def _read_ideal(post: QueryDict) -> dict[str, str]:
    """The edited output; forms send a line break as two characters, and a completion has one."""
    text = read_text(post, "ideal_text").replace("\r\n", "\n")
    side = _one_of(SIDES, post.get("ideal_side", ""))
    return {"side": side, "text": text} if side and text else {}


def without_unchanged_ideal(draft: dict[str, Any], shown: Mapping[str, str]) -> dict[str, Any]:
    """The draft without an "ideal" that is an output as it was. ``shown``: {side: its text}."""
    ideal = draft["ideal"]
    if ideal and ideal["text"] == shown.get(ideal["side"], ideal["text"]).replace("\r\n", "\n").strip():
        return draft | {"ideal": {}}
    return draft


def _one_of(allowed: Iterable[str], given: str) -> str:
    return given if given in set(allowed) else ""


def read_text(post: QueryDict, name: str) -> str:
    """What somebody typed, without NUL characters: PostgreSQL takes none, and nobody can type one."""
    return post.get(name, "").replace("\x00", "").strip()


def read_answer(draft: Mapping[str, Any], kind: str, a_is_left: bool | None) -> judging.Answer:
    """The fields of the page as an answer: sides become the item's fixed order here and nowhere else."""
    outcome, values, ideal = draft["choice"], draft["values"], draft["ideal"]
    if kind == Campaign.Kind.COMPARISON:
        outcome = judging.from_side(outcome, a_is_left) if outcome in SIDES else outcome
        if a_is_left is False:
            values = {name: len(COMPARED) + 1 - point for name, point in values.items()}
    elif not outcome:
        outcome = judging.Outcome.JUDGED
    return judging.Answer(
        outcome=outcome,
        strength=draft["strength"],
        cannot_judge=draft["cannot_judge"],
        values=values,
        reason=draft["reason"],
        chips=draft["chips"],
        marks=[
            {
                "output": _output(mark["side"], a_is_left),
                "sentence": mark["sentence"],
                "quote": "",
                "kind": mark["kind"],
                "severity": mark["severity"],
            }
            for mark in draft["marks"]
        ],
        ideal=judging.Ideal(_output(ideal["side"], a_is_left), ideal["text"]) if ideal else None,
        flagged=draft["flagged"],
    )


def _output(side: str, a_is_left: bool | None) -> str:
    """Which output of the item's fixed order was shown at ``side``; the only one of an item is on the left."""
    return "a" if judging.from_side(side, a_is_left) == judging.Outcome.PREFER_A else "b"


def sheet_for(assignment: Assignment) -> Sheet:
    """The page of an assignment as it was left."""
    campaign = assignment.item.campaign
    return Sheet(campaign.kind, campaign.rubric, assignment.draft or {})


def read_rubric(post: QueryDict) -> int | None:
    """The version of the rubric that the page showed; None where it doesn't say."""
    given = post.get("rubric_version", "")
    return int(given) if given.isdecimal() and len(given) < 9 else None


def read_seconds(post: QueryDict) -> float:
    """Seconds of work on the item as the browser counted them; 0 where it counts none."""
    try:
        return float(post.get("active_seconds") or 0)
    except ValueError:
        return 0.0
