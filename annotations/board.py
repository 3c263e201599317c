"""A running campaign as its lead sees it: how much is judged, when it will be done, and who needs a word.

``counts`` says how much, never what, so that a lead who judges may see it too. What tells answers is in ``quality.py``.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from math import ceil
from typing import Any

import numpy as np
from django.db.models import Count, F, IntegerField, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, TruncDate
from django.utils import timezone

from accounts.models import AuditEvent, User
from annotations.models import Assignment, Campaign, Item, Judgement, Participation

DAYS = 14
SILENT_DAYS = 3  # without an answer for so long, somebody with work left has perhaps dropped out
PAGE = 25  # items a page
BAR_WIDTH, BAR_HEIGHT = 20, 80

_COUNTS = Q(surplus=False, assignment__submitted_at__isnull=False)


@dataclass(frozen=True)
class Level:
    """Items that have ``have`` of the judgements they want."""

    have: int
    items: int
    finished: int  # of them, those that want no more


@dataclass(frozen=True)
class Day:
    """One day's judgements, and its bar in a chart BAR_WIDTH × DAYS wide and BAR_HEIGHT high."""

    day: date
    judgements: int
    x: int
    height: int

    @property
    def y(self) -> int:
        return BAR_HEIGHT - self.height


@dataclass(frozen=True)
class Person:
    """One annotator's work. ``low`` and ``high`` are quartiles of the seconds a judgement took them."""

    user: User
    judged: int = 0
    surplus: int = 0
    skipped: int = 0
    held: int = 0
    median: float | None = None
    low: float | None = None
    high: float | None = None
    last: datetime | None = None  # when they last submitted
    cap: int | None = None
    training: str = ""
    taken_off: bool = False
    silent: bool = False


@dataclass(frozen=True)
class Counts:
    items: int
    finished: int
    judgements: int
    wanted: int
    surplus: int
    levels: list[Level]
    people: list[Person]
    days: list[Day]
    per_day: float
    done_on: date | None  # None: nobody judges, or nothing is left
    known: dict[str, int] = field(default_factory=dict)  # gold, training and repeats that were judged

    @property
    def left(self) -> int:
        return max(0, self.wanted - self.judgements)

    @property
    def dropped_out(self) -> list[Person]:
        """Who has work left and has been silent, or was taken off."""
        return [person for person in self.people if person.taken_off or person.silent]

    @property
    def busiest(self) -> int:
        return max((day.judgements for day in self.days), default=0)

    @property
    def has_training(self) -> bool:
        return any(person.training for person in self.people)

    @property
    def has_cap(self) -> bool:
        return any(person.cap is not None for person in self.people)


def counts(campaign: Campaign, *, now: datetime | None = None) -> Counts:
    """The whole campaign in nine queries, ten with a training round, however large it is."""
    now = now or timezone.now()
    rows = list(_with_judged(campaign.items.regular()).values_list("overlap", "n"))
    wanted = sum(overlap for overlap, _ in rows)
    judgements = sum(min(n, overlap) for overlap, n in rows)
    days = _days(campaign, now)
    per_day = _per_day(campaign, days, now)
    left = wanted - judgements
    return Counts(
        items=len(rows),
        finished=sum(n >= overlap for overlap, n in rows),
        judgements=judgements,
        wanted=wanted,
        surplus=Judgement.objects.filter(
            item__campaign=campaign, surplus=True, assignment__submitted_at__isnull=False
        ).count(),
        levels=_levels(rows),
        people=_people(campaign, left=left, now=now),
        days=days,
        per_day=per_day,
        done_on=(timezone.localdate(now) + timedelta(days=ceil(left / per_day))) if left > 0 and per_day else None,
        known=_known(campaign),
    )


def _with_judged(items: QuerySet[Item]) -> QuerySet[Any]:
    """With ``n``: the judgements that count."""
    counted = Judgement.objects.filter(_COUNTS, item=OuterRef("pk")).order_by().values("item").annotate(n=Count("pk"))
    return items.annotate(n=Coalesce(Subquery(counted.values("n"), output_field=IntegerField()), 0))


def _levels(rows: Sequence[tuple[int, int]]) -> list[Level]:
    """From 0 to the largest overlap; one who has more than they want (overlap was never lowered) has all."""
    all_, finished = Counter(min(n, o) for o, n in rows), Counter(min(n, o) for o, n in rows if n >= o)
    most = max((overlap for overlap, _ in rows), default=0)
    return [Level(have, all_[have], finished[have]) for have in range(most + 1)]


def _days(campaign: Campaign, now: datetime) -> list[Day]:
    """Regular judgements of each of the last fourteen days, today the last."""
    today = timezone.localdate(now)
    first = today - timedelta(days=DAYS - 1)
    made = (
        Assignment.objects.filter(item__in=campaign.items.regular(), submitted_at__date__gte=first)
        .annotate(day=TruncDate("submitted_at"))
        .order_by()
        .values_list("day")
        .annotate(n=Count("pk"))
    )
    found = dict(made)
    most = max(found.values(), default=0) or 1
    days = [first + timedelta(days=i) for i in range(DAYS)]
    return [
        Day(day, found.get(day, 0), x=place * BAR_WIDTH, height=round(BAR_HEIGHT * found.get(day, 0) / most))
        for place, day in enumerate(days)
    ]


def _per_day(campaign: Campaign, days: Sequence[Day], now: datetime) -> float:
    """Over the last fourteen days, or since the campaign began where that is less, today included."""
    began = timezone.localdate(campaign.created_at)
    running = min(DAYS, max(1, (timezone.localdate(now) - began).days + 1))
    return sum(day.judgements for day in days) / running


def _known(campaign: Campaign) -> dict[str, int]:
    found = Assignment.objects.filter(item__campaign=campaign, submitted_at__isnull=False).aggregate(
        training=Count("pk", filter=Q(item__training=True)),
        gold=Count("pk", filter=Q(item__gold__isnull=False, item__training=False)),
        repeats=Count("pk", filter=Q(item__repeat_of__isnull=False)),
    )
    return {name: n for name, n in found.items() if n}


def _people(campaign: Campaign, *, left: int, now: datetime) -> list[Person]:
    """Everybody who takes part or took part, by user name."""
    parts = {part.user_id: part for part in campaign.participations.all()}
    tallies = _tallies(campaign, now)
    times, since = _times(campaign), _since(campaign)
    training_items = campaign.items.filter(training=True).count() if campaign.training_pass_mark is not None else 0
    found = []
    for user in User.objects.filter(pk__in={*parts, *tallies}).order_by("username"):
        tally, part = tallies.get(user.pk, {}), parts.get(user.pk)
        trained = tally.pop("trained", 0)
        low, middle, high = _quartiles(times.get(user.pk, []))
        person = Person(user, **tally, low=low, median=middle, high=high, taken_off=part is None)
        if part is not None:
            cap = part.max_items if part.max_items is not None else campaign.max_per_annotator
            active = max(filter(None, (person.last, since.get(user.username), since[""])))
            has_work = campaign.is_open and left > 0 and (cap is None or person.judged < cap)
            person = replace(
                person,
                cap=cap,
                training=_training(part, trained, training_items),
                silent=has_work and now - active >= timedelta(days=SILENT_DAYS),
            )
        found.append(person)
    return found


def _tallies(campaign: Campaign, now: datetime) -> dict[int, dict[str, Any]]:
    """{annotator: counts and last times}. Gold, training and repeats are counted apart (``_known``)."""
    regular = Q(item__gold__isnull=True, item__repeat_of__isnull=True)
    submitted, waiting = Q(submitted_at__isnull=False), Q(submitted_at__isnull=True, released_at__isnull=True)
    rows = (
        Assignment.objects.filter(item__campaign=campaign)
        .order_by()
        .values("annotator_id")
        .annotate(
            judged=Count("pk", filter=submitted & regular),
            surplus=Count("pk", filter=submitted & regular & Q(judgement__surplus=True)),
            skipped=Count("pk", filter=waiting & Q(skipped_at__isnull=False)),
            held=Count("pk", filter=waiting & Q(skipped_at__isnull=True, lease_expires_at__gt=now)),
            trained=Count("pk", filter=submitted & Q(item__training=True)),
            last=Max("submitted_at"),
        )
    )
    return {row.pop("annotator_id"): row for row in rows}


def _since(campaign: Campaign) -> dict[str, datetime]:
    """Since when there was something to do: by user name for who was added later, under "" for everybody."""
    events = AuditEvent.objects.filter(
        object_type=Campaign._meta.label_lower, object_id=str(campaign.pk), action="add annotator"
    )
    added = {event.detail.get("annotator", ""): event.at for event in events.order_by("pk")}
    return added | {"": campaign.reopened_at or campaign.created_at}


def _times(campaign: Campaign) -> dict[int, list[float]]:
    """{annotator: active seconds of each regular judgement}; without those whose time is unknown (imported ones)."""
    found: dict[int, list[float]] = defaultdict(list)
    rows = Assignment.objects.filter(
        item__in=campaign.items.regular(), submitted_at__isnull=False, active_seconds__gt=0
    )
    for annotator_id, seconds in rows.values_list("annotator_id", "active_seconds"):
        found[annotator_id].append(seconds)
    return found


def _quartiles(seconds: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """Lower quartile, median and upper quartile (numpy's linear ones).

    >>> _quartiles([10, 20, 30, 40])
    (17.5, 25.0, 32.5)
    """
    if not seconds:
        return None, None, None
    low, middle, high = (float(value) for value in np.percentile(seconds, [25, 50, 75]))
    return low, middle, high


def _training(part: Participation, judged: int, items: int) -> str:
    """The state of an annotator's training round, in words; empty where there is none."""
    if not items:
        return ""
    if part.training_passed_at:
        again = f" in round {part.training_round}" if part.training_round > 1 else ""
        return f"passed{again}"
    return f"round {part.training_round}: {judged} of {items}" if judged or part.training_round > 1 else "not begun"


# --- items


@dataclass(frozen=True)
class Lag:
    """An item that wants more judgements, and who has it now."""

    position: int
    case: str
    tag: str
    overlap: int
    judged: int
    holders: list[Assignment]


@dataclass(frozen=True)
class Page:
    lags: list[Lag]
    after: str  # where the next page begins; empty: there is none


def lagging(campaign: Campaign, *, after: str = "") -> Page:
    """Items that want more judgements, those with the fewest first, a page at a time (two queries).

    ``after`` is a key, not a number of rows to step over: page 400 costs what page 1 costs.
    """
    rows = _with_judged(campaign.items.regular()).filter(n__lt=F("overlap")).order_by("n", "position")
    if key := _key(after):
        rows = rows.filter(Q(n__gt=key[0]) | Q(n=key[0], position__gt=key[1]))
    found = list(rows.values_list("pk", "position", "case__external_id", "tag", "overlap", "n")[: PAGE + 1])
    shown = [pk for pk, *_ in found[:PAGE]]
    holders: dict[int, list[Assignment]] = defaultdict(list)
    for row in waiting(campaign).filter(item__in=shown):
        holders[row.item_id].append(row)
    lags = [
        Lag(position, case, tag, overlap, judged, holders[pk])
        for pk, position, case, tag, overlap, judged in found[:PAGE]
    ]
    return Page(lags, f"{lags[-1].judged}-{lags[-1].position}" if len(found) > PAGE else "")


def _key(after: str) -> tuple[int, int] | None:
    """The two numbers of a page's key; None where there is none, or somebody made one up."""
    judged, _, position = after.partition("-")
    if judged.isascii() and judged.isdigit() and position.isascii() and position.isdigit():
        return int(judged), int(position)
    return None


def waiting(campaign: Campaign) -> QuerySet[Assignment]:
    """What annotators have been given and neither judged nor had taken back: live leases, run-out ones, skipped."""
    rows = Assignment.objects.filter(
        item__in=campaign.items.regular(), submitted_at__isnull=True, released_at__isnull=True
    )
    return rows.select_related("annotator", "item").order_by("item__position", "created_at")
