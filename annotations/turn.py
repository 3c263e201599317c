"""One annotator's turn in a campaign: what they have met so far, and what that makes due."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, ExpressionWrapper, OuterRef, Q, Subquery

from accounts.models import User
from annotations import ordering
from annotations.models import Assignment, Campaign, Item, Membership, Participation

KNOWN = ExpressionWrapper(Q(item__gold__isnull=False), output_field=BooleanField())
WAITS = ExpressionWrapper(
    Q(submitted_at__isnull=True, skipped_at__isnull=True, released_at__isnull=True), output_field=BooleanField()
)


class Met(NamedTuple):
    """An item that the annotator was given."""

    assignment: UUID
    item: int
    position: int
    case: int
    repeat_of: int | None
    training: bool
    a_is_left: bool | None
    model_a: int | None
    model_b: int | None
    submitted_at: datetime | None
    lease_expires_at: datetime
    known: bool
    waits: bool  # neither submitted nor put aside, nor taken back by a lead

    @property
    def is_regular(self) -> bool:
        return self.repeat_of is None and not self.known

    @property
    def is_gold(self) -> bool:
        return self.known and self.repeat_of is None

    @property
    def pair(self) -> tuple[int | None, int | None]:
        return self.model_a, self.model_b


class Candidate(NamedTuple):
    """An item that may come next."""

    item: int
    case: int
    position: int
    repeat_of: int | None = None


@dataclass
class Turn:
    """What an annotator's next item depends on, as read once. ``met``: in the order in which they got them."""

    campaign: Campaign
    annotator: User
    part: Participation
    specialties: set[str]
    size: int  # positions of the campaign
    met: list[Met]

    @cached_property
    def own(self) -> list[Met]:
        """Without the training."""
        return [row for row in self.met if not row.training]

    @property
    def capped(self) -> bool:
        """Whether they have judged as many items as they are asked to. What they hold comes back before another one."""
        cap = self.campaign.max_per_annotator if self.part.max_items is None else self.part.max_items
        return cap is not None and len(self._submissions) >= cap

    @cached_property
    def recent(self) -> set[int]:
        """Cases that should not come next."""
        return {row.case for row in self.met[max(0, len(self.met) - self.campaign.apart) :]}

    @cached_property
    def seen(self) -> dict[int, int]:
        """{case: when it was met last}, as a place in ``met``."""
        return {row.case: place for place, row in enumerate(self.met)}

    @cached_property
    def _submissions(self) -> list[datetime]:
        return sorted(row.submitted_at for row in self.own if row.submitted_at)

    @cached_property
    def _submitted(self) -> dict[int, datetime]:
        return {row.item: row.submitted_at for row in self.own if row.submitted_at}

    @cached_property
    def _special(self) -> list[Candidate]:
        """Gold items and repeats that the annotator may get and has not got yet, in an order of their own."""
        campaign = self.campaign
        kinds = Q(repeat_of__isnull=True, gold__isnull=False, training=False) if campaign.gold_rate else Q(pk__in=[])
        if campaign.repeat_rate:
            kinds |= Q(repeat_of__isnull=False)
        if not (campaign.gold_rate or campaign.repeat_rate):
            return []
        met = {row.item for row in self.met}
        found = [
            Candidate(pk, case, position, repeat_of)
            for pk, case, position, repeat_of, tag in campaign.items.filter(kinds).values_list(
                "pk", "case_id", "position", "repeat_of_id", "tag"
            )
            if pk not in met and (repeat_of in self._submitted if repeat_of else not tag or tag in self.specialties)
        ]
        return sorted(found, key=lambda row: ordering.gold_key(campaign, self.annotator.pk, row.item))

    def due(self) -> Candidate | None:
        """The gold item or the repeat that comes before any other item."""
        special = [row for row in self._special if row.case not in self.recent]
        gold = [row for row in special if row.repeat_of is None]
        if gold and not self._last_is_gold and self._is_gold_due():
            return gold[0]
        return next((row for row in special if row.repeat_of and self._is_ripe(row)), None)

    def _is_gold_due(self) -> bool:
        given = sum(row.is_gold for row in self.own)
        return len(self.own) >= ordering.gold_place(self.campaign, self.annotator.pk, given)

    def _is_ripe(self, repeat: Candidate) -> bool:
        assert repeat.repeat_of is not None
        since = len(self._submissions) - bisect_right(self._submissions, self._submitted[repeat.repeat_of])
        return since >= ordering.repeat_delay(self.campaign, self.annotator.pk, repeat.item)

    @property
    def _last_is_gold(self) -> bool:
        return bool(self.own) and self.own[-1].is_gold

    def left_over(self) -> Candidate | None:
        """Once nothing else is left: the rest, cases apart and no two gold items in a row as far as possible."""

        def cost(row: Candidate) -> tuple[bool, bool, int]:
            again = self._last_is_gold and row.repeat_of is None
            return row.case in self.recent, again, self.seen.get(row.case, -1)

        return min(self._special, key=cost, default=None)


def turn_of(campaign: Campaign, annotator: User) -> Turn | None:
    """The turn of somebody who takes part in the campaign (two queries); None for anybody else.

    One claim at a time for one person, or two tabs would hold two leases: PostgreSQL locks their participation.
    """
    memberships = Membership.objects.filter(study=campaign.study_id, user=OuterRef("user"))
    last = Item.objects.filter(campaign=OuterRef("campaign")).order_by("-position")
    parts = campaign.participations.filter(user=annotator).annotate(
        specialty=Subquery(memberships.values("specialty")[:1]), last_position=Subquery(last.values("position")[:1])
    )
    if connection.features.has_select_for_update:
        parts = parts.select_for_update(of=("self",))
    part = parts.first()
    if part is None:
        return None
    part.campaign, part.user = campaign, annotator
    return Turn(
        campaign=campaign,
        annotator=annotator,
        part=part,
        specialties=Membership(specialty=part.specialty or "").specialties,
        size=0 if part.last_position is None else part.last_position + 1,
        met=list(_met(campaign, annotator)),
    )


def _met(campaign: Campaign, annotator: User) -> Iterable[Met]:
    rows = Assignment.objects.filter(item__campaign=campaign, annotator=annotator).order_by("created_at", "pk")
    for row in rows.values_list(
        *("pk", "item_id", "item__position", "item__case_id", "item__repeat_of_id", "item__training", "a_is_left"),
        *("item__completion_a__model_id", "item__completion_b__model_id", "submitted_at", "lease_expires_at"),
        KNOWN,
        WAITS,
    ):
        yield Met(*row)
