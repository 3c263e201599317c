"""Judgements from a file into a campaign: matched to its items, all of them or none."""

import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

from django.db import transaction
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import judgement_files, judging, places
from annotations.judgement_reading import Findings, Given, gather, left_out
from annotations.judging import Outcome
from annotations.models import Assignment, Campaign, Judgement, Membership, Revision, Study


@dataclass
class Imported:
    """What came of a file."""

    campaign: Campaign
    judgements: int = 0
    revisions: int = 0
    surplus: int = 0
    created_annotators: list[str] = field(default_factory=list)
    dropped: dict[str, int] = field(default_factory=dict)  # {reason: rows} (C4)

    def drop(self, reason: str, rows: int = 1) -> None:
        self.dropped[reason] = self.dropped.get(reason, 0) + rows


@transaction.atomic
def import_judgements(
    *, study: Study, path: Path, campaign: Campaign, create_annotators: bool = False, actor: User | None = None
) -> Imported:
    """Read a judgement file (C9) into ``campaign``; a row of another campaign is left out and counted.

    So is a row of a hidden repeat, a gold or a training item: whose those are, and what their answer is, differs from
    one campaign to the next.
    A judgement that is there already, word for word, is left out and counted too; a different one is a problem.
    ``create_annotators`` makes a member without a password for every annotator the study doesn't know.
    """
    result = Imported(campaign)
    rows = []
    for line, row in judgement_files.read(path):
        if reason := left_out(campaign, line, row):
            result.drop(reason)
        else:
            rows.append((line, row))
    if not rows:
        raise UserError(f"No row of the file is of a regular item of the campaign “{campaign.name}”.")
    given = gather(campaign, rows)
    people = _people(campaign, given, create_annotators, result)
    _check_history(given)
    _keep(given, people, result)
    audit(actor, "import judgements", campaign, judgements=result.judgements, revisions=result.revisions)
    return result


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
            result.drop("already_there", sum(row.rows for row in history))
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
            judgement,
            row.number,
            row.answer,
            actor=person,
            change_reason=change_reason,
            is_current=row is last,
            rubric=row.rubric,
        )
        Revision.objects.filter(pk=revision.pk).update(created_at=row.submitted or moment)
    result.judgements += 1
    result.revisions += len(history)
    result.surplus += surplus


def _same_history(judgement: Judgement, history: list[Given]) -> bool:
    """Whether the file's revisions are the ones that are there."""
    kept = list(judgement.revisions.select_related("judgement__item__campaign", "ideal").order_by("number"))
    return len(kept) == len(history) and all(
        judging.answer_of(revision) == judging.as_kept(row.answer, row.item, row.rubric[1])
        and revision.rubric_version == row.rubric[0]
        for revision, row in zip(kept, history, strict=True)
    )
