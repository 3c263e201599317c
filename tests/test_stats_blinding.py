"""Shares guessed right and Bang's index: published values, closed forms, and what must hold for any guesses."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stats import blinding
from stats.paired import wilson

# (right, wrong, don't know) of an arm, and Bang's index, standard error and two-sided 95% limits.
# Houweling et al. 2014, Clin Trials 11:547, table 2, investigators: as the R package BI gives them.
TREATMENT = ((48, 4, 330), 0.115, 0.018, 0.080, 0.150)
PLACEBO = ((30, 22, 319), 0.022, 0.019, -0.016, 0.060)
# Bang, Ni & Davis 2004, table 7 (CRISP): 82 right, 25 wrong, 170 don't know of 277; placebo 29, 27, 83 of 139.
CRISP = [((82, 25, 170), 57 / 277), ((29, 27, 83), 2 / 139)]

answers = st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=60)


def listed(counts):
    right, wrong, dont_know = counts
    return [1] * right + [-1] * wrong + [0] * dont_know


@pytest.mark.parametrize(("counts", "index", "error", "low", "high"), [TREATMENT, PLACEBO])
def test_bangs_index_equals_published_values(counts, index, error, low, high):
    found = blinding.bang_index(listed(counts))
    assert found.value == pytest.approx(index, abs=5e-4)
    assert (found.high - found.low) / 2 / 1.959964 == pytest.approx(error, abs=5e-4)
    assert (found.low, found.high) == (pytest.approx(low, abs=6e-4), pytest.approx(high, abs=6e-4))


@pytest.mark.parametrize(("counts", "index"), CRISP)
def test_bangs_index_of_the_crisp_trial(counts, index):
    assert blinding.bang_index(listed(counts)).value == pytest.approx(index)


@given(answers)
def test_bangs_index_is_right_minus_wrong_over_all_and_the_papers_own_formula(guesses):
    right, wrong, n = guesses.count(1), guesses.count(-1), len(guesses)
    found = blinding.bang_index(guesses).value
    assert found == pytest.approx((right - wrong) / n)
    if right + wrong:
        assert found == pytest.approx((2 * right / (right + wrong) - 1) * (right + wrong) / n)


@given(answers)
def test_taking_the_arms_for_each_other_turns_the_index_round(guesses):
    one, other = blinding.bang_index(guesses), blinding.bang_index([-g for g in guesses])
    assert other.value == pytest.approx(-one.value)
    assert math.isnan(one.low) == math.isnan(other.low)
    if not math.isnan(one.low):
        assert (other.low, other.high) == (pytest.approx(-one.high), pytest.approx(-one.low))


@given(answers)
def test_dont_knows_pull_the_index_to_0_and_leave_the_share_of_guessers_alone(guesses):
    more = [*guesses, *[0] * 20]
    assert abs(blinding.bang_index(more).value) <= abs(blinding.bang_index(guesses).value) + 1e-12
    before, after = blinding.share_right(guesses).value, blinding.share_right(more).value
    assert after == before or (math.isnan(before) and math.isnan(after))


@given(answers)
@settings(deadline=None)
def test_shares_and_intervals_stay_within_0_and_1_with_and_without_clusters(guesses):
    clusters = [f"case {i // 2}" for i in range(len(guesses))]
    for of in ("guessed", "all"):
        for groups in (None, clusters):
            found = blinding.share_right(guesses, of, groups, n_resamples=200)
            if not math.isnan(found.value):
                assert 0 <= found.value <= 1
            if not math.isnan(found.low):
                assert -1e-12 <= found.low <= found.high <= 1 + 1e-12


def test_the_share_of_independent_guesses_has_wilsons_interval():
    found, expected = blinding.share_right([1] * 13 + [-1] * 7 + [0] * 4), wilson(13, 20)
    assert (found.value, found.low, found.high, found.n) == (0.65, expected.low, expected.high, 20)
    assert "4 guesses left out: don't know" in found.note
    assert blinding.share_right([1] * 13 + [-1] * 7 + [0] * 4, of="all").value == 13 / 24


def test_guesses_about_one_case_widen_the_interval_when_they_agree():
    guesses = [1] * 24 + [-1] * 16
    alone = blinding.share_right(guesses, clusters=range(40), n_resamples=4000)
    together = blinding.share_right(guesses, clusters=[i // 4 for i in range(40)], n_resamples=4000)
    assert together.value == alone.value
    assert together.high - together.low > 1.5 * (alone.high - alone.low)
    index = blinding.bang_index(guesses, clusters=[i // 4 for i in range(40)], n_resamples=4000)
    assert "cluster bootstrap" in index.method
    assert index.high - index.low > 1.5 * (blinding.bang_index(guesses).high - blinding.bang_index(guesses).low)


def test_all_right_in_few_cases_is_wilsons_interval_over_the_cases():
    found = blinding.share_right([1] * 40, clusters=[i // 10 for i in range(40)])
    assert found.low == pytest.approx(wilson(4, 4).low)
    assert "over the clusters" in found.note


def test_nobody_asked_or_nobody_guessing_is_nan_with_the_reason():
    assert "nobody was asked" in blinding.share_right([]).note
    assert "nobody was asked" in blinding.bang_index([math.nan]).note
    only = blinding.share_right([0, 0])
    assert math.isnan(only.value)
    assert "don't know" in only.note
    index = blinding.bang_index([0, 0, 0])
    assert index.value == 0
    assert math.isnan(index.low)


def test_blind_guessing_covers_chance_as_often_as_it_says():
    """200 campaigns of 30 cases, three guesses each, by coin."""
    rng = np.random.default_rng(7)
    clusters = np.repeat(np.arange(30), 3)
    covered = 0
    for _ in range(200):
        found = blinding.share_right(rng.choice([-1, 1], 90), clusters=clusters, n_resamples=300)
        covered += found.low <= 0.5 <= found.high
    assert covered >= 180


@pytest.mark.parametrize(
    "misuse",
    [
        lambda: blinding.share_right([2]),
        lambda: blinding.share_right([1], of="some"),
        lambda: blinding.bang_index([0.5]),
        lambda: blinding.bang_index([1, 0], clusters=["one"]),
        lambda: blinding.share_right([1], confidence=1),
    ],
)
def test_misuse_is_refused(misuse):
    with pytest.raises(ValueError, match=r".+"):
        misuse()
