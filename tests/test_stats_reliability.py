"""Severity, repeatability, leaving annotators out, comparing alphas; shares, win odds, Tango; the ordinal model."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import integrate
from scipy.special import expit
from scipy.stats import norm

from stats import agreement, change, discordant, ordinal, paired, preference, reliability


def made_ratings(seed=0, n=60, k=3, noise=0.7, missing=0.0):
    rng = np.random.default_rng(seed)
    values = 1.0 + np.digitize(rng.normal(size=(n, 1)) + noise * rng.normal(size=(n, k)), (-1, -0.3, 0.3, 1))
    values[rng.random((n, k)) < missing] = np.nan
    return values


# --- who an alpha hangs on


def test_leaving_out_the_annotator_who_judges_at_random_raises_alpha():
    ratings = np.column_stack([made_ratings(noise=0.2), np.random.default_rng(1).integers(1, 6, 60)])
    without = reliability.alpha_without_each(ratings, n_resamples=50)
    assert without[3].value > max(estimate.value for estimate in without[:3])
    assert without[0] == agreement.krippendorff_alpha(ratings[:, 1:], n_resamples=50)
    assert "needs two" in reliability.alpha_without_each(ratings[:, :2])[0].note


def test_severity_does_not_blame_an_annotator_for_hard_items():
    """Ben sees only the items on which everyone is low."""
    quality = np.array([1.0, 2, 1, 2, 4, 5, 4, 5])
    ratings = np.column_stack([quality, quality, np.where(quality < 3, quality, np.nan)])
    assert [e.value for e in reliability.severity(ratings, n_resamples=50)] == pytest.approx([0, 0, 0], abs=1e-9)
    ratings[:, 1] -= 0.5
    anna, chidi, ben = reliability.severity(ratings, n_resamples=50)
    assert anna.value - chidi.value == pytest.approx(0.5)
    assert ben.value == pytest.approx(anna.value)


def test_severity_needs_a_chain_of_shared_cases():
    apart = reliability.severity([[1, 2, None, None], [None, None, 3, 4]])
    assert all(math.isnan(e.value) and "no chain" in e.note for e in apart)
    assert "two judgements" in reliability.severity([[1, None], [None, 2]])[0].note


def test_repeatability_by_annotator_and_for_labels():
    result = reliability.repeatability(
        [5, 4, 3, None, 2, 2], [5, 3, 3, 1, 2, 5], ["anna", "anna", "ben", "ben", "ben", "ben"], n_resamples=100
    )
    assert (result.exact.value, result.exact.n) == (3 / 5, 5)
    assert result.within_one.value == 4 / 5
    assert result.shift.effect == pytest.approx((0 - 1 + 0 + 0 + 3) / 5)
    assert {who: e.value for who, e in result.each.items()} == {"anna": 0.5, "ben": pytest.approx(2 / 3)}
    pairs = [[5, 5], [4, 3], [3, 3], [2, 2], [2, 5]]
    assert result.alpha.value == agreement.krippendorff_alpha(pairs, n_resamples=5).value
    labels = reliability.repeatability(["a", "b"], ["a", "c"], ["anna", "ben"], "nominal", n_resamples=50)
    assert labels.exact.value == 0.5
    assert "without an order" in labels.within_one.note
    assert labels.to_dict()["shift"]["p_value"] is None


def test_comparing_alphas_is_their_difference_and_agrees_with_its_interval():
    first, second = made_ratings(3, 120, noise=1.2), made_ratings(3, 120, noise=0.3)
    result = reliability.compare_alphas(first, second, n_resamples=2000)
    alphas = [agreement.krippendorff_alpha(r, n_resamples=2).value for r in (first, second)]
    assert result.effect == pytest.approx(alphas[1] - alphas[0])
    assert result.p_value < 0.05
    assert result.low > 0
    same = reliability.compare_alphas(first, first, n_resamples=200)
    assert (same.effect, same.p_value) == (0.0, 1.0)
    back = reliability.compare_alphas(second, first, n_resamples=2000)
    assert back.effect == pytest.approx(-result.effect)
    assert back.low == pytest.approx(-result.high, abs=0.05)


def test_comparing_alphas_without_anything_to_compare():
    assert "two judgements" in reliability.compare_alphas([[1, None], [2, None]], [[1, 2], [2, 2]]).note
    assert "variation" in reliability.compare_alphas([[1, 1], [1, 1]], [[1, 2], [2, 2]]).note
    with pytest.raises(ValueError, match="lengths differ"):
        reliability.compare_alphas([[1, 2]], [[1, 2], [2, 2]])


# --- shares, odds, discordant pairs


def test_shares_add_up_and_have_wilsons_intervals():
    a, b = [3, 3, 3, 3, 2, None], [4, 5, 3, 2, 2.5, 5]
    result = change.shares(a, b)
    assert (result.improved.value, result.same.value, result.worse.value) == (0.6, 0.2, 0.2)
    wilson = paired.wilson(3, 5)
    assert (result.improved.low, result.improved.high) == (wilson.low, wilson.high)
    assert "1 case left out" in result.worse.note
    assert change.shares(a, b, within=1).same.value == 0.8
    assert math.isnan(change.shares([], []).same.value)
    clustered = change.shares(a, b, clusters=[1, 1, 2, 2, 3, 3], n_resamples=100)
    assert "cluster" in clustered.improved.method


def test_win_odds_carry_the_win_rate_over():
    outcomes = [1] * 30 + [0.5] * 10 + [0] * 20
    rate, odds = preference.win_rate(outcomes), preference.win_odds(outcomes)
    assert odds.value == pytest.approx(35 / 25)
    assert (odds.low, odds.high) == pytest.approx((rate.low / (1 - rate.low), rate.high / (1 - rate.high)))
    perfect = preference.win_odds([1] * 8)
    assert math.isnan(perfect.value)
    assert perfect.low > 1
    assert "no upper bound" in perfect.note
    nearly = preference.win_odds([1] * 11 + [0])
    assert (nearly.value, nearly.high) == (pytest.approx(11), math.inf)
    assert nearly.to_dict()["high"] is None


def test_tangos_bounds_solve_his_equation_and_its_ends():
    none = discordant.tango([1, 1, 0, 0], [1, 1, 0, 0])
    z = norm.ppf(0.975)
    assert (none.low, none.high) == pytest.approx((-(z**2) / (4 + z**2), z**2 / (4 + z**2)))  # by hand: q is 0
    every = discordant.tango([0, 0, 0], [1, 1, 1])
    assert (every.value, every.high) == (1.0, 1.0)
    assert math.isnan(discordant.tango([], []).value)
    assert discordant.mcnemar_mid_p([1, 0], [1, 0]).p_value == 1.0


def test_tangos_equivalence_agrees_with_its_interval():
    rng = np.random.default_rng(0)
    a = (rng.random(150) < 0.8).astype(float)
    b = np.where(rng.random(150) < 0.1, 1 - a, a)
    for margin in (0.02, 0.05, 0.08, 0.15):
        result = discordant.tango_equivalence(a, b, margin)
        assert (result.p_value < 0.05) == (-margin < result.low and result.high < margin)
        lower = discordant.tango_equivalence(a, b, margin, non_inferiority=True)
        assert lower.p_value <= result.p_value
    with pytest.raises(ValueError, match="margin"):
        discordant.tango_equivalence(a, b, 0)


def test_correctness_within_a_margin_is_tangos_test_also_from_the_general_function():
    a, b = [1, 1, 0, 1] * 20, [1, 1, 0, 0] + [1, 1, 0, 1] * 19
    assert paired.equivalence(a, b, 0.1) == discordant.tango_equivalence(a, b, 0.1)
    assert "t tests" in paired.equivalence([0.5, *a[1:]], b, 0.1).method


def test_a_clustered_proportion_has_wilsons_interval_on_fewer_cases():
    rng = np.random.default_rng(0)
    values = np.repeat(rng.random(200) < 0.7, 4).astype(float)  # patients whose four cases are copies
    clustered, patients = paired.proportion(values, np.repeat(np.arange(200), 4)), paired.wilson(values.sum() / 4, 200)
    assert clustered.value == patients.value
    assert (clustered.low, clustered.high) == pytest.approx((patients.low, patients.high), abs=0.001)
    alone, plain = paired.proportion(values[:40], range(40)), paired.proportion(values[:40])
    assert alone.low <= plain.low  # the t quantile is wider, and the design effect never under 1
    even = paired.proportion([0, 1] * 10, np.repeat(np.arange(10), 2))  # every patient the same: no spread to see
    assert even.high - even.low > 0.3
    assert "one cluster" in paired.proportion([0, 1], ["p", "p"]).note


tables = st.tuples(*[st.integers(0, 12)] * 4).filter(lambda t: sum(t) > 0)


@settings(max_examples=40, deadline=None)
@given(tables)
def test_swapping_the_arms_mirrors_tango_and_keeps_mid_p(table):
    both, only_a, only_b, neither = table
    a = [1] * (both + only_a) + [0] * (only_b + neither)
    b = [1] * both + [0] * only_a + [1] * only_b + [0] * neither
    forth, back = discordant.tango(a, b), discordant.tango(b, a)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), abs=1e-8)
    assert -1 <= forth.low <= forth.value <= forth.high <= 1
    assert forth.low < forth.high
    mid = discordant.mcnemar_mid_p(a, b)
    assert mid.p_value == discordant.mcnemar_mid_p(b, a).p_value
    assert mid.p_value <= min(1.0, paired.mcnemar(a, b).p_value) + 1e-12 or only_a + only_b >= 25


ratings_arrays = arrays(np.float64, (8, 3), elements=st.sampled_from([1.0, 2.0, 3.0, 4.0, math.nan]))


@settings(max_examples=25, deadline=None)
@given(ratings_arrays, st.permutations(range(8)), st.permutations(range(3)))
def test_order_of_cases_and_annotators_changes_nothing(ratings, items, annotators):
    plain = reliability.severity(ratings, n_resamples=20)
    moved = reliability.severity(ratings[items][:, annotators], n_resamples=20)
    assert [plain[i].value for i in annotators] == pytest.approx([e.value for e in moved], nan_ok=True)
    shifted = reliability.severity(ratings * 2 + 7, n_resamples=20)
    assert [2 * e.value for e in plain] == pytest.approx([e.value for e in shifted], nan_ok=True)
    first = reliability.compare_alphas(ratings, ratings[:, ::-1], n_resamples=20)
    assert first.effect == pytest.approx(0, abs=1e-9) or math.isnan(first.effect)


@settings(max_examples=20, deadline=None)
@given(arrays(np.float64, (7, 3), elements=st.sampled_from([1.0, 2.0, 3.0, math.nan])))
def test_a_copy_of_every_case_in_its_cluster_changes_no_estimate_or_interval(ratings):
    """Each case twice, both in one cluster: as many independent units, with the same rows up to a factor."""
    copies, clusters = np.repeat(ratings, 2, axis=0), np.repeat(np.arange(7), 2)
    for function in (agreement.fleiss_kappa, agreement.percent_agreement):
        plain = function(ratings, clusters=np.arange(7), n_resamples=50)
        doubled = function(copies, clusters=clusters, n_resamples=50)
        for bound in ("value", "low", "high"):
            assert getattr(plain, bound) == pytest.approx(getattr(doubled, bound), nan_ok=True)


# --- the ordinal mixed model


def ordinal_data(seed=0, n=80, effect=1.0, sd=1.0):
    rng = np.random.default_rng(seed)
    case, arm = np.repeat(np.arange(n), 4), np.tile([0.0, 0.0, 1.0, 1.0], n)
    who = np.tile(["anna", "ben"], 2 * n)
    latent = effect * arm + 0.5 * (who == "ben") + sd * rng.normal(size=n)[case] + rng.logistic(size=4 * n)
    return 1.0 + np.digitize(latent, (-1.5, 0.0, 1.5)), case, {"arm": arm, "annotator": who}


def test_the_likelihood_is_the_integral_over_the_case_effect():
    ratings, case, fixed = ordinal_data(n=12)
    fit = ordinal.ordinal_mixed(ratings, case, fixed)
    cuts = np.array([-np.inf, *(t.value for t in fit.thresholds.values()), np.inf])
    arm, ben = fit.effects["arm"].effect, fit.effects["annotator: ben"].effect
    eta = arm * fixed["arm"] + ben * (fixed["annotator"] == "ben")
    total = 0.0
    for c in range(12):
        own, y = case == c, ratings[case == c].astype(int)

        def density(u, own=own, y=y):
            chances = expit(cuts[y] - eta[own] - fit.sd.value * u) - expit(cuts[y - 1] - eta[own] - fit.sd.value * u)
            return chances.prod() * norm.pdf(u)

        total += np.log(integrate.quad(density, -8, 8, epsabs=1e-12)[0])
    assert fit.log_likelihood == pytest.approx(total, abs=1e-6)


def test_the_ordinal_model_finds_what_made_the_data():
    ratings, case, fixed = ordinal_data(n=400)
    fit = ordinal.ordinal_mixed(ratings, case, fixed)
    for name, truth in (("arm", 1.0), ("annotator: ben", 0.5)):
        assert fit.effects[name].low < truth < fit.effects[name].high
    assert fit.sd.low < 1.0 < fit.sd.high
    assert list(fit.thresholds) == ["1|2", "2|3", "3|4"]
    by_patient = ordinal.ordinal_mixed(ratings, case, fixed, clusters=case // 4)
    assert by_patient.effects["arm"].effect == fit.effects["arm"].effect
    ratio = (by_patient.effects["arm"].high - by_patient.effects["arm"].low) / (
        fit.effects["arm"].high - fit.effects["arm"].low
    )
    assert 0.8 < ratio < 1.25  # the patients of this study have nothing in common


def test_the_other_reference_level_and_a_turned_scale_turn_the_sign():
    ratings, case, fixed = ordinal_data()
    forth = ordinal.ordinal_mixed(ratings, case, fixed)
    turned = ordinal.ordinal_mixed(6 - ratings, case, fixed)
    other = ordinal.ordinal_mixed(ratings, case, {**fixed, "arm": 1 - fixed["arm"]})
    assert turned.effects["arm"].effect == pytest.approx(-forth.effects["arm"].effect, abs=1e-4)
    assert other.effects["arm"].effect == pytest.approx(-forth.effects["arm"].effect, abs=1e-4)
    assert other.log_likelihood == pytest.approx(forth.log_likelihood, abs=1e-6)


def test_the_ordinal_model_without_an_answer_says_why():
    ratings, case, fixed = ordinal_data(n=10)
    assert "no variation" in ordinal.ordinal_mixed([3] * 4, [1, 1, 2, 2], {"arm": [0, 1, 0, 1]}).note
    assert "no ratings" in ordinal.ordinal_mixed([], [], {}).note
    twice = {**fixed, "again": fixed["arm"]}
    assert "cannot tell" in ordinal.ordinal_mixed(ratings, case, twice).note
    split = ordinal.ordinal_mixed(1 + fixed["arm"], case, {"arm": fixed["arm"]})
    assert math.isnan(split.effects["arm"].effect)
    assert "without bound" in split.note
    assert split.to_dict()["log_likelihood"] is None
    gap = ordinal.ordinal_mixed([None, *ratings[1:]], case, fixed)
    assert "1 judgement left out" in gap.note
    with pytest.raises(ValueError, match="one value a rating"):
        ordinal.ordinal_mixed(ratings, case, {"arm": [1]})


def test_no_spread_between_cases_is_an_ordinary_proportional_odds_model():
    from statsmodels.miscmodels.ordinal_model import OrderedModel

    rng = np.random.default_rng(4)
    arm = np.tile([0.0, 1.0], 150)
    ratings = 1.0 + np.digitize(arm + rng.logistic(size=300), (-1.0, 0.5))
    fit = ordinal.ordinal_mixed(ratings, np.arange(300) // 2, {"arm": arm})
    if fit.sd.value > 0.3:
        pytest.skip("this sample has spread")
    plain = OrderedModel(ratings, arm[:, None], distr="logit").fit(method="bfgs", disp=0)
    assert fit.effects["arm"].effect == pytest.approx(plain.params[0], abs=0.05)
