import math

import pytest

from srl_grpo.rollout.groups import Selection, advantages, completion_metrics


def test_rounds_refill_until_the_batch_is_full_and_the_surplus_is_counted(make_group):
    flat, first, second, third, fourth = (
        make_group(rewards) for rewards in ([1, 1], [0, 1], [0, 0.5], [-1, 1], [0.2, 0.4])
    )
    selection = Selection(wanted=3, eps_std=0.01)
    selection.add([flat, first, flat])
    assert (selection.kept, selection.full) == ([first], False)
    selection.add([second, flat])
    assert (selection.kept, selection.full) == ([first, second], False)
    selection.add([third, fourth, flat])
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
    selection = Selection(wanted=2, eps_std=0.01)
    selection.add([make_group([0, 0]), make_group([0, 1])])
    found = selection.metrics()
    assert found["sampling/starved"] == 1.0
    assert found["sampling/prompts_per_kept_group"] == 2.0
    assert found["sampling/surplus_groups"] == 0.0


def test_without_any_kept_group_costs_are_not_a_number(make_group):
    selection = Selection(wanted=1, eps_std=0.01)
    selection.add([make_group([0.1] * 7)])
    found = selection.metrics()
    assert selection.kept == []
    assert found["frac_reward_zero_std"] == 1.0
    assert math.isnan(found["sampling/tokens_per_kept_group"])


def test_small_differences_are_dropped_but_not_called_constant(make_group):
    selection = Selection(wanted=1, eps_std=0.1)
    selection.add([make_group([0.5, 0.6])])  # population deviation 0.05
    assert selection.kept == []
    assert selection.metrics()["frac_reward_zero_std"] == 0.0


def test_advantages_of_groups_by_hand(make_group):
    found = advantages([make_group([-1, 1, 1, 1]), make_group([0.5, 0.5, 0.5, 0.5])], eps=0.5)
    assert found == [pytest.approx([-1.0, 1 / 3, 1 / 3, 1 / 3]), [0.0] * 4]
    assert advantages([], eps=0.5) == []


def test_completion_metrics_by_hand(make_group):
    good = make_group([1.0, 0.0], completions=[(7, 8, 0), (0,)], exact=True)
    bad = make_group([-1.0, -1.0], completions=[(7, 0), (7, 0)], reason="empty_action")
    assert completion_metrics([good, bad]) == pytest.approx(
        {
            "reward": -0.25,
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
    selection = Selection(wanted=1, eps_std=0.5)
    selection.add([make_group([1, 1]), make_group([0, 1])])
    assert [group.rewards for group in selection.kept] == [[0, 1]]
    assert selection.metrics()["frac_reward_zero_std"] == 0.5
