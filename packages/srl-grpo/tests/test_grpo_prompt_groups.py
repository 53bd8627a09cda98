"""Which samples are computed together: all of them once, within the budget, prompts whole."""

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.learner.batch import Sample
from srl_grpo.learner.prompt_groups import (
    Group,
    Sharing,
    Work,
    balanced,
    by_prompt,
    longest_load,
    saved,
    whole_groups,
)
from srl_grpo.learner.trie import trie_of

IDS = st.integers(0, 2)
SAMPLES = st.lists(
    st.builds(
        Sample,
        st.lists(IDS, min_size=1, max_size=5).map(tuple),
        st.lists(IDS, max_size=9).map(tuple),
    ),
    min_size=1,
    max_size=14,
)


def tokens(samples, rows):
    return len(trie_of([(samples[r].prompt_ids, samples[r].completion_ids) for r in rows]).ids)


def batch(prompts, group, prompt=10, completion=20):
    return [
        Sample((prompts + p, *range(prompt - 1)), (100 * p + g, *[1] * (completion - 1)), group=p)
        for p in range(prompts)
        for g in range(group)
    ]


def shards(samples, sharing, budget, count, ranks):
    return [sharing.shard(samples, budget, count, rank, ranks) for rank in range(ranks)]


@given(SAMPLES)
def test_a_group_counts_the_tokens_and_pairs_of_its_tree(samples):
    rows = list(range(len(samples)))
    group = Group.of(samples, rows)
    tree = trie_of([(s.prompt_ids, s.completion_ids) for s in samples])
    assert sorted(group.rows) == rows
    assert group.tokens == len(tree.ids)
    assert group.pairs == sum(position + 1 for position in tree.positions)


@given(
    SAMPLES,
    st.integers(1, 40),
    st.sampled_from([None, 1, 2, 3]),
    st.integers(1, 4),
    st.sampled_from([None, 8, 30]),
)
def test_every_sample_is_trained_once_and_ranks_have_equal_numbers(
    samples, budget, count, ranks, comfortable
):
    found = shards(samples, Sharing(comfortable, work=Work(0.1, 2.0)), budget, count, ranks)
    assert len({len(own) for own in found}) == 1
    rows = [row for own in found for part in own for row in part]
    assert sorted(rows) == list(range(len(samples)))
    if count is not None:
        assert len(found[0]) <= count
        return
    for part in itertools.chain.from_iterable(found):
        longest = max((samples[row].length for row in part), default=0)
        assert tokens(samples, part) <= max(budget, longest)


@given(SAMPLES, st.integers(1, 3))
def test_within_the_budget_a_prompt_stands_on_one_rank_unless_work_is_shared_better(samples, ranks):
    found = shards(samples, Sharing(), 10**6, None, ranks)
    groups = [Group.of(samples, rows) for rows in by_prompt(samples)]
    costs = [Sharing().cost(samples, group) for group in groups]
    places = [{samples[r].prompt_ids for part in own for r in part} for own in found]
    parted = any(a & b for a, b in itertools.combinations(places, 2))
    loads = [sum(tokens(samples, [r]) for part in own for r in part) for own in found]
    assert not parted or max(loads) <= sum(s.length for s in samples)
    if ranks == 1:
        assert not parted
        assert [len(own) for own in found] == [1]
    assert longest_load(costs, ranks) >= max(costs)


def test_four_prompts_on_two_ranks_stay_whole_and_one_on_two_is_halved():
    four = shards(batch(4, 8), Sharing(), 10**6, None, 2)
    assert [sorted(len({r // 8 for r in part}) for part in own) for own in four] == [[2], [2]]
    one = shards(batch(1, 8), Sharing(), 10**6, None, 2)
    assert [[len(part) for part in own] for own in one] == [[4], [4]]


def test_a_prompt_that_is_most_of_the_work_is_not_computed_twice():
    found = shards(batch(1, 8, prompt=1000, completion=2), Sharing(), 10**6, None, 2)
    assert [[len(part) for part in own] for own in found] == [[8], [0]]


def test_long_texts_weigh_more_than_their_tokens():
    samples = [Sample((n,), (5,) * length) for n, length in enumerate((400, 100, 100, 100, 100))]
    (heavy, *_), rest = (
        [row for part in own for row in part]
        for own in shards(samples, Sharing(work=Work(per_pair=1.0)), 10**6, None, 2)
    )
    assert heavy == 0
    assert sorted(rest) == [1, 2, 3, 4]


def test_a_tree_over_the_budget_is_cut_into_parts_that_repeat_the_prompt():
    samples = batch(1, 8)
    (found,) = shards(samples, Sharing(), 60, None, 1)
    assert sorted(len(part) for part in found) == [2, 2, 2, 2]
    assert {tokens(samples, part) for part in found} == {10 + 2 * 20}


def test_a_large_tree_is_cut_to_a_comfortable_size_where_that_repeats_little():
    little = batch(1, 8, prompt=4, completion=100)
    (found,) = shards(little, Sharing(250), 10**6, None, 1)
    assert [len(part) for part in found] == [2, 2, 2, 2]
    much = batch(1, 8, prompt=400, completion=10)
    (found,) = shards(much, Sharing(250), 10**6, None, 1)
    assert [len(part) for part in found] == [8]


def test_small_trees_are_put_together_up_to_a_comfortable_size():
    (found,) = shards(batch(6, 2), Sharing(105), 10**6, None, 1)
    assert sorted(len(part) for part in found) == [4, 4, 4]
    (found,) = shards(batch(6, 2), Sharing(105), 40, None, 1)
    assert max(tokens(batch(6, 2), part) for part in found) <= 40


def test_prompts_with_a_long_common_beginning_share_a_tree_beyond_that():
    samples = [Sample((*range(300), p), (p, g), group=p) for p in range(4) for g in range(2)]
    (found,) = shards(samples, Sharing(100), 10**6, None, 1)
    assert [len(part) for part in found] == [8]


def test_so_many_micro_batches_as_asked_for():
    (found,) = shards(batch(1, 8), Sharing(), 1, 4, 1)
    assert [len(part) for part in found] == [2, 2, 2, 2]


def test_a_text_longer_than_the_window_keeps_its_batch_out_of_trees():
    samples = batch(2, 2, prompt=10, completion=20)
    assert [Sharing(longest=n).takes(samples) for n in (29, 30, None)] == [False, True, True]


def test_a_tree_that_saves_less_than_it_is_worth_is_not_made():
    samples = batch(2, 4, prompt=10, completion=5)  # 8 prompts of 10, of which 6 are repeated
    assert saved(samples) == 60 / 120
    assert [Sharing(worth=n).takes(samples) for n in (0.0, 0.5, 0.51)] == [True, True, False]
    alone = batch(5, 1, prompt=10, completion=5)
    assert [Sharing(worth=n).takes(alone) for n in (0.0, 0.01)] == [True, False]
    assert saved([]) == 0.0


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 30), st.integers(0, 9))
def test_steps_hold_every_sample_once_and_are_as_few_as_the_size_allows(groups, size, seed):
    samples = [Sample((p,), (g,)) for p, count in enumerate(groups) for g in range(count)]
    steps = whole_groups(samples, size, np.random.default_rng(seed))
    assert len(steps) == -(-len(samples) // size)
    assert all(0 < len(step) <= size for step in steps)
    flat = [(s.prompt_ids, s.completion_ids) for step in steps for s in step]
    assert sorted(flat) == sorted((s.prompt_ids, s.completion_ids) for s in samples)


def test_steps_end_between_prompts():
    samples = batch(6, 4)
    for seed in range(20):
        steps = whole_groups(samples, 8, np.random.default_rng(seed))
        assert [len({s.group for s in step}) for step in steps] == [2, 2, 2]
        odd = whole_groups(batch(5, 4), 8, np.random.default_rng(seed))
        assert sorted(len(step) for step in odd) == [4, 8, 8]
    orders = {
        tuple(s.group for step in whole_groups(samples, 8, np.random.default_rng(n)) for s in step)
        for n in range(20)
    }
    assert len(orders) > 10


def test_a_prompt_is_parted_where_a_step_has_no_room_for_it():
    steps = whole_groups(batch(2, 8), 4, np.random.default_rng(0))
    assert [len(step) for step in steps] == [4, 4, 4, 4]


@given(st.lists(st.floats(0, 100), max_size=12), st.integers(1, 5))
def test_work_is_dealt_out_whole(costs, parts):
    found = balanced(costs, parts)
    assert sorted(itertools.chain.from_iterable(found)) == list(range(len(costs)))
    assert longest_load(costs, parts) <= sum(costs) / parts + max(costs, default=0) + 1e-6
