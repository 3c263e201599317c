"""What `validate_stats` checks: each method on each shape of data, called as a report calls it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks import shapes
from stats import agreement, change, classification, discordant, many, ordinal, paired, preference, reliability
from stats.results import Estimate, TestResult

HUGE = 100_000  # cases of the study that the truth is taken from
R = {"n_resamples": 500}  # of each study; set by `validate_stats`
EXACT_P = ("McNemar", "equivalence", "Cochran", "Wilcoxon", "mean difference", "Friedman")  # without clusters
LIKERT = ("balanced", "ties", "ceiling", "missing", "clustered", "uneven")
CORRECT = ("balanced", "ceiling", "few discordant", "missing", "clustered", "uneven")
OUTCOMES = ("balanced", "ties", "lopsided", "missing", "clustered", "uneven")
LABELS = ("balanced", "rare", "unparsed", "clustered", "uneven")
RATINGS = ("balanced", "ceiling", "missing", "clustered", "uneven")
PLAIN = ("balanced", "ties", "ceiling", "few discordant", "missing")
Result = Estimate | TestResult


@dataclass(frozen=True)
class Check:
    """One row: `run(rng, n, seed)` makes a study and returns the result. truth None: from one huge study."""

    kind: str  # "coverage" or "type I"
    method: str
    shape: str
    run: Callable[[np.random.Generator, int, int], Result]
    truth: float | None = None
    weight: float = 1.0  # of the number of studies: slow fits get fewer

    @property
    def studies(self) -> float:
        """Tests need more studies than intervals for the same certainty, and are cheap where P has a closed form."""
        return self.weight * (1 if self.kind == "coverage" else 4 if self.n_resamples < 500 else 2)

    @property
    def n_resamples(self) -> int:
        """A P value that no resampling made needs none of the effect's interval."""
        plain = self.kind == "type I" and self.method.startswith(EXACT_P)
        return 10 if plain and self.shape not in ("clustered", "uneven") else 500


def checks() -> Iterator[Check]:
    yield from agreement_checks()
    yield from proportion_checks()
    yield from likert_checks()
    yield from label_checks()
    yield from preference_checks()
    yield from model_checks()


def agreement_checks() -> Iterator[Check]:
    def rated(function: Callable[..., Any], shape: str, **how: Any) -> Callable[..., Result]:
        def run(rng: np.random.Generator, n: int, seed: int) -> Result:
            table, groups = shapes.ratings(rng, n, shape)
            made = function(table, clusters=groups, seed=seed, **R, **how)
            return made[0] if isinstance(made, list) else made

        return run

    coefficients: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
        "Krippendorff's alpha, ordinal": (agreement.krippendorff_alpha, {"level": "ordinal"}),
        "Krippendorff's alpha, nominal": (agreement.krippendorff_alpha, {"level": "nominal"}),
        "Krippendorff's alpha, interval": (agreement.krippendorff_alpha, {"level": "interval"}),
        "percent agreement": (agreement.percent_agreement, {}),
        "percent agreement within one": (agreement.percent_agreement, {"within": 1}),
        "Fleiss' kappa": (agreement.fleiss_kappa, {}),
        "Gwet's AC1": (agreement.gwet_ac, {"categories": [1, 2, 3, 4, 5]}),
        "Gwet's AC2, quadratic": (agreement.gwet_ac, {"categories": [1, 2, 3, 4, 5], "weights": "quadratic"}),
        "severity of one annotator": (reliability.severity, {}),
    }
    for name, (function, how) in coefficients.items():
        for shape in RATINGS if "alpha" in name or "Gwet" in name else ("balanced", "ceiling", "uneven"):
            yield Check("coverage", name, shape, rated(function, shape, **how))
    for weights in (None, "quadratic"):
        for shape in ("balanced", "ceiling", "missing", "uneven"):

            def kappa(rng: np.random.Generator, n: int, seed: int, shape: str = shape, w: Any = weights) -> Result:
                table, groups = shapes.ratings(rng, n, shape, k=2)
                return agreement.cohen_kappa(table[:, 0], table[:, 1], w, groups, seed=seed, **R)

            yield Check("coverage", f"Cohen's kappa, {weights or 'plain'}", shape, kappa)
    truths = {"1,1": 1 / 1.7, "A,1": 1 / 1.7, "C,1": 1 / 1.6, "1,k": 4 / 4.7, "A,k": 4 / 4.7, "C,k": 4 / 4.6}
    for form, truth in truths.items():
        if form[0] == "1":  # one-way data: every rating by another annotator

            def one_way(rng: np.random.Generator, n: int, seed: int, form: str = form) -> Result:
                return agreement.icc(rng.normal(size=(n, 1)) + np.sqrt(0.7) * rng.normal(size=(n, 4)), form)

            yield Check("coverage", f"ICC({form}), F-based", "normal", one_way, truth)
            continue

        def icc(rng: np.random.Generator, n: int, seed: int, form: str = form) -> Result:
            return agreement.icc(shapes.normal_ratings(rng, n), form)

        yield Check("coverage", f"ICC({form}), F-based", "normal", icc, truth)
    for shape in ("clustered", "uneven"):
        yield Check("coverage", "ICC(C,1), cluster bootstrap", shape, rated(agreement.icc, shape, form="C,1"))

    for kind, second in (("coverage", 0.4), ("type I", 0.7)):
        for shape in RATINGS:

            def compare(
                rng: np.random.Generator, n: int, seed: int, shape: str = shape, noise: float = second
            ) -> Result:
                (first, other), groups = shapes.rating_tables(rng, n, shape, (0.7, noise))
                return reliability.compare_alphas(first, other, clusters=groups, seed=seed, **R)

            yield Check(kind, "difference of two alphas", shape, compare)


def proportion_checks() -> Iterator[Check]:
    for shape in CORRECT:

        def one(rng: np.random.Generator, n: int, seed: int, shape: str = shape) -> Result:
            right, groups = shapes.correct_arms(rng, n, shape)
            return paired.proportion(right[:, 0], groups, seed=seed, **R)

        yield Check("coverage", "proportion: Wilson, or effective n by cluster", shape, one)

    def pair(
        function: Callable[..., Result], shape: str, shift: float, clustered: bool = True
    ) -> Callable[..., Result]:
        def run(rng: np.random.Generator, n: int, seed: int) -> Result:
            right, groups = shapes.correct_arms(rng, n, shape, (0.0, shift))
            extra: dict[str, Any] = {"clusters": groups, "seed": seed, **R} if clustered else {}
            return function(right[:, 0], right[:, 1], **extra)

        return run

    for shape in CORRECT:
        yield Check(
            "coverage",
            "paired proportions: Newcombe 10, or by cluster",
            shape,
            pair(paired.proportion_difference, shape, 0.3),
        )
        yield Check("type I", "McNemar, or sign flips by cluster", shape, pair(paired.mcnemar, shape, 0.0))
        if shape in PLAIN:
            yield Check("coverage", "paired proportions: Tango", shape, pair(discordant.tango, shape, 0.3, False))
            yield Check("type I", "McNemar, mid-P", shape, pair(discordant.mcnemar_mid_p, shape, 0.0, False))
        yield Check("type I", "equivalence at its margin: Tango, or by cluster", shape, at_margin(shape))

        def cochran(rng: np.random.Generator, n: int, seed: int, shape: str = shape) -> Result:
            right, groups = shapes.correct_arms(rng, n, shape, (0.0, 0.0, 0.0))
            return many.cochran_q(right, groups, seed=seed, **R)

        yield Check("type I", "Cochran's Q, or by cluster", shape, cochran)


def at_margin(shape: str) -> Callable[..., Result]:
    """b is worse than a by exactly the margin, so that non-inferiority does not hold."""

    def run(rng: np.random.Generator, n: int, seed: int) -> Result:
        right, groups = shapes.correct_arms(rng, n, shape, (0.25, 0.0))
        return paired.equivalence(
            right[:, 0], right[:, 1], true_margin(shape), groups, non_inferiority=True, seed=seed, **R
        )

    return run


@cache
def true_margin(shape: str) -> float:
    right, _ = shapes.correct_arms(np.random.default_rng(1), HUGE, shape, (0.25, 0.0))
    return float(np.nanmean(right[:, 0]) - np.nanmean(right[:, 1]))


def likert_checks() -> Iterator[Check]:
    def pair(function: Callable[..., Any], shape: str, shift: float) -> Callable[..., Result]:
        def run(rng: np.random.Generator, n: int, seed: int) -> Result:
            means, groups = shapes.likert_arms(rng, n, shape, (0.0, shift))
            made = function(means[:, 0], means[:, 1], clusters=groups, seed=seed, **R)
            return made.improved if isinstance(made, change.Shares) else made

        return run

    for shape in LIKERT:

        def mean(rng: np.random.Generator, n: int, seed: int, shape: str = shape) -> Result:
            means, groups = shapes.likert_arms(rng, n, shape)
            return paired.mean(means[:, 0], groups, seed=seed, **R)

        def friedman(rng: np.random.Generator, n: int, seed: int, shape: str = shape) -> Result:
            means, groups = shapes.likert_arms(rng, n, shape, (0.0, 0.0, 0.0))
            return many.friedman(means, groups, seed=seed, **R)

        yield Check("coverage", "mean: t, or by cluster", shape, mean)
        yield Check("coverage", "mean difference: t, or by cluster", shape, pair(paired.mean_difference, shape, 0.3))
        yield Check("coverage", "rank-biserial", shape, pair(paired.wilcoxon_signed_rank, shape, 0.3))
        yield Check("coverage", "share improved", shape, pair(change.shares, shape, 0.3))
        yield Check(
            "type I", "Wilcoxon (Pratt), or sign flips by cluster", shape, pair(paired.wilcoxon_signed_rank, shape, 0.0)
        )
        yield Check(
            "type I", "mean difference: t, or sign flips by cluster", shape, pair(paired.mean_difference, shape, 0.0)
        )
        yield Check("type I", "Friedman, or by cluster", shape, friedman)

    def skewed(rng: np.random.Generator, n: int, seed: int) -> Result:
        return paired.mean_difference(np.zeros(n), rng.exponential(size=n) - 1.0)

    yield Check("coverage", "mean difference: t, or by cluster", "skewed differences", skewed, 0.0)
    yield Check("type I", "mean difference: t, or sign flips by cluster", "skewed differences", skewed)


def label_checks() -> Iterator[Check]:
    def one(rng: np.random.Generator, n: int, seed: int, shape: str, average: str) -> Result:
        gold, guess, _, groups = shapes.labelled_arms(rng, n, shape)
        return classification.f1(gold, guess, [0.0, 1.0, 2.0, 3.0], average, clusters=groups, seed=seed, **R)

    def two(rng: np.random.Generator, n: int, seed: int, shape: str, shift: float) -> Result:
        gold, a, b, groups = shapes.labelled_arms(rng, n, shape, shift)
        return classification.paired_f1_difference(gold, a, b, [0.0, 1.0, 2.0, 3.0], clusters=groups, seed=seed, **R)

    for shape in LABELS:
        for average in ("macro", "weighted"):
            yield Check(
                "coverage", f"{average} F1", shape, lambda g, n, s, shape=shape, a=average: one(g, n, s, shape, a)
            )
        yield Check("coverage", "macro F1 difference", shape, lambda g, n, s, shape=shape: two(g, n, s, shape, 0.5))
        yield Check(
            "type I", "macro F1 difference, swaps", shape, lambda g, n, s, shape=shape: two(g, n, s, shape, 0.0)
        )


def preference_checks() -> Iterator[Check]:
    def run(function: Callable[..., Result], shape: str, shift: float) -> Callable[..., Result]:
        def made(rng: np.random.Generator, n: int, seed: int) -> Result:
            values, groups = shapes.outcomes(rng, n, shape, shift)
            return function(values, clusters=groups, seed=seed, **R)

        return made

    for shape in OUTCOMES:
        yield Check("coverage", "win rate", shape, run(preference.win_rate, shape, 0.3))
        yield Check("coverage", "win odds", shape, run(preference.win_odds, shape, 0.3))
        if shape != "lopsided":
            yield Check("type I", "win rate, sign flips", shape, run(preference.sign_flip, shape, 0.0))


def model_checks() -> Iterator[Check]:
    for shape in ("balanced", "clustered"):

        def worth(rng: np.random.Generator, n: int, seed: int, shape: str = shape) -> Result:
            made, groups = shapes.games(rng, n, shape)
            return preference.bradley_terry(made, clusters=groups, seed=seed, **R).log_worths["c"]

        truth = 0.5 if shape == "balanced" else None
        yield Check("coverage", "Bradley-Terry log worth", shape, worth, truth, weight=0.3)

        for kind, shift in (("coverage", 0.8), ("type I", 0.0)):

            def effect(rng: np.random.Generator, n: int, seed: int, shape: str = shape, shift: float = shift) -> Result:
                groups = shapes.patients(rng, n, shape)
                case = rng.normal(size=n) if groups is None else shapes.unit_effect(rng, n, groups)
                arm = np.array([0.0, 1.0])
                latent = case[:, None] + shift * arm + rng.logistic(size=(n, 2))
                rated = 1 + np.digitize(latent, (-2.0, -0.7, 0.7, 2.0))
                fixed = {"arm": np.tile(arm, n)}
                patients = None if groups is None else np.repeat(groups, 2)
                fit = ordinal.ordinal_mixed(rated.ravel(), np.repeat(np.arange(n), 2), fixed, patients)
                return fit.effects["arm"]

            yield Check(kind, "ordinal mixed model, arm", shape, effect, shift, weight=0.3)
