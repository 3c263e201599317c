"""Arrays as the callers have them (lists, None, strings, nan) into arrays as the formulas want them."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


def is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, float | np.floating) and bool(np.isnan(value)))


def counted(n: int, one: str, many: str = "") -> str:
    """`counted(2, "case")` → "2 cases"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def dropped(n: int, why: str, one: str = "case", many: str = "") -> str:
    """The sentence for a note, empty when nothing was dropped (contract C4)."""
    return f"{counted(n, one, many)} left out: {why}" if n else ""


def floats(values: npt.ArrayLike, name: str, ndim: int = 1) -> FloatArray:
    """Numbers of `ndim` dimensions; None becomes nan. ValueError for text, infinity or another shape."""
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} must be numbers in {ndim} dimension(s), with None or nan where missing") from error
    if array.size == 0:
        array = array.reshape((0,) * ndim)
    if array.ndim != ndim:
        raise ValueError(f"{name} must have {ndim} dimension(s), not {array.ndim}")
    if np.isinf(array).any():
        raise ValueError(f"{name} must not hold infinite numbers")
    return array


def among(values: npt.ArrayLike, allowed: tuple[float, ...], name: str, ndim: int = 1) -> FloatArray:
    """Numbers that may only be `allowed` or missing."""
    array = floats(values, name, ndim)
    if not bool((np.isin(array, allowed) | np.isnan(array)).all()):
        raise ValueError(f"{name} may hold only {', '.join(f'{v:g}' for v in allowed)} or missing values")
    return array


def same_length(**arrays: Sequence[Any] | npt.NDArray[Any]) -> int:
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError("lengths differ: " + ", ".join(f"{name} {length}" for name, length in lengths.items()))
    return next(iter(lengths.values()))


def complete_rows(array: FloatArray | IntArray) -> BoolArray:
    """Rows (n,) of an array (n, k) in which nothing is missing (nan, or code -1)."""
    missing = np.isnan(array) if array.dtype.kind == "f" else array < 0
    return np.asarray(~missing.any(axis=1), dtype=np.bool_)


def check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, not {confidence}")


def label_codes(values: Sequence[Any] | npt.NDArray[Any], labels: Sequence[Hashable], name: str) -> IntArray:
    """Positions in `labels`; missing is -1. ValueError for a label that is not in the set."""
    index = {label: i for i, label in enumerate(labels)}
    if len(index) != len(labels):
        raise ValueError("labels must not repeat")
    codes = np.full(len(values), -1, dtype=np.int64)
    for i, value in enumerate(values):
        if is_missing(value):
            continue
        if value not in index:
            raise ValueError(f"{name} holds a label outside the label set: {value!r}")
        codes[i] = index[value]
    return codes


def rating_codes(ratings: npt.ArrayLike, numeric: bool) -> tuple[IntArray, npt.NDArray[Any]]:
    """Codes (n_items, n_annotators), missing -1, and the sorted distinct categories that the codes point into.

    `numeric` says that the level of measurement needs numbers; otherwise labels of any kind will do.
    """
    array = np.asarray(ratings, dtype=object)
    if array.size == 0:
        return np.zeros((0, 0), dtype=np.int64), np.zeros(0)
    if array.ndim != 2:
        raise ValueError(f"ratings must have the shape (n_items, n_annotators), not {array.shape}")
    try:
        values = floats(array, "ratings", ndim=2)
    except ValueError:
        if numeric or not any(isinstance(v, str) for v in array.flat):
            raise
        return _text_codes(array)
    missing = np.isnan(values)
    categories, inverse = np.unique(values[~missing], return_inverse=True)
    codes = np.full(values.shape, -1, dtype=np.int64)
    codes[~missing] = inverse
    return codes, categories


def _text_codes(array: npt.NDArray[Any]) -> tuple[IntArray, npt.NDArray[Any]]:
    categories = sorted({v for v in array.flat if not is_missing(v)}, key=str)
    codes = label_codes(array.ravel(), categories, "ratings").reshape(array.shape)
    return codes, np.array(categories, dtype=object)


def cluster_codes(clusters: Sequence[Any] | npt.NDArray[Any] | None, n: int) -> IntArray | None:
    """0 … n_clusters-1 for each row; a row whose cluster is missing is a cluster of its own."""
    if clusters is None:
        return None
    if len(clusters) != n:
        raise ValueError(f"clusters must have one label a row: {n} rows, {len(clusters)} labels")
    index: dict[Hashable, int] = {}
    keys = [("alone", i) if is_missing(label) else ("cluster", label) for i, label in enumerate(clusters)]
    return np.array([index.setdefault(key, len(index)) for key in keys], dtype=np.int64)


def kept(codes: IntArray | None, keep: BoolArray) -> IntArray | None:
    """The clusters of the rows that are kept, renumbered without gaps."""
    if codes is None:
        return None
    return np.unique(codes[keep], return_inverse=True)[1].astype(np.int64).reshape(-1)
