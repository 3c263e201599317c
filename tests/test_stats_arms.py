"""Comparison of arms: F1, paired tests, preferences, multiplicity and power."""

import math
import time

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.metrics import f1_score
from statsmodels.stats.contingency_tables import cochrans_q
from statsmodels.stats.contingency_tables import mcnemar as sm_mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower
from statsmodels.stats.proportion import proportion_confint

from stats import bradley_terry, classification, multiplicity, paired, power, preference

# Darwin's maize: differences of crossed and self-fertilised pairs, eighths of an inch (Darwin 1876)
DARWIN = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
LABELS = ["routine", "urgent", "emergency"]


def from_table(both, only_a, only_b, neither):
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    return a, b


def random_labels(seed, n=120, quality=0.6, unparsed=0.1):
    rng = np.random.default_rng(seed)
    gold = rng.choice(LABELS, size=n, p=[0.6, 0.3, 0.1]).astype(object)
    guess = np.where(rng.random(n) < quality, gold, rng.choice(LABELS, size=n)).astype(object)
    guess[rng.random(n) < unparsed] = None
    return gold, guess


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe 1998, Stat Med 17:857, table I, method 5
    [(81, 263, 0.2527, 0.3676), (15, 148, 0.0578, 0.1617), (0, 20, 0.0, 0.1684), (1, 29, 0.0009, 0.1776)],
)
def test_the_exact_interval_is_the_published_one(successes, n, low, high):
    found = paired.clopper_pearson(successes, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))
    assert found.value == successes / n
    mirrored = paired.clopper_pearson(n - successes, n)
    assert (1 - mirrored.high, 1 - mirrored.low) == (pytest.approx(found.low), pytest.approx(found.high))
    narrower = proportion_confint(successes, n, 0.1, method="beta")
    assert paired.clopper_pearson(successes, n, 0.9).high == pytest.approx(narrower[1])


def test_the_exact_interval_of_nothing_is_undefined_and_of_too_much_refused():
    assert math.isnan(paired.clopper_pearson(0, 0).value)
    with pytest.raises(ValueError, match="between 0 and n"):
        paired.clopper_pearson(3, 2)


# --- classification


@pytest.mark.parametrize("average", ["binary", "macro", "weighted"])
@pytest.mark.parametrize("seed", range(4))
def test_f1_equals_scikit_learn_and_unparsed_is_wrong(average, seed):
    gold, guess = random_labels(seed)
    positive = "urgent" if average == "binary" else None
    result = classification.f1(gold, guess, LABELS, average, positive, n_resamples=100)
    labels = ["urgent"] if average == "binary" else LABELS
    filled = ["unparsed" if g is None else g for g in guess]
    how = "macro" if average == "binary" else average
    assert result.value == pytest.approx(f1_score(list(gold), filled, labels=labels, average=how, zero_division=0))
    assert "unparsed, counted as wrong" in result.note


def test_a_label_that_never_occurs_counts_as_zero_and_is_named():
    result = classification.f1(["a", "b"], ["a", "b"], ["a", "b", "c"], n_resamples=50)
    assert result.value == pytest.approx(2 / 3)
    assert "never occur: c" in result.note


def test_missing_gold_is_left_out_and_counted():
    result = classification.f1(["a", None, "b"], ["a", "a", "b"], ["a", "b"], n_resamples=50)
    assert (result.value, result.n) == (1.0, 2)
    assert "1 case left out: no reference label" in result.note
    assert classification.accuracy(["a", None, "b"], ["a", "a", None], ["a", "b"]).value == 0.5
    assert classification.confusion(["a", None, "b"], ["a", "a", None], ["a", "b"]).tolist() == [[1, 0, 0], [0, 0, 1]]


def test_f1_degenerate_and_misuse():
    assert math.isnan(classification.f1([], [], LABELS).value)
    assert math.isnan(classification.paired_f1_difference([None], ["urgent"], ["urgent"], LABELS).effect)
    one = classification.f1(["urgent"], ["urgent"], LABELS)
    assert math.isnan(one.low)
    with pytest.raises(ValueError, match="outside the label set"):
        classification.f1(["urgent"], ["red"], LABELS)
    with pytest.raises(ValueError, match="positive"):
        classification.f1(["urgent"], ["urgent"], LABELS, "binary")
    with pytest.raises(ValueError, match="average"):
        classification.f1(["urgent"], ["urgent"], LABELS, "micro")
    with pytest.raises(ValueError, match="lengths differ"):
        classification.f1(["urgent"], [], LABELS)


def test_paired_f1_bootstrap_and_permutation_are_the_plain_loops():
    gold, a = random_labels(1, n=80, quality=0.5)
    _, b = random_labels(2, n=80)
    b = np.where(np.random.default_rng(3).random(80) < 0.5, gold, b)
    result = classification.paired_f1_difference(gold, a, b, LABELS, n_resamples=10_000)

    def f1(g, p):
        return f1_score(list(g), ["-" if x is None else x for x in p], labels=LABELS, average="macro", zero_division=0)

    rng, effect = np.random.default_rng(0), f1(gold, b) - f1(gold, a)
    boot, null = [], []
    for _ in range(100):
        i = rng.integers(80, size=80)
        boot.append(f1(gold[i], b[i]) - f1(gold[i], a[i]))
        swap = rng.random(80) < 0.5
        null.append(f1(gold, np.where(swap, a, b)) - f1(gold, np.where(swap, b, a)))
    assert result.effect == pytest.approx(effect)
    assert np.quantile(boot, 0.025) == pytest.approx(result.low, abs=0.05)
    assert np.quantile(boot, 0.975) == pytest.approx(result.high, abs=0.05)
    assert (np.abs(null) >= abs(effect)).mean() == pytest.approx(result.p_value, abs=0.12)


def test_paired_f1_identical_arms_and_speed():
    gold, a = random_labels(0, n=1000)
    _, b = random_labels(1, n=1000)
    same = classification.paired_f1_difference(gold, a, a, LABELS, n_resamples=200)
    assert (same.effect, same.p_value) == (0.0, 1.0)
    start = time.perf_counter()
    result = classification.paired_f1_difference(gold, a, b, LABELS, n_resamples=10_000)
    assert time.perf_counter() - start < 1.5
    assert result.p_value == 1 / 10_001  # never 0


# --- paired proportions


# Newcombe 1998, Stat Med 17:857, table I, method 3
@pytest.mark.parametrize(
    ("x", "n", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_of_newcombe(x, n, low, high):
    result = paired.proportion([1] * x + [0] * (n - x))
    assert (round(result.low, 4), round(result.high, 4)) == (low, high)
    assert (result.low, result.high) == pytest.approx(proportion_confint(x, n, method="wilson"), abs=1e-12)


def test_mcnemar_of_agresti():
    # Agresti 2002, Categorical Data Analysis, table 10.1: approval of the prime minister, two surveys
    a, b = from_table(794, 150, 86, 570)
    result = paired.mcnemar(a, b)
    assert round(result.statistic, 3) == 17.356
    assert result.effect == pytest.approx(-0.04)
    assert result.p_value == pytest.approx(sm_mcnemar([[794, 150], [86, 570]], exact=False, correction=False).pvalue)
    # Agresti 2002, section 10.1.1: Wald interval (-0.06, -0.02)
    assert (round(result.low, 2), round(result.high, 2)) == (-0.06, -0.02)


def test_mcnemar_is_exact_under_25_discordant_pairs():
    a, b = from_table(10, 4, 12, 9)
    result = paired.mcnemar(a, b)
    assert result.p_value == pytest.approx(stats.binomtest(4, 16).pvalue)
    assert "exact" in result.method
    assert "mid-P" in result.note
    mid = 2 * stats.binom.cdf(4, 16, 0.5) - stats.binom.pmf(4, 16, 0.5)
    assert f"{mid:.4g}" in result.note
    assert "chi-square" in paired.mcnemar(*from_table(10, 10, 15, 9)).method


def test_newcombes_method_10():
    # Altman et al. 2000, Statistics with Confidence, table 6.2 (14, 5, 0, 22): +0.122, 95% CI 0.011 to 0.226 (p. 52)
    b, a = from_table(14, 5, 0, 22)
    result = paired.proportion_difference(a, b)
    assert (round(result.value, 3), round(result.low, 3), round(result.high, 3)) == (0.122, 0.011, 0.226)


def test_proportions_degenerate():
    assert math.isnan(paired.proportion([]).value)
    assert math.isnan(paired.mcnemar([], []).p_value)
    assert math.isnan(paired.proportion_difference([None], [1]).value)
    none = paired.mcnemar([1, 0, 1], [1, 0, 1])
    assert (none.p_value, none.effect) == (1.0, 0.0)
    assert none.low < 0 < none.high
    perfect = paired.proportion([1] * 40, clusters=np.repeat(range(10), 4))
    assert perfect.low == pytest.approx(paired.wilson(10, 10).low)
    with pytest.raises(ValueError, match="only 0, 1"):
        paired.mcnemar([2], [1])
    with pytest.raises(ValueError, match="lengths differ"):
        paired.mcnemar([1], [1, 0])


# --- signed ranks and means


def test_wilcoxon_of_darwin():
    result = paired.wilcoxon_signed_rank(np.zeros(15), DARWIN, n_resamples=500)
    assert result.statistic == 24  # R's wilcox.test: V = 96, min 24
    assert round(result.p_value, 5) == 0.04126
    assert result.effect == pytest.approx((96 - 24) / 120)


def test_exact_wilcoxon_under_ties_and_zeros_is_all_sign_patterns():
    d = np.array([0, 1, 1, -1, 2, 2, 3, 0, -2, 4])
    ranks = stats.rankdata(np.abs(d))[d != 0]
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(ranks))).reshape(len(ranks), -1)
    observed = abs((np.sign(d[d != 0]) * ranks).sum())
    expected = (np.abs(ranks @ signs) >= observed - 1e-9).mean()
    result = paired.wilcoxon_signed_rank(np.zeros(10), d, n_resamples=200)
    assert result.p_value == pytest.approx(expected)
    assert "2 of 10 differences are zero" in result.note


def test_rank_biserial_is_reranked_in_each_resample():
    d = np.random.default_rng(5).choice([-2, -1, 0, 0, 0, 1, 2, 3], size=60)
    result = paired.wilcoxon_signed_rank(np.zeros(60), d)
    rng, loop = np.random.default_rng(6), []
    for _ in range(2000):
        drawn = rng.choice(d, size=60)
        signed = np.sign(drawn) * stats.rankdata(np.abs(drawn))
        loop.append(signed.sum() / np.abs(signed).sum())
    assert (result.low, result.high) == pytest.approx(tuple(np.quantile(loop, [0.025, 0.975])), abs=0.03)


def test_wilcoxon_equals_scipy_for_many_cases():
    rng = np.random.default_rng(0)
    a, b = rng.integers(1, 6, size=(2, 200))
    expected = stats.wilcoxon(b - a, zero_method="pratt", method="asymptotic").pvalue
    assert paired.wilcoxon_signed_rank(a, b, n_resamples=100).p_value == pytest.approx(expected)


def test_few_non_zero_differences_are_a_warning():
    d = [0] * 30 + [1, 1, -1, 2, 1]
    assert "only 5 differences are not zero" in paired.wilcoxon_signed_rank(np.zeros(35), d, n_resamples=50).note


def test_few_skewed_values_are_a_warning():
    ceiling = [5] * 27 + [4, 2, 1]
    assert "skewness" in paired.mean(ceiling).note
    assert "skewness" in paired.mean_difference(np.full(30, 5), ceiling).note
    assert paired.mean([1, 2, 3, 4, 5] * 6).note == ""


def test_means_that_differ_by_rounding_only_are_zero():
    a = [(0.1 + 0.2), 1.0, 2.0]
    assert paired.wilcoxon_signed_rank(a, [0.3, 1.5, 2.5], n_resamples=50).note.startswith(
        "1 of 3 differences are zero"
    )


def test_t_test_equals_scipy():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 30))
    expected = stats.ttest_rel(b, a)
    result = paired.mean_difference(a, b)
    assert (result.statistic, result.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    assert (result.low, result.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_cochran_and_friedman_equal_the_libraries():
    rng = np.random.default_rng(2)
    binary = rng.random((40, 3)) < [0.3, 0.5, 0.6]
    result = paired.cochran_q(binary)
    expected = cochrans_q(binary)
    assert (result.statistic, result.p_value) == pytest.approx((expected.statistic, expected.pvalue))
    likert = rng.integers(1, 6, size=(30, 4))
    result = paired.friedman(likert)
    assert (result.statistic, result.p_value) == pytest.approx(tuple(stats.friedmanchisquare(*likert.T)))
    assert result.effect == pytest.approx(result.statistic / (30 * 3))
    clustered = paired.friedman(likert, clusters=range(30), n_resamples=5000)
    assert clustered.p_value == pytest.approx(result.p_value, abs=0.03)


def test_equivalence_agrees_with_its_interval():
    rng = np.random.default_rng(3)
    a = rng.normal(size=80)
    b = a + rng.normal(0.05, 0.3, size=80)
    for clusters in (None, range(80)):
        for margin in (0.05, 0.1, 0.2, 0.4):
            result = paired.equivalence(a, b, margin, clusters, n_resamples=4000)
            inside = -margin < result.low and result.high < margin
            assert inside == (result.p_value < 0.05) or abs(result.p_value - 0.05) < 0.02
    lower = paired.equivalence(a, b, 0.1, non_inferiority=True)
    assert lower.p_value == pytest.approx(stats.ttest_1samp(b - a, -0.1, alternative="greater").pvalue)
    with pytest.raises(ValueError, match="margin"):
        paired.equivalence(a, b, 0)


@pytest.mark.parametrize("clusters", [None, [1, 1, 2]])
def test_all_equal_arms_are_a_sentence_and_no_exception(clusters):
    zero = [1.0, 2.0, 3.0]
    for result in (
        paired.wilcoxon_signed_rank(zero, zero, clusters, n_resamples=50),
        paired.mean_difference(zero, zero, clusters, n_resamples=50),
        paired.equivalence(zero, zero, 1, clusters, n_resamples=50),
    ):
        assert result.note
    assert math.isnan(paired.mean_difference([1], [2]).p_value)
    assert math.isnan(paired.wilcoxon_signed_rank([], []).p_value)
    assert math.isnan(paired.mean([]).value)
    assert math.isnan(paired.mean([1]).low)
    assert paired.cochran_q([[1, 1], [0, 0]]).p_value == 1.0
    assert math.isnan(paired.friedman([[1, None]]).p_value)


def test_clustered_tests_keep_their_level_where_plain_ones_do_not():
    """25 patients x 4 cases, intraclass correlation 0.5, no effect: 300 data sets."""
    rng, patient, zero = np.random.default_rng(0), np.repeat(range(25), 4), np.zeros(100)
    plain = clustered = 0
    for seed in range(300):
        d = np.repeat(rng.normal(size=25), 4) + rng.normal(size=100)
        plain += stats.wilcoxon(d).pvalue < 0.05
        clustered += paired.mean_difference(zero, d, patient, n_resamples=200, seed=seed).p_value < 0.05
    assert plain > 30  # 10 % and more
    assert clustered <= 27  # 5 % and three standard errors


def test_cluster_versions_match_plain_ones_for_singletons():
    rng = np.random.default_rng(4)
    a, b = rng.integers(1, 6, size=(2, 60))
    singles = list(range(60))
    for f in (paired.mean_difference, paired.wilcoxon_signed_rank):
        plain, clustered = f(a, b, n_resamples=8000), f(a, b, clusters=singles, n_resamples=8000)
        assert clustered.effect == pytest.approx(plain.effect)
        assert clustered.p_value == pytest.approx(plain.p_value, abs=0.03)
        assert clustered.low == pytest.approx(plain.low, abs=0.05)
    yes, no = a > 2, b > 2
    plain, clustered = paired.mcnemar(yes, no), paired.mcnemar(yes, no, clusters=singles)
    assert clustered.low == pytest.approx(plain.low, abs=0.04)
    assert clustered.p_value == pytest.approx(plain.p_value, abs=0.1)


likert_pairs = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=3, max_size=20)


@settings(max_examples=30, deadline=None)
@given(likert_pairs)
def test_swapping_the_arms_turns_the_sign_and_keeps_p(pairs):
    a, b = np.array(pairs, dtype=float).T
    tests = [
        lambda x, y: paired.mean_difference(x, y),
        lambda x, y: paired.wilcoxon_signed_rank(x, y, n_resamples=20),
        lambda x, y: paired.mcnemar(x > 3, y > 3),
        lambda x, y: classification.paired_f1_difference(a % 2, x % 2, y % 2, [0, 1], n_resamples=20),
        lambda x, y: paired.mean_difference(x, y, clusters=np.arange(len(a)) // 2, n_resamples=30),
    ]
    for test in tests:
        forth, back = test(a, b), test(b, a)
        assert forth.effect == pytest.approx(-back.effect, nan_ok=True)
        assert forth.p_value == pytest.approx(back.p_value, nan_ok=True)


@settings(max_examples=30, deadline=None)
@given(likert_pairs, st.randoms())
def test_the_order_of_cases_does_not_matter(pairs, random):
    shuffled = random.sample(pairs, len(pairs))
    first, second = (np.array(rows, dtype=float).T for rows in (pairs, shuffled))
    for test in (paired.wilcoxon_signed_rank, paired.mean_difference):
        assert test(*first, n_resamples=20).p_value == pytest.approx(test(*second, n_resamples=20).p_value, nan_ok=True)


# --- preferences


def test_win_rate_and_sign_flip():
    outcomes = [1] * 30 + [0.5] * 10 + [0] * 20 + [None] * 3
    rate = preference.win_rate(outcomes)
    assert (rate.value, rate.n) == (pytest.approx(35 / 60), 60)
    assert "3 comparisons left out" in rate.note
    se = np.std(outcomes[:60]) / np.sqrt(60)
    assert (rate.low, rate.high) == pytest.approx((rate.value - 2 * se, rate.value + 2 * se), abs=0.01)
    assert preference.sign_flip([1] * 9 + [0]).p_value == pytest.approx(stats.binomtest(9, 10).pvalue)
    big = preference.sign_flip(outcomes)
    assert big.p_value == pytest.approx(stats.binomtest(30, 50).pvalue, abs=0.02)
    assert big.effect == rate.value


def test_preferences_degenerate():
    assert math.isnan(preference.win_rate([]).value)
    assert math.isnan(preference.win_rate([None, None]).value)
    ties = preference.sign_flip([0.5] * 8)
    assert (ties.effect, ties.p_value) == (0.5, 1.0)
    assert math.isnan(ties.low)
    assert "tie" in ties.note
    wins = preference.win_rate([1] * 10)
    assert wins.low == pytest.approx(paired.wilson(10, 10).low)
    assert "P cannot be below" in preference.sign_flip([1, 1, 1, 1], clusters=[1, 1, 2, 3]).note
    with pytest.raises(ValueError, match="outcomes"):
        preference.win_rate([2])


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([0.0, 0.5, 1.0]), min_size=2, max_size=30))
def test_turning_all_outcomes_mirrors_the_win_rate(outcomes):
    forth, back = (preference.sign_flip(x, n_resamples=40) for x in (outcomes, [1 - o for o in outcomes]))
    assert forth.effect == pytest.approx(1 - back.effect)
    assert forth.p_value == pytest.approx(back.p_value)


def test_win_rate_by_cluster_is_wider():
    outcomes = np.repeat(np.random.default_rng(0).integers(0, 2, 50), 4)
    plain = preference.win_rate(outcomes)
    clustered = preference.win_rate(outcomes, clusters=np.repeat(range(50), 4))
    assert 1.7 < (clustered.high - clustered.low) / (plain.high - plain.low) < 2.4


def journals(random_sides=None):
    """Stigler 1994, Stat Sci 9:94, citations among four journals: cited (rows) by citing (columns)."""
    names = ["Biometrika", "CommStat", "JASA", "JRSS-B"]
    cited = [[714, 730, 498, 221], [33, 425, 68, 17], [320, 813, 1072, 142], [284, 276, 325, 188]]
    for i in range(4):
        for j in range(4):
            for k in range(cited[i][j] if i != j else 0):
                swap = (i + j + k) % 2 if random_sides is None else random_sides.random() < 0.5
                yield (names[j], names[i], 0) if swap else (names[i], names[j], 1)


def test_bradley_terry_of_stigler():
    # BradleyTerry2 vignette (Turner & Firth 2012, J Stat Softw 48:9), BTm without an order effect, against Biometrika
    result = preference.bradley_terry(list(journals()))
    worth = {name: e.value - result.log_worths["Biometrika"].value for name, e in result.log_worths.items()}
    assert worth["CommStat"] == pytest.approx(-2.94907, abs=0.02)
    assert worth["JASA"] == pytest.approx(-0.47957, abs=0.02)
    assert worth["JRSS-B"] == pytest.approx(0.26895, abs=0.02)
    assert result.ranks == {"JRSS-B": 1, "Biometrika": 2, "JASA": 3, "CommStat": 4}
    assert sum(e.value for e in result.log_worths.values()) == pytest.approx(0, abs=1e-9)


def simulated_games(n=3000, seed=0, position=0.4, log_nu=-0.5, slope=0.8):
    rng = np.random.default_rng(seed)
    worth = {"base": -0.6, "sft": 0.0, "dpo": 0.6}
    games, x = [], rng.normal(size=n)
    for i in range(n):
        left, right = rng.choice(list(worth), size=2, replace=False)
        eta = worth[left] - worth[right] + position + slope * x[i]
        weights = np.exp([eta / 2, log_nu, -eta / 2])
        games.append((str(left), str(right), float(rng.choice([1, 0.5, 0], p=weights / weights.sum()))))
    return games, x


def test_bradley_terry_recovers_ties_position_and_covariate():
    games, x = simulated_games()
    result = preference.bradley_terry(games, covariates={"length": x})
    truth = [*zip(result.log_worths.values(), [-0.6, 0.6, 0.0], strict=True)]  # base, dpo, sft
    truth += [(result.position, 0.4), (result.tie, -0.5), (result.covariates["length"], 0.8)]
    for estimate, value in truth:
        assert estimate.value == pytest.approx(value, abs=0.15)
        assert estimate.low < estimate.value < estimate.high
    clustered = preference.bradley_terry(games, clusters=np.arange(3000), n_resamples=400)
    plain = preference.bradley_terry(games)
    ratio = [
        (clustered.log_worths[m].high - clustered.log_worths[m].low)
        / (plain.log_worths[m].high - plain.log_worths[m].low)
        for m in plain.log_worths
    ]
    assert ratio == pytest.approx([1, 1, 1], abs=0.2)


def test_bradley_terry_of_two_models_is_a_logistic_regression():
    games, x = simulated_games(n=600, log_nu=-30)
    keep = [i for i, g in enumerate(games) if "base" not in g[:2]]
    games, x = [games[i] for i in keep], x[keep]
    result = preference.bradley_terry(games, covariates={"x": x})
    left = np.array([1.0 if g[0] == "dpo" else -1.0 for g in games])
    fit = sm.Logit([g[2] for g in games], np.column_stack([left, np.ones(len(x)), x])).fit(disp=0)
    assert 2 * result.log_worths["dpo"].value == pytest.approx(fit.params[0], abs=1e-6)
    assert result.position.value == pytest.approx(fit.params[1], abs=1e-6)
    assert result.covariates["x"].low == pytest.approx(fit.conf_int()[2][0], abs=1e-5)
    assert result.tie.note == "no ties"


def test_bradley_terrys_derivatives_are_those_of_its_likelihood():
    rng = np.random.default_rng(0)
    design = bradley_terry._Design(rng.normal(size=(6, 3)), np.eye(4), with_ties=True)
    sums, theta, step = rng.integers(1, 9, size=(1, 18)).astype(float), rng.normal(size=4), 1e-5
    _, gradient, information = bradley_terry._derivatives(design, theta[None], sums)
    for i, shift in enumerate(np.eye(4) * step):
        up = bradley_terry._derivatives(design, (theta + shift)[None], sums)
        down = bradley_terry._derivatives(design, (theta - shift)[None], sums)
        assert gradient[0, i] == pytest.approx((up[0] - down[0])[0] / (2 * step), rel=1e-5)
        assert information[0, i] == pytest.approx(-(up[1] - down[1])[0] / (2 * step), rel=1e-4, abs=1e-6)


def test_bradley_terry_is_blind_to_sides_when_turned():
    games, _ = simulated_games(n=300, slope=0)
    turned = [(right, left, 1 - outcome) for left, right, outcome in games]
    forth, back = preference.bradley_terry(games), preference.bradley_terry(turned)
    for name in forth.log_worths:
        assert forth.log_worths[name].value == pytest.approx(back.log_worths[name].value, abs=1e-6)
    assert forth.position.value == pytest.approx(-back.position.value, abs=1e-6)


@pytest.mark.parametrize(
    ("games", "reason"),
    [
        ([], "no comparisons"),
        ([("a", "b", None)], "no comparisons"),
        ([("a", "b", 1), ("b", "a", 1), ("c", "d", 1), ("d", "c", 1)], "do not connect"),
        ([("a", "b", 1), ("b", "a", 0), ("a", "b", 1)], "never lose"),
        ([("a", "b", 1), ("b", "a", 1)] * 5, "no maximum"),  # the left side always wins
    ],
)
def test_bradley_terry_without_an_estimate_says_why(games, reason):
    result = preference.bradley_terry(games)
    assert reason in result.note
    assert all(math.isnan(e.value) for e in result.log_worths.values())
    assert result.to_dict()["position"]["value"] is None


def test_position_effect_that_cannot_be_told_apart():
    result = preference.bradley_terry([("a", "b", 1)] * 5 + [("a", "b", 0)] * 3 + [("a", "b", 0.5)] * 2)
    assert math.isnan(result.position.value)
    assert "cannot tell" in result.position.note
    assert result.log_worths["a"].value > 0
    dropped = preference.bradley_terry(
        [("a", "b", 1)] * 5 + [("b", "a", 1)] * 3 + [("a", "b", 0.5), ("a", "b", 0)], ties="drop"
    )
    assert "1 comparison left out: a tie" in dropped.note
    with pytest.raises(ValueError, match="itself"):
        preference.bradley_terry([("a", "a", 1)])


# --- multiplicity and power


def test_multiplicity_of_benjamini_and_hochberg():
    # Benjamini & Hochberg 1995, section 3.2: thrombolysis trial
    p = [
        0.0001,
        0.0004,
        0.0019,
        0.0095,
        0.0201,
        0.0278,
        0.0298,
        0.0344,
        0.0459,
        0.324,
        0.4262,
        0.5719,
        0.6528,
        0.759,
        1,
    ]
    for method, rejected in {"bonferroni": 3, "holm": 3, "fdr_bh": 4}.items():
        adjusted = multiplicity.adjust(p, method)
        assert (adjusted <= 0.05).sum() == rejected
        assert adjusted == pytest.approx(multipletests(p, method=method)[1])


def test_multiplicity_leaves_undefined_p_out_of_the_family():
    adjusted = multiplicity.adjust([0.01, math.nan, 0.04], "bonferroni")
    assert adjusted[[0, 2]] == pytest.approx([0.02, 0.08])
    assert math.isnan(adjusted[1])
    assert multiplicity.adjust([]).shape == (0,)
    with pytest.raises(ValueError, match="method"):
        multiplicity.adjust([0.1], "sidak")
    with pytest.raises(ValueError, match="between 0 and 1"):
        multiplicity.adjust([1.1])


@pytest.mark.parametrize("n", [8, 20, 100, 299, 400, 5000])
@pytest.mark.parametrize("effect", [0.01, 0.1, 0.5, 2.0])
def test_power_of_the_paired_t_test_equals_statsmodels(n, effect):
    expected = TTestPower().power(effect, n, 0.05)
    result = power.paired_mean(effect, n=n).power
    assert not math.isnan(result)
    if not math.isnan(expected):
        assert result == pytest.approx(expected, abs=2e-3)


@pytest.mark.parametrize(
    ("solve", "options"), [(power.mcnemar, {}), (power.paired_mean, {}), (power.win_rate, {"ties": 0.2})]
)
@pytest.mark.parametrize("design_effect", [1.0, 1.6])
def test_power_n_and_effect_are_one_relation(solve, options, design_effect):
    options = {**options, "design_effect": design_effect}
    effect = 0.62 if solve is power.win_rate else 0.15
    n = solve(effect, power=0.8, **options).n
    assert solve(effect, n=n, **options).power >= 0.8 > solve(effect, n=n - 1, **options).power
    assert solve(None, n=n, power=0.8, **options).effect == pytest.approx(effect, abs=0.01)


def test_power_of_mcnemar_by_simulation():
    rng, n = np.random.default_rng(0), 200
    only_b = rng.binomial(n, 0.2, size=4000)
    only_a = rng.binomial(n - only_b, 0.1 / 0.8)
    statistic = (only_b - only_a) ** 2 / np.maximum(only_a + only_b, 1)
    assert power.mcnemar(0.1, 0.3, n=n).power == pytest.approx((statistic > 3.8415).mean(), abs=0.03)


def test_power_limits_and_misuse():
    assert math.isnan(power.mcnemar(0.0, power=0.8).n)
    assert math.isnan(power.mcnemar(None, 0.3, n=3, power=0.9).effect)
    width = power.alpha_width(0.6, 3, n=100).width
    assert power.alpha_width(0.6, 3, width=width).n == 100
    with pytest.raises(ValueError, match="exactly one"):
        power.paired_mean(0.5, n=10, power=0.8)
    with pytest.raises(ValueError, match="discordant"):
        power.mcnemar(0.5, 0.3, n=10)
