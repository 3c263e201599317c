"""What a lead changes in a running campaign. Every act is guarded, has a reason, and is in the campaign's audit trail.

Locks are taken in the order study → campaign → participation → items → assignments (PostgreSQL; SQLite has one writer).
"""

from collections.abc import Sequence
from datetime import timedelta

from django.db import transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from accounts.errors import UserError
from accounts.models import AuditEvent, User, audit
from annotations import access, places, unblinding
from annotations.assignment import a_is_left
from annotations.models import Adjudication, Assignment, Campaign, Item, Participation, Study
from annotations.models.membership import Role

# An item handed to somebody waits for them to sign in, not for a tab that was left open.
HANDED = timedelta(days=3)
MAX_EXTENSION = timedelta(days=14)
MAX_REASON = 300


def _reason(reason: str) -> str:
    if not reason.strip():
        raise UserError("Say why; the reason is kept in the campaign's audit trail.")
    return reason.strip()[:MAX_REASON]


def _lock(campaign: Campaign) -> Campaign:
    """The campaign as it is now, locked as every submit locks it; it must be open."""
    row = Campaign.objects.select_for_update(no_key=True).get(pk=campaign.pk)
    if not row.is_open:
        raise UserError(f"“{row}” is closed. Reopen it before you change who judges what in it.")
    return row


def _locked(assignment: Assignment) -> Assignment:
    """The assignment as it is now, with campaign and item locked before it; not one that was judged or taken back."""
    campaign = _lock(assignment.item.campaign)
    places.lock_items(campaign.items.filter(pk=assignment.item_id))
    row = Assignment.objects.select_for_update(of=("self",)).select_related("item", "annotator").get(pk=assignment.pk)
    row.item.campaign = campaign
    if row.submitted_at is not None:
        raise UserError(f"{row.annotator} has judged this item already.")
    if row.released_at is not None:
        raise UserError(f"This item was taken back from {row.annotator} already.")
    return row


@transaction.atomic
def take_back(assignment: Assignment, *, reason: str, actor: User) -> Assignment:
    """Free the place that an unfinished (or skipped) item takes; it is not offered to this annotator again."""
    why, row = _reason(reason), _locked(assignment)
    row.released_at = row.lease_expires_at = timezone.now()
    row.save(update_fields=["released_at", "lease_expires_at"])
    places.fill_places(row.item)
    audit(
        actor, "take back item", row.item.campaign, item=row.item.position, annotator=row.annotator.username, reason=why
    )
    return row


@transaction.atomic
def hand_to(item: Item, annotator: User, *, reason: str, actor: User) -> Assignment:
    """Give a regular item to one annotator for three days. A place must be free: take it back, or raise the overlap."""
    why, campaign = _reason(reason), _lock(item.campaign)
    part = Participation.objects.select_for_update().filter(campaign=campaign, user=annotator).first()
    places.lock_items(campaign.items.filter(pk=item.pk))
    item = campaign.items.select_related("completion_a", "completion_b").get(pk=item.pk)
    item.campaign = campaign
    _check_hand(item, annotator, part)
    made = Assignment.objects.create(
        item=item,
        annotator=annotator,
        a_is_left=_side(item, annotator),
        lease_expires_at=timezone.now() + HANDED,
    )
    audit(actor, "hand over item", campaign, item=item.position, annotator=annotator.username, reason=why)
    return made


def _side(item: Item, annotator: User) -> bool | None:
    """Drawn as where an annotator claims an item: the next place of their sequence for this pair of models."""
    if item.completion_a is None or item.completion_b is None:
        return None
    pair = (item.completion_a.model_id, item.completion_b.model_id)
    met = item.campaign.items.regular().filter(completion_a__model=pair[0], completion_b__model=pair[1])
    earlier = Assignment.objects.filter(annotator=annotator, item__in=met).count()
    return a_is_left(item.campaign, annotator.pk, pair, earlier)


def _check_hand(item: Item, annotator: User, part: Participation | None) -> None:
    """Raise UserError for whatever forbids it; the item is locked."""
    campaign = item.campaign
    if part is None:
        raise UserError(f"{annotator} is no annotator of “{campaign}”. Add them first.")
    if not item.is_regular:
        raise UserError("Hidden repeats, gold and training items are given out by the program alone.")
    if item.assignments.filter(annotator=annotator).exists():
        raise UserError(f"{annotator} has had this item, and nobody gets an item twice.")
    if campaign.training_pass_mark is not None and part.training_passed_at is None:
        raise UserError(f"{annotator} has not passed the training round yet.")
    if item.tag and item.tag not in specialties(campaign.study, annotator):
        raise UserError(f"The item needs “{item.tag}”, which is not among the specialties of {annotator}.")
    cap = part.max_items if part.max_items is not None else campaign.max_per_annotator
    given = _given(campaign, annotator).count()
    if cap is not None and given >= cap:
        raise UserError(f"{annotator} has {given} items, and {cap} is the most they are given. Raise the cap first.")
    if places.is_full(item):
        raise UserError(
            f"All {item.overlap} places of this item are taken. Take it back from somebody, or raise its overlap."
        )


def specialties(study: Study, person: User) -> set[str]:
    """In lower case, as an item's tag is; none for who is no member."""
    membership = access.members(study).filter(user=person).first()
    return membership.specialties if membership else set()


def _given(campaign: Campaign, annotator: User) -> QuerySet[Assignment]:
    """What counts against a cap: what they judged, hold or may still take up."""
    return Assignment.objects.filter(
        item__campaign=campaign, annotator=annotator, item__training=False, released_at__isnull=True
    )


@transaction.atomic
def extend_lease(assignment: Assignment, *, hours: int, reason: str, actor: User) -> Assignment:
    """Hold an unfinished item for its annotator for so many hours from now; one whose lease ran out needs a place."""
    why, row = _reason(reason), _locked(assignment)
    if not timedelta(0) < timedelta(hours=hours) <= MAX_EXTENSION:
        raise UserError(f"{hours} hours are asked for; give 1 to {int(MAX_EXTENSION.total_seconds()) // 3600}.")
    if row.skipped_at is not None:
        raise UserError(f"{row.annotator} has skipped this item, and can take it up again without a lease.")
    now = timezone.now()
    if row.lease_expires_at <= now and places.is_full(row.item, besides=row.annotator):
        raise UserError(f"The lease of {row.annotator} ran out, and other people have taken the item's places.")
    until = now + timedelta(hours=hours)
    if until <= row.lease_expires_at:
        raise UserError(f"{row.annotator} holds the item for longer already. A lease is only ever made longer.")
    row.lease_expires_at = until
    row.save(update_fields=["lease_expires_at"])
    audit(
        actor,
        "extend lease",
        row.item.campaign,
        item=row.item.position,
        annotator=row.annotator.username,
        hours=hours,
        reason=why,
    )
    return row


@transaction.atomic
def add_annotator(campaign: Campaign, person: User, *, reason: str, actor: User) -> Participation:
    """A member of the study who can still judge blind takes part from now on."""
    why = _reason(reason)
    Study.objects.select_for_update(no_key=True).get(pk=campaign.study_id)  # nobody unblinds anything meanwhile
    campaign = _lock(campaign)
    if not person.is_active or not access.members(campaign.study).filter(user=person).exists():
        raise UserError(f"{person} is no member of the study. Add them on its People page first.")
    if campaign.participations.filter(user=person).exists():
        raise UserError(f"{person} is an annotator of “{campaign}” already.")
    unblinding.require_blind(campaign.study, [person])
    # While they were off, this study's pages told them models and answers.
    if _reads_pages(campaign, person) and Assignment.objects.filter(item__campaign=campaign, annotator=person).exists():
        raise UserError(
            f"{person} judged in “{campaign}” before, and could read this study's models and answers since they were "
            "taken off: they would no longer judge blind."
        )
    if Adjudication.objects.filter(item__campaign=campaign, decided_by=person).exists():
        raise UserError(f"{person} has decided items of “{campaign}”, and read everyone's judgements for it.")
    made = campaign.participations.create(user=person)
    audit(actor, "add annotator", campaign, annotator=person.username, reason=why)
    return made


def _reads_pages(campaign: Campaign, person: User) -> bool:
    role = access.role_in(person, campaign.study)
    return role in (Role.LEAD, Role.VIEWER)


@transaction.atomic
def take_off(campaign: Campaign, person: User, *, reason: str, actor: User) -> int:
    """Somebody judges no more here; what they judged stays, and what they hold is free. Returns how many items."""
    why, campaign = _reason(reason), _lock(campaign)
    if not campaign.participations.filter(user=person).delete()[0]:
        raise UserError(f"{person} is no annotator of “{campaign}”.")
    now = timezone.now()
    held = Assignment.objects.filter(
        item__campaign=campaign, annotator=person, submitted_at__isnull=True, lease_expires_at__gt=now
    )
    items = campaign.items.filter(pk__in=held.values("item_id"))
    places.lock_items(items)
    freed = list(items.order_by("position"))
    held.update(lease_expires_at=now)
    for item in freed:
        item.campaign = campaign
        places.fill_places(item)
    audit(actor, "take off annotator", campaign, annotator=person.username, items=len(freed), reason=why)
    return len(freed)


@transaction.atomic
def raise_overlap(
    campaign: Campaign, *, overlap: int, reason: str, actor: User, positions: Sequence[int] | None = None
) -> int:
    """Want more judgements of all regular items, or of those at ``positions``. Returns how many items it changed."""
    why, campaign = _reason(reason), _lock(campaign)
    people = campaign.participations.count()
    if overlap > people:
        raise UserError(f"Overlap {overlap} needs as many annotators, and “{campaign}” has {people}. Add some first.")
    items = campaign.items.regular()
    if positions is not None:
        items = items.filter(position__in=positions)
        known = set(items.values_list("position", flat=True))
        if unknown := [str(number) for number in positions if number not in known]:
            raise UserError(f"“{campaign}” has no regular item {', '.join(unknown)}.")
    items = items.filter(overlap__lt=overlap)
    places.lock_items(items)
    raised = list(items.order_by("position"))
    if not raised:
        raise UserError(f"Every one of these items wants {overlap} judgements already. Overlap is only ever raised.")
    Item.objects.filter(pk__in=[item.pk for item in raised]).update(overlap=overlap)
    Campaign.objects.filter(pk=campaign.pk, overlap__lt=overlap).update(overlap=overlap)
    campaign.overlap = max(campaign.overlap, overlap)
    for item in raised:
        item.campaign, item.overlap = campaign, overlap
    _count_surplus(raised)
    which = "all" if positions is None else [item.position for item in raised]
    audit(actor, "raise overlap", campaign, overlap=overlap, items=which, changed=len(raised), reason=why)
    return len(raised)


def _count_surplus(items: Sequence[Item]) -> None:
    """Judgements that were beyond the old overlap count now."""
    waiting = set(
        Item.objects.filter(pk__in=[item.pk for item in items], judgements__surplus=True).values_list("pk", flat=True)
    )
    for item in items:
        if item.pk in waiting:
            places.fill_places(item)


@transaction.atomic
def raise_cap(campaign: Campaign, *, cap: int | None, reason: str, actor: User, annotator: User | None = None) -> None:
    """Let everybody, or one annotator, be given more items; None: as many as there are. Never fewer."""
    why, campaign = _reason(reason), _lock(campaign)
    if annotator is None:
        now = campaign.max_per_annotator
    else:
        part = Participation.objects.select_for_update().filter(campaign=campaign, user=annotator).first()
        if part is None:
            raise UserError(f"{annotator} is no annotator of “{campaign}”.")
        now = part.max_items if part.max_items is not None else campaign.max_per_annotator
    if now is None:
        raise UserError("There is no cap to raise.")
    if cap is not None and cap <= now:
        raise UserError(f"The cap is {now} items already, and {cap} is no more. A cap is only ever raised.")
    if annotator is None:
        Campaign.objects.filter(pk=campaign.pk).update(max_per_annotator=cap)
    else:
        # A part's own cap can't say “none”: it is as many as the campaign has items.
        most = cap if cap is not None else campaign.items.count()
        Participation.objects.filter(campaign=campaign, user=annotator).update(max_items=most)
    audit(actor, "raise cap", campaign, annotator=annotator and annotator.username, cap=cap, reason=why)


def candidates(campaign: Campaign) -> QuerySet[User]:
    """Members of the study who take no part in the campaign yet."""
    inside = Q(memberships__in=access.members(campaign.study))
    return User.objects.filter(inside, is_active=True).exclude(participations__campaign=campaign).order_by("username")


def history(campaign: Campaign, *, before: int | None = None) -> QuerySet[AuditEvent]:
    """What was done to the campaign itself, the latest first; ``before``: older than this event."""
    rows = AuditEvent.objects.filter(object_type=Campaign._meta.label_lower, object_id=str(campaign.pk))
    rows = rows if before is None else rows.filter(pk__lt=before)
    return rows.select_related("actor").order_by("-pk")
