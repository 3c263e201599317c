"""The rating page's form: what was posted, as an answer; what is known, as the fields to draw."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from annotations import judging
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


@dataclass(frozen=True)
class Option:
    value: str
    title: str
    help: str
    key: str  # the digit that chooses it; empty from the tenth on
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

    @property
    def questions(self) -> list[Question]:
        """What is asked besides the choice; empty in a comparison."""
        values = self.draft.get("values", {})
        return [
            Question(
                name=name,
                title=title,
                prompt=prompt,
                is_scale=is_scale,
                error=self.errors.get(name, ""),
                options=[
                    Option(str(value), label, text, str(n) if n < 10 else "", str(values.get(name, "")) == str(value))
                    for n, (value, label, text) in enumerate(options, start=1)
                ],
            )
            for name, title, prompt, is_scale, options in _asked(self.kind, self.rubric)
        ]

    @property
    def choice(self) -> str:
        return str(self.draft.get("choice", ""))


def _asked(kind: str, rubric: Mapping[str, Any]) -> list[tuple[str, str, str, bool, list[tuple[Any, str, str]]]]:
    """(name, title, prompt, is it a scale, [(value, title, help)]) for every question of a kind."""
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
    for name, allowed in judging.allowed_values(kind, rubric).items():
        by_text = {str(value): value for value in allowed}
        if (given := post.get(f"value-{name}")) in by_text:
            values[name] = by_text[given]
    return {
        "choice": _one_of(CHOICES, post.get("choice", "")),
        "strength": _one_of(judging.Revision.Strength.values, post.get("strength", "")),
        "cannot_judge": _one_of(judging.Revision.CannotJudge.values, post.get("cannot_judge", "")),
        "values": values,
        "reason": read_text(post, "reason"),
    }


def _one_of(allowed: Iterable[str], given: str) -> str:
    return given if given in set(allowed) else ""


def read_text(post: QueryDict, name: str) -> str:
    """What somebody typed, without NUL characters: PostgreSQL takes none, and nobody can type one."""
    return post.get(name, "").replace("\x00", "").strip()


def read_answer(draft: Mapping[str, Any], kind: str, a_is_left: bool | None) -> judging.Answer:
    """The fields of the page as an answer: sides become the item's fixed order here and nowhere else."""
    outcome = draft["choice"]
    if kind == Campaign.Kind.COMPARISON and outcome in SIDES:
        outcome = judging.from_side(outcome, a_is_left)
    elif kind != Campaign.Kind.COMPARISON and not outcome:
        outcome = judging.Outcome.JUDGED
    return judging.Answer(
        outcome=outcome,
        strength=draft["strength"],
        cannot_judge=draft["cannot_judge"],
        values=draft["values"] if kind != Campaign.Kind.COMPARISON else {},
        reason=draft["reason"],
    )


def sheet_for(assignment: Assignment) -> Sheet:
    """The page of an assignment as it was left."""
    campaign = assignment.item.campaign
    return Sheet(campaign.kind, campaign.rubric, assignment.draft or {})


def read_seconds(post: QueryDict) -> float:
    """Seconds of work on the item as the browser counted them; 0 where it counts none."""
    try:
        return float(post.get("active_seconds") or 0)
    except ValueError:
        return 0.0
