"""What a reader must know beside the numbers: one sentence each, with a code for scripts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from annotations import unblinding
from annotations.models import Adjudication, Campaign, Revision, Study
from reports import analysis, provenance
from reports.analysis import METRIC_TITLES, Plan
from reports.evaluation import other_evaluations
from reports.measures import Measure
from reports.scoring import IDENTICAL, Answer, Outputs
from reports.votes import Judged, Votes, not_scored
from stats.intake import counted
from training import lineage

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
    scored: Mapping[int, Votes],
    measured: dict[int, list[Measure]],
    contrasts: Sequence[dict[str, Any]],
) -> list[Caution]:
    """Every caution that applies, the study's first, then by evaluation, contrast and campaign."""
    found = list(_of_study(study, decided, loaded, contrasts))
    for outputs in loaded:
        found += _of_evaluation(outputs, judged)
        found += _of_training(outputs)
        found += [caution for arm in outputs.arms for caution in _of_arm(outputs, arm)]
        found += [caution for measure in measured[outputs.evaluation.pk] for caution in _of_measure(measure)]
    for contrast in contrasts:
        found += _of_contrast(contrast)
    for campaign, rows in judged.items():
        found += _of_campaign(campaign, rows)
        found += _of_scoring(campaign, dict(not_scored(scored, campaign.name)))
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
    reported = {(contrast["first"], contrast["second"]) for contrast in contrasts if _declared(contrast)}
    for first, second in decided.planned_contrasts:
        if (first, second) not in reported:
            text = f"The planned contrast {second} − {first} has no result on the primary metric in this report."
            yield _caution("planned_contrast_missing", "analysis plan", text)


def _of_evaluation(found: Outputs, judged: Judged) -> Iterable[Caution]:
    evaluation, about = found.evaluation, str(found.evaluation)
    if evaluation.leak_override:
        text = f"Cases from the training lineage of an arm were kept, for this reason: {evaluation.leak_override}"
        yield _caution("leak_override", about, text)
    others = other_evaluations(evaluation).count()
    if others and evaluation.split == "test":
        text = f"The test split was also evaluated {_times(others)} otherwise: choices may have been made on it."
        yield _caution("test_split_reused", about, text)
    groups = {case.group for case in found.cases}
    if len(found.cases) < FEW_CASES:
        yield _caution("few_cases", about, f"Only {len(found.cases)} cases: intervals are wide and may be too narrow.")
    elif found.clusters and len(groups) < FEW_CLUSTERS:
        yield _caution("few_clusters", about, f"Only {len(groups)} groups: cluster bootstrap intervals are too narrow.")
    place = found.place_of()
    judges = {
        answer.annotator_id for rows in judged.values() for answer in rows if answer.a in place or answer.b in place
    }
    both = judges & provenance.trainers(evaluation)
    if both:
        text = f"{len(both)} of {len(judges)} annotators who judged these outputs also made training data of an arm."
        yield _caution("same_annotators", about, text)


def _of_arm(found: Outputs, arm: str) -> Iterable[Caution]:
    own = [output for (name, _), output in found.of.items() if name == arm]
    absent = len(found.cases) - len(own)
    if absent:
        text = f"{arm} has no output for {absent} of {len(found.cases)} cases; they are left out of its numbers."
        yield _caution("no_output", arm, text)
    unparsed = sum(any(value is None for value in output.parsed.values()) for output in own)
    if unparsed:
        text = f"{unparsed} of {len(own)} outputs hold a label or answer that can't be read; each counts as wrong."
        yield _caution("unparsed", arm, text)
    cut_off = sum(output.cut_off for output in own)
    if cut_off:
        text = f"{cut_off} of {len(own)} outputs were cut off at max_tokens: what they would have said next is unknown."
        yield _caution("cut_off", arm, text)
    again = sum(output.reparsed for output in own)
    if again:
        text = f"{again} of {len(own)} outputs had been read by another version of the parser and were read again."
        yield _caution("read_again", arm, text)


def _of_training(found: Outputs) -> Iterable[Caution]:
    """What the arms were trained on, as far as it is known."""
    models = [arm.model for arm in found.evaluation.arms.select_related("model")]
    for model in models:
        runs = lineage.runs_of(model)
        if Campaign.objects.filter(datasets__runs__in=runs, simulated=True).exists():
            text = f"{model} was trained on judgements made by a program: it says nothing of training on people's."
            yield _caution("trained_on_simulated", model.name, text)
    for model in lineage.unknown(models):
        text = f"Which cases {model} was trained on is unknown: the leak guard could not check it."
        yield _caution("training_data_unknown", model.name, text)


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
    if contrast["exploratory_because"]:
        text = (
            f"On {contrast['title']} it stands in the plan but is exploratory here: {contrast['exploratory_because']}."
        )
        yield _caution("planned_but_exploratory", about, text)
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


def _declared(contrast: dict[str, Any]) -> bool:
    return bool(contrast["planned"] or contrast["exploratory_because"])


def _of_scoring(campaign: Campaign, left_out: dict[str, int]) -> Iterable[Caution]:
    if n := left_out.get("simulated"):
        text = f"{n} simulated judgements are not scored, because people judged the same evaluation."
        yield _caution("simulated_not_scored", campaign.name, text)
    if n := left_out.get("judged_again"):
        text = f"{n} judgements are not scored: the same annotator judged the same outputs again in a later judgement."
        yield _caution("judged_again", campaign.name, text)


def _decided_after_closing(campaign: Campaign) -> str:
    """How many items, in words; empty for none."""
    if campaign.closed_at is None:
        return ""
    late = Adjudication.objects.filter(item__campaign=campaign, is_current=True, created_at__gt=campaign.closed_at)
    return counted(late.count(), "item") if late.exists() else ""


def _of_campaign(campaign: Campaign, judged: Sequence[Answer]) -> Iterable[Caution]:
    if campaign.simulated:
        text = "Its judgements were made by a program, for demonstration: they say nothing about the models."
        yield _caution("simulated", campaign.name, text)
    if not judged:
        yield _caution("nothing_judged", campaign.name, "Nothing has been judged in this campaign yet.")
    elif campaign.is_open:
        text = "The campaign is still open: this is an interim look, and judging may go on."
        yield _caution("interim_look", campaign.name, text)
    for look in unblinding.looks([campaign])[campaign.pk]:
        text = f"Its results by arm were looked at while it was open, {look}"
        yield _caution("unblinded", campaign.name, text if text.endswith(".") else f"{text}.")
    if late := _decided_after_closing(campaign):
        text = f"Decided by a lead after closing, when models could be seen: {late} that its annotators left open."
        yield _caution("decided_unblinded", campaign.name, text)
    if campaign.reopened_at:
        when = f"{campaign.reopened_at:%-d %B %Y}"
        text = f"The campaign was closed, so that models and answers could be seen, and reopened on {when}."
        yield _caution("reopened", campaign.name, text)
    people = len({answer.annotator_id for answer in judged}) or campaign.annotators.count()
    if people == 1:
        yield _caution("one_annotator", campaign.name, "One annotator only: agreement can't be estimated.")
    sides = Revision.objects.filter(
        judgement__item__campaign=campaign, is_current=True, outcome__in=["prefer_a", "prefer_b"]
    ).values_list("outcome", "judgement__assignment__a_is_left")
    left = [(outcome == "prefer_a") == a_is_left for outcome, a_is_left in sides if a_is_left is not None]
    if len(left) >= FEW_CASES and not 0.35 <= np.mean(left) <= 0.65:
        share = f"{np.mean(left):.0%}"
        yield _caution("side_preference", campaign.name, f"The left side was preferred in {share} of comparisons.")


def of_blinding(blinding: Mapping[str, dict[str, Any]]) -> list[Caution]:
    """Campaigns whose annotators guessed which arm wrote what better, or worse, than chance lets expect."""
    found = []
    for name, entry in blinding.items():
        share = entry.get("share_right")
        if share is None or share["low"] is None:
            continue
        said = (
            f"{entry['right']} of {entry['right'] + entry['wrong']} guesses were right ({share['value']:.0%}, interval "
            f"{share['low']:.0%} to {share['high']:.0%}; chance {entry['chance']:.0%})"
        )
        if share["low"] > entry["chance"]:
            text = f"Annotators could tell the arms apart: {said}. Their judgements may not have been blind."
            found.append(_caution("guessed_right", name, text))
        elif share["high"] < entry["chance"]:
            text = f"Annotators took one arm for another more often than by chance: {said}. The arms look different."
            found.append(_caution("guessed_wrong", name, text))
    return found
