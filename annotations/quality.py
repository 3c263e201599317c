"""How well a campaign's annotators judge, pooled over its arms: nothing here tells one arm from another.

It does tell answers, so nobody who judges in the study sees it (C6).
"""

from collections import defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from math import isnan, nan
from typing import Any, NamedTuple

import numpy as np
from django.db.models import FilteredRelation, Q

from accounts.models import User
from annotations import answers, consensus, judging
from annotations.gold import is_right
from annotations.models import Assignment, Campaign, Revision
from stats.agreement import krippendorff_alpha
from stats.paired import proportion
from stats.results import Estimate

Outcome = Revision.Outcome
Kind = Campaign.Kind
RESAMPLES = 400  # enough to see how wide an interval is; a report draws as many as the plan says
CORRECTNESS = {value: place for place, value in enumerate(reversed(answers.CORRECTNESS))}


class Given(NamedTuple):
    """A current answer, with what is known of the item it is about."""

    annotator: int
    item: int
    case: int
    repeat_of: int | None
    gold: Mapping[str, Any] | None
    training: bool
    a_is_left: bool | None
    outcome: str
    values: Mapping[str, Any]
    flagged: bool

    @property
    def is_regular(self) -> bool:
        return self.repeat_of is None and self.gold is None


@dataclass(frozen=True)
class Share:
    """``n`` of ``of``, with a Wilson interval; nan where there is nothing to count."""

    n: int
    of: int
    low: float = nan
    high: float = nan

    @property
    def value(self) -> float:
        return self.n / self.of if self.of else nan

    def __str__(self) -> str:
        return f"{self.value:.0%}" if self.of else "–"

    @property
    def interval(self) -> str:
        return f"{self.low:.0%} to {self.high:.0%}" if self.of else ""


@dataclass(frozen=True)
class Line:
    """One annotator's answers to the campaign's regular items, and how they did on known answers and repeats."""

    user: User
    answers: int
    left: Share  # of preferences, those for the left side
    left_leans: bool  # the interval leaves one half out
    ties: Share
    same_points: Share  # Likert: the same point on every criterion
    longest_run: int  # answers in a row that are the same as they were given: by side, never by model
    cannot_judge: int
    defective: int
    flagged: int
    gold: Share
    repeats: Share  # hidden repeats answered as the first time


@dataclass(frozen=True)
class Scale:
    """One thing that is judged, and how to read it from an answer (None: missing)."""

    name: str
    title: str
    level: str
    read: Callable[[Given], Any]


@dataclass(frozen=True)
class Agreement:
    """Krippendorff's alpha of one scale so far; ``note`` says why where it is undefined."""

    scale: Scale
    alpha: Estimate

    @property
    def is_defined(self) -> bool:
        return not isnan(self.alpha.value)

    @property
    def has_interval(self) -> bool:
        return not isnan(self.alpha.low)


@dataclass(frozen=True)
class Quality:
    kind: str
    lines: list[Line]
    agreement: list[Agreement]
    flagged: list[int]  # positions of items that somebody wants the lead to look at


def quality(campaign: Campaign) -> Quality:
    """Everything at once, in three queries however large the campaign is."""
    given = _given(campaign)
    own: dict[int, list[Given]] = defaultdict(list)
    for answer in given:
        own[answer.annotator].append(answer)
    people = User.objects.filter(pk__in=own).order_by("username")
    regular = [answer for answer in given if answer.is_regular]
    flagged = {answer.item for answer in given if answer.flagged}
    return Quality(
        kind=campaign.kind,
        lines=[_line(campaign, person, own[person.pk]) for person in people],
        agreement=[Agreement(scale, _alpha(scale, regular)) for scale in scales(campaign)],
        flagged=list(campaign.items.filter(pk__in=flagged).order_by("position").values_list("position", flat=True)),
    )


def _given(campaign: Campaign) -> list[Given]:
    """Every current answer in the order of submission, training, gold and repeats too; withdrawn ones are none."""
    rows = (
        Assignment.objects.filter(item__campaign=campaign, submitted_at__isnull=False)
        .annotate(said=FilteredRelation("judgement__revisions", condition=Q(judgement__revisions__is_current=True)))
        .exclude(said__outcome=Outcome.WITHDRAWN)
        .filter(said__isnull=False)
        .order_by("submitted_at", "pk")
        .values_list(
            "annotator_id",
            "item_id",
            "item__case_id",
            "item__repeat_of_id",
            "item__gold",
            "item__training",
            "a_is_left",
            "said__outcome",
            "said__values",
            "said__flagged",
        )
    )
    return [Given(*row) for row in rows.iterator(chunk_size=5000)]


def _line(campaign: Campaign, person: User, given: Sequence[Given]) -> Line:
    regular = [answer for answer in given if answer.is_regular]
    preferred = [_side(answer) for answer in regular if _side(answer) in ("left", "right")]
    left = share(side == "left" for side in preferred)
    opinions = [answer for answer in regular if answer.outcome in judging.COMPARISON_OUTCOMES]
    points = [list(answer.values.values()) for answer in regular if answer.outcome == Outcome.JUDGED]
    return Line(
        user=person,
        answers=len(regular),
        left=left,
        left_leans=left.of > 0 and not left.low <= 0.5 <= left.high,
        ties=share(answer.outcome == Outcome.TIE for answer in opinions),
        same_points=share(len(set(row)) == 1 for row in points if campaign.kind == Kind.LIKERT and len(row) > 1),
        longest_run=longest_run([_pressed(answer) for answer in regular]),
        cannot_judge=sum(answer.outcome == Outcome.CANNOT_JUDGE for answer in regular),
        defective=sum(answer.outcome == Outcome.DEFECTIVE for answer in regular),
        flagged=sum(answer.flagged for answer in given),
        gold=share(
            is_right(answer, answer.gold, campaign.kind) for answer in given if answer.gold and not answer.training
        ),
        repeats=_repeats(given),
    )


def share(yes: Any) -> Share:
    """How many of the answers are yes."""
    found = [bool(answer) for answer in yes]
    if not found:
        return Share(0, 0)
    estimate = proportion([float(answer) for answer in found])
    return Share(sum(found), len(found), estimate.low, estimate.high)


def _side(answer: Given) -> str:
    """The side that was preferred; empty where none was, or it is not known which was where."""
    if answer.outcome not in judging.PREFERENCES or answer.a_is_left is None:
        return ""
    return judging.to_side(answer.outcome, answer.a_is_left)


def _pressed(answer: Given) -> Hashable:
    """What the annotator pressed: the side, not the output, and every value."""
    return _side(answer) or answer.outcome, tuple(sorted(answer.values.items()))


def longest_run(answers: Sequence[Hashable]) -> int:
    """The most answers in a row that are the same.

    >>> longest_run(["left", "left", "tie", "left", "left", "left"])
    3
    """
    return max((len(list(run)) for _, run in groupby(answers)), default=0)


def _repeats(given: Sequence[Given]) -> Share:
    """Hidden repeats answered as the item they repeat; outcomes are compared by output, as the sides are swapped."""
    first = {answer.item: answer for answer in given}
    pairs = [(first[answer.repeat_of], answer) for answer in given if answer.repeat_of in first]
    return share((a.outcome, dict(a.values)) == (b.outcome, dict(b.values)) for a, b in pairs)


# --- agreement so far


def scales(campaign: Campaign) -> list[Scale]:
    """What the campaign's annotators are asked, by the rubric in force, with its level of measurement."""
    if campaign.kind == Kind.COMPARISON:
        # Tie and both unacceptable lie on no line between A and B, hence nominal; coded by output, never by side.
        criteria = [_points(criterion) for criterion in campaign.rubric.get("criteria", [])]
        return [*criteria, Scale("preference", "Preference", "nominal", lambda a: a.outcome)]
    if campaign.kind == Kind.CORRECTNESS:
        return [
            Scale("correctness", "Correctness", "ordinal", lambda a: CORRECTNESS.get(a.values.get("correctness", "")))
        ]
    if campaign.kind == Kind.LIKERT:
        return [_points(criterion) for criterion in campaign.rubric.get("criteria", [])]
    return [_label(label_field) for label_field in campaign.rubric.get("label_fields", [])]


def _points(criterion: Mapping[str, Any]) -> Scale:
    name = criterion["name"]
    return Scale(name, criterion["title"], "ordinal", lambda a: a.values.get(name))


def _label(label_field: Mapping[str, Any]) -> Scale:
    name = label_field["name"]
    place = {str(label["value"]): i for i, label in enumerate(label_field["labels"])}
    return Scale(
        name, label_field["title"], label_field.get("level", "nominal"), lambda a: place.get(str(a.values.get(name)))
    )


def _alpha(scale: Scale, given: Sequence[Given]) -> Estimate:
    """Krippendorff's alpha over everything judged so far, surplus judgements too; nan with a note where undefined.

    Who can't judge has no opinion here, and what most call defective is no item. Intervals resample cases.
    """
    outcomes: dict[int, list[str]] = defaultdict(list)
    for answer in given:
        outcomes[answer.item].append(answer.outcome)
    bad = {item for item, said in outcomes.items() if consensus.is_defective(said)}
    said = [a for a in given if a.outcome not in judging.ANY_KIND and a.item not in bad]
    items = list(dict.fromkeys(answer.item for answer in said))
    people = sorted({answer.annotator for answer in said})
    name = f"Krippendorff's alpha, {scale.level}"
    if len(people) < 2:
        why = "one annotator: agreement needs two" if people else "nothing judged yet"
        return Estimate.undefined(name, why)
    row, column = {pk: i for i, pk in enumerate(items)}, {pk: i for i, pk in enumerate(people)}
    ratings = np.full((len(items), len(people)), None, dtype=object)
    cases = [0] * len(items)
    for answer in said:
        ratings[row[answer.item], column[answer.annotator]] = scale.read(answer)
        cases[row[answer.item]] = answer.case
    clusters = cases if len(set(cases)) < len(cases) else None
    return krippendorff_alpha(ratings, scale.level, clusters, n_resamples=RESAMPLES)
