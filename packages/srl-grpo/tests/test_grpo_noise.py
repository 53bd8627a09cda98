"""Training mode computes what evaluation mode does: dropout, LayerDrop, jitter, noise unknown."""

import pytest
import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    FalconConfig,
    GPTJConfig,
    GPTNeoConfig,
    MixtralConfig,
    OPTConfig,
    PhimoeConfig,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from srl_data.command.errors import DataError
from srl_grpo.learner.noise import switch_off_noise

GPT = {"vocab_size": 40, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64}
LLAMA = {
    "vocab_size": 40,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
CONFIGS = {
    "opt": OPTConfig(
        vocab_size=40, hidden_size=32, ffn_dim=48, num_hidden_layers=6, num_attention_heads=2,
        word_embed_proj_dim=32, layerdrop=0.5, dropout=0.3, attention_dropout=0.3,
    ),
    "falcon": FalconConfig(
        vocab_size=40, hidden_size=32, num_hidden_layers=2, num_attention_heads=2,
        hidden_dropout=0.4, attention_dropout=0.4,
    ),
    "gpt_neo": GPTNeoConfig(
        vocab_size=40, hidden_size=32, num_layers=2, num_heads=2, max_position_embeddings=64,
        attention_types=[[["global"], 2]], attention_dropout=0.4, resid_dropout=0.4,
        embed_dropout=0.4,
    ),
    "gptj": GPTJConfig(**GPT, rotary_dim=8, attn_pdrop=0.4, resid_pdrop=0.4, embd_pdrop=0.4),
    "qwen2": Qwen2Config(**LLAMA, attention_dropout=0.5),
    "mixtral": MixtralConfig(**LLAMA, num_local_experts=4, router_jitter_noise=0.01),
    "phimoe": PhimoeConfig(
        **LLAMA, num_local_experts=4, router_jitter_noise=0.01, input_jitter_noise=0.01,
        attention_dropout=0.4,
    ),
}  # fmt: skip


def logits(model, ids_BT):
    with torch.no_grad():
        return model(input_ids=ids_BT, use_cache=False).logits


@pytest.mark.parametrize("family", CONFIGS)
def test_training_mode_draws_nothing_and_the_config_keeps_its_values(family) -> None:
    torch.manual_seed(0)
    config = CONFIGS[family]
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.2)
    ids_BT = torch.randint(0, 40, (3, 20))
    wanted = logits(model.eval(), ids_BT)
    assert not torch.equal(logits(model.train(), ids_BT), wanted)  # there is noise to switch off
    before = AutoConfig.for_model(**model.config.to_dict()).to_dict()
    switch_off_noise(model)
    for _ in range(4):
        assert torch.equal(logits(model.train(), ids_BT), wanted)
    assert model.config.to_dict() == before


class Drawing(nn.Module):
    """A layer that draws in training mode by no number that anyone could find."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        noise = torch.rand_like(hidden) if self.training else 1.0
        return self.inner(hidden) * noise


class Forced(nn.Module):
    """One that draws in every mode."""

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return hidden * torch.rand_like(hidden)


def test_a_module_that_draws_by_no_number_is_kept_in_evaluation_mode_and_named() -> None:
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA))
    ids_BT = torch.randint(0, 40, (2, 9))
    for layer in model.model.layers:
        layer.mlp = Drawing(layer.mlp)
    wanted = logits(model.eval(), ids_BT)
    notes: list[str] = []
    switch_off_noise(model, notes.append)
    assert notes == ["drawing at random in training mode, kept in evaluation mode: Drawing"]
    assert torch.equal(logits(model.train(), ids_BT), wanted)
    assert model.training
    assert not any(layer.mlp.training for layer in model.model.layers)


def test_noise_that_no_mode_ends_is_refused() -> None:
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA))
    model.model.layers[1].mlp = Forced()
    with pytest.raises(DataError, match=r"draws at random in training mode \(model.layers.1.mlp\)"):
        switch_off_noise(model)


def test_looking_for_noise_moves_no_random_state() -> None:
    model = Qwen2ForCausalLM(Qwen2Config(**LLAMA, attention_dropout=0.5))
    state = torch.get_rng_state()
    switch_off_noise(model)
    assert torch.equal(torch.get_rng_state(), state)
