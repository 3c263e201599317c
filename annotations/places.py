"""The places of an item: how many are taken, who waits for one, and the lease that holds one.

Only regular items have places. Gold and training items and hidden repeats go to everybody they are for (see
``assignment``), so they are never full.
"""

from datetime import timedelta

from django.db import connection
from django.db.models import Count, Exists, F, IntegerField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.utils import timezone

from accounts.models import User, audit
from annotations.models import Assignment, Campaign, Item, Judgement

LEASE = timedelta(minutes=30)


def lock_items(items: QuerySet[Item]) -> None:
    """Lock rows until the transaction ends, by position (PostgreSQL; SQLite has one writer anyway)."""
    if connection.features.has_select_for_update:
        list(items.order_by("position").select_for_update(of=("self",)).values_list("pk"))


def with_free_place(items: QuerySet[Item]) -> QuerySet[Item]:
    """Those of ``items``, regular ones, that fewer people judge than they want."""
    return items.annotate(taken=taken("pk")).filter(taken__lt=F("overlap"))


def _taking(besides: User | None = None) -> Q:
    """Assignments that take a place: submitted (surplus apart), or with a live lease that no lead took back."""
    live = Q(
        submitted_at__isnull=True,
        skipped_at__isnull=True,
        released_at__isnull=True,
        lease_expires_at__gt=timezone.now(),
    )
    taking = live | Q(submitted_at__isnull=False, judgement__surplus=False)
    return taking if besides is None else taking & ~Q(annotator=besides)


def taken(outer: str, besides: User | None = None) -> Coalesce:
    """How many places are taken of the item whose id is ``outer`` in the query around it."""
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


def is_full(item: Item, *, besides: User | None = None) -> bool:
    """Whether one more judgement of ``item`` would be surplus; of a repeat, a gold or a training item none is."""
    return item.is_regular and places_taken(item, besides=besides) >= item.overlap


def surplus() -> QuerySet[Judgement]:
    """Of the item in the outer query: the judgements that wait for a place, without those that were withdrawn."""
    return Judgement.objects.filter(item=OuterRef("pk"), surplus=True, assignment__submitted_at__isnull=False)


def promote_surplus(campaign: Campaign) -> None:
    """Let surplus judgements count wherever a place has come free again (a lease that ran out)."""
    items = with_free_place(campaign.items.regular()).filter(Exists(surplus()))
    if connection.features.has_select_for_update:
        # An item that is locked is being judged, skipped or promoted at this moment: leave it to the next call.
        items = items.select_for_update(skip_locked=True, of=("self",))
    for item in items.order_by("position"):
        item.campaign = campaign
        fill_places(item)


def fill_places(item: Item) -> None:
    """Give the free places of an item, which the caller has locked, to its surplus judgements, the oldest first."""
    free = item.overlap - places_taken(item)
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
