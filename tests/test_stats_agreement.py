"""Agreement coefficients: published values, equality with the libraries, degenerate input, invariants."""

import doctest
import importlib
import math
import subprocess
import sys
import time

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import cohen_kappa_score
from statsmodels.stats.inter_rater import fleiss_kappa as sm_fleiss

from stats import agreement
from stats.results import Estimate, TestResult

NA = None
MODULES = [
    "results", "intake", "resampling", "coincidence", "agreement", "intraclass", "classification", "paired",
    "signed_rank", "many", "preference", "bradley_terry", "multiplicity", "power", "simulated", "blinding",
    "discordant", "change", "reliability", "ordinal",
]  # fmt: skip

# Krippendorff 2011, Computing Krippendorff's alpha-reliability, example C: 4 observers, 12 units
KRIPPENDORFF = np.array(
    [
        [1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA],
        [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, 3],
        [NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NA],
        [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA],
    ],
    dtype=object,
).T
# Shrout & Fleiss 1979, table 2: 6 targets, 4 judges
SHROUT_FLEISS = [[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]]
# Fleiss 1971: 30 patients, 6 psychiatrists, counts of 5 diagnoses
FLEISS = [
    "00060",
    "03003",
    "01401",
    "00006",
    "03030",
    "20400",
    "00402",
    "20310",
    "20040",
    "00006",
    "10050",
    "11040",
    "03300",
    "10050",
    "02031",
    "00501",
    "30012",
    "51000",
    "02040",
    "10203",
    "00006",
    "01050",
    "02013",
    "20040",
    "10041",
    "05010",
    "40002",
    "02040",
    "10500",
    "00006",
]


def random_ratings(seed, n=40, m=4, values=5, missing=0.3, agree=0.6):
    rng = np.random.default_rng(seed)
    truth = rng.integers(1, values + 1, size=(n, 1))
    ratings = np.where(rng.random((n, m)) < agree, truth, rng.integers(1, values + 1, size=(n, m))).astype(float)
    ratings[rng.random((n, m)) < missing] = np.nan
    return ratings


@pytest.mark.parametrize("module", MODULES)
def test_the_examples_in_docstrings_hold(module):
    assert doctest.testmod(importlib.import_module(f"stats.{module}")).failed == 0


def test_importing_stats_does_not_load_django():
    names = ", ".join(f"stats.{module}" for module in MODULES)
    code = f"import sys, {names}; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_results_are_frozen_and_json_ready():
    estimate = Estimate(0.5, math.nan, math.inf, 3, "m")
    assert estimate.to_dict() == {"value": 0.5, "low": None, "high": None, "n": 3, "method": "m", "note": ""}
    assert TestResult.undefined("m", "why").to_dict()["p_value"] is None
    with pytest.raises(AttributeError):
        estimate.value = 1


@pytest.mark.parametrize(
    ("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849), ("ratio", 0.797)]
)
def test_alpha_of_krippendorffs_example(level, alpha):
    result = agreement.krippendorff_alpha(KRIPPENDORFF, level, n_resamples=50)
    assert round(result.value, 3) == alpha
    assert result.n == 11
    assert "1 case left out" in result.note


@pytest.mark.parametrize("level", agreement.LEVELS)
@pytest.mark.parametrize("seed", range(8))
def test_alpha_equals_the_krippendorff_package(level, seed):
    ratings = random_ratings(seed, values=2 + seed)
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level)
    assert agreement.krippendorff_alpha(ratings, level, n_resamples=2).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("level", agreement.LEVELS)
def test_alpha_of_continuous_ratings_equals_the_package_and_has_an_interval(level):
    rng = np.random.default_rng(3)
    ratings = np.abs(rng.normal(10, 3, size=(40, 1)) + rng.normal(size=(40, 3)))
    expected = krippendorff.alpha(reliability_data=ratings.T, level_of_measurement=level)
    result = agreement.krippendorff_alpha(ratings, level, n_resamples=200)
    assert result.value == pytest.approx(expected, abs=1e-9)
    assert result.low <= result.high


@pytest.mark.parametrize("level", agreement.LEVELS)
def test_alphas_bootstrap_is_the_plain_loop_over_the_package(level):
    """Resampled items go through the package one by one; the two distributions agree to Monte Carlo error."""
    ratings = random_ratings(5, n=60, missing=0.2)
    ratings = ratings[(~np.isnan(ratings)).sum(axis=1) >= 2]
    rng = np.random.default_rng(0)
    loop = [
        krippendorff.alpha(ratings[rng.integers(len(ratings), size=len(ratings))].T, level_of_measurement=level)
        for _ in range(600)
    ]
    result = agreement.krippendorff_alpha(ratings, level, n_resamples=20_000)
    low, high = np.quantile(loop, [0.025, 0.975])
    assert abs(result.low - low) < 0.03
    assert abs(result.high - high) < 0.03


def test_alpha_by_cluster_is_wider_when_items_of_a_patient_are_copies():
    ratings = np.repeat(random_ratings(1, n=40, missing=0), 5, axis=0)
    patient = np.repeat([f"p{i}" for i in range(40)], 5)
    plain = agreement.krippendorff_alpha(ratings, n_resamples=2000)
    clustered = agreement.krippendorff_alpha(ratings, clusters=patient, n_resamples=2000)
    assert clustered.value == plain.value
    assert 1.8 < (clustered.high - clustered.low) / (plain.high - plain.low) < 2.8  # sqrt(5) = 2.24
    assert "by cluster" in clustered.method


def test_under_a_hundred_units_alpha_has_the_jackknife_interval_near_the_bootstraps():
    ratings = random_ratings(6, n=99, missing=0)
    small = agreement.krippendorff_alpha(ratings)
    large = agreement.krippendorff_alpha(np.vstack([ratings, ratings[:1]]), n_resamples=20_000)
    assert "jackknife by case" in small.method
    assert "case bootstrap" in large.method
    assert (small.low, small.high) == pytest.approx((large.low, large.high), abs=0.02)


def test_a_ceiling_with_few_cases_says_that_the_interval_may_cover_too_little():
    ratings = np.full((60, 3), 5.0)
    ratings[:6, 0], ratings[3:8, 1] = 3, 4
    assert "one category" in agreement.krippendorff_alpha(ratings).note
    assert "one category" not in agreement.krippendorff_alpha(random_ratings(0)).note


def test_singleton_clusters_resample_like_cases():
    ratings = random_ratings(2, n=100)
    plain = agreement.krippendorff_alpha(ratings, n_resamples=20_000)
    clustered = agreement.krippendorff_alpha(ratings, clusters=[None] * 100, n_resamples=20_000)
    assert clustered.low == pytest.approx(plain.low, abs=0.01)
    assert clustered.high == pytest.approx(plain.high, abs=0.01)


def test_alpha_of_ten_thousand_items_is_fast():
    rng = np.random.default_rng(1)
    ratings = np.clip(rng.integers(1, 6, 10_000)[:, None] + rng.integers(-1, 2, (10_000, 5)), 1, 5)
    agreement.krippendorff_alpha(ratings[:10], n_resamples=10)
    start = time.perf_counter()
    agreement.krippendorff_alpha(ratings, n_resamples=10_000)
    assert time.perf_counter() - start < 1.5  # about 0.1 s on a quiet machine


def test_fleiss_1971():
    ratings = [[d for d, count in enumerate(row) for _ in range(int(count))] for row in FLEISS]
    result = agreement.fleiss_kappa(ratings, n_resamples=200)
    assert round(result.value, 3) == 0.430  # Fleiss 1971, table 1
    counts = [[int(count) for count in row] for row in FLEISS]
    assert result.value == pytest.approx(sm_fleiss(counts), abs=1e-12)


def test_gwets_coefficients_on_gwets_example():
    # irrCAC (Gwet) has the same data as cac.raw4raters: AC1 0.77544, Fleiss 0.76117, agreement 0.81818
    assert agreement.gwet_ac(KRIPPENDORFF, n_resamples=50).value == pytest.approx(0.77544, abs=5e-6)
    assert agreement.fleiss_kappa(KRIPPENDORFF, n_resamples=50).value == pytest.approx(0.76117, abs=5e-6)
    assert agreement.percent_agreement(KRIPPENDORFF, n_resamples=50).value == pytest.approx(0.8181818, abs=5e-8)


def test_two_annotators_on_gwets_table():
    # irrCAC 1.0 vignette, cont3x3abstractors: Cohen's kappa 0.7964094
    table = [[13, 0, 0], [0, 20, 7], [0, 4, 56]]
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i][j])]
    a, b = zip(*pairs, strict=True)
    assert agreement.cohen_kappa(a, b, n_resamples=50).value == pytest.approx(0.7964094, abs=5e-8)


@pytest.mark.parametrize("weights", [None, "linear", "quadratic"])
@pytest.mark.parametrize("seed", range(4))
def test_cohens_kappa_equals_scikit_learn(weights, seed):
    ratings = random_ratings(seed, n=60, m=2, missing=0)
    result = agreement.cohen_kappa(ratings[:, 0], ratings[:, 1], weights, n_resamples=50)
    assert result.value == pytest.approx(cohen_kappa_score(*ratings.T, weights=weights), abs=1e-12)


# Shrout & Fleiss 1979, table 4; intervals as printed by R's psych::ICC for the same data
@pytest.mark.parametrize(
    ("form", "value", "low", "high"),
    [
        ("1,1", 0.17, -0.13, 0.72), ("A,1", 0.29, 0.02, 0.76), ("C,1", 0.71, 0.34, 0.95),
        ("1,k", 0.44, -0.88, 0.91), ("A,k", 0.62, 0.07, 0.93), ("C,k", 0.91, 0.68, 0.99),
    ],
)  # fmt: skip
def test_icc_of_shrout_and_fleiss(form, value, low, high):
    result = agreement.icc(SHROUT_FLEISS, form)
    assert (round(result.value, 2), round(result.low, 2), round(result.high, 2)) == (value, low, high)


def test_icc_listwise_and_by_cluster():
    with_gap = [*SHROUT_FLEISS, [1, None, 2, 3]]
    assert agreement.icc(with_gap).value == agreement.icc(SHROUT_FLEISS).value
    assert "1 case left out" in agreement.icc(with_gap).note
    rng = np.random.default_rng(0)
    ratings = rng.normal(size=(200, 1)) + rng.normal(size=(200, 3))
    plain = agreement.icc(ratings, "C,1")
    boot = agreement.icc(ratings, "C,1", clusters=np.arange(200), n_resamples=4000)
    assert abs(boot.low - plain.low) < 0.03
    assert abs(boot.high - plain.high) < 0.03


COEFFICIENTS = {
    "alpha": lambda r: agreement.krippendorff_alpha(r, n_resamples=20),
    "percent": lambda r: agreement.percent_agreement(r, n_resamples=20),
    "fleiss": lambda r: agreement.fleiss_kappa(r, n_resamples=20),
    "gwet": lambda r: agreement.gwet_ac(r, "quadratic", n_resamples=20),
    "icc": lambda r: agreement.icc(r),
}


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("ratings", [[], [[None, None]], [[1], [2]], [[1, None], [None, 2]]])
def test_nothing_to_compare_is_nan_with_a_reason(name, ratings):
    result = COEFFICIENTS[name](ratings)
    assert math.isnan(result.value)
    assert result.note


@pytest.mark.parametrize("name", ["alpha", "fleiss", "gwet", "icc"])
def test_no_variation_is_nan_with_a_reason(name):
    result = COEFFICIENTS[name]([[3, 3], [3, 3], [3, 3]])
    assert math.isnan(result.value)
    assert "variation" in result.note
    assert math.isnan(agreement.cohen_kappa([3, 3], [3, 3]).value)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_one_case_has_no_interval(name):
    result = COEFFICIENTS[name]([[1, 2, 2]])
    assert math.isnan(result.low)
    assert result.note


@pytest.mark.parametrize("level", agreement.LEVELS)
def test_resamples_without_variation_are_left_out_and_counted(level):
    result = agreement.krippendorff_alpha([[1, 1], [1, 1], [1, 1], [2, 2]], level, n_resamples=500)
    assert result.value == 1.0
    assert "undefined, left out" in result.note


def test_misuse_is_refused():
    with pytest.raises(ValueError, match="level"):
        agreement.krippendorff_alpha([[1, 2]], "metric")
    with pytest.raises(ValueError, match="numbers"):
        agreement.krippendorff_alpha([["a", "b"]], "ordinal")
    with pytest.raises(ValueError, match="shape"):
        agreement.krippendorff_alpha([1, 2, 3])
    with pytest.raises(ValueError, match="not negative"):
        agreement.krippendorff_alpha([[-1, 2]], "ratio")
    with pytest.raises(ValueError, match="clusters"):
        agreement.krippendorff_alpha([[1, 2]], clusters=["p", "q"])
    with pytest.raises(ValueError, match="weights"):
        agreement.cohen_kappa([1, 2], [1, 2], weights="cubic")
    with pytest.raises(ValueError, match="form"):
        agreement.icc([[1, 2]], form="2,1")
    with pytest.raises(ValueError, match="confidence"):
        agreement.krippendorff_alpha([[1, 2]], confidence=95)
    with pytest.raises(ValueError, match="outside"):
        agreement.gwet_ac([[1, 9]], categories=[1, 2, 3])


def test_text_labels_and_unused_categories():
    letters = [["a", "b"], ["a", "a"], ["b", None], ["b", "b"]]
    codes = [[1, 2], [1, 1], [2, None], [2, 2]]
    assert (
        agreement.krippendorff_alpha(letters, "nominal").value == agreement.krippendorff_alpha(codes, "nominal").value
    )
    assert agreement.gwet_ac(letters, categories=["a", "b", "c"]).value > agreement.gwet_ac(letters).value
    constant = agreement.gwet_ac([["a", "a"]] * 3, categories=["a", "b"])
    assert constant.value == 1.0


ratings_arrays = arrays(np.float64, (9, 3), elements=st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan]))


def same(a, b):
    return a.value == pytest.approx(b.value, abs=1e-9, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(ratings_arrays, st.permutations(range(3)), st.permutations(range(9)))
def test_annotators_and_items_have_no_order(ratings, annotators, items):
    shuffled = ratings[:, annotators][items]
    for compute in COEFFICIENTS.values():
        assert same(compute(ratings), compute(shuffled))
    plain = agreement.krippendorff_alpha(ratings, n_resamples=50)
    moved = agreement.krippendorff_alpha(shuffled, n_resamples=50)
    assert plain.low == pytest.approx(moved.low, abs=1e-9, nan_ok=True)


@settings(max_examples=25, deadline=None)
@given(ratings_arrays)
def test_relabelling_changes_nothing_it_should_not(ratings):
    stretched = ratings**3  # monotone
    renamed = np.select([ratings == 1, ratings == 2], [2.0, 1.0], ratings)
    assert same(
        agreement.krippendorff_alpha(ratings, n_resamples=2), agreement.krippendorff_alpha(stretched, n_resamples=2)
    )
    assert same(
        agreement.krippendorff_alpha(ratings, "interval", n_resamples=2),
        agreement.krippendorff_alpha(7 - 2 * ratings, "interval", n_resamples=2),
    )
    for compute in (
        lambda r: agreement.krippendorff_alpha(r, "nominal", n_resamples=2),
        lambda r: agreement.fleiss_kappa(r, n_resamples=2),
        lambda r: agreement.gwet_ac(r, n_resamples=2),
        lambda r: agreement.cohen_kappa(r[:, 0], r[:, 1], n_resamples=2),
    ):
        assert same(compute(ratings), compute(renamed))


@settings(max_examples=20, deadline=None)
@given(ratings_arrays)
def test_swapping_the_two_annotators_keeps_kappa(ratings):
    for weights in (None, "linear", "quadratic"):
        assert same(
            agreement.cohen_kappa(ratings[:, 0], ratings[:, 1], weights, n_resamples=2),
            agreement.cohen_kappa(ratings[:, 1], ratings[:, 0], weights, n_resamples=2),
        )


def test_same_seed_same_interval():
    ratings = random_ratings(4, n=150)
    first, again = (agreement.krippendorff_alpha(ratings, n_resamples=300, seed=7) for _ in range(2))
    assert first == again
    assert first != agreement.krippendorff_alpha(ratings, n_resamples=300, seed=8)
