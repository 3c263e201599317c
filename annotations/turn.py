"""One annotator's turn in a campaign: what they have met so far, and what that makes due."""

from dataclasses import dataclass
from functools import cached_property
from typing import Literal, NamedTuple

from django.db import connection
from django.db.models import Case, OuterRef, Q, QuerySet, Subquery, Value, When

from accounts.models import User
from annotations import ordering
from annotations.models import Assignment, Campaign, Item, Membership, Participation

# Worked out by the database: a thousand rows without a date or a boolean to convert are read in a few milliseconds.
SORT = Case(
    When(item__training=True, then=Value("training")),
    When(item__repeat_of__isnull=False, then=Value("repeat")),
    When(item__gold__isnull=False, then=Value("gold")),
    default=Value("regular"),
)


class Met(NamedTuple):
    """An item that the annotator was given."""

    item: int
    position: int
    case: int
    sort: Literal["training", "repeat", "gold", "regular"]


class Candidate(NamedTuple):
    """An item that may come next."""

    item: int
    case: int
    position: int
    repeat_of: int | None = None


@dataclass
class Turn:
    """What an annotator's next item depends on, each part of it read once, when it is needed."""

    campaign: Campaign
    annotator: User
    part: Participation
    specialties: set[str]
    size: int  # positions of the campaign

    @property
    def assignments(self) -> QuerySet[Assignment]:
        return Assignment.objects.filter(item__campaign=self.campaign, annotator=self.annotator)

    @cached_property
    def met(self) -> list[Met]:
        """What they were given, in the order in which they got it."""
        rows = self.assignments.order_by("created_at", "pk")
        return [Met(*row) for row in rows.values_list("item_id", "item__position", "item__case_id", SORT)]

    @cached_property
    def own(self) -> list[Met]:
        """Without the training."""
        return [row for row in self.met if row.sort != "training"]

    @cached_property
    def submitted(self) -> dict[int, int]:
        """{item: how many others they had submitted before it}, without the training."""
        rows = self.assignments.filter(submitted_at__isnull=False, item__training=False)
        order = rows.order_by("submitted_at", "pk").values_list("item_id", flat=True)
        return {item: n for n, item in enumerate(order)}

    @property
    def capped(self) -> bool:
        """Whether they have judged as many items as they are asked to. What they hold comes back before another one."""
        cap = self.campaign.max_per_annotator if self.part.max_items is None else self.part.max_items
        return cap is not None and len(self.submitted) >= cap

    @cached_property
    def recent(self) -> set[int]:
        """Cases that should not come next."""
        return {row.case for row in self.met[max(0, len(self.met) - self.campaign.apart) :]}

    @cached_property
    def seen(self) -> dict[int, int]:
        """{case: when it was met last}, as a place in ``met``."""
        return {row.case: place for place, row in enumerate(self.met)}

    @cached_property
    def _special(self) -> list[Candidate]:
        """Gold items and repeats that the annotator may get and has not got yet, in an order of their own."""
        campaign = self.campaign
        if not (campaign.gold_rate or campaign.repeat_rate):
            return []
        special = campaign.items.filter(Q(gold__isnull=False) | Q(repeat_of__isnull=False), training=False)
        met = {row.item for row in self.met}
        found = [
            Candidate(pk, case, position, repeat_of)
            for pk, case, position, repeat_of, tag in special.values_list(
                "pk", "case_id", "position", "repeat_of_id", "tag"
            )
            if pk not in met and (self._may_repeat(repeat_of) if repeat_of else self._may_get_gold(tag))
        ]
        return sorted(found, key=lambda row: ordering.gold_key(campaign, self.annotator.pk, row.item))

    def _may_repeat(self, original: int) -> bool:
        return self.campaign.repeat_rate > 0 and original in self.submitted

    def _may_get_gold(self, tag: str) -> bool:
        return self.campaign.gold_rate > 0 and (not tag or tag in self.specialties)

    def due(self) -> Candidate | None:
        """The gold item or the repeat that comes before any other item."""
        special = [row for row in self._special if row.case not in self.recent]
        gold = [row for row in special if row.repeat_of is None]
        if gold and not self._last_is_gold and self._is_gold_due():
            return gold[0]
        return next((row for row in special if row.repeat_of and self._is_ripe(row)), None)

    def _is_gold_due(self) -> bool:
        given = sum(row.sort == "gold" for row in self.own)
        return len(self.own) >= ordering.gold_place(self.campaign, self.annotator.pk, given)

    def _is_ripe(self, repeat: Candidate) -> bool:
        assert repeat.repeat_of is not None
        since = len(self.submitted) - 1 - self.submitted[repeat.repeat_of]
        return since >= ordering.repeat_delay(self.campaign, self.annotator.pk, repeat.item)

    @property
    def _last_is_gold(self) -> bool:
        return bool(self.own) and self.own[-1].sort == "gold"

    def left_over(self) -> Candidate | None:
        """Once nothing else is left: the rest, cases apart and no two gold items in a row as far as possible."""

        def cost(row: Candidate) -> tuple[bool, bool, int]:
            again = self._last_is_gold and row.repeat_of is None
            return row.case in self.recent, again, self.seen.get(row.case, -1)

        return min(self._special, key=cost, default=None)


def turn_of(campaign: Campaign, annotator: User) -> Turn | None:
    """The turn of somebody who takes part in the campaign (one query); None for anybody else.

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
    )
