"""Judgements from a file into a campaign: matched to its items, all of them or none."""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from django.db import transaction
from django.utils import timezone
from django.utils.dateparse import parse_datetime

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import judgement_files, judging, places
from annotations.exporting import criteria_of, models_of, values_of
from annotations.judging import Answer, Outcome
from annotations.models import Assignment, Campaign, Item, Judgement, Membership, Revision, Study

MAX_FINDINGS = 50
WITHOUT_VALUE = (Outcome.CANNOT_JUDGE, Outcome.DEFECTIVE, Outcome.WITHDRAWN)
FLIPPED = {Outcome.PREFER_A: Outcome.PREFER_B, Outcome.PREFER_B: Outcome.PREFER_A}


@dataclass
class Imported:
    """What came of a file."""

    campaign: Campaign
    judgements: int = 0
    revisions: int = 0
    surplus: int = 0
    created_annotators: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)  # {reason: rows} (C4)


@dataclass
class Given:
    """One revision as the file has it, gathered from its rows."""

    line: int
    item: Item
    annotator: str
    number: int
    a_is_left: bool | None
    answer: Answer
    started: datetime | None
    submitted: datetime | None


class Findings:
    """What is wrong with the file, a line each; raised together so that one look mends all."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def add(self, line: int, what: str) -> None:
        self.lines.append(f"Line {line}: {what}")

    def raise_any(self) -> None:
        if not self.lines:
            return
        shown = self.lines[:MAX_FINDINGS]
        if len(self.lines) > MAX_FINDINGS:
            shown.append(f"… and {len(self.lines) - MAX_FINDINGS} more")
        raise UserError(f"The file has {len(self.lines)} problem(s), so nothing was imported.", shown)


@transaction.atomic
def import_judgements(
    *, study: Study, path: Path, campaign: Campaign, create_annotators: bool = False, actor: User | None = None
) -> Imported:
    """Read a judgement file (C9) into ``campaign``; a row of another campaign is left out and counted.

    A judgement that is there already, word for word, is left out and counted too; a different one is a problem.
    ``create_annotators`` makes a member without a password for every annotator the study doesn't know.
    """
    result = Imported(campaign)
    rows = []
    for line, row in judgement_files.read(path):
        if row.get("campaign", campaign.name) in ("", campaign.name):
            rows.append((line, row))
        else:
            result.dropped["other_campaign"] = result.dropped.get("other_campaign", 0) + 1
    if not rows:
        raise UserError(f"No row of the file is of the campaign “{campaign.name}”.")
    given = _gather(campaign, rows)
    people = _people(campaign, given, create_annotators, result)
    _check_history(given)
    _keep(given, people, result)
    audit(actor, "import judgements", campaign, judgements=result.judgements, revisions=result.revisions)
    return result


# --- from rows to revisions


def _gather(campaign: Campaign, rows: Iterable[tuple[int, dict[str, str]]]) -> list[Given]:
    findings = Findings()
    items = _Items(campaign)
    only = campaign.annotators.first() if campaign.annotators.count() == 1 else None
    groups: dict[tuple[int, str, int], list[tuple[int, dict[str, str], bool]]] = defaultdict(list)
    for line, row in rows:
        annotator = row.get("annotator", "").strip() or (only.username if only else "")
        number = row.get("revision", "").strip() or "1"
        if not annotator:
            findings.add(line, "no annotator.")
        elif not number.isdecimal() or int(number) < 1:
            findings.add(line, f"revision “{number}” is not a number from 1.")
        else:
            try:
                item, flipped = items.find(row)
            except UserError as error:
                findings.add(line, error.message)
            else:
                groups[item.pk, annotator, int(number)].append((line, row, flipped))
    given = []
    for (item_id, name, revision), group in groups.items():
        try:
            given.append(_revision(items.by_pk[item_id], name, revision, group))
        except UserError as error:
            findings.add(group[0][0], error.message)
    findings.raise_any()
    return given


class _Items:
    """Finds the item a row is about by its case and models."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        rows = campaign.items.filter(repeat_of__isnull=True, gold__isnull=True)
        rows = rows.select_related("case", "completion_a__model", "completion_b__model")
        self.by_pk = {item.pk: item for item in rows}
        self.by_case: dict[str, list[Item]] = defaultdict(list)
        for item in self.by_pk.values():
            item.campaign = campaign
            self.by_case[item.case.external_id].append(item)

    def find(self, row: dict[str, str]) -> tuple[Item, bool]:
        """The item, and whether the row names its models the other way round."""
        name = row.get("case", "").strip()
        candidates = self.by_case.get(name, [])
        if not candidates:
            raise UserError(f"the campaign has no item of case “{name}”.")
        wanted = tuple(row.get(column, "").strip() for column in ("model_a", "model_b"))
        straight = [item for item in candidates if _matches(wanted, models_of(item))]
        if len(straight) > 1:
            raise UserError(f"case “{name}” has {len(straight)} such items, so the row must name the models.")
        if straight:
            return straight[0], False
        flipped = [item for item in candidates if wanted[1] and _matches(wanted[::-1], models_of(item))]
        if len(flipped) == 1:
            return flipped[0], True
        known = "; ".join(" and ".join(filter(None, models_of(item))) for item in candidates)
        raise UserError(f"case “{name}” has no item of {' and '.join(filter(None, wanted))}; it has {known or 'none'}.")


def _matches(wanted: Sequence[str], models: tuple[str, str]) -> bool:
    return all(not name or name == model for name, model in zip(wanted, models, strict=True))


def _revision(item: Item, annotator: str, number: int, group: list[tuple[int, dict[str, str], bool]]) -> Given:
    """One answer from the rows of its criteria."""
    line, first, flipped = group[0]
    criteria = criteria_of(item.campaign)
    said: dict[str, str] = {}
    for _, row, _ in group:
        name = row.get("criterion", "").strip() or (criteria[0] if len(criteria) == 1 else "")
        if name not in criteria:
            raise UserError(f"criterion “{name}” is not one of this campaign's ({', '.join(criteria)}).")
        if name in said:
            raise UserError(f"criterion “{name}” is given twice for one judgement.")
        said[name] = row.get("value", "").strip()
    if missing := [name for name in criteria if name not in said]:
        raise UserError(f"no value for {', '.join(missing)}.")
    answer = _answer(item.campaign, said, first, flipped)
    if answer.outcome != Outcome.WITHDRAWN:
        _require_whole(answer, item.campaign, said)
    return Given(
        line=line,
        item=item,
        annotator=annotator,
        number=number,
        a_is_left=_side(item, first.get("shown_left", "").strip(), flipped),
        answer=answer,
        started=_time(first.get("started", ""), "started"),
        submitted=_time(first.get("submitted", ""), "submitted"),
    )


def _require_whole(answer: Answer, campaign: Campaign, said: dict[str, str]) -> None:
    """Like the page, but for what another tool may not have asked: a reason, and how much better."""
    found = judging.problems(answer, campaign.kind, {**campaign.rubric, "reason": "optional"})
    if not answer.strength:
        found.pop("strength", None)
    if found:
        values = ", ".join(f"“{value}”" for value in dict.fromkeys(said.values()))
        raise UserError(f"value {values} can't be read here. {' '.join(found.values())}")


def _answer(campaign: Campaign, said: dict[str, str], row: dict[str, str], flipped: bool) -> Answer:
    reason = row.get("reason", "")
    outcome, _, why = next(iter(said.values())).partition(":")
    if outcome in WITHOUT_VALUE:
        if len(set(said.values())) > 1:
            raise UserError(f"“{outcome}” is said of all criteria of a judgement or of none.")
        return Answer(outcome, cannot_judge=why, reason=reason)
    if campaign.kind == Campaign.Kind.COMPARISON:
        strength = row.get("strength", "").strip()
        return Answer(FLIPPED.get(outcome, outcome) if flipped else outcome, strength, reason=reason)  # type: ignore[call-overload]
    scales = judging.allowed_values(campaign.kind, campaign.rubric)
    values = {}
    for name, text in said.items():
        by_text = {str(value): value for value in scales[name]}
        if text not in by_text:
            raise UserError(f"{name}: “{text}” is not one of {', '.join(by_text)}.")
        values[name] = by_text[text]
    return Answer(Outcome.JUDGED, values=values, reason=reason)


def _side(item: Item, shown_left: str, flipped: bool) -> bool | None:
    """Whether A was on the left; None where the file doesn't say (then it is unknown, not drawn)."""
    if item.completion_b is None or not shown_left:
        return None
    a, b = models_of(item)
    if shown_left in ("a", "b"):
        return (shown_left == "a") != flipped
    if a == b or shown_left not in (a, b):
        raise UserError(f"shown_left is “{shown_left}”, not one of “{a}”, “{b}”, “a” and “b”.")
    return shown_left == a


def _time(text: str, column: str) -> datetime | None:
    if not text.strip():
        return None
    try:
        moment = parse_datetime(text.strip())
    except ValueError:
        moment = None
    if moment is None:
        raise UserError(f"{column} “{text}” is not a time like 2026-01-31T09:30:00+00:00.")
    return moment if timezone.is_aware(moment) else timezone.make_aware(moment)


# --- who


def _people(campaign: Campaign, given: list[Given], create: bool, result: Imported) -> dict[str, User]:
    """{name in the file: person}: a pseudonym or a user name of a member, who judges in this campaign."""
    members = Membership.objects.filter(study=campaign.study).select_related("user")
    known = {row.user.username: row.user for row in members} | {row.pseudonym: row.user for row in members}
    names = list(dict.fromkeys(row.annotator for row in given))
    unknown = [name for name in names if name not in known]
    if unknown and not create:
        raise UserError(
            "These annotators are not members of the study, so nothing was imported. Add them (add_member), "
            "or let the import make them (--create-annotators).",
            unknown,
        )
    for name in unknown:
        known[name] = _make_person(campaign.study, name)
        result.created_annotators.append(name)
    judging_here = set(campaign.annotators.values_list("pk", flat=True))
    outside = [name for name in names if known[name].pk not in judging_here]
    if outside and not create:
        raise UserError("These members are not annotators of this campaign, so nothing was imported.", outside)
    campaign.annotators.add(*(known[name] for name in outside))
    return {name: known[name] for name in names}


def _make_person(study: Study, name: str) -> User:
    """Somebody who can't sign in and only stands for the judgements they gave elsewhere."""
    stem = re.sub(r"[^\w.@+-]+", "-", f"{study.slug}-{name}")[:140]
    username, n = stem, 1
    while User.objects.filter(username=username).exists():
        n += 1
        username = f"{stem}-{n}"
    person = User(username=username, is_active=False)
    person.set_unusable_password()
    person.save()
    Membership.objects.create(study=study, user=person, role=Membership.Role.ANNOTATOR, pseudonym=name[:40])
    return person


# --- into the database


def _check_history(given: list[Given]) -> None:
    """Revisions of a judgement are numbered 1, 2, 3 …: a gap means that rows are missing."""
    findings = Findings()
    numbers: dict[tuple[int, str], list[Given]] = defaultdict(list)
    for row in given:
        numbers[row.item.pk, row.annotator].append(row)
    for (_, annotator), rows in numbers.items():
        found = sorted(row.number for row in rows)
        if found != list(range(1, len(found) + 1)):
            text = ", ".join(map(str, found))
            findings.add(
                rows[0].line, f"{annotator} has revisions {text} of case “{rows[0].item.case}”; some are missing."
            )
    findings.raise_any()


def _keep(given: list[Given], people: dict[str, User], result: Imported) -> None:
    """Write judgements in the order they were first submitted, so that surplus falls on the latest."""
    now = timezone.now()
    histories: dict[tuple[int, int], list[Given]] = defaultdict(list)
    for row in sorted(given, key=lambda row: (row.number, row.submitted or now, row.line)):
        histories[row.item.pk, people[row.annotator].pk].append(row)
    findings = Findings()
    by_pk = {person.pk: person for person in people.values()}
    for (_, person), history in histories.items():
        try:
            _keep_judgement(history, by_pk[person], result)
        except UserError as error:
            findings.add(history[0].line, error.message)
    findings.raise_any()


def _keep_judgement(history: list[Given], person: User, result: Imported) -> None:
    first, last = history[0], history[-1]
    item = first.item
    assignment = Assignment.objects.filter(item=item, annotator=person).first()
    existing = Judgement.objects.filter(item=item, annotator=person).first()
    if existing is not None:
        if _same_history(existing, history):
            result.dropped["already_there"] = result.dropped.get("already_there", 0) + len(criteria_of(item.campaign))
            return
        raise UserError(f"{first.annotator} has judged case “{item.case}” already, differently.")
    surplus = places.is_full(item, besides=person)
    moment = timezone.now()
    if assignment is None:
        assignment = Assignment(item=item, annotator=person)
    assignment.a_is_left = first.a_is_left
    assignment.lease_expires_at = moment
    withdrawn = last.answer.outcome == Outcome.WITHDRAWN
    assignment.submitted_at = None if withdrawn else last.submitted or moment
    assignment.skipped_at, assignment.draft = None, None
    assignment.save()
    Assignment.objects.filter(pk=assignment.pk).update(created_at=first.started or first.submitted or moment)
    judgement = Judgement.objects.create(assignment=assignment, item=item, annotator=person, surplus=surplus)
    for row in history:
        change_reason = "imported" if row.number > 1 else ""
        revision = judging.write_revision(
            judgement, row.number, row.answer, actor=person, change_reason=change_reason, is_current=row is last
        )
        Revision.objects.filter(pk=revision.pk).update(created_at=row.submitted or moment)
    result.judgements += 1
    result.revisions += len(history)
    result.surplus += surplus


def _same_history(judgement: Judgement, history: list[Given]) -> bool:
    """Whether the file's revisions are the ones that are there."""
    kept = list(judgement.revisions.order_by("number"))
    return len(kept) == len(history) and all(
        _said(revision) == _said_in_file(row) for revision, row in zip(kept, history, strict=True)
    )


def _said(revision: Revision) -> tuple[Any, ...]:
    return values_of(revision), revision.strength, revision.reason


def _said_in_file(row: Given) -> tuple[Any, ...]:
    answer = row.answer
    if answer.outcome == Outcome.JUDGED:
        return dict(answer.values), "", answer.reason.strip()
    text = f"{answer.outcome}:{answer.cannot_judge}" if answer.outcome == Outcome.CANNOT_JUDGE else answer.outcome
    strength = answer.strength if answer.outcome in judging.PREFERENCES else ""
    return dict.fromkeys(criteria_of(row.item.campaign), text), strength, answer.reason.strip()
