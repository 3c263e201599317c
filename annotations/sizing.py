"""How large a campaign should be: cases × overlap × annotators → width of the interval, power, clinicians' minutes.

Numbers in, frozen results out; the simulations are in ``stats.simulated``. The number of annotators decides on the
work of each and on nothing else: inference is conditional on these annotators.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from math import ceil
from statistics import median
from typing import Any

from accounts.errors import UserError
from annotations.models import Assignment, Campaign, Study
from annotations.planning import SECONDS_PER_JUDGEMENT
from stats import simulated
from stats.simulated import Simulated

Kind = Campaign.Kind
ENOUGH_TIMES = 20  # judgements of a kind before their times say more than the default
MOST_CASES = 20_000
MOST_OVERLAP = 10
SEARCH_SIMULATIONS = 1_000  # for looking for an effect or a number of cases: many runs, each a little rougher
ATTENUATED = ("accuracy_difference", "f1_difference")  # goals whose effect an annotator's errors make smaller
ITEMS_PER_CASE = {Kind.COMPARISON: 1, Kind.LIKERT: 2, Kind.CORRECTNESS: 2, Kind.LABEL: 1}  # two arms


@dataclass(frozen=True)
class Goal:
    """What is to be estimated, the kind of campaign that measures it (empty: any), and its effect in words."""

    title: str
    kind: str
    usual: float  # the effect that the page starts with
    effect: str
    none: str  # what the effect is told from
    noun: str


GOALS = {
    "win_rate": Goal("Win rate", Kind.COMPARISON, 0.6, "a win rate of {:.2f}", "no preference", "win rate"),
    "mean_difference": Goal(
        *("Likert difference", Kind.LIKERT, 0.3, "a difference of {:.2f} points", "no difference"),
        noun="difference in points",
    ),
    "accuracy_difference": Goal(
        *("Accuracy difference", Kind.CORRECTNESS, 0.1, "a difference of {:.2f}", "no difference"),
        noun="difference of accuracies",
    ),
    "f1_difference": Goal(
        *("F1 difference", Kind.LABEL, 0.1, "a difference of {:.2f} in accuracy", "no difference"),
        noun="difference of accuracies",
    ),
    "alpha": Goal("Agreement", "", 0.0, "an alpha of {:.2f}", "", "alpha"),
}
USUAL_GOALS = {
    Study.Task.CLASSIFICATION: "f1_difference",
    Study.Task.TRIAGE: "f1_difference",
    Study.Task.REASONING: "accuracy_difference",
    Study.Task.SUMMARISATION: "win_rate",
}


def goal_of(study: Study | None) -> str:
    """What a study of this task usually asks."""
    return USUAL_GOALS[Study.Task(study.task)] if study else "win_rate"


@dataclass(frozen=True)
class Setup:
    """A design to look at, and what is expected of it. Which fields matter depends on the goal."""

    goal: str
    annotators: int
    cases: int
    overlap: int
    kind: str = ""  # only for alpha: elsewhere the goal decides
    effect: float = 0.0  # win rate; difference in points; difference of accuracies
    agreement: float = 0.6  # alpha of the annotators, which is also the correlation of two of them on one case
    ties: float = 0.2
    sd: float = 1.0
    points: int = 5
    discordant: float = 0.3
    accuracy: float = 0.6
    prevalence: float = 0.5
    shares: tuple[float, ...] = (0.1, 0.15, 0.25, 0.3, 0.2)
    level: str = "ordinal"
    floor: float = 0.667
    power: float = 0.8
    confidence: float = 0.95
    seed: int = 0

    @property
    def judged_as(self) -> str:
        return GOALS[self.goal].kind or self.kind or Kind.COMPARISON

    @property
    def items(self) -> int:
        """Items of the campaign: a pair or a case each, or one output of each of two arms."""
        return self.cases * ITEMS_PER_CASE[Kind(self.judged_as)]

    @property
    def expected(self) -> float:
        """What should be found: the effect, or for alpha the agreement itself."""
        return self.agreement if self.goal == "alpha" else self.effect


@dataclass(frozen=True)
class Pace:
    """Seconds a judgement, and where they come from."""

    seconds: float
    source: str


@dataclass(frozen=True)
class Workload:
    items: int
    judgements: int
    per_annotator: int
    minutes: int
    minutes_per_annotator: int


@dataclass(frozen=True)
class Alternative:
    """Another size beside the one entered. ``chosen``: the one entered."""

    cases: int
    overlap: int
    chosen: bool
    work: Workload
    result: Simulated


@dataclass(frozen=True)
class Sizing:
    """Everything the planner says. ``detectable`` and ``cases_needed`` are None where nothing looked at is enough."""

    setup: Setup
    pace: Pace
    work: Workload
    result: Simulated
    detectable: float | None
    cases_needed: int | None
    alternatives: list[Alternative]
    advice: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready."""
        return {
            **asdict(self.setup),
            "items": self.work.items,
            "kind": self.setup.judged_as,
            "seconds_per_judgement": self.pace.seconds,
            "seconds_source": self.pace.source,
            "work": asdict(self.work),
            "result": self.result.to_dict(),
            "detectable_effect": self.detectable,
            "cases_needed": self.cases_needed,
            "alternatives": [
                {"cases": row.cases, "overlap": row.overlap, **asdict(row.work), **row.result.to_dict()}
                for row in self.alternatives
            ],
            "advice": self.advice,
        }


def pace_of(study: Study | None, kind: str) -> Pace:
    """Median active seconds of the study's judgements of this kind by people; a default until there are enough."""
    times: list[float] = []
    if study is not None:
        times = list(
            Assignment.objects.filter(
                item__campaign__study=study,
                item__campaign__kind=kind,
                item__campaign__simulated=False,
                submitted_at__isnull=False,
                active_seconds__gt=0,
            ).values_list("active_seconds", flat=True)
        )
    if len(times) < ENOUGH_TIMES:
        why = f"an assumption, as this study has {len(times)} timed {kind} judgements" if study else "an assumption"
        return Pace(SECONDS_PER_JUDGEMENT, why)
    return Pace(round(median(times), 1), f"the median of this study's {len(times)} timed {kind} judgements")


def workload(setup: Setup, seconds: float) -> Workload:
    judgements = setup.items * setup.overlap
    each = ceil(judgements / setup.annotators)
    return Workload(
        items=setup.items,
        judgements=judgements,
        per_annotator=each,
        minutes=max(1, round(judgements * seconds / 60)),
        minutes_per_annotator=max(1, round(each * seconds / 60)),
    )


def size(setup: Setup, pace: Pace) -> Sizing:
    """Look at a design and its neighbours. Raises UserError where the numbers can't go together."""
    _check(setup)
    try:
        result = simulate(setup)
        around = _alternatives(setup, pace)
        detectable, needed = _detectable(setup), _cases_needed(setup, result)
    except ValueError as error:
        text = str(error)
        raise UserError(f"{text[:1].upper()}{text[1:]}.") from error
    advice = " ".join(part for part in (_on_power(setup, result, needed), _on_overlap(setup, pace)) if part)
    return Sizing(setup, pace, workload(setup, pace.seconds), result, detectable, needed, around, advice)


def _check(setup: Setup) -> None:
    if setup.goal not in GOALS:
        raise UserError(f"There is nothing called “{setup.goal}” to plan for. Choose one of: {', '.join(GOALS)}.")
    if setup.annotators < 1 or setup.overlap < 1:
        raise UserError("At least one annotator is needed, and an overlap of at least 1.")
    if setup.overlap > setup.annotators:
        raise UserError(
            f"Overlap is {setup.overlap}, but there are only {setup.annotators} annotators, and nobody judges an item "
            "twice. Lower the overlap or add annotators."
        )
    if setup.overlap > MOST_OVERLAP or not 2 <= setup.cases <= MOST_CASES:
        raise UserError(f"The planner looks at 2 to {MOST_CASES:,} cases and an overlap of up to {MOST_OVERLAP}.")
    if not 0.5 <= setup.confidence < 1 or not 0 < setup.power < 1:
        raise UserError("Confidence must lie between 0.5 and 1, and the power wanted between 0 and 1.")
    if setup.goal == "alpha" and not 0 < setup.floor < 1:
        raise UserError("The least alpha that is acceptable must lie between 0 and 1.")


def simulate(setup: Setup, n_simulations: int = simulated.N_SIMULATIONS) -> Simulated:
    """The design's width and power."""
    common: dict[str, Any] = {"overlap": setup.overlap, "confidence": setup.confidence, "seed": setup.seed}
    common["n_simulations"] = n_simulations
    if setup.goal == "win_rate":
        return simulated.win_rate(setup.effect, setup.cases, setup.ties, icc=setup.agreement, **common)
    if setup.goal == "mean_difference":
        return simulated.mean_difference(
            setup.effect, setup.cases, setup.sd, setup.points, icc=setup.agreement, **common
        )
    if setup.goal == "alpha":
        return simulated.alpha(
            setup.agreement, setup.items, shares=setup.shares, level=setup.level, floor=setup.floor, **common
        )
    common |= {"discordant": setup.discordant, "accuracy": setup.accuracy, "agreement": setup.agreement}
    if setup.goal == "accuracy_difference":
        return simulated.proportion_difference(setup.effect, setup.cases, **common)
    return simulated.f1_difference(setup.effect, setup.cases, prevalence=setup.prevalence, **common)


def _alternatives(setup: Setup, pace: Pace) -> list[Alternative]:
    """Half, the same and twice the cases, with one annotator an item fewer, as many and one more."""
    most = min(setup.annotators, MOST_OVERLAP)
    overlaps = sorted({max(1, setup.overlap - 1), setup.overlap, min(most, setup.overlap + 1)})
    sizes = sorted({max(2, setup.cases // 2), setup.cases, min(MOST_CASES, setup.cases * 2)})
    found = []
    for cases in sizes:
        for overlap in overlaps:
            other = replace(setup, cases=cases, overlap=overlap)
            chosen = (cases, overlap) == (setup.cases, setup.overlap)
            found.append(Alternative(cases, overlap, chosen, workload(other, pace.seconds), simulate(other)))
    return found


def _expecting(setup: Setup, value: float) -> Setup:
    return replace(setup, agreement=value) if setup.goal == "alpha" else replace(setup, effect=value)


def _detectable(setup: Setup) -> float | None:
    """The smallest effect that is found with the power wanted; None where not even the largest is."""
    low, high = {
        "win_rate": (0.5, 1 - setup.ties / 2),
        "mean_difference": (0.0, float(setup.points - 1)),
        "alpha": (setup.floor, 1 - 1e-6),
    }.get(setup.goal, _differences(setup))

    def enough(value: float) -> bool:
        return simulate(_expecting(setup, value), SEARCH_SIMULATIONS).power >= setup.power

    if high <= low or not enough(high):
        return None
    return round(_first(enough, low, high, (high - low) / 1000), 3)


def _differences(setup: Setup) -> tuple[float, float]:
    """Differences of accuracy that go together with the first arm's accuracy and the share of discordant cases."""
    low = max(0.0, setup.discordant - 2 * setup.accuracy)
    return low, min(setup.discordant, 2 * (1 - setup.accuracy) - setup.discordant)


def _first(enough: Callable[[float], bool], low: float, high: float, step: float) -> float:
    """Where ``enough`` becomes true between low (where it isn't) and high (where it is), by halving."""
    while high - low > step:
        middle = (low + high) / 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _cases_needed(setup: Setup, result: Simulated) -> int | None:
    """About how many cases the power wanted takes at this overlap; None where none that is looked at is enough."""
    if result.power != result.power:
        return None

    def enough(cases: float) -> bool:
        return simulate(replace(setup, cases=round(cases)), SEARCH_SIMULATIONS).power >= setup.power

    low, high = (1.0, float(setup.cases)) if result.power >= setup.power else (float(setup.cases), float(MOST_CASES))
    while low * 2 < high and not enough(low * 2):
        low *= 2
    high = min(high, low * 2)
    if not enough(high):
        return None
    return round(_first(enough, low, high, max(1.0, high / 100)))


def _on_power(setup: Setup, result: Simulated, needed: int | None) -> str:
    if result.power != result.power:
        return f"Nothing can be said with an overlap of {setup.overlap}: {result.note}."
    goal = GOALS[setup.goal]
    what = goal.effect.format(setup.expected)
    if setup.goal == "alpha":
        what = f"{what} would be shown to lie above {setup.floor:.2f}"
    else:
        what = f"{what} would be told from {goal.none}"
    said = f"With {setup.cases} cases and overlap {setup.overlap}, {what} with a chance of {result.power:.0%}"
    if result.power >= setup.power:
        fewer = (
            f"; about {needed} cases would do for {setup.power:.0%}" if needed and needed < 0.9 * setup.cases else ""
        )
        return f"{said}{fewer}."
    if needed is None:
        return f"{said}; no number of cases up to {MOST_CASES:,} makes it {setup.power:.0%}."
    return f"{said}; about {needed} cases would make it {setup.power:.0%}."


def _on_overlap(setup: Setup, pace: Pace) -> str:
    """What the same time buys: one more annotator an item, or more cases at this overlap."""
    if setup.goal == "alpha" and setup.annotators < 2:
        return "Add a second annotator."
    if setup.overlap >= min(setup.annotators, MOST_OVERLAP):
        return "Every annotator judges every item already, so only more cases (or more annotators) can narrow it."
    deeper = replace(setup, overlap=setup.overlap + 1)
    more = max(1, round(setup.cases / setup.overlap))
    wider = replace(setup, cases=min(MOST_CASES, setup.cases + more))
    # Where annotators err, one annotator more also makes the difference that is seen larger: power says both.
    measure = "power" if setup.goal in ATTENUATED else "width"
    by_overlap, by_cases = getattr(simulate(deeper), measure), getattr(simulate(wider), measure)
    told = "power {:.0%}" if measure == "power" else "an interval {:.3f} wide"
    cost = workload(deeper, pace.seconds).minutes - workload(setup, pace.seconds).minutes
    said = f"Another {cost} minutes of clinicians' time would buy one more annotator an item"
    if by_cases != by_cases:
        return f"{said} ({told.format(by_overlap)})."
    said = f"{said} ({told.format(by_overlap)}) or {more} more cases ({told.format(by_cases)})"
    if abs(by_overlap - by_cases) < 0.02 * by_cases:
        return f"{said}: much the same."
    better = "more cases" if (by_cases > by_overlap) == (measure == "power") else "more overlap"
    keep = ""
    if better == "more cases" and setup.overlap == 1:
        keep = " But let two annotators judge at least a share of the items, or agreement can't be measured."
    return f"{said}: {better} buy{'s' if better == 'more overlap' else ''} more.{keep}"
