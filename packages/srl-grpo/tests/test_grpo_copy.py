"""Under ZeRO-3 sampling is done by a copy: it must be the trained model, buffers and all."""

import pytest
import torch
from transformers import DeepseekV3Config, DeepseekV3ForCausalLM

from srl_data.prompt_record import PromptRecord
from srl_eval.generate import Sampling
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import cast_parameters
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.rollout.engines import transformers_rollout
from srl_grpo.rollout.groups import Group, Scored
from srl_grpo.run.checkpoint import TrainerState, save_checkpoint
from srl_grpo.toy.model import character_tokenizer

BIAS = "model.layers.1.mlp.gate.e_score_correction_bias"
PROMPTS = [(5, 6, 7), (9,), (11, 12)]
GAP = "sampling/logprob_difference"


def deepseek():
    """A mixture of experts whose router's scores are corrected by a saved buffer."""
    config = DeepseekV3Config(
        vocab_size=23,
        hidden_size=16,
        intermediate_size=24,
        moe_intermediate_size=8,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        n_shared_experts=1,
        n_routed_experts=4,
        num_experts_per_tok=2,
        n_group=1,
        topk_group=1,
        first_k_dense_replace=1,
        kv_lora_rank=4,
        q_lora_rank=4,
        qk_rope_head_dim=4,
        qk_nope_head_dim=4,
        v_head_dim=4,
        max_position_embeddings=64,
        initializer_range=0.3,
        bos_token_id=None,
        eos_token_id=0,
        pad_token_id=1,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = DeepseekV3ForCausalLM(config)
    model.get_buffer(BIAS).copy_(torch.tensor([0.9, -0.9, 0.5, -0.5]))
    return model


@pytest.fixture
def corrected():
    return deepseek()


@pytest.fixture
def stretched(tiny_model):
    """A model whose rotary frequencies, a buffer that is not saved, have been changed."""
    model = tiny_model()
    model.model.rotary_emb.inv_freq.mul_(0.25)
    return model


@pytest.fixture
def tied(tiny_model):
    return tiny_model()


@pytest.fixture
def untied(tiny_model):
    return tiny_model(tie_word_embeddings=False)


def zero_3(model, world):
    options = {"zero_optimization": {"stage3_param_persistence_threshold": 0}}
    return TrainingEngine(
        Policy(model), EngineSection(zero_stage=3, deepspeed=options), OptimizerSection(), world
    )


def step(engine, rollout, world, number):
    """A rollout batch of the engine's own samples, and an update from it."""
    sampling = Sampling(max_new_tokens=12, stop_token_ids=(0,))
    rows = [prompt for prompt in PROMPTS for _ in range(4)]
    seeds = list(range(100 * number, 100 * number + len(rows)))
    drawn = rollout.engine.generate(rows, sampling, seeds)
    groups = [
        Group(n, prompt, tuple(Scored(c, "", float(r)) for r, c in enumerate(drawn[4 * n :][:4])))
        for n, prompt in enumerate(PROMPTS)
    ]
    # The gap is what these tests look at: no limit on it ends them.
    options = UpdateOptions(batch_size=64, token_budget=64, max_logprob_difference=0.0)
    updater = Updater(engine, PolicyLoss(), options, 1)
    metrics = updater(samples_of(groups, GroupRelative()), number, 1e-2)
    rollout.sync_weights()
    return metrics


@pytest.mark.parametrize("name", ["corrected", "stretched", "tied", "untied"])
def test_the_copy_samples_as_the_policy_scores(request, world, name):
    engine = zero_3(request.getfixturevalue(name), world)
    rollout = transformers_rollout(engine, pad_id=1, chunk_size=12)
    rollout.sync_weights()
    gaps = [step(engine, rollout, world, number)[GAP] for number in range(3)]
    assert max(gaps) < 1e-5


def test_a_buffer_changed_while_training_reaches_the_copy(world):
    engine = zero_3(deepseek(), world)
    rollout = transformers_rollout(engine, pad_id=1, chunk_size=12)
    rollout.sync_weights()
    engine.policy.model.get_buffer(BIAS).neg_()
    assert step(engine, rollout, world, 0)[GAP] > 1e-3
    assert step(engine, rollout, world, 1)[GAP] < 1e-5


def test_the_copy_keeps_each_buffers_type(world):
    model = deepseek()
    cast_parameters(model, torch.bfloat16)
    engine = zero_3(model, world)
    rollout = transformers_rollout(engine, pad_id=1, chunk_size=12)
    rollout.sync_weights()
    copied = dict(rollout.engine.model.named_buffers())
    for path, buffer in engine.policy.model.named_buffers():
        assert copied[path].dtype == buffer.dtype == torch.float32
        assert torch.equal(copied[path], buffer)
        assert copied[path] is not buffer
    assert {p.dtype for p in rollout.engine.model.parameters()} == {torch.bfloat16}


def test_a_checkpoint_of_zero_3_holds_the_saved_buffers(world, tmp_path):
    engine = zero_3(deepseek(), world)
    tokenizer, record = (
        character_tokenizer(list("abcdefghijklmnopqrstu")),
        PromptRecord(name="bare", version=1),
    )
    state = TrainerState(step=1, zero_stage=3)
    folder = save_checkpoint(tmp_path, engine, tokenizer, record, state, world)
    loaded = DeepseekV3ForCausalLM.from_pretrained(folder)
    assert torch.equal(loaded.get_buffer(BIAS), deepseek().get_buffer(BIAS))
    ids = torch.tensor([[3, 4, 5, 6]])
    assert torch.equal(loaded(input_ids=ids).logits, deepseek()(input_ids=ids).logits)
