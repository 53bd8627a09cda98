"""How many prompts a round draws."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.rollout.algorithm import GroupRelative
from srl_grpo.rollout.groups import Selection
from srl_grpo.rollout.refill import KeepRate, prompts_for, round_size


def steady(rate, sampled=1000.0):
    return KeepRate(sampled=sampled, usable=rate * sampled)


def take(selection, groups):
    selection.add(groups, GroupRelative(eps_std=0.01).usable(groups))


@given(st.integers(1, 512), st.floats(0.001, 1.0), st.floats(0.0, 3.0))
def test_a_round_is_as_large_as_keeps_enough_rounded(missing, rate, margin):
    def likely(count):
        return count * rate - margin * math.sqrt(count * rate * (1 - rate))

    count = prompts_for(missing, rate, margin)
    assert count >= missing
    # The bound rises in n from where it is positive.
    assert likely(count + 0.5) >= missing - 1e-6
    assert count == missing or likely(count - 0.5) <= missing + 1e-6


@pytest.mark.parametrize(
    ("rate", "sizes"), [(1.0, (16, 1)), (0.99, (16, 1)), (0.8, (21, 2)), (0.5, (32, 3))]
)
def test_rounds_draw_what_is_missing_over_the_keep_rate(make_group, rate, sizes):
    empty = Selection(wanted=16)
    nearly = Selection(wanted=16)
    take(nearly, [make_group([0, 1])] * 15)
    found = (round_size(empty, steady(rate), 8), round_size(nearly, steady(rate), 8))
    assert found == sizes


def test_a_fresh_run_draws_a_plain_batch_then_learns_from_its_own_rounds(make_group):
    good, flat = make_group([0, 1]), make_group([1, 1])
    selection = Selection(wanted=16)
    assert round_size(selection, KeepRate(), 8) == 16
    take(selection, [good] * 12 + [flat] * 4)
    assert KeepRate().of(selection) == 13 / 17
    assert round_size(selection, KeepRate(), 8) == prompts_for(4, 13 / 17) == 6
    take(selection, [good] * 6)
    assert (round_size(selection, KeepRate(), 8), selection.surplus) == (0, 2)


def test_the_rate_counts_surplus_groups_and_forgets_old_steps(make_group):
    selection = Selection(wanted=1)
    take(selection, [make_group([0, 1])] * 3 + [make_group([1, 1])])
    rate = KeepRate(sampled=10.0, usable=5.0)
    assert rate.of(selection) == (5 + 3 + 1) / (10 + 4 + 1)
    assert rate.after(selection) == KeepRate(sampled=0.9 * 14, usable=0.9 * 8)


def test_without_any_signal_all_rounds_together_draw_no_more_than_they_used_to(make_group):
    selection, sizes = Selection(wanted=4), []
    while count := round_size(selection, KeepRate(), 8):
        sizes.append(count)
        take(selection, [make_group([1, 1])] * count)
    assert sizes == [4, 8, 8, 8, 4]


def test_the_number_of_rounds_is_bounded_too(make_group):
    selection = Selection(wanted=4)
    take(selection, [make_group([0, 1])] * 3)
    take(selection, [make_group([1, 1])])
    assert round_size(selection, steady(1.0), 2) == 0
    assert round_size(selection, steady(1.0), 3) > 0


def test_a_state_survives_its_json(make_group):
    selection = Selection(wanted=4)
    take(selection, [make_group([0, 1])] * 3 + [make_group([1, 1])] * 4)
    rate = KeepRate(sampled=math.pi, usable=math.e).after(selection)
    assert KeepRate.model_validate_json(rate.model_dump_json()) == rate
