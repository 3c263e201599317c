"""Made-up studies of known truth, for `validate_stats`: one function a kind of data, one keyword a shape.

Each returns arrays for n cases. `clusters` is None, or patients of four cases each whose differences between arms have
an intraclass correlation of 0.3; "uneven" patients have 1 to 12 cases.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
ICC = 0.3
CUTS = {
    "balanced": (-1.5, -0.5, 0.5, 1.5),
    "ties": (-2.0, -1.0, 1.0, 2.0),
    "ceiling": (-3.0, -2.5, -1.9, -1.1),
    "skew": (0.3, 1.0, 1.7, 2.4),
}


def patients(rng: np.random.Generator, n: int, shape: str) -> Array | None:
    """One patient number a case."""
    if shape == "clustered":
        return np.arange(n) // 4
    if shape == "uneven":
        sizes = rng.choice([1, 1, 2, 3, 5, 12], size=n)
        return np.repeat(np.arange(n), sizes)[:n]
    return None


def unit_effect(rng: np.random.Generator, n: int, groups: Array | None) -> Array:
    """(n,) of variance 1, correlated 0.3 within a patient."""
    own = rng.normal(size=n)
    if groups is None:
        return own
    return np.sqrt(ICC) * rng.normal(size=groups.max() + 1)[groups] + np.sqrt(1 - ICC) * own


def latent_arms(
    rng: np.random.Generator, n: int, shape: str, shift: Sequence[float] = (0.0, 0.0), spread: float = 0.7
) -> tuple[Array, Array | None]:
    """Latent quality (n, arms), and the patients. Arms are exchangeable where their shifts are equal."""
    groups = patients(rng, n, shape)
    base = rng.normal(size=n)
    own = np.column_stack([unit_effect(rng, n, groups) for _ in shift]) * spread
    return base[:, None] + own + np.array(shift), groups


def likert_arms(
    rng: np.random.Generator, n: int, shape: str, shift: Sequence[float] = (0.0, 0.0)
) -> tuple[Array, Array | None]:
    """Case means (n, arms) of two annotators' 1 to 5. "missing": 30 % of the ratings were not given."""
    latent, groups = latent_arms(rng, n, shape, shift, spread=0.25 if shape == "ties" else 0.7)
    noise = rng.normal(size=(*latent.shape, 2)) * (0.2 if shape == "ties" else 0.5)
    ratings = 1.0 + np.digitize(latent[:, :, None] + noise, CUTS.get(shape, CUTS["balanced"]))
    if shape == "missing":
        ratings[rng.random(ratings.shape) < 0.3] = np.nan
    judged = ~np.isnan(ratings)
    counts = judged.sum(axis=2)
    means = np.where(judged, ratings, 0.0).sum(axis=2) / np.maximum(counts, 1)
    return np.where(counts > 0, means, np.nan), groups


def correct_arms(
    rng: np.random.Generator, n: int, shape: str, shift: Sequence[float] = (0.0, 0.0)
) -> tuple[Array, Array | None]:
    """1 where an arm is right, (n, arms). "ceiling": nine in ten are; "few discordant": the arms seldom differ."""
    latent, groups = latent_arms(rng, n, shape, shift, spread=0.2 if shape == "few discordant" else 0.9)
    right = (latent > (-1.8 if shape == "ceiling" else 0.0)).astype(float)
    if shape == "missing":
        right[rng.random(right.shape) < 0.15] = np.nan
    return right, groups


def outcomes(rng: np.random.Generator, n: int, shape: str, shift: float = 0.0) -> tuple[Array, Array | None]:
    """Preferences 1, 0.5, 0 (n,): a third are ties. "ties": four in five; "lopsided": one side nearly always wins."""
    groups = patients(rng, n, shape)
    lead = unit_effect(rng, n, groups) + (1.6 if shape == "lopsided" else shift)
    width = {"ties": 1.3, "lopsided": 0.2}.get(shape, 0.43)
    values = np.where(lead > width, 1.0, np.where(lead < -width, 0.0, 0.5))
    if shape == "missing":
        values[rng.random(n) < 0.3] = np.nan
    return values, groups


def labelled_arms(
    rng: np.random.Generator, n: int, shape: str, shift: float = 0.0
) -> tuple[Array, Array, Array, Array | None]:
    """Reference and two arms' labels out of 0 … 3. "rare": 70, 20, 7 and 3 % of the cases. "unparsed": one in ten."""
    latent, groups = latent_arms(rng, n, shape, (0.0, shift), spread=0.9)
    gold = rng.choice(4, size=n, p=(0.7, 0.2, 0.07, 0.03) if shape == "rare" else None)
    guesses = []
    for arm in latent.T:
        wrong = (gold + rng.integers(1, 4, size=n)) % 4
        guess = np.where(arm > -0.5, gold, wrong).astype(float)
        if shape == "unparsed":
            guess[rng.random(n) < 0.1] = np.nan
        guesses.append(guess)
    return gold.astype(float), guesses[0], guesses[1], groups


def ratings(rng: np.random.Generator, n: int, shape: str, k: int = 3, noise: float = 0.7) -> tuple[Array, Array | None]:
    """1 to 5 by k annotators of fixed severity (n, k). Patients also differ in how clear their cases are."""
    (made,), groups = rating_tables(rng, n, shape, (noise,), k)
    return made, groups


def rating_tables(
    rng: np.random.Generator, n: int, shape: str, noises: Sequence[float], k: int = 3
) -> tuple[list[Array], Array | None]:
    """As many tables (n, k) of the same cases as there are noises: one criterion each, say."""
    groups = patients(rng, n, shape)
    truth = unit_effect(rng, n, groups)
    blur = np.exp(0.4 * unit_effect(rng, n, groups))[:, None]
    bias = np.linspace(-0.2, 0.2, k)
    tables = []
    for noise in noises:
        values = truth[:, None] + bias + noise * blur * rng.normal(size=(n, k))
        made = 1.0 + np.digitize(values, CUTS.get(shape, CUTS["balanced"]))
        if shape == "missing":
            made[rng.random((n, k)) < 0.4] = np.nan
        tables.append(made)
    return tables, groups


def normal_ratings(rng: np.random.Generator, n: int, k: int = 4) -> Array:
    """case + annotator + error, all normal, annotators drawn anew: variances 1, 0.1, 0.6."""
    return rng.normal(size=(n, 1)) + np.sqrt(0.1) * rng.normal(size=k) + np.sqrt(0.6) * rng.normal(size=(n, k))


def games(rng: np.random.Generator, n: int, shape: str) -> tuple[list[tuple[str, str, float]], Array | None]:
    """n comparisons of three models with ties and a position effect of 0.3; log worths -0.5, 0, 0.5."""
    worth, groups = np.array([-0.5, 0.0, 0.5]), patients(rng, n, shape)
    left = rng.integers(3, size=n)
    right = (left + rng.integers(1, 3, size=n)) % 3
    lead = worth[left] - worth[right] + 0.3
    if groups is not None:
        lift = rng.normal(size=(groups.max() + 1, 3)) * 0.5
        lead = lead + lift[groups, left] - lift[groups, right]
    weights = np.exp(np.column_stack([lead / 2, np.full(n, -0.7), -lead / 2]))
    upto = np.cumsum(weights / weights.sum(axis=1, keepdims=True), axis=1)
    outcome = np.array([1.0, 0.5, 0.0])[(rng.random(n)[:, None] > upto).sum(axis=1).clip(max=2)]
    return [("abc"[a], "abc"[b], float(o)) for a, b, o in zip(left, right, outcome, strict=True)], groups
