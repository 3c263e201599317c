"""How fast are the resampled statistics? Ratios to the plain loop over the library, measured in the same run.

    python -m benchmarks.stats [--loops 20]

Alpha: ordinal, 10,000 resamples of 10,000 x 5 ratings, against resampling the items and calling krippendorff.alpha.
F1: interval and permutation of the paired macro-F1 difference, 10,000 resamples each, of 1,000 cases and 4 classes,
against resampling (or swapping) and calling scikit-learn's f1_score twice. The loops are measured on a few resamples
and scaled to 10,000: they would take minutes. Exit status 1 if a target is missed.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import krippendorff
import numpy as np
from sklearn.metrics import f1_score

from stats import agreement, classification

RESAMPLES = 10_000


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument(
        "--loops", type=int, default=20, help="resamples on which the plain loop is measured, five times"
    )
    loops = parser.parse_args().loops
    print(f"{'':34}{'here':>10}{'plain loop':>13}{'ratio':>9}   target")
    met = [
        report("alpha, 10,000 x 5 ratings", *alpha(loops), seconds=0.5, ratio=200),
        report("macro-F1 difference, 1,000 cases", *macro_f1(loops), seconds=0.3, ratio=150),
    ]
    print(f"plain loops measured on {loops} resamples and scaled to {RESAMPLES:,}; each the best of five runs")
    return 0 if all(met) else 1


def report(name: str, here: float, loop: float, *, seconds: float, ratio: float) -> bool:
    met = here < seconds and loop / here >= ratio
    aim = f"< {seconds} s, >= {ratio}x: {'met' if met else 'MISSED'}"
    print(f"{name:34}{here:8.3f} s{loop:11.1f} s{loop / here:8.0f}x   {aim}")
    return met


def seconds_of(call: Callable[[], Any]) -> float:
    """The best of five: what else the machine does only adds time, to the loops as to what is measured here."""
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        call()
        taken.append(time.perf_counter() - start)
    return min(taken)


def alpha(loops: int) -> tuple[float, float]:
    rng = np.random.default_rng(1)
    ratings = np.clip(rng.integers(1, 6, 10_000)[:, None] + rng.integers(-1, 2, (10_000, 5)), 1, 5).astype(float)
    plain = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement="ordinal")
    assert abs(agreement.krippendorff_alpha(ratings, n_resamples=10).value - plain) < 1e-9

    def loop() -> None:
        for _ in range(loops):
            drawn = ratings[rng.integers(len(ratings), size=len(ratings))]
            krippendorff.alpha(reliability_data=drawn.T, level_of_measurement="ordinal")

    here = seconds_of(lambda: agreement.krippendorff_alpha(ratings, n_resamples=RESAMPLES))
    return here, seconds_of(loop) * RESAMPLES / loops


def macro_f1(loops: int) -> tuple[float, float]:
    rng, labels = np.random.default_rng(2), ["a", "b", "c", "d"]
    gold = rng.choice(labels, 1000)
    a, b = (np.where(rng.random(1000) < quality, gold, rng.choice(labels, 1000)) for quality in (0.6, 0.65))

    def difference(g: Any, one: Any, two: Any) -> float:
        scores = [f1_score(g, x, labels=labels, average="macro", zero_division=0) for x in (one, two)]
        return float(scores[1] - scores[0])

    def loop() -> None:
        for _ in range(loops):
            drawn = rng.integers(1000, size=1000)
            difference(gold[drawn], a[drawn], b[drawn])
            swap = rng.random(1000) < 0.5
            difference(gold, np.where(swap, b, a), np.where(swap, a, b))

    def ours(n: int = RESAMPLES) -> Any:
        return classification.paired_f1_difference(gold, a, b, labels, n_resamples=n)

    assert abs(ours(10).effect - difference(gold, a, b)) < 1e-9
    return seconds_of(ours), seconds_of(loop) * RESAMPLES / loops


if __name__ == "__main__":
    sys.exit(main())
