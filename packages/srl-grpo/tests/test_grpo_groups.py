import math

import pytest

from srl_grpo.rollout.algorithm import GroupRelative, NoBaseline, samples_of
from srl_grpo.rollout.groups import Selection, completion_metrics


def take(selection, groups, eps_std=0.01):
    selection.add(groups, GroupRelative(eps_std=eps_std).usable(groups))


def test_rounds_refill_until_the_batch_is_full_and_the_surplus_is_counted(make_group):
    flat, first, second, third, fourth = (
        make_group(rewards) for rewards in ([1, 1], [0, 1], [0, 0.5], [-1, 1], [0.2, 0.4])
    )
    selection = Selection(wanted=3)
    take(selection, [flat, first, flat])
    assert (selection.kept, selection.full) == ([first], False)
    take(selection, [second, flat])
    assert (selection.kept, selection.full) == ([first, second], False)
    take(selection, [third, fourth, flat])
    assert [id(g) for g in selection.kept] == [id(first), id(second), id(third)]
    assert selection.full
    assert selection.metrics() == pytest.approx(
        {
            "frac_reward_zero_std": 0.5,
            "sampling/rounds": 3.0,
            "sampling/keep_rate": 4 / 8,
            "sampling/prompts_per_kept_group": 8 / 3,
            "sampling/tokens_per_kept_group": 8 * 4 / 3,
            "sampling/surplus_groups": 1.0,
            "sampling/starved": 0.0,
        }
    )


def test_a_starved_batch_says_so(make_group):
    selection = Selection(wanted=2)
    take(selection, [make_group([0, 0]), make_group([0, 1])])
    found = selection.metrics()
    assert found["sampling/starved"] == 1.0
    assert found["sampling/prompts_per_kept_group"] == 2.0
    assert found["sampling/surplus_groups"] == 0.0


def test_without_any_kept_group_costs_are_not_a_number(make_group):
    selection = Selection(wanted=1)
    take(selection, [make_group([0.1] * 7)])
    found = selection.metrics()
    assert selection.kept == []
    assert found["frac_reward_zero_std"] == 1.0
    assert math.isnan(found["sampling/tokens_per_kept_group"])


def test_small_differences_are_dropped_but_not_called_constant(make_group):
    selection = Selection(wanted=1)
    take(selection, [make_group([0.5, 0.6])], 0.1)  # population deviation 0.05
    assert selection.kept == []
    assert selection.metrics()["frac_reward_zero_std"] == 0.0


def test_advantages_of_groups_by_hand(make_group):
    groups = [make_group([-1, 1, 1, 1]), make_group([0.5, 0.5, 0.5, 0.5])]
    found = GroupRelative(advantage_eps=0.5).advantages(groups)
    assert found == [pytest.approx([-1.0, 1 / 3, 1 / 3, 1 / 3]), [0.0] * 4]
    assert GroupRelative().advantages([]) == []


def test_without_a_baseline_every_group_is_kept_and_the_reward_is_the_advantage(make_group):
    groups = [make_group([0.3]), make_group([-1]), make_group([0.3])]
    algorithm = NoBaseline()
    assert algorithm.usable(groups) == [True] * 3
    samples = samples_of(groups, algorithm)
    assert [sample.advantage for sample in samples] == [0.3, -1.0, 0.3]
    assert math.isnan(completion_metrics(groups)["reward_std"])


def test_a_sample_carries_its_group_and_the_version_of_its_weights(make_group):
    groups = [make_group([0, 1]), make_group([1, 0.5])]
    for version, group in enumerate(groups):
        for member in group.members:
            object.__setattr__(member.completion, "weights_version", 7 + version)
    found = [(s.group, s.weights_version) for s in samples_of(groups, GroupRelative())]
    assert found == [(0, 7), (0, 7), (1, 8), (1, 8)]


def test_completion_metrics_by_hand(make_group):
    good = make_group([1.0, 0.0], completions=[(7, 8, 0), (0,)], exact=True)
    bad = make_group([-1.0, -1.0], completions=[(7, 0), (7, 0)], reason="empty_action")
    assert completion_metrics([good, bad]) == pytest.approx(
        {
            "reward": -0.25,
            "train_reward_total": -0.25,
            "reward_std": math.sqrt(0.5) / 2,
            "reward/exact": 0.5,
            "reward/invalid": 0.5,
            "reward/invalid/empty_action": 0.5,
            "completions/mean_length": 2.0,
            "completions/max_length": 3.0,
            "completions/min_length": 1.0,
            "completions/clipped_ratio": 0.0,
        }
    )


def test_whole_numbers_are_rewards_too(make_group):
    selection = Selection(wanted=1)
    take(selection, [make_group([1, 1]), make_group([0, 1])], 0.5)
    assert [group.rewards for group in selection.kept] == [[0, 1]]
    assert selection.metrics()["frac_reward_zero_std"] == 0.5
