import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from srl_grpo.learner.batch import MicroBatch, Sample, to_tensors
from srl_grpo.learner.sharding import Cutting, length_groups, shard

IDS = st.lists(st.integers(2, 22), min_size=1, max_size=9).map(tuple)
SAMPLES = st.lists(st.builds(Sample, IDS, IDS), min_size=0, max_size=20)


def test_rows_by_hand():
    batch = MicroBatch.of_rows([([5, 6], [7, 8, 0]), ([9], [0])], pad_id=1)
    assert batch.input_ids_BT.tolist() == [[5, 6, 7, 8, 0], [9, 0, 1, 1, 1]]
    assert batch.attention_mask_BT.tolist() == [[1, 1, 1, 1, 1], [1, 1, 0, 0, 0]]
    assert batch.position_ids_BT.tolist()[0] == [0, 1, 2, 3, 4]
    assert batch.position_ids_BT.tolist()[1][:2] == [0, 1]
    assert batch.predictors_N.tolist() == [1, 2, 3, 5]
    assert batch.targets_N.tolist() == [7, 8, 0, 0]
    assert batch.lengths == (3, 1)


def test_no_rows_make_one_masked_row_without_targets():
    batch = MicroBatch.of_rows([], pad_id=1)
    assert batch.input_ids_BT.tolist() == [[1]]
    assert batch.attention_mask_BT.tolist() == [[1]]
    assert batch.predictors_N.shape == (0,)
    assert batch.targets_N.shape == (0,)
    assert batch.split(torch.zeros(0)) == []


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6))
def test_each_hidden_state_stands_one_before_its_target(rows):
    batch = MicroBatch.of_rows(rows, pad_id=1)
    following = batch.input_ids_BT.roll(-1, dims=1)
    assert following.flatten()[batch.predictors_N].tolist() == batch.targets_N.tolist()
    assert batch.targets_N.tolist() == [token for _, completion in rows for token in completion]


@given(st.lists(st.tuples(IDS, IDS), min_size=1, max_size=6))
def test_split_cuts_flat_values_back_into_rows(rows):
    parts = MicroBatch.of_rows(rows).split(MicroBatch.of_rows(rows).targets_N)
    assert parts == [tuple(float(token) for token in completion) for _, completion in rows]


def test_columns_are_flat_over_tokens_row_by_row():
    samples = [
        Sample((5,), (6, 0), advantage=1.5, weight=0.25, old_logprobs=(-1.0, -2.0)),
        Sample((5,), (0,), advantage=-1.0, weight=0.5, old_logprobs=(-3.0,)),
    ]
    batch = to_tensors(samples, [1, 0], pad_id=1, device="cpu")
    assert batch.rows == (1, 0)
    assert batch.targets_N.tolist() == [0, 6, 0]
    assert batch.columns["advantage"].tolist() == [-1.0, 1.5, 1.5]
    assert batch.columns["weight"].tolist() == [0.5, 0.25, 0.25]
    assert batch.columns["old_logprobs"].tolist() == [-3.0, -1.0, -2.0]
    assert batch.columns["sequence"].tolist() == [0, 1, 1]
    assert batch.columns.keys() == {*("advantage", "weight", "share", "old_logprobs", "sequence")}


def test_an_empty_micro_batch_has_the_columns_of_the_others():
    samples = [Sample((5,), (6, 0), old_logprobs=(-1.0, -2.0), reference_logprobs=(-1.0, -1.0))]
    full, empty = (to_tensors(samples, rows, 1, "cpu") for rows in ([0], []))
    assert full.columns.keys() == empty.columns.keys()
    assert all(column.shape == (0,) for column in empty.columns.values())


@given(SAMPLES, st.integers(1, 60), st.integers(1, 5))
def test_shards_cover_every_row_once_within_the_budget_in_equal_numbers(samples, budget, ranks):
    shards = [shard(samples, Cutting(budget), rank, ranks) for rank in range(ranks)]
    rows = sorted(row for groups in shards for group in groups for row in group)
    assert rows == list(range(len(samples)))
    assert len({len(groups) for groups in shards}) == 1
    for groups in shards:
        for group in groups:
            width = max((samples[row].length for row in group), default=0)
            assert len(group) <= 1 or len(group) * width <= budget
    assert any(group for groups in shards for group in groups[-1:]) or not samples


@given(SAMPLES, st.integers(1, 6), st.integers(1, 5), st.booleans())
def test_counted_shards_cover_every_row_once_in_groups_of_like_sizes(
    samples, count, ranks, packing
):
    shards = [
        shard(samples, Cutting(micro_batches=count, packing=packing), rank, ranks)
        for rank in range(ranks)
    ]
    rows = sorted(row for groups in shards for group in groups for row in group)
    assert rows == list(range(len(samples)))
    assert {len(groups) for groups in shards} == {min(count, -(-len(samples) // ranks))}
    for groups in shards:
        sizes = [len(group) for group in groups if group]
        assert max(sizes, default=0) - min(sizes, default=0) <= 1


@given(SAMPLES, st.integers(1, 5))
def test_ranks_hold_like_amounts_of_work(samples, ranks):
    counts = [sum(map(len, shard(samples, Cutting(30), rank, ranks))) for rank in range(ranks)]
    assert max(counts) - min(counts) <= 1
    loads = [
        sum(
            samples[row].length
            for group in shard(samples, Cutting(30), rank, ranks)
            for row in group
        )
        for rank in range(ranks)
    ]
    longest = max((sample.length for sample in samples), default=0)
    assert max(loads) - min(loads) <= longest


def test_groups_are_longest_first_and_fill_the_budget():
    lengths = [2, 6, 3, 3, 9, 2]
    samples = [Sample((5,) * (length - 1), (0,)) for length in lengths]
    # 9 alone (over a budget of 8), 6 alone, 3 + 3 in 2 rows of 3, then 2 + 2.
    assert length_groups(samples, 8) == [[4], [1], [2, 3], [0, 5]]


@pytest.mark.parametrize("ranks", [1, 2, 3])
def test_one_row_on_several_ranks_leaves_empty_micro_batches(ranks):
    shards = [shard([Sample((5,), (0,))], Cutting(10), rank, ranks) for rank in range(ranks)]
    assert shards == [[[0]]] + [[[]]] * (ranks - 1)
