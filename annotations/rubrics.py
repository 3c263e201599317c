"""What annotators of a campaign are asked, version by version: wording may change while it is open, the scale may not.

A judgement keeps the number of the version that it was given under, so that a report can say which belong to which.
"""

import copy
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction
from django.db.models import Count

from accounts.errors import UserError
from accounts.models import User, audit
from annotations.designs import FREE_TEXT, REASONS
from annotations.models import Campaign, Revision, RubricVersion
from annotations.studies import check_chips

Rubric = Mapping[str, Any]
NEW_CAMPAIGN = "Answers from before and after would not be comparable: plan a new campaign instead."
MAX_REASON = 300
TITLES = {
    "instructions": "Instructions",
    "reason": "Reasons",
    "chips": "Reasons to choose from",
    "marks": "Marking of sentences",
    "ideal": "Editing to the ideal",
}


@transaction.atomic
def change_rubric(campaign: Campaign, content: Rubric, *, reason: str, actor: User | None) -> RubricVersion:
    """Make ``content`` the rubric from now on. Raises UserError where answers would no longer be comparable.

    The campaign is locked, as every submit locks it: an answer belongs to the version before or to the one after.
    Drafts stay as they are.
    """
    if connection.features.has_select_for_update:
        Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    row = Campaign.objects.select_related("study").get(pk=campaign.pk)
    if not row.is_open:
        raise UserError(f"“{row}” is closed, so what it asked can't be changed any more.")
    if not reason.strip():
        raise UserError("Say why the wording is changed; the reason is kept with the new version.")
    new = checked(row, content)
    if not changes(row.rubric, new):
        raise UserError("Nothing is changed: this is the wording that is in force.")
    last = row.rubric_versions.order_by("-number").values_list("number", flat=True).first() or 0
    version = RubricVersion.objects.create(
        campaign=row, number=last + 1, content=new, reason=reason.strip()[:MAX_REASON], created_by=actor
    )
    Campaign.objects.filter(pk=row.pk).update(rubric=new, rubric_version=version.number)
    campaign.rubric, campaign.rubric_version = new, version.number
    audit(actor, "change rubric", row, version=version.number, reason=version.reason)
    return version


def checked(campaign: Campaign, content: Rubric) -> dict[str, Any]:
    """The content, complete and stripped. Raises UserError for what may not change, and for what can't be."""
    old, new = campaign.rubric, {**campaign.rubric, **copy.deepcopy(dict(content))}
    if unknown := sorted(set(new) - {*old, "chips", "marks", "ideal"}):
        raise UserError(f"A rubric has no {', '.join(unknown)}.")
    if bool(new["show_reference"]) != bool(old["show_reference"]):
        raise UserError(f"Whether the reference is shown can't be changed. {NEW_CAMPAIGN}")
    if new["reason"] not in REASONS:
        raise UserError(f"reason is “{new['reason']}”; it must be one of {', '.join(REASONS)}.")
    _same_scale(old, new)
    new["chips"] = check_chips(new.get("chips", []), "Reasons to choose from")
    new["marks"], new["ideal"] = bool(new.get("marks")), bool(new.get("ideal"))
    if campaign.kind == Campaign.Kind.LABEL and (new["marks"] or new["ideal"]):
        raise UserError("A label campaign shows no output that could be marked or edited.")
    if new["ideal"] and campaign.study.task not in FREE_TEXT:
        raise UserError(f"Outputs of a {campaign.study.task} study are labels, not texts to edit.")
    return new


def _same_scale(old: Rubric, new: Rubric) -> None:
    """Raise UserError unless criteria and labels are the same but for their wording, and every wording is there."""
    if [c["name"] for c in old["criteria"]] != [c["name"] for c in new["criteria"]]:
        raise UserError(f"The criteria and their order can't be changed. {NEW_CAMPAIGN}")
    for before, after in zip(old["criteria"], new["criteria"], strict=True):
        if len(before["anchors"]) != len(after["anchors"]):
            raise UserError(
                f"“{before['title']}” has {len(before['anchors'])} points, which can't be changed. {NEW_CAMPAIGN}"
            )
        _worded(before["title"], [after["title"], *after["anchors"]])
    if [_scale(field) for field in old["label_fields"]] != [_scale(field) for field in new["label_fields"]]:
        raise UserError(f"The labels and their order can't be changed, only what they are called. {NEW_CAMPAIGN}")
    for before, after in zip(old["label_fields"], new["label_fields"], strict=True):
        titles = [label["title"] for label in after["labels"]]
        _worded(before["title"], [after["title"], *titles])
        if len(set(titles)) < len(titles):
            raise UserError(f"Two labels of “{after['title']}” have the same title, so nobody could tell them apart.")


def _scale(field: Mapping[str, Any]) -> tuple[Any, ...]:
    return field["name"], field["level"], [label["value"] for label in field["labels"]]


def _worded(title: str, texts: Sequence[str]) -> None:
    if not all(isinstance(text, str) and text.strip() for text in texts):
        raise UserError(f"“{title}”: a title or the text of a point is empty. Write what it means.")


# --- what changed


@dataclass(frozen=True)
class Part:
    """A piece of a changed text: kept, added or taken out."""

    text: str
    kind: str  # "", "ins" or "del"


@dataclass(frozen=True)
class Change:
    what: str
    parts: list[Part]


def changes(before: Rubric, after: Rubric) -> list[Change]:
    """What differs between two versions, one change for each text that annotators read."""
    old, new = _texts(before), _texts(after)
    return [
        Change(what, difference(old.get(what, ""), new.get(what, "")))
        for what in dict.fromkeys((*new, *old))
        if old.get(what, "") != new.get(what, "")
    ]


def _texts(rubric: Rubric) -> dict[str, str]:
    """{what it is: the text}; switches say on or off."""
    texts = {
        TITLES["instructions"]: rubric["instructions"].replace("\r\n", "\n").strip(),
        TITLES["reason"]: rubric["reason"],
    }
    texts[TITLES["chips"]] = "\n".join(rubric.get("chips", []))
    texts |= {TITLES[name]: "on" if rubric.get(name) else "off" for name in ("marks", "ideal")}
    for criterion in rubric["criteria"]:
        name = f"Criterion {criterion['name']}"
        texts |= {f"{name}, title": criterion["title"], f"{name}, question": criterion["question"]}
        texts |= {f"{name}, point {n}": anchor for n, anchor in enumerate(criterion["anchors"], 1)}
    for field in rubric["label_fields"]:
        texts[f"Label field {field['name']}, title"] = field["title"]
        for label in field["labels"]:
            name = f"Label {field['name']} = {label['value']}"
            texts |= {f"{name}, title": label["title"], f"{name}, help": label.get("help", "")}
    return texts


def difference(before: str, after: str) -> list[Part]:
    """Word by word.

    >>> [(part.kind, part.text) for part in difference("a safe dose", "a safer dose")]
    [('', 'a '), ('del', 'safe'), ('ins', 'safer'), ('', ' dose')]
    """
    old, new = _words(before), _words(after)
    parts = []
    for tag, i, j, k, m in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag == "equal":
            parts.append(Part("".join(old[i:j]), ""))
            continue
        parts += [Part("".join(words), kind) for words, kind in ((old[i:j], "del"), (new[k:m], "ins")) if words]
    return parts


def _words(text: str) -> list[str]:
    """Words and what stands between them, so that joining them gives the text."""
    words: list[str] = []
    for character in text:
        if words and character.isspace() == words[-1][-1].isspace():
            words[-1] += character
        else:
            words.append(character)
    return words


# --- for the page


@dataclass(frozen=True)
class Edition:
    """A version with what it changed and how many judgements that stand were given under it."""

    version: RubricVersion
    changes: list[Change]
    judgements: int


def editions(campaign: Campaign) -> list[Edition]:
    """All versions of a campaign's rubric, the newest first (two queries)."""
    counts = dict(
        Revision.objects.filter(judgement__item__campaign=campaign, is_current=True)
        .exclude(outcome=Revision.Outcome.WITHDRAWN)
        .order_by()
        .values_list("rubric_version")
        .annotate(n=Count("pk"))
    )
    rows = list(campaign.rubric_versions.select_related("created_by").order_by("number"))
    return [
        Edition(row, changes(rows[n - 1].content, row.content) if n else [], counts.get(row.number, 0))
        for n, row in reversed(list(enumerate(rows)))
    ]
