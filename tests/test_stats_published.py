"""Numbers that others printed, computed again. The source stands beside each."""

import json

import numpy as np
import pytest

from stats import agreement, discordant, many, ordinal, paired, preference, reliability

# Randall 1989, Biometrical Journal 31:781, as printed in Christensen's tutorials of R's ordinal, table 1: bitterness of
# 8 bottles of wine (rows) by 9 judges.
WINE = np.array(
    [
        [2, 1, 2, 3, 2, 3, 1, 2, 1],
        [3, 2, 3, 2, 3, 2, 1, 2, 2],
        [3, 1, 3, 3, 4, 3, 2, 2, 3],
        [4, 3, 2, 2, 3, 2, 2, 3, 2],
        [4, 2, 5, 3, 3, 2, 2, 3, 3],
        [4, 3, 5, 2, 3, 4, 3, 3, 2],
        [5, 5, 4, 5, 3, 5, 2, 3, 4],
        [5, 4, 4, 3, 3, 4, 3, 4, 4],
    ]
)
TEMPERATURE, CONTACT = np.repeat(["cold", "warm"], 4), np.tile(np.repeat(["no", "yes"], 2), 2)


def wine(**how):
    fixed = {"temp": np.repeat(TEMPERATURE, 9), "contact": np.repeat(CONTACT, 9)}
    return ordinal.ordinal_mixed(WINE.ravel(), np.tile(np.arange(9), 8), fixed, **how)


def test_the_wine_data_by_laplace_as_rs_ordinal_prints_them():
    # summary(clmm(rating ~ temp + contact + (1|judge), data = wine)), Laplace approximation: logLik -81.57, judge
    # 1.279 (sd 1.131), tempwarm 3.0630 (0.5954, z 5.145), contactyes 1.8349 (0.5125, z 3.580)
    fit = wine(n_points=1)
    warm, contact = fit.effects["temp: warm"], fit.effects["contact: yes"]
    assert warm.effect == pytest.approx(3.0630, abs=6e-5)
    assert contact.effect == pytest.approx(1.8349, abs=6e-5)
    assert warm.statistic == pytest.approx(5.145, abs=1e-3)
    assert contact.statistic == pytest.approx(3.580, abs=1e-3)
    assert warm.p_value == pytest.approx(2.68e-7, rel=0.01)
    assert contact.p_value == pytest.approx(0.000344, rel=0.01)
    assert fit.sd.value == pytest.approx(1.131, abs=6e-4)
    assert fit.log_likelihood == pytest.approx(-81.57, abs=6e-3)
    assert (fit.n, fit.n_cases) == (72, 9)


def test_quadrature_of_the_wine_data_settles_near_laplace():
    ten, forty = wine(n_points=10), wine(n_points=40)
    assert ten.log_likelihood == pytest.approx(forty.log_likelihood, abs=1e-5)
    assert ten.effects["temp: warm"].effect == pytest.approx(3.0630, abs=0.005)
    assert ten.effects["contact: yes"].effect == pytest.approx(1.8349, abs=0.005)


def test_fagerlands_airway_hyperresponsiveness():
    # Bentur et al. 2009, in Fagerland, Lydersen & Laake 2013, BMC Med Res Methodol 13:91, table 1: 1, 1, 7, 12.
    # Their supplement: mid-P = exact P - P(X = 1), X binomial (8, 1/2): 18/256 - 8/256.
    before, after = [1] + [1] + [0] * 7 + [0] * 12, [1] + [0] + [1] * 7 + [0] * 12
    assert paired.mcnemar(before, after).p_value == pytest.approx(18 / 256)
    mid = discordant.mcnemar_mid_p(before, after)
    assert mid.p_value == pytest.approx(10 / 256)
    assert mid.effect == pytest.approx(6 / 21)


def test_newcombe_and_tango_of_cavo():
    # Complete response before and after consolidation therapy (Cavo et al. 2012): 59, 6, 16, 80; R's contingencytables,
    # Newcombe_square_and_add_CI_paired_2x2: -0.0621 (-0.1186 to -0.0046), first minus second.
    before, after = [1] * 65 + [0] * 96, [1] * 59 + [0] * 6 + [1] * 16 + [0] * 80
    newcombe = paired.proportion_difference(before, after)
    assert (round(newcombe.low, 4), round(newcombe.high, 4)) == (0.0046, 0.1186)
    assert discordant.tango(before, after).value == pytest.approx(0.0621, abs=5e-5)


def test_tango_as_propcis_prints_it():
    # R's PropCIs: scoreci.mp(25, 28, 618), 90 %: -0.0148 to 0.0247
    first, second = [1] * 25 + [0] * 593, [0] * 25 + [1] * 28 + [0] * 565
    result = discordant.tango(first, second, confidence=0.90)
    assert (round(result.low, 4), round(result.high, 4)) == (-0.0148, 0.0247)


def test_cochrans_q_of_nag():
    # NAG Library, g08alf example: Q 2.8000 on 2 degrees of freedom, upper tail 0.2466
    rows = ["111", "111", "010", "110", "000", "111", "111", "110", "001", "010", "111", "111"]
    result = many.cochran_q([[int(x) for x in row] for row in rows])
    assert result.statistic == pytest.approx(2.8)
    assert round(result.p_value, 4) == 0.2466


def test_friedman_of_nag():
    # NAG Library, g08aef example: 8.583, not corrected for ties; one tie of two in 18 rows divides by 1 - 6 / (18 x 24)
    rows = ["132", "231", "132", "123", "312", "231", "321", "132", "312", "312", "231", "231", "321", "231"]
    ranks = [[float(x) for x in row] for row in rows] + [[2.5, 2.5, 1], [3, 2, 1], [3, 2, 1], [2, 3, 1]]
    result = many.friedman(ranks)
    corrected = 8.583 / (1 - 6 / (18 * 24))
    assert result.statistic == pytest.approx(corrected, abs=6e-4)
    assert result.effect == pytest.approx(corrected / (18 * 2), abs=2e-5)


# Agresti 2002, Categorical Data Analysis, p. 437: American League East 1987, wins at home and away of each pair
BASEBALL = """Milwaukee Detroit 4 3|Milwaukee Toronto 4 2|Milwaukee NewYork 4 3|Milwaukee Boston 6 1
|Milwaukee Cleveland 4 2|Milwaukee Baltimore 6 0|Detroit Milwaukee 3 3|Detroit Toronto 4 2|Detroit NewYork 4 3
|Detroit Boston 6 0
|Detroit Cleveland 6 1|Detroit Baltimore 4 3|Toronto Milwaukee 2 5|Toronto Detroit 4 3|Toronto NewYork 2 4
|Toronto Boston 4 3|Toronto Cleveland 4 2|Toronto Baltimore 6 0|NewYork Milwaukee 3 3|NewYork Detroit 5 1
|NewYork Toronto 2 5|NewYork Boston 4 3|NewYork Cleveland 4 2|NewYork Baltimore 6 1|Boston Milwaukee 5 1
|Boston Detroit 2 5|Boston Toronto 3 3|Boston NewYork 4 2|Boston Cleveland 5 2|Boston Baltimore 6 0
|Cleveland Milwaukee 2 5|Cleveland Detroit 3 3|Cleveland Toronto 3 4|Cleveland NewYork 4 3|Cleveland Boston 4 2
|Cleveland Baltimore 2 4|Baltimore Milwaukee 2 5|Baltimore Detroit 1 5|Baltimore Toronto 1 6|Baltimore NewYork 2 4
|Baltimore Boston 1 6|Baltimore Cleveland 3 4"""


def test_bradley_terry_with_position_of_agrestis_baseball():
    # BradleyTerry2's own test against Agresti 2002, table 10.11, column 5: worths that add up to 1, home effect 0.302
    games = []
    for line in BASEBALL.replace("\n", "").split("|"):
        home, away, won, lost = line.split()
        games += [(home, away, 1)] * int(won) + [(home, away, 0)] * int(lost)
    result = preference.bradley_terry(games)
    worth = np.exp([estimate.value for estimate in result.log_worths.values()])
    assert np.round(np.sort(worth / worth.sum()), 3).tolist() == [0.044, 0.088, 0.137, 0.157, 0.164, 0.190, 0.220]
    assert round(result.position.value, 3) == 0.302
    assert json.dumps(result.to_dict())


def test_gwets_percent_and_ac1_weights_by_hand():
    # Gwet 2014: AC2's chance agreement is T / (q (q - 1)) sum pi (1 - pi), T the sum of all weights; worked for 3 x 3
    table = np.array([[13, 0, 0], [0, 20, 7], [0, 4, 56]])  # irrCAC's cont3x3abstractors
    pairs = [(i, j) for i in range(3) for j in range(3) for _ in range(table[i, j])]
    weights = 1 - (np.subtract.outer(np.arange(3), np.arange(3)) / 2) ** 2
    share = (table.sum(axis=0) + table.sum(axis=1)) / 200
    chance = weights.sum() / 6 * (share * (1 - share)).sum()
    observed = (weights * table).sum() / 100
    result = agreement.gwet_ac(pairs, "quadratic", n_resamples=50)
    assert result.value == pytest.approx((observed - chance) / (1 - chance))


def test_severity_is_the_two_way_fixed_effects_fit():
    import statsmodels.formula.api as smf

    rng = np.random.default_rng(0)
    ratings = np.where(rng.random((12, 4)) < 0.3, np.nan, rng.integers(1, 6, (12, 4)))
    item, annotator = np.nonzero(~np.isnan(ratings))
    data = {"y": ratings[item, annotator], "item": item, "annotator": annotator}
    fit = smf.ols("y ~ C(item) + C(annotator, Sum)", data).fit()
    effects = fit.params.filter(like="annotator").to_numpy()
    found = [estimate.value for estimate in reliability.severity(ratings, n_resamples=50)]
    assert found == pytest.approx([*effects, -effects.sum()])
