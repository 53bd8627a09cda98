import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.data.sampler import PromptSampler
from srl_grpo.learner.schedule import learning_rate
from srl_grpo.rollout.engines import round_seeds

SIZES, SEEDS = st.integers(1, 30), st.integers(0, 2**32)


@given(SIZES, SEEDS)
def test_each_epoch_is_a_permutation(size, seed):
    sampler = PromptSampler(size, seed)
    for _ in range(3):
        assert sorted(sampler.draw(size)) == list(range(size))
    assert sampler.epoch == 3.0


def test_epochs_and_seeds_differ():
    sampler = PromptSampler(100, 1)
    first, second = sampler.draw(100), sampler.draw(100)
    assert first != second
    assert PromptSampler(100, 2).draw(100) != first
    assert PromptSampler(100, 1).draw(100) == first


@given(SIZES, SEEDS, st.lists(st.integers(0, 40), max_size=6), st.integers(0, 40))
def test_a_resumed_sampler_draws_what_the_unbroken_one_would(size, seed, counts, after):
    unbroken = PromptSampler(size, seed)
    drawn = [index for count in counts for index in unbroken.draw(count)]
    resumed = PromptSampler(size, seed, position=unbroken.position)
    assert resumed.draw(after) == unbroken.draw(after)
    assert PromptSampler(size, seed).draw(sum(counts)) == drawn


def test_the_order_of_a_seed_is_pinned():
    # A change here changes which prompts every resumed run draws.
    assert PromptSampler(8, 42).draw(16) == [0, 4, 6, 3, 2, 1, 5, 7, 5, 6, 1, 4, 2, 7, 0, 3]


def test_seeds_of_a_round_are_distinct_and_depend_on_step_and_round_alone():
    seeds = round_seeds(42, 3, 0, 5, 4)
    assert len(set(seeds)) == 20
    assert round_seeds(42, 3, 0, 2, 4) == seeds[:8]
    others = {
        *round_seeds(42, 3, 1, 5, 4),
        *round_seeds(42, 4, 0, 5, 4),
        *round_seeds(7, 3, 0, 5, 4),
    }
    assert len(others) == 60
    assert not others & set(seeds)


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]),
        ("linear", [0.5, 1.0, 1.0, 0.75, 0.5, 0.25]),
        ("cosine", [0.5, 1.0, 1.0, 0.8535534, 0.5, 0.1464466]),
    ],
)
def test_learning_rates_by_hand(schedule, expected):
    rates = [learning_rate(step, 2e-3, schedule, 2, 6) for step in range(6)]
    assert rates == pytest.approx([2e-3 * share for share in expected], rel=1e-6)


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_without_warmup_the_first_rate_is_the_peak_and_the_end_is_zero(schedule):
    assert learning_rate(0, 1e-6, schedule, 0, 10) == 1e-6
    assert learning_rate(10, 1e-6, schedule, 0, 10) == pytest.approx(0.0, abs=1e-20)


def test_warmup_as_long_as_the_run_only_rises():
    rates = [learning_rate(step, 1.0, "linear", 4, 4) for step in range(4)]
    assert rates == [0.25, 0.5, 0.75, 1.0]
