"""Which models compute trees: those that can without a word, the others by name and padded."""

from types import SimpleNamespace

import pytest
import torch
from transformers import AttentionInterface, AutoConfig, AutoModelForCausalLM

from srl_data.command.errors import ConfigError
from srl_grpo.learner import sharing
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.prompt_groups import Work
from srl_grpo.learner.sharing import examples_of, obstacle_of, sharing_of
from srl_grpo.learner.tree_attention import attention_forward

BASE = {
    "vocab_size": 41,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.3,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 48} | dict.fromkeys(
    ["attn_pdrop", "embd_pdrop", "resid_pdrop"], 0.0
)
WINDOW = {"sliding_window": 12, "layer_types": ["sliding_attention", "full_attention"]}


def policy_of(kind, attention=None, dtype=torch.float32, **changes):
    config = AutoConfig.for_model(kind, **(BASE | changes))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=attention)
    return Policy(model.to(dtype))


def found(policy, choice="auto", device="cpu"):
    """The choice's result, and the notes on the way."""
    notes = []
    world = SimpleNamespace(device=torch.device(device), gather=lambda value: [value])
    return sharing_of(policy, choice, world, notes.append), notes


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("llama", {}),
        ("qwen2", {}),
        ("qwen3", {}),
        ("gemma", {}),
        ("gpt2", GPT2),
        ("qwen3_moe", {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}),
        ("llama", {"max_position_embeddings": 16}),
    ],
)
def test_models_that_can_share_without_a_word(kind, changes, dtype):
    policy = policy_of(kind, dtype=dtype, **changes)
    options, notes = found(policy)
    assert notes == []
    assert options is not None
    assert options.longest is None
    assert options.comfortable == sharing.COMFORTABLE
    assert options.work == Work(1 / (6 * 32), 41 / (12 * 32 * 2))
    assert options.worth == sharing.WORTH


def test_what_a_tree_has_to_save_is_asked_of_narrow_models_on_a_cpu_alone():
    narrow = policy_of("llama")
    wide = policy_of("llama", hidden_size=sharing.NARROW + 32)
    assert found(narrow, "always")[0].worth == 0.0
    assert sharing.sharing_for(narrow, None, print).worth == 0.0
    assert found(wide)[0].worth == 0.0


@pytest.mark.parametrize(
    ("kind", "changes", "named"),
    [
        ("llama", {"attention": "eager"}, "runs the attention 'eager', not 'sdpa'"),
        ("gemma2", {"final_logit_softcapping": None}, "Gemma2Attention has softcap"),
        ("stablelm", {}, "do not hand the tree to their attention"),
        ("mamba", {}, "MambaForCausalLM carries a state from token to token"),
        ("jamba", {"mamba_dt_rank": 4, "mamba_d_state": 4}, "carries a state"),
        ("lfm2", {"layer_types": ["conv", "full_attention"]}, "has layers of conv"),
    ],
)
def test_models_that_cannot_are_named_and_padded(kind, changes, named):
    policy = policy_of(kind, **changes)
    options, (note,) = found(policy)
    assert options is None
    assert named in note
    assert "each completion is computed together with its prompt" in note
    with pytest.raises(ConfigError, match=r"shared_prompts is 'always', but .*give --shared-prom"):
        found(policy, "always")


def test_a_sliding_window_keeps_longer_texts_out_of_trees():
    options, (note,) = found(policy_of("qwen2", use_sliding_window=True, **WINDOW))
    assert options.longest == 12
    assert note.startswith("layers with a sliding window of 12 tokens: a batch with a longer text")


def test_it_is_left_out_where_it_was_not_asked_for_or_not_measured():
    policy = policy_of("llama")
    assert found(policy, "never") == (None, [])
    assert found(policy, "auto", "cuda") == (None, [])
    options, _ = found(policy, "always")
    assert options is not None


def test_a_tree_whose_branches_see_each_other_is_found(monkeypatch):
    def one_text(module, query, key, value, mask, tree=None, **rest):
        return attention_forward(module, query, key, value, None, tree=None, **rest)

    monkeypatch.setitem(
        AttentionInterface._global_mapping,
        "shared_prompts",
        one_text,
    )
    assert "log-probabilities differ by" in str(obstacle_of(policy_of("llama")))


@pytest.mark.parametrize("place", range(5))
def test_an_attention_that_is_off_is_found_backward_too(monkeypatch, place):
    kernel = sharing.kernel_for(torch.ones(1))

    def forward(*args):
        out, lse = kernel.forward(*args)
        return out + (place == 0), lse + (place == 1)

    def backward(*args):
        gradients = kernel.backward(*args)
        return tuple(g + (place == n + 2) for n, g in enumerate(gradients))

    wrong = sharing.OBVIOUS.__class__(forward, backward)
    monkeypatch.setattr(sharing, "kernel_for", lambda _: wrong)
    assert "its attention is off by" in str(obstacle_of(policy_of("llama")))


def test_examples_fit_the_model_and_branch():
    for limit in (16, 48, 256):
        samples = examples_of(policy_of("llama", max_position_embeddings=limit))
        assert max(s.length for s in samples) <= min(limit, 100)
        assert len({s.prompt_ids for s in samples}) == 2
        assert len({s.completion_ids for s in samples}) > 2
