"""Where every case went: imported, generated, judged, analysed, with each exclusion and its reason (C4)."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from annotations import adjudicating
from annotations.models import Assignment, Campaign, HarmReport, Revision, Study
from reports import scoring
from reports.evaluation import other_evaluations
from reports.measures import Measure
from reports.scoring import Answer, Outputs
from reports.votes import Judged, Votes, not_scored

Outcome = Revision.Outcome


def flow(study: Study, loaded: Sequence[Outputs], judged: Judged, scored: Mapping[int, Votes]) -> dict[str, Any]:
    """Counts only; which cases they are stands in exclusions.csv."""
    splits = Counter(study.cases.values_list("split", flat=True))
    return {
        "imported": {
            "cases": sum(splits.values()),
            "groups": study.cases.values("group").distinct().count(),
            "by_split": dict(sorted(splits.items())),
        },
        "evaluations": {str(found.evaluation.pk): _evaluation(found, splits) for found in loaded},
        "campaigns": {
            campaign.name: {**_campaign(campaign, rows), "not_scored": dict(not_scored(scored, campaign.name))}
            for campaign, rows in judged.items()
        },
    }


def _evaluation(found: Outputs, splits: Counter[str]) -> dict[str, Any]:
    evaluation = found.evaluation
    # As it was when the evaluation started; cases imported since then are counted apart.
    then = len(found.evaluation.case_ids) + sum(len(ids) for ids in evaluation.excluded.values())
    return {
        "split": evaluation.split,
        "cases_in_split": then,
        "imported_later": max(0, splits[evaluation.split] - then),
        "excluded": {reason: len(ids) for reason, ids in sorted(evaluation.excluded.items())},
        "cases": len(found.cases),
        "groups": len({case.group for case in found.cases}),
        # Without a group column every case is its own patient, and nobody has said that it is.
        "groups_given": any(case.group != case.external_id for case in found.cases),
        "other_evaluations_of_this_split": other_evaluations(evaluation).count(),
        "arms": {arm: _arm(found, arm) for arm in found.arms},
    }


def _arm(found: Outputs, arm: str) -> dict[str, Any]:
    own = [output for (name, _), output in found.of.items() if name == arm]
    parsed = Counter(field for output in own for field, value in output.parsed.items() if value is None)
    generation = found.evaluation.generations.filter(model__name=arm).first()
    skipped = generation.skipped if generation else {}
    return {
        "outputs": len(own),
        "no_output": len(found.cases) - len(own),
        "skipped": {reason: len(ids) for reason, ids in sorted(skipped.items())},
        "unparsed": dict(sorted(parsed.items())),
        "cut_off": sum(output.cut_off for output in own),
        "read_again": sum(output.reparsed for output in own),
    }


def _campaign(campaign: Campaign, rows: Sequence[Answer]) -> dict[str, Any]:
    regular = campaign.items.regular()
    wanted = dict(regular.values_list("pk", "overlap"))
    counting = Counter(answer.item_id for answer in rows if not answer.surplus)
    outcomes = Counter(answer.outcome for answer in rows)
    assigned = Assignment.objects.filter(item__in=regular)
    n_items = len(wanted)
    withdrawn = Revision.objects.filter(judgement__item__in=regular, is_current=True, outcome=Outcome.WITHDRAWN).count()
    sides = assigned.filter(judgement__isnull=False, item__completion_b__isnull=False)
    return {
        "kind": campaign.kind,
        "open": campaign.is_open,
        "simulated": campaign.simulated,
        "cases": regular.values("case").distinct().count(),
        "not_planned": {reason: len(ids) for reason, ids in sorted(campaign.dropped.items())},
        "items": n_items,
        "overlap": campaign.overlap,
        "judged_in_full": sum(count >= wanted[item] for item, count in counting.items()),
        "judged_in_part": sum(count < wanted[item] for item, count in counting.items()),
        "not_judged": n_items - len(counting),
        "judgements": len(rows),
        "surplus": sum(answer.surplus for answer in rows),
        "cannot_judge": outcomes[Outcome.CANNOT_JUDGE],
        "defective": outcomes[Outcome.DEFECTIVE],
        "both_unacceptable": outcomes[Outcome.BOTH_UNACCEPTABLE],
        "withdrawn": withdrawn,
        **_decided(campaign),
        "side_unknown": sides.filter(a_is_left__isnull=True).count(),
        "harm_reports": HarmReport.objects.filter(assignment__item__campaign=campaign).count(),
        "skipped": assigned.filter(skipped_at__isnull=False, submitted_at__isnull=True).count(),
    }


def _decided(campaign: Campaign) -> dict[str, Any]:
    """What the annotators left open by the campaign's rule, and how much of it a lead decided."""
    open_ = [state for state in adjudicating.states(campaign) if state.left_open]
    return {
        "consensus": campaign.consensus,
        "left_open": len(open_),
        "adjudicated": sum(state.decision is not None for state in open_),
    }


def exclusions(loaded: Sequence[Outputs], judged: Judged, measured: dict[int, list[Measure]]) -> list[dict[str, str]]:
    """One row a case that was left out somewhere: where, why, which."""
    rows: list[dict[str, str]] = []
    for found in loaded:
        where = str(found.evaluation)
        for reason, ids in sorted(found.evaluation.excluded.items()):
            rows += [{"where": where, "reason": reason, "case": external_id} for external_id in ids]
        for arm in found.arms:
            absent = [case.external_id for case in found.cases if (arm, case.pk) not in found.of]
            rows += [{"where": f"{where}, {arm}", "reason": scoring.NO_OUTPUT, "case": case} for case in absent]
        for measure in measured[found.evaluation.pk]:
            rows += _without_score(found, measure)
    for campaign in judged:
        for reason, ids in sorted(campaign.dropped.items()):
            rows += [{"where": campaign.name, "reason": reason, "case": external_id} for external_id in ids]
    return rows


def _without_score(found: Outputs, measure: Measure) -> list[dict[str, str]]:
    """Cases with an output that this measure could not score."""
    return [
        {"where": f"{measure.title}, {arm}", "reason": "no score", "case": found.cases[i].external_id}
        for arm, scores in measure.case_scores.items()
        for i, value in enumerate(scores)
        if value != value and (arm, found.cases[i].pk) in found.of
    ]
