"""Who judges what: items are claimed one at a time, under a lease, and a pair's sides are drawn once."""

from datetime import timedelta
from itertools import combinations

from django.db import connection, transaction
from django.db.models import Count, Exists, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import User, audit
from annotations.models import Assignment, Campaign, Item, Judgement

LEASE = timedelta(minutes=30)
BLOCK = 4
# The six ways to have A on the left twice in a block of four.
ARRANGEMENTS = [tuple(place in lefts for place in range(BLOCK)) for lefts in combinations(range(BLOCK), BLOCK // 2)]
SHOWN = (
    "item__campaign__study",
    "item__case",
    "item__completion_a__model",
    "item__completion_b__model",
)


@transaction.atomic
def next_assignment(campaign: Campaign, annotator: User) -> Assignment | None:
    """What the annotator judges next: what they hold already, else a newly claimed item; None when nothing is left.

    A place of an item is taken by a submitted judgement (surplus apart) or by a live lease; a lease that has run out
    frees its place. Two calls at the same time never give more than ``overlap`` places away: SQLite serialises the
    transactions (BEGIN IMMEDIATE), PostgreSQL locks the rows.
    """
    if not campaign.is_open:
        return None
    if connection.features.has_select_for_update:
        # One claim at a time for one person: two tabs would hold two leases.
        Campaign.annotators.through.objects.select_for_update().filter(campaign=campaign, user=annotator).first()
    if campaign.guessing_begun_by(annotator.pk):
        return None
    return _held(campaign, annotator) or _claim(campaign, annotator)


def _held(campaign: Campaign, annotator: User) -> Assignment | None:
    """An assignment of theirs that isn't finished. One whose lease ran out counts while its item has a place."""
    now = timezone.now()
    mine = (
        Assignment.objects.filter(
            item__campaign=campaign, annotator=annotator, submitted_at__isnull=True, skipped_at__isnull=True
        )
        .select_related(*SHOWN)
        .annotate(taken=_taken("item_id", besides=annotator))
        .order_by("created_at", "pk")
    )
    held = list(mine)
    for assignment in held:
        if assignment.lease_expires_at > now:
            if assignment.lease_expires_at < now + LEASE / 2:
                extend(assignment)
            return assignment
    # PostgreSQL: the places counted above may be taken by now, so they are counted again with the items locked (all at
    # once and in one order, so that two annotators never wait for each other).
    lock_items(campaign.items.filter(pk__in=[row.item_id for row in held if row.taken < campaign.overlap]))
    for assignment in held:
        if assignment.taken < campaign.overlap and (
            places_taken(assignment.item, besides=annotator) < campaign.overlap
        ):
            extend(assignment)
            return assignment
    return None


def lock_items(items: QuerySet[Item]) -> None:
    """Lock rows until the transaction ends, by position (PostgreSQL; SQLite has one writer anyway)."""
    if connection.features.has_select_for_update:
        list(items.order_by("position").select_for_update(of=("self",)).values_list("pk"))


def _claim(campaign: Campaign, annotator: User) -> Assignment | None:
    """Take a place of the first item that has one and that they have not met; a surplus judgement comes before them."""
    free = items_open_to(campaign, annotator).annotate(has_surplus=Exists(_surplus())).order_by("position")
    lock = connection.features.has_select_for_update
    if lock:
        free = free.select_for_update(skip_locked=True, of=("self",))
    for item in free.select_related("case", "completion_a__model", "completion_b__model")[:5]:
        item.campaign = campaign
        if item.has_surplus:
            fill_places(item)
        # Under PostgreSQL the count above may be older than the lock; this one isn't.
        if (lock or item.has_surplus) and places_taken(item) >= campaign.overlap:
            continue
        return Assignment.objects.create(
            item=item,
            annotator=annotator,
            a_is_left=draw_side(item, annotator),
            lease_expires_at=timezone.now() + LEASE,
        )
    promote_surplus(campaign)
    return None


def items_open_to(campaign: Campaign, annotator: User) -> QuerySet[Item]:
    """Items with a free place that the annotator has not been given."""
    met = Assignment.objects.filter(annotator=annotator, item__campaign=campaign).values("item_id")
    return campaign.items.annotate(taken=_taken("pk")).filter(taken__lt=campaign.overlap).exclude(pk__in=met)


def _taking(besides: User | None = None) -> Q:
    """Assignments that take a place."""
    live = Q(submitted_at__isnull=True, skipped_at__isnull=True, lease_expires_at__gt=timezone.now())
    taking = live | Q(submitted_at__isnull=False, judgement__surplus=False)
    return taking if besides is None else taking & ~Q(annotator=besides)


def _taken(outer: str, besides: User | None = None) -> Coalesce:
    counted = (
        Assignment.objects.filter(_taking(besides), item_id=OuterRef(outer))
        .order_by()
        .values("item_id")
        .annotate(n=Count("pk"))
        .values("n")
    )
    return Coalesce(Subquery(counted, output_field=IntegerField()), 0)


def places_taken(item: Item, *, besides: User | None = None) -> int:
    """Places of ``item`` that are taken, without those of one annotator."""
    return item.assignments.filter(_taking(besides)).count()


def _surplus() -> QuerySet[Judgement]:
    """Of the item in the outer query: the judgements that wait for a place, without those that were withdrawn."""
    return Judgement.objects.filter(item=OuterRef("pk"), surplus=True, assignment__submitted_at__isnull=False)


def promote_surplus(campaign: Campaign) -> None:
    """Let surplus judgements count wherever a place has come free again (a lease that ran out)."""
    items = campaign.items.annotate(taken=_taken("pk")).filter(Exists(_surplus()), taken__lt=campaign.overlap)
    if connection.features.has_select_for_update:
        # An item that is locked is being judged, skipped or promoted at this moment: leave it to the next call.
        items = items.select_for_update(skip_locked=True, of=("self",))
    for item in items.order_by("position"):
        item.campaign = campaign
        fill_places(item)


def fill_places(item: Item) -> None:
    """Give the free places of an item, which the caller has locked, to its surplus judgements, the oldest first."""
    free = item.campaign.overlap - places_taken(item)
    if free <= 0:
        return
    waiting = item.judgements.filter(surplus=True, assignment__submitted_at__isnull=False)
    for judgement in waiting.order_by("assignment__submitted_at", "pk")[:free]:
        judgement.surplus = False
        judgement.save(update_fields=["surplus"])
        audit(None, "count surplus judgement", judgement, campaign=item.campaign_id)


def extend(assignment: Assignment) -> None:
    """Give a lease its full time again."""
    assignment.lease_expires_at = timezone.now() + LEASE
    assignment.save(update_fields=["lease_expires_at"])


def draw_side(item: Item, annotator: User) -> bool | None:
    """Whether completion A is shown on the left; None where there is no pair.

    The n-th pair of these two models that this annotator gets takes the n-th place of their sequence, so sides stay
    balanced within two at every moment, whatever order the items come in.
    """
    if item.completion_a is None or item.completion_b is None:
        return None
    pair = (item.completion_a.model_id, item.completion_b.model_id)
    earlier = Assignment.objects.filter(
        annotator=annotator,
        item__campaign=item.campaign_id,
        item__completion_a__model=pair[0],
        item__completion_b__model=pair[1],
    ).count()
    return a_is_left(item.campaign, annotator.pk, pair, earlier)


def a_is_left(campaign: Campaign, annotator_id: int, pair: tuple[int, int], index: int) -> bool:
    """Place ``index`` of the blocked sequence: blocks of four, two of each side, order drawn from seed and secret."""
    block, place = divmod(index, BLOCK)
    digest = campaign.draw("side", annotator_id, *pair, block)
    return ARRANGEMENTS[int.from_bytes(digest[:8], "big") % len(ARRANGEMENTS)][place]
