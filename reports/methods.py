"""The methods paragraph, written from what was done and from nothing else."""

from typing import Any

from annotations.models import Study
from reports.analysis import METRIC_TITLES, Plan

AGREEMENT = (
    "Agreement between annotators is Krippendorff's alpha (ordinal for Likert scores, correctness and ordered labels, "
    "nominal for other labels and for preferences, where a tie and “both unacceptable” are categories of their own) "
    "with a {confidence:.0%} bootstrap interval that resamples cases, or patients where they have several cases or "
    "items. Judgements beyond the planned overlap count here and nowhere else. Inference is conditional on these "
    "annotators."
)
ABOUT = {
    Study.Task.CLASSIFICATION: "Labels were read from the outputs by a fixed parser and compared with the reference.",
    Study.Task.TRIAGE: (
        "Each label field was read from the outputs by a fixed parser and compared with its reference, one by one."
    ),
    Study.Task.REASONING: (
        "An output is correct where the majority of its annotators judged it correct ({partly}); without a correctness "
        "campaign, where the parsed final answer equals the reference."
    ),
    Study.Task.SUMMARISATION: (
        "Likert scores are averaged over annotators within each case first. In comparisons, annotators saw two outputs "
        "side by side, the side drawn at random, without the names of the models; a tie or “both unacceptable” counts "
        "one half, “cannot judge” is missing, and items that most annotators called defective are left out."
    ),
}
TESTS = {
    "f1": "the paired difference of F1, with a {bootstrap} and a permutation test that swaps the arms' answers {unit}",
    "accuracy": "the paired difference of proportions",
    "mean_likert": "the mean of the cases' differences, with the Wilcoxon signed-rank statistic (Pratt's zeros)",
    "win_rate": "the win rate of the second arm against one half, with a sign-flip permutation test",
}
INDEPENDENT = {
    "accuracy": " (Newcombe's method 10), with McNemar's test",
    "mean_likert": " and a t interval",
    "win_rate": " by case and a case bootstrap interval",
}
CLUSTERED = dict.fromkeys(INDEPENDENT, ", sign flips by patient and a cluster bootstrap interval")


def paragraphs(study: Study, decided: Plan, document: dict[str, Any]) -> list[str]:
    """One string a paragraph."""
    found = []
    evaluations = document["flow"]["evaluations"]
    if evaluations:
        found += [_evaluation(entry, document) for entry in evaluations.values()]
        partly = "partly correct counts as correct" if decided.partly_counts else "partly correct counts as incorrect"
        found.append(ABOUT[Study.Task(study.task)].format(partly=partly))
        found.append(_analysis(decided, document))
    if document["agreement"]:
        found.append(_judging(document))
        found.append(AGREEMENT.format(confidence=decided.confidence))
    return found


def _evaluation(entry: dict[str, Any], document: dict[str, Any]) -> str:
    arms = list(entry["arms"])
    groups = f" of {entry['groups']} groups (patients or encounters)" if entry["groups"] < entry["cases"] else ""
    pk = next(key for key, value in document["flow"]["evaluations"].items() if value is entry)
    sampling = document["lineage"]["evaluations"][pk]["sampling"]
    greedy = "greedy decoding" if not sampling.get("temperature") else f"temperature {sampling['temperature']}"
    excluded = sum(entry["excluded"].values())
    left = f" {excluded} of {entry['cases_in_split']} cases were excluded." if excluded else ""
    elsewhere = [
        arm
        for arm, found in document["lineage"]["evaluations"][pk]["arms"].items()
        if found["model"]["kind"] in ("imported", "ideal")
    ]
    here = (
        "" if len(elsewhere) == len(arms) else f", with the same prompt and {greedy} (seed {sampling.get('seed', 0)})"
    )
    imported = f" The outputs of {_list(elsewhere)} were written elsewhere and imported." if elsewhere else ""
    return (
        f"{_list(arms)} answered the same {entry['cases']} cases{groups} of the {entry['split']} split{here}."
        f"{imported}{left}"
    )


def _analysis(decided: Plan, document: dict[str, Any]) -> str:
    used = list(dict.fromkeys(row["metric"] for row in document["contrasts"]))
    clustered = any(entry["groups"] < entry["cases"] for entry in document["flow"]["evaluations"].values())
    unit, bootstrap = (
        ("by patient", "cluster bootstrap interval") if clustered else ("case by case", "case bootstrap interval")
    )
    ending = CLUSTERED if clustered else INDEPENDENT
    tests = "; ".join(
        f"for {METRIC_TITLES[metric]}, {TESTS[metric].format(unit=unit, bootstrap=bootstrap)}{ending.get(metric, '')}"
        for metric in used
    )
    how = (
        "Patients have several cases, so resampling draws, and permutation flips, whole patients."
        if clustered
        else "No patient has more than one case."
    )
    family = sum(row["planned"] for row in document["contrasts"])
    primary = METRIC_TITLES[decided.primary_metric]
    if decided.primary_criterion:
        primary += f" ({decided.primary_criterion})"
    locked = (document["plan"]["locked_at"] or "")[:10]
    compared = f"Arms were compared on the same cases, second minus first: {tests}. {how} " if tests else ""
    adjusted = (
        f"P values of the {_count(family, 'planned comparison')} on it are adjusted by Holm's method; all others are "
        "exploratory and unadjusted. "
        if family
        else "No planned comparison on it could be made; all others are exploratory and unadjusted. "
    )
    return (
        f"The analysis plan was locked on {locked}; its primary metric is {primary}. {compared}{adjusted}Intervals are "
        f"{decided.confidence:.0%}; resampling used {decided.n_resamples:,} draws with seed {decided.seed}."
    )


def _judging(document: dict[str, Any]) -> str:
    campaigns, people = document["flow"]["campaigns"], document["annotators"]
    lines = [
        f"“{name}” ({entry['kind']}, {entry['items']} items, {entry['overlap']} annotators an item, "
        f"{entry['judgements']} judgements{', simulated' if entry['simulated'] else ''})"
        for name, entry in campaigns.items()
    ]
    who = f"{_count(len(people), 'annotator')} judged" if people else "Nobody has judged yet"
    return f"{who} blind in {_count(len(lines), 'campaign')}: {'; '.join(lines)}."


def _count(n: int, one: str) -> str:
    return f"{n} {one}{'' if n == 1 else 's'}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
