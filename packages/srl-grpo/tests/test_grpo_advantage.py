import itertools
import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.objective.advantage import group_advantages, has_signal

REWARDS = st.floats(-1, 1, width=32)
BATCHES = st.integers(2, 6).flatmap(
    lambda size: st.lists(st.lists(REWARDS, min_size=size, max_size=size), min_size=1, max_size=5)
)


def naive_advantages(rewards: list[list[float]], eps: float) -> list[list[float]]:
    result = []
    for row in rewards:
        mean = sum(row) / len(row)
        std = math.sqrt(sum((r - mean) ** 2 for r in row) / (len(row) - 1))
        result.append([(r - mean) / (std + eps) for r in row])
    return result


def test_two_rewards_differ_by_the_square_root_of_two_of_their_sample_deviation():
    found = group_advantages(torch.tensor([[0.0, 1.0]], dtype=torch.float64), eps=0.0)
    assert found.tolist() == [pytest.approx([-math.sqrt(0.5), math.sqrt(0.5)], abs=1e-15)]


def test_advantages_by_hand():
    # mean 0.5, squares 2.25 + 0.25 + 0.25 + 0.25 = 3, over G - 1 = 3: a deviation of exactly 1.
    rewards = torch.tensor([[-1.0, 1.0, 1.0, 1.0], [4.0, 4.0, 4.0, 4.0]], dtype=torch.float64)
    found = group_advantages(rewards, eps=0.5)
    assert found[0].tolist() == pytest.approx([-1.0, 1 / 3, 1 / 3, 1 / 3], abs=1e-12)
    assert found[1].tolist() == [0.0, 0.0, 0.0, 0.0]


def test_groups_are_normalised_by_their_own_statistics():
    together = torch.tensor([[0.0, 1.0, 0.5], [10.0, 30.0, 20.0]])
    alone = [group_advantages(together[i : i + 1])[0].tolist() for i in (0, 1)]
    assert group_advantages(together).tolist() == alone


@given(BATCHES, st.sampled_from([1e-6, 1e-4, 0.1]))
def test_advantages_equal_the_naive_formula(rewards, eps):
    found = group_advantages(torch.tensor(rewards, dtype=torch.float64), eps)
    np.testing.assert_allclose(found.numpy(), naive_advantages(rewards, eps), rtol=1e-6, atol=1e-9)


@given(BATCHES)
def test_advantages_equal_trls_formula(rewards):
    # trl.GRPOTrainer: rewards viewed as (-1, G), mean and std (torch's default) repeated, + 1e-4.
    flat = torch.tensor(rewards, dtype=torch.float64).flatten()
    size = len(rewards[0])
    mean = flat.view(-1, size).mean(dim=1).repeat_interleave(size, dim=0)
    std = flat.view(-1, size).std(dim=1).repeat_interleave(size, dim=0)
    expected = (flat - mean) / (std + 1e-4)
    found = group_advantages(torch.tensor(rewards, dtype=torch.float64))
    assert torch.equal(found.flatten(), expected)


@given(BATCHES)
def test_advantages_of_a_group_add_up_to_nothing_and_keep_its_order(rewards):
    found = group_advantages(torch.tensor(rewards, dtype=torch.float64))
    for row, advantages in zip(rewards, found.tolist(), strict=True):
        assert sum(advantages) == pytest.approx(0, abs=1e-6)
        for (low, _), (high, _) in pairwise(sorted(zip(advantages, row, strict=True))):
            assert low <= high
        order = sorted(range(len(row)), key=lambda i: row[i])
        assert all(advantages[a] <= advantages[b] for a, b in pairwise(order))


def test_signal_is_judged_by_the_population_deviation():
    # 0 and 1: population deviation 0.5 exactly, sample deviation 0.707.
    rewards = torch.tensor([[0.0, 1.0]])
    assert has_signal(rewards, 0.5).tolist() == [True]
    assert has_signal(rewards, 0.51).tolist() == [False]


def test_constant_groups_have_no_signal_even_at_threshold_zero():
    # 0.1 is not a binary fraction: a mean of seven of them may be off by a rounding.
    rewards = torch.tensor([[0.1] * 7, [0.1] * 6 + [0.2], [-1.0] * 7])
    assert has_signal(rewards, 0.0).tolist() == [False, True, False]


@pytest.mark.parametrize(
    "rewards",
    [
        [0.1 + 0.2, 0.3],
        [0.1 + 0.2 + 0.3, 0.3 + 0.2 + 0.1],
        [sum([0.1] * 10), 1.0],
        [0.7 * 3 * 1e6, 2.1 * 1e6],
        [-0.1 - 0.2, -0.3],
        [0.0, -0.0],
        [0.0, 0.0],
    ],
)
def test_rewards_that_are_equal_as_values_are_no_signal(rewards):
    rewards_BG = torch.tensor([rewards, rewards[::-1]], dtype=torch.float64)
    assert has_signal(rewards_BG, 0.0).tolist() == [False, False]


@pytest.mark.parametrize(
    "rewards", [[0.0, 1e-12], [1.0, 1.0 + 2e-9], [0.0, 1.0], [1e6, 1e6 + 0.01]]
)
def test_rewards_that_differ_as_values_are_a_signal(rewards):
    assert has_signal(torch.tensor([rewards], dtype=torch.float64), 0.0).tolist() == [True]


@pytest.mark.parametrize(
    ("rewards", "eps_std", "use"),
    [
        ([0.1, 0.3], 0.1, True),  # a deviation of 0.09999999999999999 by rounding
        ([0.1, 0.3], 0.1001, False),
        ([0.7, 0.9], 0.1, True),
        ([0.0, 1.0], 0.5, True),
        ([0.0, 100.0], 50.0, True),  # in the reward's own unit
        ([0.0, 100.0], 50.1, False),
        ([0.0, 0.0, 0.0, 1.0], math.sqrt(3) / 4, True),
    ],
)
def test_a_deviation_on_the_threshold_reaches_it_in_every_order(rewards, eps_std, use):
    orders = torch.tensor(list(itertools.permutations(rewards)), dtype=torch.float64)
    assert set(has_signal(orders, eps_std).tolist()) == {use}


@given(BATCHES, st.floats(0, 1), st.randoms())
def test_the_order_of_completions_decides_nothing(rewards, eps_std, random):
    rows = torch.tensor(rewards, dtype=torch.float64)
    order = random.sample(range(rows.shape[1]), rows.shape[1])
    assert has_signal(rows[:, order], eps_std).tolist() == has_signal(rows, eps_std).tolist()


@given(BATCHES, st.floats(0, 1))
def test_signal_equals_the_naive_test(rewards, eps_std):
    found = has_signal(torch.tensor(rewards, dtype=torch.float64), eps_std)
    for row, use in zip(rewards, found.tolist(), strict=True):
        deviation = float(np.std(np.array(row)))
        if abs(deviation - eps_std) > 1e-9:
            spread = max(row) - min(row) > 1e-9 * max(map(abs, row))
            assert use == (deviation >= eps_std and spread)
