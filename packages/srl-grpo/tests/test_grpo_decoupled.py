"""Several rewards, each normalised in its group before they are summed: GDPO, by value."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srl_data.command.config import validate
from srl_data.command.errors import ConfigError
from srl_eval.generate import Completion
from srl_grpo.config.train import TrainConfig
from srl_grpo.objective.decoupled import (
    decoupled_advantages,
    has_decoupled_signal,
    weighted_sum,
)
from srl_grpo.rollout.algorithm import Decoupled, GroupRelative, algorithm_of, samples_of
from srl_grpo.rollout.groups import Group, Scored, parts_of

EPS = 1e-4


def reference(parts, weights, eps=EPS, scale="group"):
    """The paper's three equations, completion by completion, in Python's own numbers."""
    groups, size = len(parts[0]), len(parts[0][0])
    total = [[0.0] * size for _ in range(groups)]
    for rows, weight in zip(parts, weights, strict=True):
        over = [value for row in rows for value in row if value is not None]
        for number, row in enumerate(rows):
            known = [value for value in row if value is not None]
            if not known or max(known) - min(known) <= 1e-9 * max(map(abs, known)):
                continue
            mean = math.fsum(known) / len(known)
            chosen = known if scale == "group" else over
            deviation = float(np.std(chosen, ddof=1)) + eps if scale != "none" else 1.0
            for place, value in enumerate(row):
                if value is not None:
                    total[number][place] += weight * (value - mean) / deviation
    if scale == "none":
        return total
    flat = list(itertools.chain(*total))
    mean, deviation = math.fsum(flat) / len(flat), float(np.std(flat, ddof=1)) + eps
    return [[(value - mean) / deviation for value in row] for row in total]


def tensors(parts, weights):
    rows = [[[math.nan if v is None else v for v in row] for row in rows] for rows in parts]
    as_64 = torch.float64
    return torch.tensor(rows, dtype=as_64), torch.tensor(weights, dtype=as_64)


values = st.integers(-8, 8).map(lambda n: n / 8)
batches = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(2, 5)).flatmap(
    lambda shape: st.tuples(
        st.lists(
            st.lists(
                st.lists(st.none() | values, min_size=shape[2], max_size=shape[2]),
                min_size=shape[1],
                max_size=shape[1],
            ),
            min_size=shape[0],
            max_size=shape[0],
        ),
        st.lists(values, min_size=shape[0], max_size=shape[0]),
    )
)


@given(batches, st.sampled_from(["group", "none"]))
def test_advantages_equal_the_paper_s_equations(drawn, scale):
    parts, weights = drawn
    found = decoupled_advantages(*tensors(parts, weights), EPS, scale)
    expected = reference(parts, weights, scale=scale)
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-9)


def test_decoupled_advantages_by_hand():
    # Right and short: (1, 1), (1, 0), (0, 1), (0, 0). Summed first, the middle two are alike.
    parts = [[[1.0, 1.0, 0.0, 0.0]], [[1.0, 0.0, 1.0, 0.0]]]
    found = decoupled_advantages(*tensors(parts, [2.0, 1.0]), 0.0)
    deviation = math.sqrt(1 / 3)
    sums = [(2 * a + b) * 0.5 / deviation for a, b in ((1, 1), (1, -1), (-1, 1), (-1, -1))]
    expected = np.array(sums) / np.std(sums, ddof=1)
    assert found[0].tolist() == pytest.approx(expected.tolist(), abs=1e-12)


def test_by_the_batch_each_reward_is_divided_by_its_deviation_over_all_groups():
    parts = [[[0.0, 1.0], [5.0, 7.0]], [[0.5, 0.0], [0.0, 0.25]]]
    found = decoupled_advantages(*tensors(parts, [1.0, 0.5]), EPS, "batch")
    expected = reference(parts, [1.0, 0.5], scale="batch")
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-12)


def test_a_reward_s_unit_counts_for_nothing_but_its_weight():
    small, large = [[[0.0, 1.0, 0.0]]], [[[0.0, 1000.0, 0.0]]]
    other = [[[1.0, 0.0, 0.0]]]
    one = decoupled_advantages(*tensors(small + other, [1.0, 1.0]), 1e-12)
    two = decoupled_advantages(*tensors(large + other, [1.0, 1.0]), 1e-12)
    np.testing.assert_allclose(one.numpy(), two.numpy(), rtol=1e-9)
    heavier = decoupled_advantages(*tensors(small + other, [2.0, 1.0]), 1e-12)
    assert heavier[0, 1] > one[0, 1]


@pytest.mark.parametrize(
    ("first", "second", "weights", "use"),
    [
        ([0.0, 1.0], [0.5, 0.5], [1.0, 1.0], True),
        ([1.0, 1.0], [0.5, 0.5], [1.0, 1.0], False),  # all flat
        ([1.0, 1.0], [0.1 + 0.2, 0.3], [1.0, 1.0], False),  # flat by value
        ([0.0, 1.0], [0.5, 0.5], [0.0, 1.0], False),  # what differs weighs nothing
        ([0.0, 1.0], [1.0, 0.0], [1.0, 1.0], False),  # they cancel
        ([0.0, 1.0], [0.3, 0.0], [1.0, 1.0], False),  # in any units
        ([0.0, 1.0], [1.0, 0.0], [2.0, 1.0], True),
        ([0.0, 1e-5], [0.5, 0.5], [1.0, 1.0], False),  # below eps_std, in its own unit
        ([0.0, 1e-5], [0.0, 0.5], [1.0, 1.0], True),
        ([None, None], [0.5, 0.5], [1.0, 1.0], False),
        ([None, 1.0], [0.5, 0.5], [1.0, 1.0], False),
        ([None, 1.0], [0.0, 0.5], [1.0, 1.0], True),
    ],
)
def test_a_group_has_a_signal_where_some_reward_differs_and_they_do_not_cancel(
    first, second, weights, use
):
    found = has_decoupled_signal(*tensors([[first], [second]], weights), 1e-4)
    assert found.tolist() == [use]
    assert (
        decoupled_advantages(*tensors([[first], [second]], weights), EPS, eps_std=1e-4)
        .abs()
        .max()
        .item()
        > 1e-6
    ) == use or not use


def test_rewards_cancel_in_the_unit_that_they_are_summed_in():
    parts = tensors([[[0.0, 1.0]], [[0.3, 0.0]]], [1.0, 1.0])
    assert has_decoupled_signal(*parts, 1e-4, "group").tolist() == [False]
    assert has_decoupled_signal(*parts, 1e-4, "none").tolist() == [True]
    assert has_decoupled_signal(*parts, 1e-4, "batch").tolist() == [True]
    equal = tensors([[[0.0, 1.0]], [[1.0, 0.0]]], [0.3, 0.3])
    assert has_decoupled_signal(*equal, 1e-4, "none").tolist() == [False]


@given(batches)
def test_a_flat_reward_never_decides_and_a_group_without_a_signal_is_level(drawn):
    parts, weights = drawn
    rewards_KBG, weights_K = tensors(parts, weights)
    found = decoupled_advantages(rewards_KBG, weights_K, EPS)
    assert found.isfinite().all()
    use_B = has_decoupled_signal(rewards_KBG, weights_K, 0.0)
    sums_BG = weighted_sum(rewards_KBG, weights_K, EPS, "group", 0.0)
    assert (sums_BG[~use_B].abs() < 1e-2).all()  # what eps leaves of rewards that cancel
    noisy = rewards_KBG + 1e-13 * torch.rand(rewards_KBG.shape, dtype=torch.float64)
    again = decoupled_advantages(noisy, weights_K, EPS)
    assert torch.allclose(found, again, atol=1e-6)


def group(index, rows):
    members = tuple(
        Scored(Completion((7, 0), (-1.0, -1.0), "stop", 0), "", 0.0, rewards={"a": a, "b": b})
        for a, b in rows
    )
    return Group(index, (5,), members)


GROUPS = [
    group(0, [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)]),
    group(1, [(1.0, None), (0.0, 0.5), (0.0, 0.25)]),
]


def test_the_algorithm_takes_each_reward_unweighted_and_weighs_what_is_normalised():
    parts = parts_of(GROUPS)
    assert parts.dtype is torch.float64
    assert parts.shape == (2, 2, 3)
    assert parts[1, 1].isnan().tolist() == [True, False, False]
    algorithm = Decoupled((2.0, 0.5), 3)
    plain = [[[1.0, 0.0, 1.0], [1.0, 0.0, 0.0]], [[0.0, 1.0, 1.0], [None, 0.5, 0.25]]]
    expected = reference(plain, [2.0, 0.5])
    np.testing.assert_allclose(algorithm.advantages(GROUPS), expected, rtol=1e-9)
    samples = samples_of(GROUPS, algorithm)
    assert [sample.advantage for sample in samples] == list(
        itertools.chain(*algorithm.advantages(GROUPS))
    )
    flat = group(2, [(1.0, 0.5)] * 3)
    assert algorithm.usable([*GROUPS, flat]) == [True, True, False]
    assert algorithm.usable([]) == algorithm.advantages([]) == []


DECOUPLED = {"aggregation": "normalize_then_sum"}


def config(**sections):
    base = {
        "model": {"build": {"max_positions": 4096}},
        "synthetic": {},
        "reward": {"reward": ["step", "format"]},
    }
    return validate(base | sections, TrainConfig, "train")


def test_the_option_chooses_the_algorithm():
    summed = algorithm_of(config())
    assert isinstance(summed, GroupRelative)
    reward = {"reward": ["step", "format"], "reward_weights": [1, 0.5]}
    decoupled = algorithm_of(
        config(
            reward=reward,
            rollout={"group_size": 3, "eps_std": 0.2},
            algorithm={**DECOUPLED, "advantage_eps": 0.01, "advantage_scale": "none"},
        )
    )
    assert decoupled == Decoupled((1.0, 0.5), 3, 0.2, 0.01, "none")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"reward": {"reward": "step"}}, "and step is the only one; give another --reward"),
        ({"algorithm": {"baseline": "none"}}, "there is no baseline"),
        ({"algorithm": {"beta": 0.1, "kl_in_reward": True}}, "what --kl-in-reward takes off"),
        ({"algorithm": {"overlong_buffer": 8}}, "what --overlong-buffer takes off"),
    ],
)
def test_what_it_cannot_go_with_is_refused(sections, message):
    algorithm = DECOUPLED | sections.get("algorithm", {})
    with pytest.raises(ConfigError) as caught:
        config(**{**sections, "algorithm": algorithm})
    assert message in str(caught.value)
