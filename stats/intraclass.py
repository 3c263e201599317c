"""Intraclass correlation in its six forms, with F-based intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from stats.intake import FloatArray, check_confidence, cluster_codes, complete_rows, dropped, floats, kept
from stats.resampling import bootstrap_interval, bootstrap_method
from stats.results import NAN, Estimate, join_notes

FORMS = ("1,1", "A,1", "C,1", "1,k", "A,k", "C,k")


def icc(
    ratings: npt.ArrayLike,
    form: str = "A,1",
    clusters: Sequence[Any] | npt.NDArray[Any] | None = None,
    n_resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int = 0,
) -> Estimate:
    """Intraclass correlation of complete ratings (n_items, k annotators): six forms.

    "1,·" one-way random; "A,·" two-way, absolute agreement; "C,·" two-way, consistency; "·,1" of one judgement,
    "·,k" of the mean of the k. In Shrout and Fleiss' names 1,1 = ICC(1,1), A,1 = ICC(2,1), C,1 = ICC(3,1), and so on.
    At most 1; negative when items differ less than judgements of one item do. Items with a missing cell are left out
    (listwise); no variation gives nan. Interval: exact F for 1 and C, Satterthwaite's approximation for A; the
    cluster bootstrap with clusters.

    Source: Shrout & Fleiss 1979, Psychol Bull 86:420; McGraw & Wong 1996, Psychol Methods 1:30, tables 4 and 7.

    >>> round(icc([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]).value, 2)
    0.29
    """
    if form not in FORMS:
        raise ValueError(f"form must be one of {', '.join(FORMS)}, not {form!r}")
    check_confidence(confidence)
    values = floats(ratings, "ratings", ndim=2)
    groups = cluster_codes(clusters, len(values))
    keep = complete_rows(values)
    note, name = dropped(int((~keep).sum()), "a judgement is missing"), f"ICC({form})"
    values = values[keep]
    n, k = values.shape
    if n < 2 or k < 2:
        return Estimate.undefined(name, join_notes("needs two cases judged by the same two annotators", note), n)
    values = values - values.mean()  # the sums of squares below then lose no digits
    rows = np.column_stack([np.ones(n), (values**2).sum(axis=1), values.sum(axis=1) ** 2, values])
    squares = _mean_squares(rows.sum(axis=0)[None, :], k)
    value = float(_icc_value(squares, form, k)[0])
    if np.isnan(value):
        return Estimate.undefined(name, join_notes("no variation between cases", note), n)
    if groups is not None:
        low, high, why = bootstrap_interval(
            rows, lambda s: _icc_value(_mean_squares(s, k), form, k), kept(groups, keep), n_resamples, confidence, seed
        )
        return Estimate(value, low, high, n, f"{name}; {bootstrap_method(groups, n_resamples)}", join_notes(note, why))
    low, high = _icc_interval(squares, form, k, confidence)
    why = "no residual variation: no interval" if np.isnan(low) else ""
    return Estimate(value, low, high, n, f"{name}; F-based interval", join_notes(note, why))


def _mean_squares(sums: FloatArray, k: int) -> tuple[FloatArray, ...]:
    """n, and the mean squares between rows, between columns, within rows, and residual, each (R,)."""
    n, squares, rows = sums[:, 0], sums[:, 1], sums[:, 2] / k
    correction = sums[:, 3:].sum(axis=1) ** 2 / (n * k)
    columns = (sums[:, 3:] ** 2).sum(axis=1) / n - correction
    within = np.maximum(squares - rows, 0.0)
    residual = np.maximum(within - columns, 0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        return (
            n,
            (rows - correction) / (n - 1),
            columns / (k - 1),
            within / (n * (k - 1)),
            residual / ((n - 1) * (k - 1)),
        )


def _icc_value(squares: tuple[FloatArray, ...], form: str, k: int) -> FloatArray:
    n, between, columns, within, residual = squares
    kind, single = form[0], form.endswith("1")
    error = within if kind == "1" else residual
    shift = (columns - residual) / n if kind == "A" else np.zeros_like(n)
    below = between + (k - 1) * error + k * shift if single else between + shift
    scale = between + columns + within
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where((scale > 1e-20) & (below > 1e-12 * scale), (between - error) / below, np.nan)


def _icc_interval(squares: tuple[FloatArray, ...], form: str, k: int, confidence: float) -> tuple[float, float]:
    """McGraw & Wong 1996, table 7; "A,k" from "A,1" by Spearman and Brown's formula."""
    n, between, columns, within, residual = (float(square[0]) for square in squares)
    upper, rows_df = 0.5 + confidence / 2, n - 1
    error, error_df = (within, n * (k - 1)) if form[0] == "1" else (residual, rows_df * (k - 1))
    if error <= 1e-12 * (between + columns):
        return NAN, NAN
    if form[0] != "A":
        f = between / error
        low, high = f / float(stats.f.ppf(upper, rows_df, error_df)), f * float(stats.f.ppf(upper, error_df, rows_df))
        if form.endswith("k"):
            return 1 - 1 / low, 1 - 1 / high
        return (low - 1) / (low + k - 1), (high - 1) / (high + k - 1)

    rho = (between - error) / (between + (k - 1) * error + k * (columns - error) / n)
    a, b = k * rho / (n * (1 - rho)), 1 + k * rho * (n - 1) / (n * (1 - rho))
    df = (a * columns + b * error) ** 2 / ((a * columns) ** 2 / (k - 1) + (b * error) ** 2 / error_df)
    f_low, f_high = float(stats.f.ppf(upper, rows_df, df)), float(stats.f.ppf(upper, df, rows_df))
    rest = k * columns + (k * n - k - n) * error
    low = n * (between - f_low * error) / (f_low * rest + n * between)
    high = n * (f_high * between - error) / (rest + n * f_high * between)
    if form.endswith("k"):
        return k * low / (1 + (k - 1) * low), k * high / (1 + (k - 1) * high)
    return low, high
