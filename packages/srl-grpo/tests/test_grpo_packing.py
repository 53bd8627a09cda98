"""Packed rows against single ones: the layout by hand, then whole models, loss and gradient."""

import itertools
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import log_softmax
from transformers import AutoConfig, AutoModelForCausalLM

from srl_data.command.errors import CommandError
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.batch import MicroBatch, Sample, to_tensors
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.packing import Segment, example_row, first_fit, pack, packed_groups, visible
from srl_grpo.learner.packing_check import check_packing, check_scoring
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.sharding import Cutting, shard
from srl_grpo.learner.updater import SHARED_RATIO, UpdateOptions, Updater
from srl_grpo.objective.likelihood import ResponseLoss

LENGTHS = st.lists(st.integers(1, 12), max_size=20)


def test_two_examples_in_a_row_by_hand():
    rows = pack([example_row([((5, 6), (7, 8)), ((9,), (0,))]), example_row([((4,), (3,))])], 1)
    assert rows.ids_BT.tolist() == [[5, 6, 7, 8, 9, 0], [4, 3, 1, 1, 1, 1]]
    assert rows.positions_BT.tolist() == [[0, 1, 2, 3, 0, 1], [0, 1, 0, 0, 0, 0]]
    assert rows.segments_BT.tolist() == [[1, 1, 2, 2, 3, 4], [1, 2, 0, 0, 0, 0]]
    assert rows.predictors_N.tolist() == [1, 2, 4, 6]
    assert rows.targets_N.tolist() == [7, 8, 0, 3]
    seen_BTT = visible(rows.segments_BT, rows.sees_BSS, rows.positions_BT)
    assert seen_BTT[0].int().tolist() == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 1, 1],
    ]
    assert seen_BTT[1, 2:, :2].sum() == 0
    assert seen_BTT[1].diagonal().all()


def test_a_window_counts_positions_of_a_text_and_itself():
    rows = pack([example_row([((5, 6), (7, 8)), ((9,), (0,))])], 1)
    seen_BTT = visible(rows.segments_BT, rows.sees_BSS, rows.positions_BT, window=2)
    assert seen_BTT[0].int().sum(-1).tolist() == [1, 2, 2, 2, 1, 2]


def test_branches_continue_their_prompt_and_do_not_see_each_other():
    row = [
        Segment((5, 6)),
        Segment((7, 8), 0, True),
        Segment((9,), 0, True),
        Segment((3,), 1, True),
    ]
    rows = pack([row], 1)
    assert rows.positions_BT.tolist() == [[0, 1, 2, 3, 2, 4]]
    assert rows.predictors_N.tolist() == [1, 2, 1, 3]
    assert rows.targets_N.tolist() == [7, 8, 9, 3]
    seen_BTT = visible(rows.segments_BT, rows.sees_BSS, rows.positions_BT)
    assert seen_BTT[0, 4].int().tolist() == [1, 1, 0, 0, 1, 0]
    assert seen_BTT[0, 5].int().tolist() == [1, 1, 1, 1, 0, 1]


@given(LENGTHS, st.integers(1, 30))
def test_packed_groups_hold_every_example_once_within_the_budget(lengths, budget):
    groups = packed_groups(lengths, budget)
    assert sorted(itertools.chain.from_iterable(groups)) == list(range(len(lengths)))
    for group in groups:
        own = [lengths[index] for index in group]
        rows = first_fit(own, max(own))
        assert all(sum(own[place] for place in row) <= max(own) for row in rows)
        assert len(rows) == 1 or len(rows) * max(own) <= budget


@given(LENGTHS, st.integers(1, 12))
def test_no_two_rows_could_be_one(lengths, width):
    rows = first_fit([min(length, width) for length in lengths], width)
    loads = [sum(min(lengths[index], width) for index in row) for row in rows]
    assert all(x + y > width for x, y in itertools.combinations(loads, 2))


@given(st.lists(st.builds(Sample, *[st.lists(st.integers(2, 9), min_size=1).map(tuple)] * 2)))
def test_a_packed_batch_has_the_columns_of_the_samples_that_lie_in_it(samples):
    samples = [replace(s, advantage=float(n)) for n, s in enumerate(samples)]
    batch = to_tensors(samples, range(len(samples)), 1, "cpu", packing=True)
    parts = batch.split(batch.columns["advantage"])
    targets = batch.split(batch.targets_N)
    assert sorted(batch.rows) == list(range(len(samples)))
    for row, part, ids in zip(batch.rows, parts, targets, strict=True):
        assert part == (float(row),) * len(samples[row].completion_ids)
        assert ids == samples[row].completion_ids


@given(LENGTHS, st.integers(1, 30), st.integers(1, 4))
def test_ranks_have_equal_numbers_of_packed_micro_batches(lengths, budget, ranks):
    samples = [Sample((5,) * length, (0,)) for length in lengths]
    cutting = Cutting(budget, packing=True)
    shards = [shard(samples, cutting, rank, ranks) for rank in range(ranks)]
    assert len({len(groups) for groups in shards}) == 1
    assert sorted(row for groups in shards for group in groups for row in group) == list(
        range(len(samples))
    )


BASE = {
    "vocab_size": 41,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 64,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
MIXED = {"sliding_window": 5, "layer_types": ["sliding_attention", "full_attention"]}
SHAPES = {
    "llama": {},
    "qwen2": {},
    "qwen2 with windows": MIXED | {"use_sliding_window": True, "max_window_layers": 1},
    "qwen3": {},
    "gemma": {},
    "gemma2": MIXED | {"final_logit_softcapping": None, "query_pre_attn_scalar": 8},
    "gemma3_text": MIXED,
    "gemma3_text sliding alone": {"sliding_window": 5, "layer_types": ["sliding_attention"] * 2},
    "mistral": {"sliding_window": 5},
    "gpt2": {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64}
    | dict.fromkeys(["attn_pdrop", "embd_pdrop", "resid_pdrop"], 0.0),
}
EXAMPLES = [
    ((5, 6, 7, 11, 12), (8, 9, 30, 31, 32, 33, 0)),
    ((14,), (0,)),
    ((15, 3, 2, 9), (16, 17, 18, 19, 0)),
    ((4, 4), (11, 0)),
    ((9, 2, 6), (3, 21, 0)),
    ((9,), (13, 0)),
]
"""Rows of up to twelve tokens: more than a window of five takes."""


def model_of(shape, attention="sdpa", dtype=torch.float32, **changes):
    config = AutoConfig.for_model(shape.split()[0], **(BASE | SHAPES[shape] | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
        for parameter in model.parameters():  # GPT-2's biases and norms begin neutral
            parameter.data += 0.05 * torch.randn_like(parameter)
    return model.to(dtype)


def single_rows(model):
    """Plain transformers, one example at a time: log-probabilities, and the loss's gradients."""
    found = []
    for prompt, response in EXAMPLES:
        logits = model(input_ids=torch.tensor([[*prompt, *response]]), use_cache=False).logits
        table = log_softmax(logits[0].float(), -1)[len(prompt) - 1 : -1]
        found.append(table.gather(1, torch.tensor(response)[:, None])[:, 0])
    logprobs = torch.cat(found)
    (-logprobs.mean()).backward()
    return logprobs.detach(), gradients_of(model)


def gradients_of(model):
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


def packed_rows(model):
    samples = [Sample(*pair) for pair in EXAMPLES]
    batch = to_tensors(samples, range(len(samples)), 1, "cpu", packing=True)
    assert batch.input_ids_BT.shape[0] < len(samples)
    values, _ = Policy(model)(batch)
    (-values.mean()).backward()
    parts = dict(zip(batch.rows, values.detach().split(list(batch.lengths)), strict=True))
    return torch.cat([parts[row] for row in range(len(samples))]), gradients_of(model)


def furthest(found, expected):
    """The greatest relative distance of a parameter's gradient, over all parameters."""
    assert found.keys() == expected.keys()
    return max(float((found[n] - g).norm() / g.norm()) for n, g in expected.items())


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
def test_packed_rows_have_the_loss_and_the_gradient_of_single_ones(shape, attention, tied):
    logprobs, gradients = single_rows(model_of(shape, attention, tie_word_embeddings=tied))
    model = model_of(shape, attention, tie_word_embeddings=tied)
    found, found_gradients = packed_rows(model)
    torch.testing.assert_close(found, logprobs, rtol=1e-5, atol=1e-5)
    assert furthest(found_gradients, gradients) < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", SHAPES)
def test_branches_of_a_prompt_have_the_loss_and_the_gradient_of_single_rows(shape, attention):
    prompt, *branches = (5, 6, 7, 2, 9, 4), (8, 9, 30, 31, 0), (0,), (8, 22, 33, 34, 35, 36, 0)
    model = model_of(shape, attention)
    alone = MicroBatch.of_rows([(prompt, branch) for branch in branches], pad_id=1)
    logprobs, _ = Policy(model)(alone)
    (-logprobs.mean()).backward()
    gradients = gradients_of(model)
    model = model_of(shape, attention)
    row = [Segment(prompt), *[Segment(branch, 0, trained=True) for branch in branches]]
    found, _ = Policy(model)(MicroBatch.packed([row], pad_id=1))
    (-found.mean()).backward()
    torch.testing.assert_close(found, logprobs, rtol=1e-5, atol=1e-5)
    assert furthest(gradients_of(model), gradients) < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("shape", ["qwen2", "gemma3_text", "gpt2"])
def test_packed_rows_are_exact_with_gradient_checkpointing(shape, attention):
    _, gradients = single_rows(model_of(shape, attention))
    model = model_of(shape, attention)
    model.gradient_checkpointing_enable({"use_reentrant": False})
    _, found = packed_rows(model.train())
    assert furthest(found, gradients) < 1e-5


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_check_at_a_runs_start_lets_exact_models_pass(shape, dtype, attention):
    model = model_of(shape, attention, dtype)
    window = getattr(model.config, "sliding_window", None)
    check_packing(Policy(model))
    assert getattr(model.config, "sliding_window", None) == window


def test_a_model_that_does_not_keep_examples_apart_is_refused_by_name():
    alibi = AutoConfig.for_model("bloom", vocab_size=41, n_layer=2, n_head=4, hidden_size=32)
    with pytest.raises(CommandError, match=r"BloomForCausalLM .*leave --packing out"):
        check_packing(Policy(AutoModelForCausalLM.from_config(alibi).eval()))


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_mask_that_lets_examples_see_each_other_is_found(monkeypatch, dtype, attention):
    def all_seen(segments_BT, sees_BSS, positions_BT, window=None):
        return visible(torch.ones_like(segments_BT), sees_BSS, positions_BT, window)

    monkeypatch.setattr("srl_grpo.learner.attention.visible", all_seen)
    with pytest.raises(CommandError, match="does not keep packed examples apart"):
        check_packing(Policy(model_of("qwen3", attention, dtype)))


def test_a_run_refuses_to_pack_a_model_that_mixes_examples():
    alibi = AutoConfig.for_model("bloom", vocab_size=41, n_layer=2, n_head=4, hidden_size=32)
    policy = Policy(AutoModelForCausalLM.from_config(alibi).eval())
    check_scoring(policy, packing=False)
    with pytest.raises(CommandError, match="does not keep packed examples apart"):
        check_scoring(policy, packing=True)


@pytest.mark.parametrize("shape", ["gemma3_text", "mistral", "qwen2 with windows"])
def test_a_window_that_is_not_kept_is_found(monkeypatch, shape):
    monkeypatch.setattr(
        "srl_grpo.learner.attention.visible", lambda *rows: visible(*rows[:3], window=None)
    )
    with pytest.raises(CommandError, match="does not keep packed examples apart"):
        check_packing(Policy(model_of(shape)))


def test_an_attention_without_exact_packed_rows_is_refused_with_those_that_have_them():
    model = model_of("llama", "flex_attention")
    with pytest.raises(CommandError, match=r"'flex_attention': give --attention sdpa"):
        Policy(model)(to_tensors([Sample((5,), (0,))] * 2, [0, 1], 1, "cpu", packing=True))


@pytest.mark.parametrize("options", [{}, {"token_budget": 24}, {"micro_batches": 2}])
def test_an_update_packed_is_the_padded_one(tiny_model, world, options):
    def update(packing):
        engine = TrainingEngine(Policy(tiny_model()), EngineSection(), OptimizerSection(), world)
        settings = UpdateOptions(batch_size=len(EXAMPLES), packing=packing, **options)
        updater = Updater(engine, ResponseLoss(), settings, pad_id=1)
        samples = [Sample(*([t % 23 for t in ids] for ids in pair)) for pair in EXAMPLES]
        metrics = updater(samples, 0, 1e-3)
        metrics.pop(SHARED_RATIO)
        scores = updater.score(samples, engine)
        return metrics, scores, engine.model_state()

    (metrics, scores, weights), (found, found_scores, found_weights) = update(False), update(True)
    assert found == pytest.approx(metrics, rel=1e-5)
    for ours, theirs in zip(scores, found_scores, strict=True):
        assert theirs == pytest.approx(ours, rel=1e-5)
    for name, weight in weights.items():
        torch.testing.assert_close(found_weights[name], weight, rtol=0, atol=1e-5)


@pytest.mark.parametrize("packing", [False, True])
def test_outputs_are_the_same_with_a_column_of_padding_before_them(packing):
    policy = Policy(model_of("gpt2"))
    samples = [Sample(*pair) for pair in EXAMPLES]
    batch = to_tensors(samples, range(len(samples)), 1, "cpu", packing)
    expected, _ = policy(batch)
    found, _ = policy(batch.left_padded())
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)
