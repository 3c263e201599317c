"""Who judges what next: items are claimed one at a time, under a lease, and a pair's sides are drawn once.

Training items come first (``qualifying``). Then an annotator walks through the items that want more judgements, in an
order of their own (``ordering``); gold items and hidden repeats come in between, at places that are drawn.
"""

from collections.abc import Iterator
from itertools import combinations, islice

from django.db import connection, transaction
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.utils import timezone

from accounts.models import User
from annotations import ordering, qualifying
from annotations.models import Assignment, Campaign, Item
from annotations.places import (
    LEASE,
    extend,
    fill_places,
    is_full,
    lock_items,
    promote_surplus,
    surplus,
    taken,
    with_free_place,
)
from annotations.turn import Candidate, Turn, turn_of

BLOCK = 4
# The six ways to have A on the left twice in a block of four.
ARRANGEMENTS = [tuple(place in lefts for place in range(BLOCK)) for lefts in combinations(range(BLOCK), BLOCK // 2)]
SHOWN = ("case", "completion_a__model", "completion_b__model")
BATCHES = (64, 1024)  # positions that are looked at before all that are open are asked for
LOOK_BACK = 32  # positions before the last one, where items wait whose case had been too near
TRIES = 5


class Busy(Exception):
    """Nothing is left but items that somebody else is claiming at this moment."""

    def __init__(self, items: list[int]) -> None:
        super().__init__(items)
        self.items = items


def next_assignment(campaign: Campaign, annotator: User) -> Assignment | None:
    """What the annotator judges next: what they hold already, else a newly claimed item; None when nothing is left.

    A place of an item is taken by a submitted judgement (surplus apart) or by a live lease; a lease that has run out
    frees its place. Two calls at the same time never give more places away than an item has: SQLite serialises the
    transactions (BEGIN IMMEDIATE), PostgreSQL locks the rows.
    """
    for _ in range(TRIES):
        try:
            return _hand_out(campaign, annotator)
        except Busy as busy:
            # Everything that was locked is let go; now wait for the others, in the order of every lock here.
            with transaction.atomic():
                lock_items(campaign.items.filter(pk__in=busy.items))
    return None


@transaction.atomic
def _hand_out(campaign: Campaign, annotator: User) -> Assignment | None:
    turn = turn_of(campaign, annotator) if campaign.is_open else None
    if turn is None:
        return None
    if campaign.guessing_begun_by(annotator.pk):
        return None
    if not qualifying.before_judging(turn.part):
        return _held(turn, training=True) or _claim_training(turn)
    if turn.capped:
        return None
    return _held(turn) or _claim(turn)


def _held(turn: Turn, *, training: bool = False) -> Assignment | None:
    """An assignment of theirs that isn't finished. One whose lease ran out counts while its item has a place."""
    now = timezone.now()
    mine = (
        turn.assignments.filter(
            item__training=training, submitted_at__isnull=True, skipped_at__isnull=True, released_at__isnull=True
        )
        .select_related("item__campaign__study", *(f"item__{name}" for name in SHOWN))
        .annotate(taken=taken("item_id", besides=turn.annotator))
        .order_by("created_at", "pk")
    )
    held = list(mine)
    for assignment in held:
        if assignment.lease_expires_at > now:
            if assignment.lease_expires_at < now + LEASE / 2:
                extend(assignment)
            return assignment
    open_still = [row for row in held if not row.item.is_regular or row.taken < row.item.overlap]
    # PostgreSQL: the places counted above may be taken by now, so they are counted again with the items locked (all at
    # once and in one order, so that two annotators never wait for each other).
    lock_items(turn.campaign.items.filter(pk__in=[row.item_id for row in open_still]))
    for assignment in open_still:
        if not is_full(assignment.item, besides=turn.annotator):
            extend(assignment)
            return assignment
    return None


def _claim_training(turn: Turn) -> Assignment | None:
    """The next training item, in one order for each annotator."""
    met = {row.item for row in turn.met}
    items = turn.campaign.items.filter(training=True).values_list("pk", flat=True)
    left = [pk for pk in items if pk not in met]
    if not left:
        return None
    return _give(turn, min(left, key=lambda pk: ordering.gold_key(turn.campaign, turn.annotator.pk, pk)))


def _claim(turn: Turn) -> Assignment | None:
    """A gold item or a repeat that is due, else a place of an item they have not met, else what is left of the former.

    A surplus judgement comes before an annotator who has not judged.
    """
    if due := turn.due():
        return _give(turn, due.item)
    busy = []
    for pk in _wanting(turn):
        item = _lock(turn, pk)
        if item is None:
            busy.append(pk)
        elif _has_place(item):
            return _create(turn, item)
    if busy:
        raise Busy(busy)
    promote_surplus(turn.campaign)
    left_over = turn.left_over()
    return _give(turn, left_over.item) if left_over else None


def _wanting(turn: Turn) -> Iterator[int]:
    """Items with a free place that the annotator has not met, the best first: by their walk, cases apart.

    Where all that are left are of cases met a moment ago, the case met longest ago comes first.
    """
    near: list[Candidate] = []
    for candidates in _open_in_order(turn):
        near += [candidate for candidate in candidates if candidate.case in turn.recent]
        yield from (candidate.item for candidate in candidates if candidate.case not in turn.recent)
    yield from (candidate.item for candidate in sorted(near, key=lambda candidate: turn.seen[candidate.case]))


def _open_in_order(turn: Turn) -> Iterator[list[Candidate]]:
    """All open items in the order of the walk, a few at first.

    The walk goes on a little before the last item, and at its end from the beginning: places may be free again there.
    Where the first batches hold nothing, few are left, and they are asked for all at once.
    """
    walk = ordering.walk_of(turn.campaign, turn.annotator.pk, turn.size)
    last = next((row.position for row in reversed(turn.own) if row.sort == "regular"), None)
    start = 0 if last is None else max(0, walk.rank(last) - LOOK_BACK * walk.prime // walk.size)
    met = {row.position for row in turn.met}
    ahead = (position for position in walk.positions(start) if position not in met)
    looked_at: set[int] = set()
    for size in BATCHES:
        batch = list(islice(ahead, size))
        yield _in_order(_open_to(turn).filter(position__in=batch), walk, start)
        looked_at.update(batch)
        if len(batch) < size:
            return
    rest = _in_order(_open_to(turn), walk, start)
    yield [candidate for candidate in rest if candidate.position not in looked_at]


def _in_order(items: QuerySet[Item], walk: ordering.Walk, start: int) -> list[Candidate]:
    found = [Candidate(*row) for row in items.values_list("pk", "case_id", "position")]
    return sorted(found, key=lambda candidate: (walk.rank(candidate.position) - start) % walk.prime)


def _open_to(turn: Turn) -> QuerySet[Item]:
    """Items with a free place, of the annotator's specialties, that they have not been given."""
    met = Assignment.objects.filter(annotator=turn.annotator, item=OuterRef("pk"))
    wanted = turn.campaign.items.regular().filter(Q(tag="") | Q(tag__in=turn.specialties))
    return with_free_place(wanted.exclude(Exists(met))).order_by()


def _lock(turn: Turn, pk: int) -> Item | None:
    """The item, locked; None where somebody else has it locked (PostgreSQL)."""
    items = turn.campaign.items.filter(pk=pk).annotate(has_surplus=Exists(surplus())).select_related(*SHOWN)
    if connection.features.has_select_for_update:
        items = items.select_for_update(skip_locked=True, of=("self",))
    item = items.first()
    if item is not None:
        item.campaign = turn.campaign
    return item


def _has_place(item: Item) -> bool:
    """Whether a place is left now that surplus judgements have theirs."""
    if has_surplus := getattr(item, "has_surplus", True):
        fill_places(item)
    # Under PostgreSQL the count that chose the item may be older than its lock; this one isn't.
    return not ((has_surplus or connection.features.has_select_for_update) and is_full(item))


def _give(turn: Turn, pk: int) -> Assignment:
    """Hand out an item that has no places to be counted."""
    item = turn.campaign.items.select_related(*SHOWN).get(pk=pk)
    item.campaign = turn.campaign
    return _create(turn, item)


def _create(turn: Turn, item: Item) -> Assignment:
    return Assignment.objects.create(
        item=item,
        annotator=turn.annotator,
        a_is_left=draw_side(turn, item),
        lease_expires_at=timezone.now() + LEASE,
    )


def draw_side(turn: Turn, item: Item) -> bool | None:
    """Whether completion A is shown on the left; None where there is no pair.

    The n-th pair of these two models that this annotator gets takes the n-th place of their sequence, so sides stay
    balanced within two at every moment, whatever order the items come in. Items with a known answer have a sequence of
    their own, or they would unbalance the others; a repeat is shown the other way round than the first time.
    """
    if item.completion_a is None or item.completion_b is None:
        return None
    if item.repeat_of_id is not None:
        return turn.assignments.get(item=item.repeat_of_id).a_is_left is False
    pair, known = (item.completion_a.model_id, item.completion_b.model_id), item.gold is not None
    earlier = turn.assignments.filter(
        item__repeat_of__isnull=True,
        item__gold__isnull=not known,
        item__completion_a__model=pair[0],
        item__completion_b__model=pair[1],
    ).count()
    return a_is_left(turn.campaign, turn.annotator.pk, pair, earlier, known=known)


def a_is_left(campaign: Campaign, annotator_id: int, pair: tuple[int, int], index: int, *, known: bool = False) -> bool:
    """Place ``index`` of the blocked sequence: blocks of four, two of each side, order drawn from seed and secret."""
    block, place = divmod(index, BLOCK)
    digest = campaign.draw("known side" if known else "side", annotator_id, *pair, block)
    return ARRANGEMENTS[int.from_bytes(digest[:8], "big") % len(ARRANGEMENTS)][place]
