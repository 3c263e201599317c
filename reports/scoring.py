"""From completions and judgements to one score a case and arm: the arrays that stats takes.

Several judgements of one case and arm become one value here; nothing further on sees them as independent.
Surplus judgements are for agreement only and never reach a score.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
from django.db.models.functions import Least

from annotations import consensus, judging, parsing
from annotations.models import Adjudication, Campaign, Case, Completion, Revision
from reports.analysis import Plan
from reports.models import Evaluation

FloatArray = npt.NDArray[np.float64]
Outcome = Revision.Outcome

NO_OUTPUT = "no output"
NOT_JUDGED = "not judged"
NO_CONSENSUS = "no consensus"
CANNOT_JUDGE = "cannot judge"
DEFECTIVE = "defective item"
IDENTICAL = "identical texts, so not compared"


@dataclass(frozen=True)
class Decision:
    """A lead's decision on an item, without its reason."""

    id: int
    outcome: str
    values: dict[str, Any]


@dataclass(frozen=True)
class Answer:
    """The current revision of one judgement, without its text."""

    judgement_id: int
    item_id: int
    annotator_id: int
    case_id: int
    group: str
    a: int | None
    b: int | None
    outcome: str
    values: dict[str, Any]
    surplus: bool
    since: datetime  # when it was judged, or revised where an import says that this was earlier
    rule: str = Campaign.Consensus.MAJORITY.value  # its campaign's
    decision: Decision | None = None  # a lead's, about its item


def answers(campaign: Campaign) -> list[Answer]:
    """Every current judgement of the campaign, surplus ones included and marked; hidden repeats and gold are not."""
    decisions = {
        item_id: Decision(pk, outcome, values)
        for item_id, pk, outcome, values in Adjudication.objects.filter(
            item__campaign=campaign, is_current=True
        ).values_list("item_id", "pk", "outcome", "values")
    }
    rows = (
        judging.current_revisions(campaign, surplus=True)
        .order_by("judgement__item__position", "judgement_id")
        .values_list(
            "judgement_id",
            "judgement__item_id",
            "judgement__annotator_id",
            "judgement__item__case_id",
            "judgement__item__case__group",
            "judgement__item__completion_a_id",
            "judgement__item__completion_b_id",
            "outcome",
            "values",
            "judgement__surplus",
            Least("created_at", "judgement__created_at"),
        )
    )
    return [
        replace(Answer(*row), rule=campaign.consensus, decision=decisions.get(row[1]))
        for row in rows.iterator(chunk_size=5000)
    ]


def without_defective(judged: Sequence[Answer]) -> list[Answer]:
    """Leaves out items that more than half of their annotators call defective, and every other vote for defective.

    Surplus judgements have no say in it, so that scores and agreement leave out the same items.
    """
    said: dict[int, list[str]] = {}
    for answer in judged:
        if answer.surplus:
            continue
        said.setdefault(answer.item_id, []).append(answer.outcome)
    bad = {item_id for item_id, outcomes in said.items() if consensus.is_defective(outcomes)}
    return [answer for answer in judged if answer.item_id not in bad and answer.outcome != Outcome.DEFECTIVE]


@dataclass(frozen=True)
class Output:
    """A completion, without its text."""

    id: int
    parsed: dict[str, Any]
    text_hash: int  # only to see that two texts are the same
    cut_off: bool  # ended by max_tokens
    reparsed: bool  # what was stored came from another version of the parser


@dataclass(frozen=True)
class Outputs:
    """One evaluation's cases (in a fixed order) and the completion of each arm for each of them, where there is one."""

    evaluation: Evaluation
    cases: list[Case]
    arms: list[str]
    of: dict[tuple[str, int], Output] = field(repr=False)

    @property
    def clusters(self) -> list[str] | None:
        """The cases' groups where any group has more than one case, else None: rows are then independent."""
        groups = [case.group for case in self.cases]
        return groups if len(set(groups)) < len(groups) else None

    def place_of(self) -> dict[int, tuple[str, int]]:
        """{completion id: (arm, position of its case)}."""
        position = {case.pk: i for i, case in enumerate(self.cases)}
        return {output.id: (arm, position[case_id]) for (arm, case_id), output in self.of.items()}


def outputs(evaluation: Evaluation) -> Outputs:
    """Load an evaluation. An arm of which nothing was kept is there all the same, without outputs.

    What an older parser read is read again, so that one version stands behind all numbers.
    """
    cases = list(Case.objects.filter(pk__in=evaluation.case_ids).order_by("external_id"))
    rows = Completion.objects.filter(evaluations=evaluation).values_list(
        "model__name", "case_id", "pk", "parsed", "text", "finish_reason", "parser_version"
    )
    arms = [arm.model.name for arm in evaluation.arms.select_related("model")]
    wanted = {case.pk for case in cases}
    found = {
        (name, case_id): Output(
            pk,
            parsed or {} if version == parsing.PARSER_VERSION else parsing.parse(evaluation.study, text),
            hash(text.strip()),
            cut_off=finish == "length",
            reparsed=version not in (None, parsing.PARSER_VERSION),
        )
        for name, case_id, pk, parsed, text, finish, version in rows
        if case_id in wanted
    }
    return Outputs(evaluation, cases, arms, found)


@dataclass(frozen=True)
class Predictions:
    """Labels of one field: the reference and each arm's prediction, None where unparsed; ``present``: has an output."""

    labels: list[str]
    gold: list[str | None]
    predicted: dict[str, list[str | None]]
    present: dict[str, npt.NDArray[np.bool_]]

    def unparsed(self, arm: str) -> int:
        """Outputs that hold no label that can be read, of cases that have a reference: those that count as wrong."""
        rows = zip(self.gold, self.predicted[arm], self.present[arm], strict=True)
        return sum(value is None and gold is not None for gold, value, here in rows if here)


def predictions(found: Outputs, label_field: dict[str, Any]) -> Predictions:
    """Gold is the case's reference; a reference outside the label set counts as none."""
    name, labels = label_field["name"], [str(label["value"]) for label in label_field["labels"]]

    def known(value: Any) -> str | None:
        return str(value) if value is not None and str(value) in labels else None

    def predicted(arm: str, case: Case) -> str | None:
        output = found.of.get((arm, case.pk))
        return known(output.parsed.get(name)) if output else None

    return Predictions(
        labels=labels,
        gold=[known(case.reference.get(name)) for case in found.cases],
        predicted={arm: [predicted(arm, case) for case in found.cases] for arm in found.arms},
        present={arm: np.array([(arm, case.pk) in found.of for case in found.cases], dtype=bool) for arm in found.arms},
    )


@dataclass(frozen=True)
class Scores:
    """One number a case for each arm, nan where there is none, and why not."""

    values: dict[str, FloatArray]
    left_out: dict[str, Counter[str]]
    notes: dict[str, str] = field(default_factory=dict)


def _empty(found: Outputs) -> Scores:
    return Scores(
        values={arm: np.full(len(found.cases), np.nan) for arm in found.arms},
        left_out={arm: Counter() for arm in found.arms},
    )


def matched_answers(found: Outputs) -> Scores:
    """Reasoning without a correctness campaign: 1 where the parsed final answer is the reference; unparsed is wrong."""
    scores = _empty(found)
    for i, case in enumerate(found.cases):
        reference = parsing.normalised_answer(str(case.reference.get("text") or ""))
        for arm in found.arms:
            output = found.of.get((arm, case.pk))
            if output is None or not reference:
                scores.left_out[arm][NO_OUTPUT if output is None else "no reference answer"] += 1
            else:
                answer = parsing.normalised_answer(str(output.parsed.get("answer") or ""))
                scores.values[arm][i] = float(answer == reference)
    for arm in found.arms:
        scored = [
            found.of[arm, case.pk]
            for case, value in zip(found.cases, scores.values[arm], strict=True)
            if value == value
        ]
        unparsed = sum(output.parsed.get("answer") is None for output in scored)
        if unparsed:
            scores.notes[arm] = f"{unparsed} without a final answer that could be read, counted as wrong"
    return scores


def _by_completion(found: Outputs, judged: Sequence[Answer]) -> dict[tuple[str, int], list[Answer]]:
    """Answers within overlap about one completion each, by arm and position of the case."""
    place = found.place_of()
    grouped: dict[tuple[str, int], list[Answer]] = {}
    for answer in judged:
        if answer.a in place and answer.b is None and not answer.surplus:
            grouped.setdefault(place[answer.a], []).append(answer)
    return grouped


def _why_missing(found: Outputs, arm: str, i: int, group: list[Answer]) -> str:
    if (arm, found.cases[i].pk) not in found.of:
        return NO_OUTPUT
    if not group:
        return NOT_JUDGED
    return CANNOT_JUDGE if without_defective(group) else DEFECTIVE


# Rules under which answers that differ give no score, however their mean or majority would stand.
AGREED_ONLY = (Campaign.Consensus.UNANIMOUS, Campaign.Consensus.ADJUDICATED)
Read = Callable[[Answer | Decision], Any]


def _rule(group: Sequence[Answer]) -> str:
    return consensus.strictest(answer.rule for answer in group)


def _decision(group: Sequence[Answer], read: Read) -> Decision | None:
    """The lead's decision, where the annotators' answers (“defective” among them) agree on nothing by the rule."""
    rule = _rule(group)
    cast = [Outcome.DEFECTIVE if a.outcome == Outcome.DEFECTIVE else read(a) for a in group]
    if rule not in consensus.DECIDED_BY_LEAD or consensus.agreed(rule, cast) is not None:
        return None
    found = [answer.decision for answer in group if answer.decision]
    return max(found, key=lambda decision: decision.id, default=None)  # of two campaigns' the last


def _settled(group: Sequence[Answer], read: Read) -> tuple[Any, str]:
    """(what the group, or the lead for it, says, "") or (None, why there is nothing)."""
    if decision := _decision(group, read):
        return read(decision), DEFECTIVE if decision.outcome == Outcome.DEFECTIVE else NO_CONSENSUS
    votes = [read(answer) for answer in without_defective(group)]
    return consensus.agreed(_rule(group), votes), NO_CONSENSUS if any(vote is not None for vote in votes) else ""


def correctness(found: Outputs, judged: Sequence[Answer], decided: Plan) -> Scores:
    """Reasoning judged by clinicians: 1 where they agree, by their campaign's rule, that it is correct.

    ``partly`` becomes correct or incorrect by the plan *before* the rule is applied, so that by a majority only an
    even split of correct against not correct is without consensus.
    """
    good = {"correct", "partly"} if decided.partly_counts else {"correct"}

    def read(said: Answer | Decision) -> bool | None:
        return said.values.get("correctness") in good if said.outcome == Outcome.JUDGED else None

    grouped, scores = _by_completion(found, judged), _empty(found)
    for arm in found.arms:
        for i in range(len(found.cases)):
            group = grouped.get((arm, i), [])
            agreed, why = _settled(group, read)
            if agreed is not None:
                scores.values[arm][i] = float(agreed)
            else:
                scores.left_out[arm][why or _why_missing(found, arm, i, group)] += 1
    return scores


def likert(found: Outputs, judged: Sequence[Answer], criterion: str) -> Scores:
    """The mean over annotators of one criterion; under a rule that asks them all to agree, what they agree on."""

    def read(said: Answer | Decision) -> float | None:
        point = said.values.get(criterion) if said.outcome == Outcome.JUDGED else None
        return None if point is None else float(point)

    grouped, scores = _by_completion(found, judged), _empty(found)
    for arm in found.arms:
        for i in range(len(found.cases)):
            group = grouped.get((arm, i), [])
            points, why = [point for a in without_defective(group) if (point := read(a)) is not None], ""
            value = float(np.mean(points)) if points else None
            if _rule(group) in AGREED_ONLY:
                value, why = _settled(group, read)
            if value is not None:
                scores.values[arm][i] = value
            else:
                scores.left_out[arm][why or _why_missing(found, arm, i, group)] += 1
    return scores


@dataclass(frozen=True)
class Preferences:
    """Second against first: one number a case, the mean over its annotators, so that every case counts the same."""

    case_means: FloatArray  # (n cases,), 1 second preferred, ½ tie, 0 first preferred; nan where there is none
    counts: Counter[str]  # judgements of items not left out: second, first, tie, both_unacceptable, cannot_judge, …
    left_out: Counter[str]  # cases without an outcome, by reason

    @property
    def n_cases(self) -> int:
        return int(np.isfinite(self.case_means).sum())


POINTS: dict[str, float] = {"second": 1.0, "tie": 0.5, "both_unacceptable": 0.5, "first": 0.0}


def preferences(found: Outputs, judged: Sequence[Answer], first: str, second: str) -> Preferences:
    """Coded by the order of the contrast, never by the side shown or by the item's own order.

    Both unacceptable counts one half and is reported apart; cannot judge is missing; a defective item is left out.
    Under a rule that asks all annotators to agree, a case counts by what they agree on, or a lead decided for them.
    """
    said = _outcomes_by_case(found, judged, first, second)
    case_means, left_out, counts = np.full(len(found.cases), np.nan), Counter[str](), Counter[str]()
    for i, case in enumerate(found.cases):
        own = said.get(i, [])
        outcomes = [answer.outcome for answer in own]
        kept = [] if consensus.is_defective(outcomes) else outcomes
        counts.update(kept)
        points, why = [POINTS[outcome] for outcome in kept if outcome in POINTS], ""
        if _rule(own) in AGREED_ONLY:
            agreed, why = _settled(own, lambda said: said.outcome if said.outcome in POINTS else None)
            points = [POINTS[agreed]] if agreed is not None and kept else []
        if points:
            case_means[i] = np.mean(points)
        else:
            left_out[(kept and why) or _why_not_compared(found, case, first, second, outcomes)] += 1
    return Preferences(case_means, counts, left_out)


def _outcomes_by_case(found: Outputs, judged: Sequence[Answer], first: str, second: str) -> dict[int, list[Answer]]:
    """{position of the case: the answers about this pair}, with preferences (decisions' too) as "first" or "second"."""
    said: dict[int, list[Answer]] = {}
    place = found.place_of()
    for answer in judged:
        if answer.surplus or answer.a not in place or answer.b not in place:
            continue
        (arm_a, i), (arm_b, _) = place[answer.a], place[answer.b]
        if {arm_a, arm_b} != {first, second}:
            continue
        names = {Outcome.PREFER_A.value: arm_a, Outcome.PREFER_B.value: arm_b}
        coded = {outcome: "second" if arm == second else "first" for outcome, arm in names.items()}
        decision = answer.decision and replace(
            answer.decision, outcome=coded.get(answer.decision.outcome, answer.decision.outcome)
        )
        said.setdefault(i, []).append(
            replace(answer, outcome=coded.get(answer.outcome, answer.outcome), decision=decision)
        )
    return said


def _why_not_compared(found: Outputs, case: Case, first: str, second: str, said: list[str]) -> str:
    one, two = found.of.get((first, case.pk)), found.of.get((second, case.pk))
    if one is None or two is None:
        return NO_OUTPUT
    if not said:
        return IDENTICAL if one.text_hash == two.text_hash else NOT_JUDGED
    return DEFECTIVE if consensus.is_defective(said) else CANNOT_JUDGE
