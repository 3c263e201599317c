"""The methods paragraph, written from what was done and from nothing else."""

from typing import Any

from annotations import consensus
from annotations.models import Study
from reports.analysis import MARGIN_METRICS, METRIC_TITLES, Plan

AGREEMENT = (
    "Agreement between annotators is Krippendorff's alpha (ordinal for Likert scores, a comparison's criteria, "
    "correctness and ordered labels, nominal for other labels and for preferences, where a tie and “both unacceptable” "
    "are categories of their own) "
    "with a {confidence:.0%} bootstrap interval that resamples cases, or patients where they have several cases or "
    "items. Judgements beyond the planned overlap count here and nowhere else. Inference is conditional on these "
    "annotators."
)
HARM = (
    "Apart from their judgements, annotators could report what might hurt a patient, with a severity. An output counts "
    "once, with the worst severity reported, whoever and however many reported it, out of the outputs that annotators "
    "judged; the {confidence:.0%} interval is the exact one of Clopper and Pearson."
)
ABOUT = {
    Study.Task.CLASSIFICATION: "Labels were read from the outputs by a fixed parser and compared with the reference.",
    Study.Task.TRIAGE: (
        "Each label field was read from the outputs by a fixed parser and compared with its reference, one by one."
    ),
    Study.Task.REASONING: (
        "An output is correct where {correct} judged it correct ({partly}); without a correctness campaign, where the "
        "parsed final answer equals the reference."
    ),
    Study.Task.SUMMARISATION: (
        "Likert scores and comparisons are averaged over annotators within each case first, so that every case counts "
        "the same. In comparisons, annotators saw two outputs side by side{side}, without the names of the models; a "
        "tie or “both unacceptable” counts one half, “cannot judge” is missing, and items that most annotators called "
        "defective are left out."
    ),
}
TESTS = {
    "f1": "the paired difference of F1, with a {bootstrap} and a permutation test that swaps the arms' answers {unit}",
    "accuracy": "the paired difference of proportions",
    "mean_likert": "the mean of the cases' differences, with the Wilcoxon signed-rank statistic (Pratt's zeros)",
    "win_rate": "the win rate of the second arm (mean over cases) against one half, with a sign-flip permutation test",
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
        about = ABOUT[Study.Task(study.task)]
        found.append(about.format(partly=partly, side=_side(document), correct=_correct(document)))
        found.append(_analysis(decided, document))
    if document["agreement"]:
        found.append(_judging(document))
        found += _consensus(document)
        found.append(AGREEMENT.format(confidence=decided.confidence))
    found += _blinding(document)
    if any(arm["n"] for arm in document["harm"]["arms"].values()):
        found.append(HARM.format(confidence=decided.confidence))
    return found


def _correct(document: dict[str, Any]) -> str:
    """Whose judgement makes an output correct, by the strictest rule of the correctness campaigns."""
    campaigns = document["flow"]["campaigns"].values()
    rule = consensus.strictest(entry["consensus"] for entry in campaigns if entry["kind"] == "correctness")
    return {
        "unanimous": "all of its annotators",
        "adjudicated": "all of its annotators, or else the lead who decided,",
    }.get(rule, "the majority of its annotators")


def _consensus(document: dict[str, Any]) -> list[str]:
    """What is particular to campaigns whose annotators had to agree, and what a lead decided; nothing elsewhere."""
    campaigns, found = document["flow"]["campaigns"], []
    strict = [f"“{name}”" for name, entry in campaigns.items() if entry["consensus"] in ("unanimous", "adjudicated")]
    if strict:
        found.append(
            f"By the rule of {_list(strict)}, a case counts only by what all of its annotators agree on"
            f"{' or a lead decided' if any(e['consensus'] == 'adjudicated' for e in campaigns.values()) else ''}."
        )
    decided = [
        f"{entry['adjudicated']} of the {_count(entry['left_open'], 'item')} left open in “{name}”"
        for name, entry in campaigns.items()
        if entry["adjudicated"]
    ]
    if decided:
        found.append(
            f"A lead who judged nothing in the campaign decided {_list(decided)}, shown all judgements without the "
            "names of annotators or models; no decision replaced an agreed answer. Win rates of campaigns with the "
            "majority rule are means over annotators, which no decision changes."
        )
    return [" ".join(found)] if found else []


def _side(document: dict[str, Any]) -> str:
    """What is known of the side shown: judgements that were imported may not say it."""
    compared = [entry for entry in document["flow"]["campaigns"].values() if entry["kind"] == "comparison"]
    unknown = sum(entry["side_unknown"] for entry in compared)
    if not compared or not unknown:
        return ", the side drawn at random"
    return f" (for {_count(unknown, 'judgement')} it is not known on which side each was shown)"


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
    primary = METRIC_TITLES[decided.primary_metric]
    if decided.primary_criterion:
        primary += f" ({decided.primary_criterion})"
    locked = (document["plan"]["locked_at"] or "")[:10]
    how = _independence(document, clustered)
    compared = f"Arms were compared on the same cases, second minus first: {tests}. {how} " if tests else ""
    lock = f"The analysis plan was locked on {locked}"
    if not document["plan"]["unchanged"]:
        lock += ", but the plan used here is not the one that was locked"
    return (
        f"{lock}; its primary metric is {primary}. {compared}{_adjusted(document)}{_margin(decided, primary)}Intervals "
        f"are {decided.confidence:.0%}; resampling used {decided.n_resamples:,} draws with seed {decided.seed}."
    )


def _independence(document: dict[str, Any], clustered: bool) -> str:
    if clustered:
        return "Patients have several cases, so resampling draws, and permutation flips, whole patients."
    if all(entry["groups_given"] for entry in document["flow"]["evaluations"].values()):
        return "No patient has more than one case."
    return "The cases were imported without a patient or encounter, so each was taken as a patient of its own."


def _adjusted(document: dict[str, Any]) -> str:
    made, declared = sum(row["planned"] for row in document["contrasts"]), document["plan"]["family_size"]
    if not made:
        return "No planned comparison on it could be made; all others are exploratory and unadjusted. "
    missing = f", of which this report holds {made}; the others count as P = 1" if made < declared else ""
    return (
        f"P values are adjusted by Holm's method for the {_count(declared, 'comparison')} that the plan "
        f"declares{missing}; all others are exploratory and unadjusted. "
    )


def _margin(decided: Plan, primary: str) -> str:
    if decided.margin is None:
        return ""
    if decided.primary_metric not in MARGIN_METRICS:
        return f"The plan's margin of {decided.margin:g} could not be tested, as it has no test for {primary}. "
    return f"Equivalence on {primary} was tested within the declared margin of {decided.margin:g}. "


def _judging(document: dict[str, Any]) -> str:
    campaigns, people = document["flow"]["campaigns"], document["annotators"]
    lines = [
        f"“{name}” ({entry['kind']}, {entry['items']} items, {entry['overlap']} annotators an item, "
        f"{entry['judgements']} judgements{', simulated' if entry['simulated'] else ''})"
        for name, entry in campaigns.items()
    ]
    who = f"{_count(len(people), 'annotator')} judged" if people else "Nobody has judged yet"
    return f"{who} blind in {_count(len(lines), 'campaign')}: {'; '.join(lines)}."


def _blinding(document: dict[str, Any]) -> list[str]:
    """One paragraph on the blinding check; none where no output was judged."""
    asked = {name: entry for name, entry in document["blinding"].items() if entry["asked"]}
    silent = [f"“{name}”" for name, entry in document["blinding"].items() if not entry["asked"]]
    said = []
    if asked:
        each = _list([f"up to {entry['items_each']} items in “{name}”" for name, entry in asked.items()])
        late = sum(entry["after_closing"] for entry in asked.values())
        said.append(
            "When an annotator had nothing left to judge, and could no longer change anything, they were asked which "
            f"arm, described in neutral words, had written what they judged ({each}, drawn at random; “don't know” was "
            "an answer). The share guessed right is among those who guessed, with an interval that resamples cases "
            "where one was guessed about more than once (else Wilson's); Bang's blinding index, for two arms, counts "
            "“don't know” too: 1 is all right, 0 chance, −1 all wrong."
        )
        if late:
            said.append(f"{_count(late, 'guess', 'guesses')} came after the campaign was closed.")
    if silent:
        said.append(
            f"The annotators of {_list(silent)} were not asked to guess the arms, so how well blinding worked there is "
            "unknown."
        )
    return [" ".join(said)] if said else []


def _count(n: int, one: str, many: str = "") -> str:
    return f"{n} {one if n == 1 else many or one + 's'}"


def _list(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
