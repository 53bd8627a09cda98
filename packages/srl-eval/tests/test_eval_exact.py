"""Exact intervals against scipy, known values and the chances that they promise."""

from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from srl_eval.exact import at_least, binomial_interval, change_interval
from srl_eval.stats import bootstrap_interval, difference_interval, share_interval


def clopper_pearson(successes: int, trials: int) -> tuple[float, float]:
    """By the quantiles of the beta distribution."""
    beta = pytest.importorskip("scipy.stats").beta
    low = beta.ppf(0.025, successes, trials - successes + 1) if successes else 0.0
    high = beta.ppf(0.975, successes + 1, trials - successes) if successes < trials else 1.0
    return float(low), float(high)


@settings(deadline=None)
@given(st.integers(1, 2000), st.data())
def test_intervals_are_those_of_scipy(trials: int, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    assert binomial_interval(successes, trials) == pytest.approx(
        clopper_pearson(successes, trials), abs=1e-9
    )


def test_known_intervals() -> None:
    assert binomial_interval(0, 12) == pytest.approx((0.0, 0.2646), abs=1e-4)
    assert binomial_interval(12, 12) == pytest.approx((0.7354, 1.0), abs=1e-4)
    assert binomial_interval(0, 1) == pytest.approx((0.0, 0.975))
    assert binomial_interval(0, 5000)[1] == pytest.approx(1 - 0.025 ** (1 / 5000), rel=1e-6)
    assert binomial_interval(15, 30) == pytest.approx((0.3130, 0.6870), abs=1e-4)


def test_a_share_between_two_counts_has_the_ends_of_both() -> None:
    low, high = binomial_interval(7.5, 30)
    assert (low, high) == (binomial_interval(7, 30)[0], binomial_interval(8, 30)[1])
    # Seven tenths of ten are 7.000000000000001.
    assert binomial_interval(0.7 * 10, 10) == binomial_interval(7, 10)
    assert binomial_interval(np.full(10, 0.7).sum(), 10) == binomial_interval(7, 10)


@pytest.mark.parametrize(("successes", "trials"), [(-1, 3), (4, 3), (0, 0)])
def test_more_successes_than_trials_are_refused(successes: int, trials: int) -> None:
    with pytest.raises(ValueError, match=f"{successes} successes of {trials} trials"):
        binomial_interval(successes, trials)


@given(st.integers(1, 60), st.floats(0, 1), st.data())
def test_a_chance_is_the_sum_of_its_terms(trials: int, share: float, data: st.DataObject) -> None:
    successes = data.draw(st.integers(0, trials))
    expected = sum(
        comb(trials, n) * share**n * (1 - share) ** (trials - n)
        for n in range(successes, trials + 1)
    )
    assert at_least(successes, trials, share) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_problems_that_all_scored_alike_have_the_exact_interval(share: float) -> None:
    found = share_interval(np.full(12, share), 500, seed=0)
    assert found == binomial_interval(12 * share, 12)
    assert found[0] <= share <= found[1]
    assert found[1] - found[0] > 0.2


def test_problems_that_scored_otherwise_are_resampled() -> None:
    scores = np.array([0.0] * 11 + [0.25])
    assert share_interval(scores, 500, seed=3) == bootstrap_interval(scores, 500, seed=3)
    changes = scores - 0.25
    assert difference_interval(changes, 500, seed=3) == bootstrap_interval(changes, 500, seed=3)


def test_one_problem_says_little() -> None:
    assert share_interval(np.array([1.0]), 500, seed=0) == pytest.approx((0.025, 1.0))
    assert difference_interval(np.array([1.0]), 500, seed=0) == pytest.approx((-0.95, 1.0))
    assert difference_interval(np.array([0.0]), 500, seed=0) == pytest.approx((-0.975, 0.975))


def test_no_change_anywhere_bounds_it_to_both_sides() -> None:
    unseen = binomial_interval(0, 12)[1]
    assert change_interval(0.0, 12) == (-unseen, unseen)
    assert change_interval(1.0, 12) == pytest.approx((1 - 2 * unseen, 1.0))
    low, high = change_interval(0.5, 12)
    assert change_interval(-0.5, 12) == (-high, -low)
    assert low < 0.5 < high


def test_rounding_makes_no_difference_between_problems() -> None:
    changes = np.array([2 / 3 - 1 / 3, 1 - 2 / 3, 1 / 3 - 0.0])
    assert len(set(changes.tolist())) > 1
    assert difference_interval(changes, 500, seed=0) == change_interval(1 / 3, 3)


def test_an_exact_interval_leaves_the_truth_out_seldom_enough() -> None:
    """Over all shares: data that are all alike are seen in under 2.5 % where it leaves one out."""
    for trials in (1, 5, 12, 40):
        high = binomial_interval(0, trials)[1]
        assert (1 - (high + 1e-6)) ** trials < 0.025 < (1 - (high - 1e-6)) ** trials
