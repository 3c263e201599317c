"""Designs: the closed forms with several annotators a case, and the simulations against them."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats import agreement, paired, power, simulated

shares = st.lists(st.integers(1, 20), min_size=2, max_size=5)
agreements = st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0])


@pytest.mark.parametrize("overlap", [1, 2, 5])
@pytest.mark.parametrize("icc", [0.0, 0.4, 1.0])
def test_several_annotators_are_a_design_effect_by_spearman_and_brown(overlap, icc):
    factor = (1 + (overlap - 1) * icc) / overlap
    assert power.mean_factor(overlap, icc) == pytest.approx(factor)
    as_factor = power.win_rate(0.6, ties=0.2, n=80, design_effect=factor)
    assert power.win_rate(0.6, ties=0.2, n=80, overlap=overlap, icc=icc).power == pytest.approx(as_factor.power)
    as_spread = power.paired_mean(0.3, sd=math.sqrt(factor), n=80)
    assert power.paired_mean(0.3, sd=1.0, n=80, overlap=overlap, icc=icc).power == pytest.approx(as_spread.power)


def test_the_factor_is_the_variance_that_simulated_annotators_have():
    rng = np.random.default_rng(3)
    case = rng.normal(0, math.sqrt(0.4), (20_000, 1))
    scores = case + rng.normal(0, math.sqrt(0.6), (20_000, 4))
    assert scores.mean(axis=1).var() == pytest.approx(power.mean_factor(4, 0.4), rel=0.03)


@pytest.mark.parametrize(("overlap", "icc"), [(0, 0.5), (2, -0.1), (2, 1.1)])
def test_a_factor_of_nothing_is_refused(overlap, icc):
    with pytest.raises(ValueError, match="overlap must be at least 1"):
        power.mean_factor(overlap, icc)


# The distribution of a case's result


@given(shares, st.integers(1, 5), agreements)
def test_the_mean_of_annotators_has_the_mean_of_one_and_the_variance_of_the_formula(weights, overlap, icc):
    p = np.array(weights) / sum(weights)
    scores = np.arange(len(p))
    one = float(p @ scores**2 - (p @ scores) ** 2)
    means, chances = simulated.case_means(p, overlap, icc)
    assert chances.sum() == pytest.approx(1)
    assert means @ chances == pytest.approx(p @ scores)
    assert means**2 @ chances - (means @ chances) ** 2 == pytest.approx(one * power.mean_factor(overlap, icc), abs=1e-9)


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_annotators_drawn_this_way_have_the_alpha_that_was_asked_for(level):
    rng = np.random.default_rng(5)
    p = np.array([0.1, 0.2, 0.4, 0.3])
    one = simulated.given_case(p, 0.6)
    calls = rng.choice(4, size=6000, p=p)
    ratings = np.stack([(rng.random((6000, 1)) > one[calls].cumsum(axis=1)).sum(axis=1) for _ in range(3)], axis=1)
    assert agreement.krippendorff_alpha(ratings, level, n_resamples=20).value == pytest.approx(0.6, abs=0.03)


@given(st.floats(0, 1), st.floats(0.05, 0.95))
def test_how_often_an_annotator_is_right_gives_back_the_agreement(wanted, share):
    q = simulated.chance_right(wanted, share)
    marginal = share * q + (1 - share) * (1 - q)
    alpha = share * (1 - share) * (2 * q - 1) ** 2 / (marginal * (1 - marginal))
    assert alpha == pytest.approx(wanted, abs=1e-9)
    assert 0.5 <= q <= 1 + 1e-12


@given(st.floats(0.5, 1), st.integers(1, 9))
def test_a_majority_is_right_wrong_or_none(chance, overlap):
    right, wrong, draw = simulated.majority(chance, overlap)
    assert right + wrong + draw == pytest.approx(1)
    assert right >= wrong - 1e-12
    if overlap % 2:
        assert draw == 0
        assert right >= chance - 1e-12  # Condorcet: an odd majority is right at least as often as one


# Where a formula fits, the simulation agrees with it


def near(result, expected, slack=0.012):
    return abs(result.power - expected) < 4 * result.power_error + slack


@pytest.mark.parametrize("n", [60, 200])
def test_a_win_rate_by_one_annotator_without_ties_has_the_power_of_the_formula(n):
    result = simulated.win_rate(0.6, n)
    assert near(result, power.win_rate(0.6, n=n).power, slack=0.03)
    # Width of the t interval of a proportion of 0.6.
    assert result.width == pytest.approx(2 * 1.98 * math.sqrt(0.24 / (n - 1)), rel=0.02)


@pytest.mark.parametrize(("overlap", "icc"), [(1, 0.0), (3, 0.0), (3, 0.4), (3, 1.0)])
def test_case_means_have_the_power_of_the_formula_with_its_factor(overlap, icc):
    wins = simulated.win_rate(0.58, 150, ties=0.2, overlap=overlap, icc=icc)
    assert near(wins, power.win_rate(0.58, ties=0.2, n=150, overlap=overlap, icc=icc).power, slack=0.02)
    points = simulated.mean_difference(0.25, 100, sd=1.0, points=9, overlap=overlap, icc=icc)
    rounded = math.sqrt(1 + 1 / 12)  # Sheppard: rounding to whole points adds 1/12 to the variance
    expected = power.paired_mean(0.25, sd=rounded, n=100, overlap=overlap, icc=icc).power
    assert near(points, expected)


@pytest.mark.parametrize("n", [150, 234])
def test_accuracies_judged_without_error_have_connors_power_and_newcombes_width(n):
    result = simulated.proportion_difference(0.1, n, discordant=0.3, agreement=1.0)
    assert near(result, power.mcnemar(0.1, 0.3, n=n).power, slack=0.02)
    assert result.width == pytest.approx(2 * 1.96 * math.sqrt((0.3 - 0.1**2) / n), rel=0.04)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 30), st.integers(0, 30))
def test_many_tables_have_the_width_that_newcombes_interval_of_one_has(both, first, second, neither):
    counts = [np.array([float(count)]) for count in (both, first, second, neither)]
    width = simulated.newcombe_width(*counts, 1.959963984540054)[0]
    a = [1] * (both + first) + [0] * (second + neither)
    b = [1] * both + [0] * first + [1] * second + [0] * neither
    if not a:
        assert width == 2
        return
    one = paired.proportion_difference(a, b)
    assert width == pytest.approx(one.high - one.low)


def test_the_width_of_alpha_is_near_bonetts_for_many_even_categories():
    """One-way random effects: the formula's model is normal, ours isn't, so near is what can be asked."""
    result = simulated.alpha(0.6, 200, 3, [1] * 9, level="interval")
    assert result.width == pytest.approx(power.alpha_width(0.6, 3, n=200).width, rel=0.45)


def test_alpha_has_the_width_that_the_bootstrap_of_one_such_study_has():
    rng = np.random.default_rng(11)
    p = np.array([0.1, 0.2, 0.4, 0.3])
    one, calls = simulated.given_case(p, 0.7), rng.choice(4, size=400, p=p)
    ratings = np.stack([(rng.random((400, 1)) > one[calls].cumsum(axis=1)).sum(axis=1) for _ in range(3)], axis=1)
    observed = agreement.krippendorff_alpha(ratings, "ordinal", n_resamples=2000)
    expected = simulated.alpha(0.7, 400, 3, p.tolist(), "ordinal")
    assert expected.width == pytest.approx(observed.high - observed.low, rel=0.15)


def test_f1_without_error_has_the_expected_difference_of_the_formula():
    # Accuracies 0.6 and 0.7, half positive, errors even: F1 equals accuracy.
    assert "expected difference of F1: 0.100" in simulated.f1_difference(0.1, 500).note


def test_f1_with_no_difference_is_found_as_often_as_the_level_says():
    result = simulated.f1_difference(0.0, 300)
    assert result.power == pytest.approx(0.05, abs=0.02)


@pytest.mark.parametrize(
    "run",
    [
        lambda: simulated.win_rate(0.5, 100, ties=0.3, overlap=2, icc=0.5),
        lambda: simulated.mean_difference(0.0, 100, overlap=2, icc=0.5),
        lambda: simulated.proportion_difference(0.0, 200, overlap=3, agreement=0.6),
    ],
)
def test_without_an_effect_a_test_finds_one_in_twenty(run):
    result = run()
    assert result.power == pytest.approx(0.05, abs=0.015)


# What must hold for any design


@given(st.integers(20, 200), st.integers(1, 3), agreements)
@settings(deadline=None, max_examples=25)
def test_intervals_are_wider_with_fewer_cases(n, overlap, icc):
    for run in (
        lambda m: simulated.win_rate(0.6, m, 0.2, overlap, icc, n_simulations=800),
        lambda m: simulated.mean_difference(0.3, m, overlap=overlap, icc=icc, n_simulations=800),
        lambda m: simulated.proportion_difference(0.1, m, overlap=overlap, agreement=icc, n_simulations=800),
    ):
        assert run(n).width > run(2 * n).width


@given(st.integers(1, 4), agreements)
@settings(deadline=None, max_examples=25)
def test_overlap_never_widens_a_mean_and_is_worthless_at_perfect_agreement(overlap, icc):
    one = simulated.win_rate(0.6, 100, 0.2, overlap, icc)
    more = simulated.win_rate(0.6, 100, 0.2, overlap + 1, icc)
    slack = 4 * (one.width_error + more.width_error)
    assert more.width <= one.width + slack
    if icc == 1.0:
        assert more.width == pytest.approx(one.width, abs=slack)


def test_the_monte_carlo_error_is_the_spread_between_seeds():
    runs = [simulated.win_rate(0.6, 80, 0.2, 2, 0.5, n_simulations=400, seed=seed) for seed in range(60)]
    assert np.std([run.power for run in runs]) == pytest.approx(runs[0].power_error, rel=0.35)
    assert np.std([run.width for run in runs]) == pytest.approx(runs[0].width_error, rel=0.35)
    widths = [simulated.alpha(0.6, 60, 2, [1, 2, 3], n_simulations=400, seed=seed) for seed in range(60)]
    assert np.std([run.width for run in widths]) == pytest.approx(widths[0].width_error, rel=0.45)


def test_the_same_seed_gives_the_same_numbers():
    assert simulated.f1_difference(0.1, 100, seed=4) == simulated.f1_difference(0.1, 100, seed=4)
    assert simulated.win_rate(0.6, 100, seed=4) != simulated.win_rate(0.6, 100, seed=5)


def test_alpha_with_one_annotator_an_item_is_nan_with_the_reason():
    result = simulated.alpha(0.8, 100, 1, [1, 1])
    assert math.isnan(result.width)
    assert "two annotators" in result.note
    assert result.to_dict()["width"] is None


def test_a_lost_majority_is_counted():
    assert "34% of cases lost" in simulated.proportion_difference(0.1, 100, overlap=2, agreement=0.6).note
    assert simulated.proportion_difference(0.1, 100, overlap=3, agreement=0.6).note == ""


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: simulated.win_rate(0.95, 100, ties=0.2),
        lambda: simulated.win_rate(0.6, 1),
        lambda: simulated.win_rate(0.6, 100, icc=1.2),
        lambda: simulated.mean_difference(0.3, 100, sd=0),
        lambda: simulated.mean_difference(7, 100, points=5),
        lambda: simulated.proportion_difference(0.4, 100, discordant=0.3),
        lambda: simulated.proportion_difference(0.1, 100, accuracy=0.99),
        lambda: simulated.f1_difference(0.1, 100, prevalence=0),
        lambda: simulated.alpha(0.6, 100, 2, [0, 0]),
        lambda: simulated.alpha(0.6, 100, 10, [1] * 12),
        lambda: simulated.chance_right(0.5, 1.0),
    ],
)
def test_what_can_not_be_is_refused(misuse):
    with pytest.raises(ValueError, match=r".+"):
        misuse()
