"""How far a campaign is: for one annotator, and for all of them together."""

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil
from statistics import median

from django.db.models import Count, Q

from accounts.models import User
from annotations.models import Assignment, Campaign
from annotations.planning import SECONDS_PER_JUDGEMENT

RECENT = 50  # judgements that the time per item is taken from


@dataclass(frozen=True)
class Progress:
    """One annotator's own work. ``shared``: others may take items, so that the total is an estimate."""

    done: int
    total: int
    seconds: float
    shared: bool

    @property
    def left(self) -> int:
        return max(0, self.total - self.done)

    @property
    def minutes(self) -> int:
        return max(1, round(self.left * self.seconds / 60)) if self.left else 0


def progress_of(campaign: Campaign, annotator: User) -> Progress:
    """What the annotator has judged and has still to judge (two queries)."""
    times = list(
        Assignment.objects.filter(item__campaign=campaign, annotator=annotator, submitted_at__isnull=False)
        .order_by("submitted_at")
        .values_list("active_seconds", flat=True)
    )
    counts = Campaign.objects.filter(pk=campaign.pk).aggregate(
        items=Count("items", distinct=True), annotators=Count("annotators", distinct=True)
    )
    return _progress(len(times), times, counts["items"], counts["annotators"], campaign.overlap)


def _progress(done: int, times: list[float], items: int, annotators: int, overlap: int) -> Progress:
    known = [seconds for seconds in times[-RECENT:] if seconds > 0]
    share = items if overlap >= annotators else ceil(items * overlap / annotators)
    return Progress(
        done=done,
        total=min(items, max(done, share)),
        seconds=median(known) if known else SECONDS_PER_JUDGEMENT,
        shared=overlap < annotators,
    )


@dataclass(frozen=True)
class Card:
    """A campaign on an annotator's home page."""

    campaign: Campaign
    progress: Progress

    @property
    def begun(self) -> bool:
        return self.progress.done > 0


def cards(campaigns: Iterable[Campaign], annotator: User) -> list[Card]:
    """One card per campaign, in the order given (two queries, however many campaigns)."""
    rows = list(campaigns)
    times: dict[int, list[float]] = {campaign.pk: [] for campaign in rows}
    for campaign_id, seconds in (
        Assignment.objects.filter(item__campaign__in=rows, annotator=annotator, submitted_at__isnull=False)
        .order_by("submitted_at")
        .values_list("item__campaign_id", "active_seconds")
    ):
        times[campaign_id].append(seconds)
    counts = {
        pk: (items, annotators)
        for pk, items, annotators in Campaign.objects.filter(pk__in=times)
        .order_by()
        .annotate(n_items=Count("items", distinct=True), n_annotators=Count("annotators", distinct=True))
        .values_list("pk", "n_items", "n_annotators")
    }
    return [
        Card(campaign, _progress(len(times[campaign.pk]), times[campaign.pk], *counts[campaign.pk], campaign.overlap))
        for campaign in rows
    ]


@dataclass(frozen=True)
class AnnotatorLine:
    """One annotator in a lead's table."""

    annotator: User
    judged: int
    surplus: int
    skipped: int
    median_seconds: float | None


@dataclass(frozen=True)
class Overview:
    """A campaign as its lead sees it while it runs: how much, never what."""

    items: int
    finished_items: int
    judgements: int
    wanted: int
    surplus: int
    lines: list[AnnotatorLine]


def overview(campaign: Campaign) -> Overview:
    """Counts of a whole campaign (four queries)."""
    items = campaign.items.filter(repeat_of__isnull=True, gold__isnull=True)
    counted = Q(judgements__surplus=False, judgements__assignment__submitted_at__isnull=False)
    finished = items.annotate(n=Count("judgements", filter=counted)).filter(n__gte=campaign.overlap).count()
    n_items = items.count()
    rows: dict[int, list[tuple[float, bool | None, bool, bool]]] = {}
    for annotator_id, seconds, surplus, submitted_at, skipped_at in Assignment.objects.filter(
        item__campaign=campaign
    ).values_list("annotator_id", "active_seconds", "judgement__surplus", "submitted_at", "skipped_at"):
        row = (seconds, surplus, submitted_at is not None, skipped_at is not None)
        rows.setdefault(annotator_id, []).append(row)
    lines = [_line(annotator, rows.get(annotator.pk, [])) for annotator in campaign.annotators.order_by("username")]
    surplus_total = sum(line.surplus for line in lines)
    return Overview(
        items=n_items,
        finished_items=finished,
        judgements=sum(line.judged for line in lines) - surplus_total,
        wanted=n_items * campaign.overlap,
        surplus=surplus_total,
        lines=lines,
    )


def _line(annotator: User, rows: list[tuple[float, bool | None, bool, bool]]) -> AnnotatorLine:
    judged = [(seconds, surplus) for seconds, surplus, submitted, _ in rows if submitted]
    known = [seconds for seconds, _ in judged if seconds > 0]
    return AnnotatorLine(
        annotator=annotator,
        judged=len(judged),
        surplus=sum(bool(surplus) for _, surplus in judged),
        skipped=sum(skipped and not submitted for *_, submitted, skipped in rows),
        median_seconds=median(known) if known else None,
    )


@dataclass(frozen=True)
class Tally:
    """A campaign in a list: judgements that count, and how many it wants."""

    campaign: Campaign
    items: int
    judgements: int

    @property
    def wanted(self) -> int:
        return self.items * self.campaign.overlap


def tallies(campaigns: Iterable[Campaign]) -> list[Tally]:
    """One tally per campaign, in the order given (three queries, however many campaigns)."""
    rows = list(campaigns)
    own = Q(items__repeat_of__isnull=True, items__gold__isnull=True)
    found = Campaign.objects.filter(pk__in=[row.pk for row in rows]).order_by()
    items = dict(found.annotate(n=Count("items", filter=own)).values_list("pk", "n"))
    counted = own & Q(items__judgements__surplus=False, items__judgements__assignment__submitted_at__isnull=False)
    judged = dict(found.annotate(n=Count("items__judgements", filter=counted)).values_list("pk", "n"))
    return [Tally(row, items[row.pk], judged[row.pk]) for row in rows]
