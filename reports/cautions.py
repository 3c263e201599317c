"""What a reader must know beside the numbers: one sentence each, with a code for scripts."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from annotations.models import Campaign, Revision, Study
from reports import analysis, provenance
from reports.analysis import METRIC_TITLES, Plan
from reports.evaluation import earlier_evaluations
from reports.measures import Judged, Measure
from reports.scoring import IDENTICAL, Outputs

FEW_CASES = 30
FEW_CLUSTERS = 30
MANY_TIES = 0.5
AT_CEILING = {"mean_likert": 0.8, "accuracy": 0.95}  # share of cases with the highest value there is
Caution = dict[str, str]


def cautions(
    study: Study,
    decided: Plan,
    loaded: Sequence[Outputs],
    judged: Judged,
    measured: dict[int, list[Measure]],
    contrasts: Sequence[dict[str, Any]],
) -> list[Caution]:
    """Every caution that applies, the study's first, then by evaluation, contrast and campaign."""
    found = list(_of_study(study, decided, loaded, contrasts))
    for outputs in loaded:
        found += _of_evaluation(outputs, judged)
        found += [caution for measure in measured[outputs.evaluation.pk] for caution in _of_measure(measure)]
    for contrast in contrasts:
        found += _of_contrast(contrast)
    for campaign, rows in judged.items():
        found += _of_campaign(campaign, len(rows))
    return found


def _caution(code: str, about: str, text: str) -> Caution:
    return {"code": code, "about": about, "text": text}


def _of_study(
    study: Study, decided: Plan, loaded: Sequence[Outputs], contrasts: Sequence[dict[str, Any]]
) -> Iterable[Caution]:
    if study.synthetic:
        yield _caution("synthetic", study.title, "The cases were written for demonstration; nothing here is a result.")
    if not loaded:
        text = "No evaluation is in this report: it is about agreement between annotators only."
        yield _caution("no_evaluation", study.title, text)
        return
    if not analysis.unchanged_since_lock(study):
        text = "The analysis plan is no longer the one that was locked: its hash differs."
        yield _caution("plan_changed", "analysis plan", text)
    reported = {(contrast["first"], contrast["second"]) for contrast in contrasts if contrast["planned"]}
    for first, second in decided.planned_contrasts:
        if (first, second) not in reported:
            text = f"The planned contrast {second} − {first} has no result on the primary metric in this report."
            yield _caution("planned_contrast_missing", "analysis plan", text)


def _of_evaluation(found: Outputs, judged: Judged) -> Iterable[Caution]:
    evaluation, about = found.evaluation, str(found.evaluation)
    if evaluation.leak_override:
        text = f"Cases from the training lineage of an arm were kept, for this reason: {evaluation.leak_override}"
        yield _caution("leak_override", about, text)
    earlier = earlier_evaluations(evaluation)
    if earlier and evaluation.split == "test":
        text = f"The test split had been evaluated {_times(earlier)} before: choices may have been made on it."
        yield _caution("test_split_reused", about, text)
    groups = {case.group for case in found.cases}
    if len(found.cases) < FEW_CASES:
        yield _caution("few_cases", about, f"Only {len(found.cases)} cases: intervals are wide and may be too narrow.")
    elif found.clusters and len(groups) < FEW_CLUSTERS:
        yield _caution("few_clusters", about, f"Only {len(groups)} groups: cluster bootstrap intervals are too narrow.")
    for arm in found.arms:
        absent = sum((arm, case.pk) not in found.of for case in found.cases)
        if absent:
            text = f"{arm} has no output for {absent} of {len(found.cases)} cases; they are left out of its numbers."
            yield _caution("no_output", arm, text)
        own = [output for (name, _), output in found.of.items() if name == arm]
        unparsed = sum(any(value is None for value in output.parsed.values()) for output in own)
        if unparsed:
            text = f"{unparsed} of {len(own)} outputs hold a label or answer that can't be read; each counts as wrong."
            yield _caution("unparsed", arm, text)
    place = found.place_of()
    judges = {
        answer.annotator_id for rows in judged.values() for answer in rows if answer.a in place or answer.b in place
    }
    both = judges & provenance.trainers(evaluation)
    if both:
        text = f"{len(both)} of {len(judges)} annotators who judged these outputs also made training data of an arm."
        yield _caution("same_annotators", about, text)


def _times(n: int) -> str:
    return "once" if n == 1 else "twice" if n == 2 else f"{n} times"


def _of_measure(measure: Measure) -> Iterable[Caution]:
    if measure.best is None:
        return
    for arm, scores in measure.case_scores.items():
        defined = scores[np.isfinite(scores)]
        if len(defined) and (defined >= measure.best).mean() >= AT_CEILING[measure.metric]:
            share = f"{(defined >= measure.best).mean():.0%}"
            text = f"{share} of cases reach the maximum ({measure.title}): a ceiling hides differences between arms."
            yield _caution("ceiling", arm, text)


def _of_contrast(contrast: dict[str, Any]) -> Iterable[Caution]:
    about = f"{contrast['second']} − {contrast['first']}"
    counts = contrast.get("counts", {})
    opinions = sum(counts.get(key, 0) for key in ("first", "second", "tie", "both_unacceptable"))
    ties = counts.get("tie", 0) + counts.get("both_unacceptable", 0)
    if opinions and ties / opinions >= MANY_TIES:
        yield _caution("many_ties", about, f"{ties} of {opinions} comparisons were ties or found both unacceptable.")
    identical = contrast.get("left_out", {}).get(IDENTICAL, 0)
    if identical:
        text = f"{identical} cases had identical texts and were not compared; the win rate is about the others only."
        yield _caution("identical_texts", about, text)
    if contrast["planned"] and contrast["p_value"] is None:
        title = METRIC_TITLES[contrast["metric"]]
        yield _caution("undefined", about, f"No P value for the planned contrast on {title}: {contrast['note']}.")


def _of_campaign(campaign: Campaign, judged: int) -> Iterable[Caution]:
    if campaign.simulated:
        text = "Its judgements were made by a program, for demonstration: they say nothing about the models."
        yield _caution("simulated", campaign.name, text)
    if judged == 0:
        yield _caution("nothing_judged", campaign.name, "Nothing has been judged in this campaign yet.")
    elif campaign.is_open:
        text = "The campaign is still open: this is an interim look, and judging may go on."
        yield _caution("interim_look", campaign.name, text)
    people = campaign.annotators.count()
    if people == 1:
        yield _caution("one_annotator", campaign.name, "One annotator only: agreement can't be estimated.")
    sides = Revision.objects.filter(
        judgement__item__campaign=campaign, is_current=True, outcome__in=["prefer_a", "prefer_b"]
    ).values_list("outcome", "judgement__assignment__a_is_left")
    left = [(outcome == "prefer_a") == a_is_left for outcome, a_is_left in sides if a_is_left is not None]
    if len(left) >= FEW_CASES and not 0.35 <= np.mean(left) <= 0.65:
        share = f"{np.mean(left):.0%}"
        yield _caution("side_preference", campaign.name, f"The left side was preferred in {share} of comparisons.")
