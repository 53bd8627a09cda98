"""Statistics against plain references and known values."""

from collections.abc import Callable
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_eval.grading import Verdict
from srl_eval.metrics import majority_of
from srl_eval.samples import Sample
from srl_eval.stats import bootstrap_interval, clustered_stderr, majority, pass_at_k, pass_levels


@given(st.lists(st.booleans(), min_size=1, max_size=9), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_hit(
    correct: list[bool], data: st.DataObject
) -> None:
    k = data.draw(st.integers(1, len(correct)))
    subsets = list(combinations(correct, k))
    expected = sum(any(subset) for subset in subsets) / len(subsets)
    assert pass_at_k(sum(correct), len(correct), k) == pytest.approx(expected)


def test_pass_at_k_refuses_more_than_there_are() -> None:
    with pytest.raises(ValueError, match="k is 5, expected 1 to 4"):
        pass_at_k(1, 4, 5)


def test_pass_levels() -> None:
    assert pass_levels(1) == [1]
    assert pass_levels(32) == [1, 2, 4, 8, 16, 32]
    assert pass_levels(12) == [1, 2, 4, 8, 12]


def test_stderr_is_over_problems_not_samples() -> None:
    assert clustered_stderr(np.array([0.0, 1.0, 1.0, 0.0])) == pytest.approx(0.288675, abs=1e-6)
    assert clustered_stderr(np.array([0.5])) == 0.0


def test_interval_of_a_coin_is_near_the_normal_one() -> None:
    scores = np.array([0.0, 1.0] * 200)
    low, high = bootstrap_interval(scores, 10_000, seed=0)
    assert (low, high) == pytest.approx((0.451, 0.549), abs=0.003)
    assert bootstrap_interval(scores, 10_000, seed=0) == (low, high)


def test_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(200):
        low, high = bootstrap_interval(rng.binomial(4, 0.4, 60) / 4, 500, seed=trial)
        hits += low <= 0.4 <= high
    assert 180 <= hits <= 200


def test_majority() -> None:
    assert majority(["7", "7", "3"], [True, True, False]) == (1.0, False)
    assert majority(["3", "7", "3"], [False, True, False]) == (0.0, False)
    assert majority(["3", "7"], [False, True]) == (0.5, True)
    assert majority(["3", "7", "9", "7", "3"], [False, True, False, True, False]) == (0.5, True)
    assert majority([None, None, "7"], [False, False, True]) == (1.0, False)
    assert majority([None, None], [False, False]) == (0.0, False)


def test_equal_numbers_are_one_vote(sample: Callable[..., Sample]) -> None:
    right = [sample(extracted=e, verdict=Verdict.CORRECT) for e in ("18", r"18 \text{ eggs}")]
    wrong = [sample(extracted=e, verdict=Verdict.WRONG) for e in ("19", "19.0", "x = 19")]
    other = [sample(extracted=e, verdict=Verdict.WRONG) for e in ("a", "b", "c")]
    assert majority_of([*right, *other]) == (1.0, False)
    assert majority_of([*right, *wrong]) == (0.0, False)
    assert majority_of([*right, *wrong[:2], sample()]) == (0.5, True)
