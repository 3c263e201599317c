"""Agreement between annotators: how far the judgements of one case coincide, most of it beyond chance.

All functions take ratings (n_items, n_annotators), nan or None where an annotator did not judge, and return an
Estimate whose interval resamples, or leaves out, items (or clusters of items, usually patients), never annotators or
pairs of judgements: duplicated annotators agree with themselves, and pairs of one item are not independent. Inference
is therefore conditional on these annotators.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from stats.coincidence import LEVELS, RATIO_CATEGORIES, cluster_rows, contributions, pairs, patterns
from stats.intake import (
    FloatArray,
    IntArray,
    check_confidence,
    cluster_codes,
    complete_rows,
    dropped,
    kept,
    rating_codes,
)
from stats.intraclass import FORMS as ICC_FORMS
from stats.intraclass import icc
from stats.resampling import (
    Units,
    bootstrap_estimate,
    coefficient_interval,
)
from stats.results import NAN, Estimate, join_notes

__all__ = [
    "ICC_FORMS",
    "cohen_kappa",
    "fleiss_kappa",
    "gwet_ac",
    "icc",
    "krippendorff_alpha",
    "percent_agreement",
]

Clusters = Sequence[Any] | npt.NDArray[Any] | None

NO_PAIRS = "no case has two judgements"
NO_VARIATION = "no variation: every judgement is the same category, so chance agreement is complete"
WEIGHTS = (None, "linear", "quadratic")
CEILING, ENOUGH_OTHERS = 0.75, 40  # where validate_stats finds intervals that cover under 90 %


def krippendorff_alpha(
    ratings: npt.ArrayLike,
    level: str = "ordinal",
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Krippendorff's alpha = 1 - observed / expected disagreement, for any number of annotators and missing cells.

    level: "nominal", "ordinal" (Krippendorff's own metric, from the marginals), "interval" or "ratio" (non-negative
    values). Range: 1 is perfect, 0 is chance, negative is systematic disagreement. Items with fewer than two
    judgements cannot disagree and are left out. No variation at all gives nan: there is nothing to be reliable about.
    The point value equals that of the `krippendorff` package. Interval: items, or clusters, are drawn with
    replacement and alpha is recomputed whole, its ordinal metric included; under 100 of them, one is left out at a time
    (jackknife, t interval on Fisher's z).

    Source: Krippendorff 2011; bootstrap over units as in Zapf et al. 2016, BMC Med Res Methodol 16:93.

    >>> ratings = [[1, 1, None], [2, 2, 3], [3, 3, 3], [3, 3, 3], [2, 2, 2], [1, 2, 3], [4, 4, 4], [1, 1, 2]]
    >>> round(krippendorff_alpha(ratings, "ordinal", n_resamples=500).value, 3)
    0.764
    """
    if level not in LEVELS:
        raise ValueError(f"level must be one of {', '.join(LEVELS)}, not {level!r}")
    check_confidence(confidence)
    codes, categories = rating_codes(ratings, numeric=level != "nominal")
    if level == "ratio" and len(categories) and categories[0] < 0:
        raise ValueError("the ratio level needs values that are not negative")
    clusters = cluster_codes(clusters, len(codes))
    name = f"Krippendorff's alpha, {level}"
    pattern, owner, used = patterns(codes)
    note = dropped(len(codes) - len(used), "fewer than two judgements")
    if len(used) == 0:
        return Estimate.undefined(name, join_notes(NO_PAIRS, note))

    rows, alpha = contributions(pattern, categories, level)
    counts = np.bincount(owner, minlength=len(pattern)).astype(np.int64)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = float(alpha((rows.T @ counts.astype(np.float64))[None, :])[0])
    if np.isnan(value):
        return Estimate.undefined(name, join_notes(NO_VARIATION, note), len(used))
    if level == "ratio" and len(categories) > RATIO_CATEGORIES:
        note = join_notes(note, f"no interval: more than {RATIO_CATEGORIES:,} distinct values at the ratio level")
        return Estimate(value, NAN, NAN, len(used), name, note)

    units = Units(rows, counts)
    if clusters is not None:
        clusters = np.unique(clusters[used], return_inverse=True)[1].reshape(-1)
        rows = cluster_rows(rows, owner, clusters)
        units = Units(rows, np.ones(rows.shape[0], dtype=np.int64))
    low, high, how, why = coefficient_interval(units, alpha, value, clusters, n_resamples, confidence, seed)
    note = join_notes(note, why, _rare_note(codes[used], categories))
    return Estimate(value, low, high, len(used), f"{name}; {how}", note)


def _rare_note(codes: IntArray, categories: Sequence[Any] | npt.NDArray[Any]) -> str:
    """Where nearly every judgement is one category, the few items that hold another decide the coefficient."""
    counts = np.bincount(codes[codes >= 0], minlength=max(len(categories), 1))
    top = int(counts.argmax())
    share = counts[top] / max(counts.sum(), 1)
    others = int(((codes >= 0) & (codes != top)).any(axis=1).sum())
    if share < CEILING or others >= ENOUGH_OTHERS:
        return ""
    return f"{share:.0%} of the judgements are one category: the interval may cover under 90 % (and see Gwet's AC1)"


def percent_agreement(
    ratings: npt.ArrayLike,
    within: float = 0,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Mean over items of the share of pairs of judgements that differ by at most `within` (0: equal). Range 0 to 1.

    `within=1` on a five-point scale is "agreement within one". No correction for chance. Items with fewer than two
    judgements are left out; without any other, nan.

    >>> round(percent_agreement([[1, 1, 2], [3, 3, 3]], n_resamples=100).value, 4)
    0.6667
    """
    codes, categories = rating_codes(ratings, numeric=within > 0)
    groups = cluster_codes(clusters, len(codes))
    name = "percent agreement" if within == 0 else f"percent agreement within {within:g}"
    pattern, owner, used = patterns(codes)
    low, high = np.zeros(0), np.ones(0)
    row, low_code, high_code, _ = pairs(pattern)
    if within > 0:
        low, high = categories[low_code].astype(np.float64), categories[high_code].astype(np.float64)
        row = row[high - low > within + 1e-9]
    m = (pattern >= 0).sum(axis=1)
    apart = np.bincount(row, minlength=len(pattern))
    agree = 1.0 - apart / np.maximum(m * (m - 1) / 2, 1)
    return bootstrap_estimate(
        np.column_stack([agree[owner], np.ones(len(owner))]),
        lambda sums: sums[:, 0] / sums[:, 1],
        name=name,
        undefined=NO_PAIRS,
        clusters=None if groups is None else kept(groups, _mask(used, len(codes))),
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
        note=dropped(len(codes) - len(used), "fewer than two judgements"),
    )


def _mask(positions: IntArray, n: int) -> npt.NDArray[np.bool_]:
    mask = np.zeros(n, dtype=np.bool_)
    mask[positions] = True
    return mask


def _agreement_weights(categories: npt.NDArray[Any], weights: str | None) -> FloatArray:
    """(V, V): 1 on the diagonal, falling with the distance of the categories' *values* over their span.

    scikit-learn takes distances between positions in the list of labels; the two are equal when no category between
    the lowest and the highest is missing.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be None, 'linear' or 'quadratic', not {weights!r}")
    if weights is None or len(categories) < 2:
        return np.eye(len(categories))
    values = categories.astype(np.float64)
    distance = np.abs(values[:, None] - values[None, :]) / np.ptp(values)
    return 1.0 - (distance if weights == "linear" else distance**2)


def cohen_kappa(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    weights: str | None = None,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Cohen's kappa of two annotators, 1 - (observed / chance-expected disagreement), plain or weighted.

    a, b: (n_items,). weights: None, "linear" or "quadratic" in the distance of values. Range -1 to 1; items that one
    of the two did not judge are left out; nan if both use one and the same category only. Beware its paradox: rare
    categories give a low kappa at high agreement (report Gwet's AC1 beside it).

    Source: Cohen 1960, Educ Psychol Meas 20:37; weighted: Cohen 1968, Psychol Bull 70:213.

    >>> round(cohen_kappa([1, 1, 2, 2, 1], [1, 1, 2, 1, 1], n_resamples=100).value, 4)
    0.5455
    """
    first, second = np.asarray(a, dtype=object), np.asarray(b, dtype=object)
    if first.ndim != 1 or first.shape != second.shape:
        raise ValueError("a and b must be one-dimensional and of one length")
    codes, categories = rating_codes(np.column_stack([first, second]), numeric=weights is not None)
    disagreement = 1.0 - _agreement_weights(categories, weights)
    keep = complete_rows(codes)
    left, right = codes[keep].reshape(-1, 2).T
    v = len(categories)
    rows = np.column_stack([disagreement[left, right], np.ones(len(left)), np.eye(v)[left], np.eye(v)[right]])

    def kappa(sums: FloatArray) -> FloatArray:
        expected = ((sums[:, 2 : 2 + v] @ disagreement) * sums[:, 2 + v :]).sum(axis=1)
        return np.where(expected > 0, 1.0 - sums[:, 1] * sums[:, 0] / expected, np.nan)

    return bootstrap_estimate(
        rows,
        kappa,
        name="Cohen's kappa" if weights is None else f"Cohen's kappa, {weights} weights",
        undefined=NO_VARIATION if keep.any() else NO_PAIRS,
        clusters=kept(cluster_codes(clusters, len(first)), keep),
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
        note=join_notes(
            dropped(int((~keep).sum()), "not judged by both"), _rare_note(codes[keep], categories) if keep.any() else ""
        ),
    )


def _category_rows(codes: IntArray, weights: FloatArray) -> FloatArray:
    """Per item: weighted agreement of its pairs, is it pairable, is it judged, share of each category (V)."""
    n_categories = len(weights)
    counts = np.stack([(codes == c).sum(axis=1) for c in range(n_categories)], axis=1).astype(np.float64)
    m = counts.sum(axis=1)
    agreeing = (counts * (counts @ weights - 1.0)).sum(axis=1) / np.maximum(m * (m - 1), 1)
    return np.column_stack([np.where(m >= 2, agreeing, 0.0), m >= 2, m >= 1, counts / np.maximum(m, 1)[:, None]])


def _chance_corrected(
    codes: IntArray,
    weights: FloatArray,
    chance: Any,
    name: str,
    clusters: Clusters,
    n_resamples: int,
    confidence: float,
    seed: int,
) -> Estimate:
    """(p_a - p_e) / (1 - p_e), with p_e = chance(category shares (R, V))."""
    groups = cluster_codes(clusters, len(codes))
    judged = (codes >= 0).sum(axis=1) if codes.size else np.zeros(len(codes), dtype=np.int64)
    rows = _category_rows(codes[judged > 0], weights) if (judged > 0).any() else np.zeros((0, 4))

    def coefficient(sums: FloatArray) -> FloatArray:
        expected = chance(sums[:, 3:] / sums[:, 2:3])
        return np.where(expected < 1.0 - 1e-12, (sums[:, 0] / sums[:, 1] - expected) / (1.0 - expected), np.nan)

    single = int((judged == 1).sum())
    return bootstrap_estimate(
        rows,
        coefficient,
        name=name,
        undefined=NO_VARIATION if (judged >= 2).any() else NO_PAIRS,
        clusters=kept(groups, judged > 0),
        n_resamples=n_resamples,
        confidence=confidence,
        seed=seed,
        note=join_notes(
            dropped(int((judged == 0).sum()), "not judged"),
            f"{single} judged once: used for the category shares only" if single else "",
            _rare_note(codes[judged > 0], weights) if name == "Fleiss' kappa" and (judged > 0).any() else "",
        ),
        coefficient=True,
    )


def fleiss_kappa(
    ratings: npt.ArrayLike,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Fleiss' kappa = (p_a - p_e) / (1 - p_e), p_e the sum of squared category shares; categories are unordered.

    p_a averages over items the share of agreeing pairs; shares average over items. With missing cells this is Gwet's
    generalisation, equal to Fleiss' where every item has the same number of judgements. nan without variation.

    Source: Fleiss 1971, Psychol Bull 76:378; Gwet 2014, Handbook of Inter-Rater Reliability, 4th ed., chapter 2.

    >>> round(fleiss_kappa([["a", "a", "b"], ["b", "b", "b"], ["a", "a", "a"]], n_resamples=100).value, 4)
    0.55
    """
    codes, categories = rating_codes(ratings, numeric=False)
    weights = np.eye(len(categories))
    return _chance_corrected(
        codes, weights, lambda p: (p**2).sum(axis=1), "Fleiss' kappa", clusters, n_resamples, confidence, seed
    )


def gwet_ac(
    ratings: npt.ArrayLike,
    weights: str | None = None,
    categories: Sequence[Any] | None = None,
    clusters: Clusters = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Gwet's AC1 (weights None) or AC2 ("linear", "quadratic"), which stay near raw agreement when categories are rare.

    (p_a - p_e) / (1 - p_e) with p_e = T / (q (q - 1)) * sum pi_c (1 - pi_c), T the sum of the q x q agreement weights.
    q counts `categories`, the whole scale, if given, else those seen: give it when a category can stay unused. One
    category only gives nan.

    Source: Gwet 2008, Br J Math Stat Psychol 61:29; Gwet 2014, chapters 2 to 4.

    >>> round(gwet_ac([[1, 1], [1, 1], [1, 2], [2, 2]], n_resamples=100).value, 4)
    0.5294
    """
    codes, seen = rating_codes(ratings, numeric=weights is not None)
    scale = seen
    if categories is not None:
        scale = np.array(sorted(set(categories)), dtype=seen.dtype)
        if not set(seen.tolist()) <= set(scale.tolist()):
            raise ValueError("ratings hold a category outside `categories`")
        position = np.array([scale.tolist().index(v) for v in seen.tolist()] + [-1], dtype=np.int64)
        codes = position[codes]  # missing, -1, finds the -1 at the end
    q, table = len(scale), _agreement_weights(scale, weights)
    factor = table.sum() / (q * (q - 1)) if q > 1 else NAN
    name = "Gwet's AC1" if weights is None else f"Gwet's AC2, {weights} weights"
    return _chance_corrected(
        codes, table, lambda p: factor * (p * (1 - p)).sum(axis=1), name, clusters, n_resamples, confidence, seed
    )
