"""How far a campaign is: for one annotator, and for all of them together."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import ceil
from statistics import median

from django.db.models import BooleanField, Count, ExpressionWrapper, OuterRef, Q, Subquery, Sum
from django.db.models.functions import Coalesce

from accounts.models import User
from annotations.models import Assignment, Campaign, Item, Membership, Participation
from annotations.planning import SECONDS_PER_JUDGEMENT

RECENT = 50  # judgements that the time per item is taken from


@dataclass(frozen=True)
class Progress:
    """One annotator's own work, without the training round. ``shared``: others may take items, so that the total is an
    estimate. ``training``: (judged, all) of the training items, until they are passed. ``capped``: they have judged as
    many items as they are asked to.
    """

    done: int
    total: int
    seconds: float
    shared: bool
    training: tuple[int, int] | None = None
    capped: bool = False

    @property
    def left(self) -> int:
        return max(0, self.total - self.done)

    @property
    def minutes(self) -> int:
        return max(1, round(self.left * self.seconds / 60)) if self.left else 0


@dataclass
class _Part:
    """What the progress of one annotator in one campaign is worked out from."""

    campaign: Campaign
    times: list[float] = field(default_factory=list)
    training_done: int = 0
    training_items: int = 0
    # (tag, annotators wanted, how many such items); gold items are wanted by everybody
    groups: list[tuple[str, int | None, int]] = field(default_factory=list)
    annotators: dict[int, set[str]] = field(default_factory=dict)  # their specialties
    max_items: int | None = None
    training_passed: bool = True

    def progress(self, annotator: User) -> Progress:
        known = [seconds for seconds in self.times[-RECENT:] if seconds > 0]
        done, cap = len(self.times), self._cap
        most, share, shared = self._share(self.annotators.get(annotator.pk, set()))
        total = min(most, max(done, share))
        return Progress(
            done=done,
            total=total if cap is None else max(done, min(total, cap)),
            seconds=median(known) if known else SECONDS_PER_JUDGEMENT,
            shared=shared,
            training=None if self.training_passed else (self.training_done, self.training_items),
            capped=cap is not None and done >= cap,
        )

    @property
    def _cap(self) -> int | None:
        return self.campaign.max_per_annotator if self.max_items is None else self.max_items

    def _share(self, specialties: set[str]) -> tuple[int, int, bool]:
        """The most items the annotator can get, how many it is if all do their share, and whether they differ."""
        most, share, shared = 0, 0.0, False
        for tag, wanted, n in self.groups:
            if tag and tag not in specialties:
                continue
            people = sum(not tag or tag in own for own in self.annotators.values())
            most += n
            if wanted is None or wanted >= people:
                share += n
            else:
                share += n * wanted / people
                shared = True
        return most, ceil(round(share, 9)), shared


def progress_of(campaign: Campaign, annotator: User) -> Progress:
    """What the annotator has judged and has still to judge (three queries)."""
    return _parts([campaign], annotator)[0].progress(annotator)


def _parts(campaigns: Iterable[Campaign], annotator: User) -> list[_Part]:
    """One part per campaign, in the order given (three queries, however many campaigns)."""
    parts = {campaign.pk: _Part(campaign) for campaign in campaigns}
    for pk, training, seconds in (
        Assignment.objects.filter(item__campaign__in=parts, annotator=annotator, submitted_at__isnull=False)
        .order_by("submitted_at")
        .values_list("item__campaign_id", "item__training", "active_seconds")
    ):
        if training:
            parts[pk].training_done += 1
        else:
            parts[pk].times.append(seconds)
    _add_groups(parts)
    _add_annotators(parts, annotator)
    return list(parts.values())


def _add_groups(parts: dict[int, _Part]) -> None:
    """The items of each campaign by what decides who gets them; a repeat goes to who gets the item it repeats."""
    rows = (
        Item.objects.filter(campaign__in=parts)
        .order_by()
        .annotate(
            is_repeat=ExpressionWrapper(Q(repeat_of__isnull=False), output_field=BooleanField()),
            known=ExpressionWrapper(Q(gold__isnull=False), output_field=BooleanField()),
            for_tag=Coalesce("repeat_of__tag", "tag"),
            wanted=Coalesce("repeat_of__overlap", "overlap"),
        )
        .values_list("campaign_id", "training", "is_repeat", "known", "for_tag", "wanted")
        .annotate(n=Count("pk"))
    )
    for pk, training, is_repeat, known, tag, wanted, n in rows:
        part = parts[pk]
        if training:
            part.training_items += n
        elif is_repeat:
            if part.campaign.repeat_rate:
                part.groups.append((tag, wanted, n))
        elif not known:
            part.groups.append((tag, wanted, n))
        elif part.campaign.gold_rate:
            part.groups.append((tag, None, n))


def _add_annotators(parts: dict[int, _Part], annotator: User) -> None:
    memberships = Membership.objects.filter(study=OuterRef("campaign__study"), user=OuterRef("user"))
    for pk, user, max_items, passed_at, specialty in Participation.objects.filter(campaign__in=parts).values_list(
        "campaign_id", "user_id", "max_items", "training_passed_at", Subquery(memberships.values("specialty")[:1])
    ):
        part = parts[pk]
        part.annotators[user] = Membership(specialty=specialty or "").specialties
        if user == annotator.pk:
            in_training = part.campaign.training_pass_mark is not None and part.training_items and passed_at is None
            part.max_items, part.training_passed = max_items, not in_training


@dataclass(frozen=True)
class Card:
    """A campaign on an annotator's home page."""

    campaign: Campaign
    progress: Progress

    @property
    def begun(self) -> bool:
        return self.progress.done > 0 or bool(self.progress.training and self.progress.training[0])


def cards(campaigns: Iterable[Campaign], annotator: User) -> list[Card]:
    """One card per campaign, in the order given (three queries, however many campaigns)."""
    return [Card(part.campaign, part.progress(annotator)) for part in _parts(campaigns, annotator)]


@dataclass(frozen=True)
class Tally:
    """A campaign in a list: judgements that count, and how many it wants."""

    campaign: Campaign
    items: int
    judgements: int
    wanted: int


def tallies(campaigns: Iterable[Campaign]) -> list[Tally]:
    """One tally per campaign, in the order given (three queries, however many campaigns)."""
    rows = list(campaigns)
    own = Q(items__repeat_of__isnull=True, items__gold__isnull=True)
    found = Campaign.objects.filter(pk__in=[row.pk for row in rows]).order_by()
    items = {
        pk: (n, wanted)
        for pk, n, wanted in found.annotate(
            n=Count("items", filter=own), wanted=Sum("items__overlap", filter=own, default=0)
        ).values_list("pk", "n", "wanted")
    }
    counted = own & Q(items__judgements__surplus=False, items__judgements__assignment__submitted_at__isnull=False)
    judged = dict(found.annotate(n=Count("items__judgements", filter=counted)).values_list("pk", "n"))
    return [Tally(row, items[row.pk][0], judged[row.pk], items[row.pk][1]) for row in rows]
