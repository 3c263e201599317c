"""From an answer to a judgement: submit, revise, undo, skip. Nothing is overwritten; every change adds a revision."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db import connection, transaction
from django.db.models import QuerySet
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import User, audit
from annotations import assignment as places
from annotations.models import Assignment, Campaign, Judgement, Revision

Outcome = Revision.Outcome
PREFERENCES = (Outcome.PREFER_A, Outcome.PREFER_B)
COMPARISON_OUTCOMES = (*PREFERENCES, Outcome.TIE, Outcome.BOTH_UNACCEPTABLE)
ANY_KIND = (Outcome.CANNOT_JUDGE, Outcome.DEFECTIVE)
CORRECTNESS = ("correct", "partly", "incorrect")
MAX_ACTIVE_SECONDS = 60 * 60
MAX_REASON = 10_000  # characters

CLOSED = "This campaign has been closed, so the answer was not submitted. It is kept as a draft."
GUESSING = (
    "You have begun the blinding check of this campaign, so nothing more can be judged or changed in it: what comes "
    "after thinking about the arms would not be blind."
)
CONFLICT = (
    "You have already submitted a different answer for this item (in another tab, perhaps), and that one stands. "
    "To change it, open your history."
)


@dataclass(frozen=True)
class Ideal:
    """An output as the annotator would have it: ``output`` is "a" or "b" in the item's fixed order."""

    output: str
    text: str


@dataclass(frozen=True)
class Answer:
    """What an annotator says. In a comparison a and b follow the item's fixed order, never the sides."""

    outcome: str
    strength: str = ""
    cannot_judge: str = ""
    values: Mapping[str, Any] = field(default_factory=dict)
    reason: str = ""
    chips: Sequence[str] = ()
    marks: Sequence[Mapping[str, Any]] = ()  # as in Revision.marks
    ideal: Ideal | None = None
    flagged: bool = False


def from_side(side: str, a_is_left: bool | None) -> Outcome:
    """The preference for the output shown at ``side`` ("left" or "right"), in the item's fixed order."""
    return Outcome.PREFER_A if (side == "left") == (a_is_left is not False) else Outcome.PREFER_B


def to_side(outcome: str, a_is_left: bool | None) -> str:
    """Where the preferred output was shown: the inverse of ``from_side``."""
    return "left" if (outcome == Outcome.PREFER_A) == (a_is_left is not False) else "right"


def problems(answer: Answer, kind: str, rubric: Mapping[str, Any]) -> dict[str, str]:
    """What is missing or wrong, by the part of the answer it concerns; empty where the answer is whole."""
    found: dict[str, str] = {}
    comparison = kind == Campaign.Kind.COMPARISON
    allowed = (*(COMPARISON_OUTCOMES if comparison else (Outcome.JUDGED,)), *ANY_KIND)
    if answer.outcome not in allowed:
        found["choice"] = "Choose A, B, tie or both unacceptable." if comparison else "Answer, or say why you can't."
    if answer.outcome in PREFERENCES and answer.strength not in Revision.Strength.values:
        found["strength"] = "Say how much better it is: slightly or clearly."
    if answer.outcome == Outcome.CANNOT_JUDGE and answer.cannot_judge not in Revision.CannotJudge.values:
        found["cannot_judge"] = "Say why you can't judge this item."
    if answer.outcome == Outcome.JUDGED and not comparison:
        found |= _value_problems(answer.values, kind, rubric)
    if rubric.get("reason") == "required" and not answer.reason.strip():
        found["reason"] = "This campaign asks for a reason with every answer."
    return found | too_long(answer.reason)


def too_long(reason: str) -> dict[str, str]:
    """The problem with a reason that is longer than any clinician writes; empty where there is none."""
    if len(reason) <= MAX_REASON:
        return {}
    return {"reason": f"The reason has {len(reason):,} characters, and {MAX_REASON:,} are kept at most: shorten it."}


def _value_problems(values: Mapping[str, Any], kind: str, rubric: Mapping[str, Any]) -> dict[str, str]:
    scales = allowed_values(kind, rubric)
    found = {name: "Choose one of the answers." for name, allowed in scales.items() if values.get(name) not in allowed}
    for name in sorted(set(values) - set(scales)):
        found[name] = f"This campaign doesn't ask for “{name}”."
    return found


def allowed_values(kind: str, rubric: Mapping[str, Any]) -> dict[str, list[Any]]:
    """{what is asked: the values it may take}; empty for a comparison."""
    if kind == Campaign.Kind.LIKERT:
        return {c["name"]: list(range(1, len(c["anchors"]) + 1)) for c in rubric["criteria"]}
    if kind == Campaign.Kind.LABEL:
        return {f["name"]: [label["value"] for label in f["labels"]] for f in rubric["label_fields"]}
    if kind == Campaign.Kind.CORRECTNESS:
        return {"correctness": list(CORRECTNESS)}
    return {}


def require_whole(answer: Answer, campaign: Campaign) -> None:
    """Raise UserError where the answer lacks something."""
    if found := problems(answer, campaign.kind, campaign.rubric):
        raise UserError("The answer is not complete.", [f"{name}: {what}" for name, what in found.items()])


@transaction.atomic
def submit(assignment: Assignment, answer: Answer, *, actor: User, active_seconds: float = 0) -> Judgement:
    """Keep an answer. The same answer twice is one judgement; a different one after that is refused (use ``revise``).

    A submit whose lease has run out is kept: on a free place, else as surplus.
    """
    row = _locked(assignment)
    campaign = row.item.campaign
    require_whole(answer, campaign)
    judgement = Judgement.objects.filter(assignment=row).first()
    if row.submitted_at is not None and judgement is not None:
        if same(current(judgement), answer):
            return judgement
        raise UserError(CONFLICT)
    if not campaign.is_open:
        raise UserError(CLOSED)
    _require_no_guess(row)
    surplus = places.places_taken(row.item, besides=row.annotator) >= campaign.overlap
    if judgement is None:
        judgement = Judgement.objects.create(assignment=row, item=row.item, annotator=row.annotator, surplus=surplus)
        write_revision(judgement, 1, answer, actor=actor)
    else:
        judgement.surplus = surplus
        judgement.save(update_fields=["surplus"])
        _add_revision(judgement, answer, actor=actor, change_reason="judged again after an undo")
    row.submitted_at, row.skipped_at, row.draft, row.skip_reason = timezone.now(), None, None, ""
    row.active_seconds = _plausible(active_seconds, at_least=row.active_seconds)
    row.save(update_fields=["submitted_at", "skipped_at", "draft", "skip_reason", "active_seconds"])
    return judgement


def _locked(assignment: Assignment) -> Assignment:
    """The row as it is now, with campaign, item and itself locked, always in that order (PostgreSQL).

    With the campaign locked, no answer comes in after ``campaigning.close`` has returned. SQLite has one writer anyway.
    """
    if connection.features.has_select_for_update:
        Campaign.objects.select_for_update(no_key=True).get(pk=assignment.item.campaign_id)
    rows = Assignment.objects.select_related("item__campaign", "item__case", "annotator")
    return rows.select_for_update(of=("self", "item")).get(pk=assignment.pk)


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
    return (
        revision.outcome == answer.outcome
        and revision.strength == (answer.strength if answer.outcome in PREFERENCES else "")
        and revision.cannot_judge == (answer.cannot_judge if answer.outcome == Outcome.CANNOT_JUDGE else "")
        and revision.values == (dict(answer.values) if answer.outcome == Outcome.JUDGED else {})
        and revision.reason == answer.reason.strip()
    )


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
) -> Revision:
    """The row itself. What doesn't belong to the outcome is not kept."""
    chosen = {
        Outcome.PREFER_A: judgement.item.completion_a_id,
        Outcome.PREFER_B: judgement.item.completion_b_id,
    }
    return judgement.revisions.create(
        number=number,
        is_current=is_current,
        outcome=answer.outcome,
        strength=answer.strength if answer.outcome in PREFERENCES else "",
        cannot_judge=answer.cannot_judge if answer.outcome == Outcome.CANNOT_JUDGE else "",
        chosen_id=chosen.get(Outcome(answer.outcome)),
        values=dict(answer.values) if answer.outcome == Outcome.JUDGED else {},
        reason=answer.reason.strip(),
        change_reason=change_reason.strip()[:300],
        rubric_version=judgement.item.campaign.rubric_version,
        created_by=actor,
    )


@transaction.atomic
def revise(judgement: Judgement, answer: Answer, *, change_reason: str, actor: User) -> Revision:
    """Correct a submitted answer, with the reason why; the earlier answer stays in the record."""
    row = _locked(judgement.assignment)
    campaign = row.item.campaign
    if not campaign.is_open:
        raise UserError("This campaign has been closed, so its judgements can no longer be changed.")
    _require_no_guess(row)
    require_whole(answer, campaign)
    if row.submitted_at is None:
        raise UserError("This judgement was undone. Judge the item again instead of correcting it.")
    if not change_reason.strip():
        raise UserError("Say why you are changing this judgement; the reason is kept with it.")
    if same(current(judgement), answer):
        raise UserError("This is the answer you gave before, so there is nothing to change.")
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
    row.lease_expires_at = timezone.now() + places.LEASE
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
        item__campaign=campaign, annotator=annotator, skipped_at__isnull=False, submitted_at__isnull=True
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
        holds = places.places_taken(assignment.item, besides=assignment.annotator) < campaign.overlap
    return bool(
        Assignment.objects.filter(pk=assignment.pk, submitted_at__isnull=True).update(
            draft=dict(draft),
            lease_expires_at=now + places.LEASE if holds else assignment.lease_expires_at,
            active_seconds=_plausible(active_seconds, at_least=assignment.active_seconds),
        )
    )


def draft_of(revision: Revision, a_is_left: bool | None) -> dict[str, Any]:
    """A revision as the fields of the page."""
    preferred = revision.outcome in PREFERENCES
    return {
        "choice": to_side(revision.outcome, a_is_left) if preferred else revision.outcome,
        "strength": revision.strength,
        "cannot_judge": revision.cannot_judge,
        "values": revision.values,
        "reason": revision.reason,
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
