"""Classification against a reference: accuracy, F1 on a fixed label set, and the paired difference of two arms' F1.

An unparsed prediction (None or nan) is in no label and counts as wrong; a case without a reference label is left out
and counted in the note. F1 of a label is 2 TP / (predicted + actual), and 0 (with a note) where a label occurs in
neither: scikit-learn's `zero_division=0` over a stated `labels`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.intake import (
    BoolArray,
    FloatArray,
    IntArray,
    cluster_codes,
    counted,
    dropped,
    kept,
    label_codes,
    same_length,
)
from stats.paired import proportion
from stats.resampling import (
    bootstrap_estimate,
    bootstrap_interval,
    bootstrap_method,
    flip_method,
    flip_sums,
    floor_note,
    permutation_p,
    point,
    pool,
)
from stats.results import Estimate, TestResult, join_notes

Labels = Sequence[Any] | npt.NDArray[Any]
Clusters = Sequence[Any] | npt.NDArray[Any] | None
NO_CASES = "no case has a reference label"
RARE = 5  # reference cases of a label, under which resamples often hold none of it
AVERAGES = ("binary", "macro", "weighted")


def confusion(gold: Labels, predicted: Labels, labels: Sequence[Hashable]) -> npt.NDArray[np.int64]:
    """Counts (L, L + 1): rows are reference labels, columns predicted ones, the last column unparsed predictions.

    >>> confusion(["a", "b", "b"], ["a", None, "a"], ["a", "b"]).tolist()
    [[1, 0, 0], [1, 0, 1]]
    """
    truth, (guess,), _ = _coded(gold, [predicted], labels)
    n_labels = len(labels)
    flat = truth * (n_labels + 1) + np.where(guess < 0, n_labels, guess)
    return np.bincount(flat, minlength=n_labels * (n_labels + 1)).reshape(n_labels, n_labels + 1)


def accuracy(
    gold: Labels,
    predicted: Labels,
    labels: Sequence[Hashable],
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Share of cases whose prediction is the reference label; Wilson interval, or cluster bootstrap with clusters.

    >>> accuracy(["a", "b", "b", "a"], ["a", "b", "a", None], ["a", "b"]).value
    0.5
    """
    same_length(gold=gold, predicted=predicted)
    truth, guess = label_codes(gold, labels, "gold"), label_codes(predicted, labels, "predicted")
    correct = np.where(truth < 0, np.nan, (truth == guess).astype(np.float64))
    return proportion(correct, clusters, n_resamples=n_resamples, confidence=confidence, seed=seed)


def f1(
    gold: Labels,
    predicted: Labels,
    labels: Sequence[Hashable],
    average: str = "macro",
    positive: Hashable | None = None,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """F1 with a case (or cluster) bootstrap interval. Range 0 to 1; nan without any case.

    gold, predicted: (n,) labels out of `labels`. average: "binary" (the F1 of `positive`), "macro" (the mean over
    *all* labels, also those that never occur), "weighted" (mean weighted by the reference counts).

    >>> round(f1(["a", "b", "b", "a"], ["a", "b", "a", "a"], ["a", "b"], n_resamples=100).value, 4)
    0.7333
    """
    same_length(gold=gold, predicted=predicted)
    score = _score(labels, average, positive)
    truth, (guess,), keep = _coded(gold, [predicted], labels)
    rows = np.hstack([_one_hot(truth, len(labels)), _arm(truth, guess, len(labels))])
    n_labels = len(labels)
    return bootstrap_estimate(
        rows,
        lambda sums: score(sums[:, :n_labels], sums[:, n_labels:]),
        name=_name(average, positive),
        undefined=NO_CASES,
        clusters=kept(cluster_codes(clusters, len(gold)), keep),
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
        note=_notes(truth, [guess], keep, labels),
    )


def paired_f1_difference(
    gold: Labels,
    a: Labels,
    b: Labels,
    labels: Sequence[Hashable],
    average: str = "macro",
    positive: Hashable | None = None,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> TestResult:
    """F1 of b minus F1 of a on the same cases: bootstrap interval, and P by swapping the two arms case by case.

    Both work on the joint cells (reference, a, b): bootstrap samples are multinomial counts of the cells, and swaps
    are binomial within a cell. With clusters, whole clusters are drawn and whole clusters are swapped. The null
    hypothesis is that the arms are exchangeable within each case (cluster). Range of the effect -1 to 1.

    Source: Yeh 2000, COLING, "More accurate tests for the statistical significance of result differences".

    >>> gold = ["a", "b"] * 6
    >>> result = paired_f1_difference(gold, ["a", "a"] * 6, gold, ["a", "b"], n_resamples=2000)
    >>> round(result.effect, 4), result.p_value < 0.05
    (0.6667, True)
    """
    same_length(gold=gold, a=a, b=b)
    score = _score(labels, average, positive)
    truth, (first, second), keep = _coded(gold, [a, b], labels)
    groups, n, n_labels = kept(cluster_codes(clusters, len(gold)), keep), len(truth), len(labels)
    name = f"paired difference of {_name(average, positive)}"
    note = _notes(truth, [first, second], keep, labels)
    if n == 0:
        return TestResult.undefined(name, join_notes(NO_CASES, note))

    arm_a, arm_b = _arm(truth, first, n_labels), _arm(truth, second, n_labels)
    rows = np.hstack([_one_hot(truth, n_labels), arm_a, arm_b])

    def difference(sums: FloatArray) -> FloatArray:
        actual, one, two = np.split(sums, [n_labels, 3 * n_labels], axis=1)
        return score(actual, two) - score(actual, one)

    low, high, why = bootstrap_interval(rows, difference, groups, n_resamples, confidence, seed)
    actual = _one_hot(truth, n_labels).sum(axis=0)[None, :]
    middle, half = (arm_a.sum(axis=0) + arm_b.sum(axis=0)) / 2, (arm_b - arm_a) / 2
    effect = point(rows, difference)
    units = pool(half, groups)
    signed, complete = flip_sums(units, n_resamples, seed)
    p = permutation_p(score(actual, middle + signed) - score(actual, middle - signed), effect, complete)
    method = f"{name}; {bootstrap_method(groups, n_resamples)}; {flip_method(groups, complete, n_resamples)}"
    few = floor_note(int(units.counts[units.rows.any(axis=1)].sum()))
    return TestResult(effect, p, effect, low, high, n, method, join_notes(note, why, few))


def _coded(
    gold: Labels, predictions: list[Labels], labels: Sequence[Hashable]
) -> tuple[IntArray, list[IntArray], BoolArray]:
    """Codes of the cases that have a reference label, and which those are."""
    truth = label_codes(gold, labels, "gold")
    keep = truth >= 0
    return truth[keep], [label_codes(p, labels, "predicted")[keep] for p in predictions], keep


def _one_hot(codes: IntArray, n_labels: int) -> FloatArray:
    """(n, L); unparsed, -1, is a row of zeros."""
    return np.asarray(codes[:, None] == np.arange(n_labels), dtype=np.float64)


def _arm(truth: IntArray, guess: IntArray, n_labels: int) -> FloatArray:
    """(n, 2 L): true positives of each label, then predictions of each label."""
    predicted = _one_hot(guess, n_labels)
    return np.hstack([predicted * (truth == guess)[:, None], predicted])


def _score(
    labels: Sequence[Hashable], average: str, positive: Hashable | None
) -> Callable[[FloatArray, FloatArray], FloatArray]:
    """F1 from the reference counts (R or 1, L) and an arm's sums (R, 2 L)."""
    n_labels = len(labels)
    if n_labels == 0:
        raise ValueError("labels must hold at least one label")
    if average not in AVERAGES:
        raise ValueError(f"average must be one of {', '.join(AVERAGES)}, not {average!r}")
    if average == "binary" and (positive is None or positive not in labels):
        raise ValueError(f"average='binary' needs positive to be one of the labels, not {positive!r}")
    at = list(labels).index(positive) if average == "binary" else 0

    def score(actual: FloatArray, arm: FloatArray) -> FloatArray:
        hits, predicted = arm[:, :n_labels], arm[:, n_labels:]
        each = 2 * hits / np.maximum(actual + predicted, 1)  # counts: the maximum only meets 0 / 0
        if average == "binary":
            return np.asarray(each[:, at])
        if average == "macro":
            return np.asarray(each.mean(axis=1))
        return np.asarray((each * actual).sum(axis=1) / actual.sum(axis=1))

    return score


def _name(average: str, positive: Hashable | None) -> str:
    return f"F1 of {positive!r}" if average == "binary" else f"{average} F1"


def _notes(truth: IntArray, guesses: list[IntArray], keep: BoolArray, labels: Sequence[Hashable]) -> str:
    unparsed = [int((guess < 0).sum()) for guess in guesses]
    notes = [dropped(int((~keep).sum()), "no reference label")]
    if any(unparsed):
        notes.append(f"{' and '.join(f'{u:,}' for u in unparsed)} unparsed, counted as wrong")
    absent = [str(label) for i, label in enumerate(labels) if not np.isin(i, np.concatenate([truth, *guesses]))]
    if absent and len(truth):
        notes.append(f"F1 is 0 by convention for {counted(len(absent), 'label')} that never occur: {', '.join(absent)}")
    rare = [str(label) for i, label in enumerate(labels) if 0 < (truth == i).sum() < RARE]
    if rare:
        notes.append(f"fewer than {RARE} reference cases of {', '.join(rare)}: the interval may be too low and narrow")
    return join_notes(*notes)
