"""From an answer to a judgement: submit, revise, undo, skip. Nothing is overwritten; every change adds a revision."""

from collections.abc import Mapping
from typing import Any

from django.db import connection, transaction
from django.db.models import F, QuerySet
from django.db.models.functions import Greatest
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import ideals, places
from annotations.answers import (
    ANY_KIND,
    COMPARISON_OUTCOMES,
    PREFERENCES,
    Answer,
    Ideal,
    Outcome,
    allowed_values,
    answer_of,
    as_kept,
    from_side,
    output_of,
    problems,
    sentence_of,
    side_of,
    to_side,
    too_long,
    turned,
)
from annotations.models import Assignment, Campaign, Completion, Item, Judgement, Revision

# Whoever judges needs the words of an answer too.
__all__ = [
    "ANY_KIND",
    "COMPARISON_OUTCOMES",
    "PREFERENCES",
    "Answer",
    "Ideal",
    "Outcome",
    "Revision",
    "allowed_values",
    "answer_of",
    "as_kept",
    "current",
    "current_revisions",
    "draft_of",
    "from_side",
    "problems",
    "require_whole",
    "revise",
    "same",
    "save_draft",
    "sentence_of",
    "skip",
    "submit",
    "take_up_skipped",
    "to_side",
    "too_long",
    "turned",
    "undo",
    "write_revision",
]

MAX_ACTIVE_SECONDS = 60 * 60

CLOSED = "This campaign has been closed, so the answer was not submitted. It is kept as a draft."
GUESSING = (
    "You have begun the blinding check of this campaign, so nothing more can be judged or changed in it: what comes "
    "after thinking about the arms would not be blind."
)
REWORDED = (
    "The wording of this campaign has changed since you opened the page, so the answer was not submitted. It is kept "
    "below: read the instructions and the questions again, and submit it if it still stands."
)
CONFLICT = (
    "You have already submitted a different answer for this item (in another tab, perhaps), and that one stands. "
    "To change it, open your history."
)


def require_whole(answer: Answer, item: Item) -> None:
    """Raise UserError where the answer lacks something, or says something that can't be said of the item."""
    if found := problems(answer, item.campaign.kind, item.campaign.rubric, item):
        raise UserError("The answer is not complete.", [f"{name}: {what}" for name, what in found.items()])


@transaction.atomic
def submit(
    assignment: Assignment, answer: Answer, *, actor: User, active_seconds: float = 0, rubric_seen: int | None = None
) -> Judgement:
    """Keep an answer. The same answer twice is one judgement; a different one after that is refused (use ``revise``).

    A submit whose lease has run out is kept: on a free place, else as surplus. ``rubric_seen`` is the version that the
    annotator's page showed: an answer to words that have changed since is refused.
    """
    row = _locked(assignment)
    campaign = row.item.campaign
    require_whole(answer, row.item)
    judgement = Judgement.objects.filter(assignment=row).first()
    if row.submitted_at is not None and judgement is not None:
        if same(current(judgement), answer):
            return judgement
        raise UserError(CONFLICT)
    if not campaign.is_open:
        raise UserError(CLOSED)
    _require_no_guess(row)
    _require_same_words(campaign, rubric_seen)
    surplus = places.is_full(row.item, besides=row.annotator)
    if judgement is None:
        judgement = Judgement.objects.create(assignment=row, item=row.item, annotator=row.annotator, surplus=surplus)
        write_revision(judgement, 1, answer, actor=actor)
    else:
        judgement.item = row.item  # with the rubric in force, under which the answer is kept
        judgement.surplus = surplus
        judgement.save(update_fields=["surplus"])
        _add_revision(judgement, answer, actor=actor, change_reason="judged again")
    row.submitted_at, row.skipped_at, row.draft, row.skip_reason = timezone.now(), None, None, ""
    row.released_at = None  # a lead took it back, and the answer came all the same: it is theirs again, to undo too
    row.active_seconds = _plausible(active_seconds, at_least=row.active_seconds)
    row.save(update_fields=["submitted_at", "skipped_at", "draft", "skip_reason", "released_at", "active_seconds"])
    return judgement


def _locked(assignment: Assignment) -> Assignment:
    """The row as it is now, with campaign, item and itself locked, always in that order (PostgreSQL).

    With the campaign locked, no answer comes in after ``campaigning.close`` has returned. SQLite has one writer anyway.
    """
    if connection.features.has_select_for_update:
        Campaign.objects.select_for_update(no_key=True).get(pk=assignment.item.campaign_id)
    places.lock_items(Item.objects.filter(pk=assignment.item_id))
    rows = Assignment.objects.select_related("item__campaign", "item__case", "annotator")
    return rows.select_for_update(of=("self",)).get(pk=assignment.pk)


def _require_same_words(campaign: Campaign, rubric_seen: int | None) -> None:
    """Raise UserError where the rubric has a newer version than the one that was answered."""
    if rubric_seen is not None and rubric_seen != campaign.rubric_version:
        raise UserError(REWORDED)


def _require_no_guess(assignment: Assignment) -> None:
    """Raise UserError where the annotator has begun the blinding check, which ends their judging (see ``guessing``)."""
    if assignment.item.campaign.guessing_begun_by(assignment.annotator_id):
        raise UserError(GUESSING)


def _plausible(seconds: float, *, at_least: float) -> float:
    """Seconds as the browser counted them; nan, negative numbers and a page left open for a day are not times."""
    return min(max(seconds, at_least), MAX_ACTIVE_SECONDS) if seconds == seconds else at_least


def current(judgement: Judgement) -> Revision:
    return judgement.revisions.get(is_current=True)


def same(revision: Revision, answer: Answer) -> bool:
    """Whether ``answer`` says what ``revision`` says."""
    return answer_of(revision) == as_kept(answer, revision.judgement.item)


def _add_revision(judgement: Judgement, answer: Answer, *, actor: User, change_reason: str = "") -> Revision:
    """Append a revision and make it the current one."""
    last = judgement.revisions.order_by("-number").values_list("number", flat=True).first() or 0
    judgement.revisions.filter(is_current=True).update(is_current=False)
    return write_revision(judgement, last + 1, answer, actor=actor, change_reason=change_reason)


def write_revision(
    judgement: Judgement,
    number: int,
    answer: Answer,
    *,
    actor: User,
    change_reason: str = "",
    is_current: bool = True,
    rubric: tuple[int, Mapping[str, Any]] | None = None,
) -> Revision:
    """The row itself. What doesn't belong to the outcome or the campaign is not kept.

    ``rubric`` (number and content) is the version in force unless an import says that it was another.
    """
    item = judgement.item
    version, content = rubric or (item.campaign.rubric_version, item.campaign.rubric)
    kept = as_kept(answer, item, content)
    chosen = {Outcome.PREFER_A: item.completion_a_id, Outcome.PREFER_B: item.completion_b_id}
    return judgement.revisions.create(
        number=number,
        is_current=is_current,
        outcome=kept.outcome,
        strength=kept.strength,
        cannot_judge=kept.cannot_judge,
        chosen_id=chosen.get(Outcome(kept.outcome)),
        values=kept.values,
        reason=kept.reason,
        chips=kept.chips,
        marks=kept.marks,
        ideal=_ideal(judgement, kept.ideal),
        flagged=kept.flagged,
        change_reason=change_reason.strip()[:300],
        rubric_version=version,
        created_by=actor,
    )


def _ideal(judgement: Judgement, ideal: Ideal | None) -> Completion | None:
    """The annotator's correction as a completion of theirs."""
    output = output_of(judgement.item, ideal.output) if ideal else None
    if ideal is None or output is None:
        return None
    return ideals.keep_ideal(item=judgement.item, output=output, text=ideal.text, annotator=judgement.annotator)


@transaction.atomic
def revise(
    judgement: Judgement, answer: Answer, *, change_reason: str, actor: User, rubric_seen: int | None = None
) -> Revision:
    """Correct a submitted answer, with the reason why; the earlier answer stays in the record."""
    row = _locked(judgement.assignment)
    campaign = row.item.campaign
    if not campaign.is_open:
        raise UserError("This campaign has been closed, so its judgements can no longer be changed.")
    _require_no_guess(row)
    _require_same_words(campaign, rubric_seen)
    require_whole(answer, row.item)
    if row.submitted_at is None:
        raise UserError("This judgement was undone. Judge the item again instead of correcting it.")
    if not change_reason.strip():
        raise UserError("Say why you are changing this judgement; the reason is kept with it.")
    if same(current(judgement), answer):
        raise UserError("This is the answer you gave before, so there is nothing to change.")
    judgement.item = row.item  # with the rubric in force, under which the answer is kept
    revision = _add_revision(judgement, answer, actor=actor, change_reason=change_reason)
    audit(actor, "revise judgement", judgement, campaign=campaign.pk, revision=revision.number)
    return revision


@transaction.atomic
def undo(judgement: Judgement, *, actor: User) -> Revision:
    """Withdraw a judgement: the annotator gets the item back with their answer as draft, its place held for a lease."""
    row = _locked(judgement.assignment)
    if not row.item.campaign.is_open:
        raise UserError("This campaign has been closed, so its judgements can no longer be undone.")
    _require_no_guess(row)
    last = current(judgement)
    if last.outcome == Outcome.WITHDRAWN:
        return last
    row.submitted_at = None
    row.draft = draft_of(last, row.a_is_left)
    row.lease_expires_at = max(row.lease_expires_at, timezone.now() + places.LEASE)
    row.save(update_fields=["submitted_at", "draft", "lease_expires_at"])
    revision = _add_revision(judgement, Answer(Outcome.WITHDRAWN), actor=actor, change_reason="undone by the annotator")
    places.fill_places(row.item)
    audit(actor, "undo judgement", judgement, campaign=row.item.campaign_id, revision=revision.number)
    return revision


@transaction.atomic
def skip(assignment: Assignment, *, reason: str = "") -> Assignment:
    """Put an item aside: its place goes to a surplus judgement, or is free for somebody else.

    It can be taken up again while a place is left.
    """
    row = _locked(assignment)
    if row.submitted_at is not None:
        raise UserError(CONFLICT)
    row.skipped_at, row.skip_reason = timezone.now(), reason.strip()[:300]
    row.save(update_fields=["skipped_at", "skip_reason"])
    places.fill_places(row.item)
    return row


def take_up_skipped(campaign: Campaign, annotator: User) -> int:
    """Offer an annotator their skipped items again, as far as those still have a place. Returns how many."""
    skipped = Assignment.objects.filter(
        item__campaign=campaign,
        annotator=annotator,
        skipped_at__isnull=False,
        submitted_at__isnull=True,
        released_at__isnull=True,
    )
    # An expired lease: the item is theirs again only while it has a place (see assignment.next_assignment).
    return skipped.update(skipped_at=None, lease_expires_at=timezone.now())


@transaction.atomic
def save_draft(assignment: Assignment, draft: Mapping[str, Any], *, active_seconds: float = 0) -> bool:
    """Keep what is typed so far and extend the lease; False, and nothing kept, once the item is submitted."""
    now = timezone.now()
    campaign = assignment.item.campaign
    holds = assignment.lease_expires_at > now
    if not holds:
        # A lease that ran out comes back only while nobody else has taken its place.
        places.lock_items(campaign.items.filter(pk=assignment.item_id))
        holds = not places.is_full(assignment.item, besides=assignment.annotator)
    return bool(
        Assignment.objects.filter(pk=assignment.pk, submitted_at__isnull=True).update(
            draft=dict(draft),
            # Never shorter: a lead may have given more time.
            lease_expires_at=Greatest(F("lease_expires_at"), now + places.LEASE) if holds else F("lease_expires_at"),
            active_seconds=_plausible(active_seconds, at_least=assignment.active_seconds),
        )
    )


def draft_of(revision: Revision, a_is_left: bool | None) -> dict[str, Any]:
    """A revision as the fields of the page: the item's fixed order becomes sides here and nowhere else."""
    said = answer_of(revision)
    flipped = said.outcome in COMPARISON_OUTCOMES and a_is_left is False
    return {
        "choice": to_side(said.outcome, a_is_left) if said.outcome in PREFERENCES else said.outcome,
        "strength": said.strength,
        "cannot_judge": said.cannot_judge,
        "values": {name: turned(value) if flipped else value for name, value in said.values.items()},
        "reason": said.reason,
        "chips": list(said.chips),
        "marks": [
            {
                "side": side_of(mark["output"], a_is_left),
                "sentence": mark["sentence"],
                "kind": mark["kind"],
                "severity": mark["severity"],
            }
            for mark in said.marks
        ],
        "ideal": {"side": side_of(said.ideal.output, a_is_left), "text": said.ideal.text} if said.ideal else {},
        "flagged": said.flagged,
    }


def current_revisions(campaign: Campaign, *, surplus: bool = False) -> QuerySet[Revision]:
    """The answers that count: current, not withdrawn; no repeats and no gold items; surplus only where asked for."""
    rows = Revision.objects.filter(
        judgement__item__campaign=campaign,
        judgement__item__repeat_of__isnull=True,
        judgement__item__gold__isnull=True,
        is_current=True,
    ).exclude(outcome=Outcome.WITHDRAWN)
    if not surplus:
        rows = rows.filter(judgement__surplus=False)
    return rows.select_related(
        "judgement__item__case",
        "judgement__item__completion_a__model",
        "judgement__item__completion_b__model",
        "judgement__annotator",
        "judgement__assignment",
    ).order_by("judgement__item__position", "judgement__annotator_id")
