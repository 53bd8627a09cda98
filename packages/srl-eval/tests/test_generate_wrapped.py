"""Models inside a wrapper: what the wrapper hands on reaches them, and what it keeps is told."""

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from srl_eval.generate import Completion, Sampling, TransformersEngine
from srl_eval.generate.padded_rows import PaddedRows
from srl_eval.generate.running_rows import accepted

UNLIKE = [[5, 6, 7, 8, 9, 10, 11], [3, 4]]
CPU = torch.device("cpu")


def gpt2() -> GPT2LMHeadModel:
    """A model with positions of its own, which padding on the left would move."""
    torch.manual_seed(1)
    ends = {"bos_token_id": 1, "eos_token_id": 2}
    config = GPT2Config(vocab_size=61, n_positions=64, n_embd=32, n_layer=2, n_head=4, **ends)
    config.initializer_range = 0.4
    return GPT2LMHeadModel(config).eval()


class Wrapper(nn.Module):
    """As adapters wrap a model: everything else is found on the model inside."""

    def __init__(self, inside: nn.Module) -> None:
        super().__init__()
        self.inside = inside

    def __getattr__(self, name: str) -> object:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inside"), name)


class HandsOn(Wrapper):
    def forward(self, input_ids=None, attention_mask=None, **options):
        return self.inside(input_ids=input_ids, attention_mask=attention_mask, **options)


class KeepsBack(Wrapper):
    def forward(self, input_ids=None, attention_mask=None, past_key_values=None, use_cache=None):
        return self.inside(
            input_ids=input_ids,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            use_cache=use_cache,
        )


def greedy(model: nn.Module, prompts: list[list[int]]) -> list[Completion]:
    engine = TransformersEngine(model, pad_token_id=0)  # type: ignore[arg-type]
    return engine.generate(prompts, Sampling(8, 0.0), list(range(len(prompts))))


def wrapped(kind: str) -> nn.Module:
    return HandsOn(gpt2()) if kind == "wrapper" else torch.compile(gpt2(), backend="eager")


@pytest.mark.parametrize("kind", ["wrapper", "compiled"])
def test_a_wrapped_model_draws_what_the_model_inside_draws(kind: str) -> None:
    expected = greedy(gpt2(), UNLIKE)
    found = greedy(wrapped(kind), UNLIKE)
    assert [one.token_ids for one in found] == [one.token_ids for one in expected]


@pytest.mark.parametrize("kind", ["wrapper", "compiled"])
def test_padded_rows_of_a_wrapped_model_have_their_positions(kind: str) -> None:
    model = wrapped(kind)
    assert {"position_ids", "logits_to_keep"} <= accepted(model)
    with torch.no_grad():
        alone = PaddedRows(gpt2(), UNLIKE[1:], 2, 0, CPU).logits_BV
        beside = PaddedRows(model, UNLIKE, 2, 0, CPU).logits_BV  # type: ignore[arg-type]
    torch.testing.assert_close(beside[1:], alone, rtol=1e-4, atol=1e-4)


def test_a_wrapper_that_keeps_positions_back_is_refused_where_they_matter() -> None:
    model = KeepsBack(gpt2())
    with pytest.raises(TypeError, match="does not hand position_ids to its GPT2LMHeadModel"):
        greedy(model, UNLIKE)
    (found,) = greedy(model, UNLIKE[:1])
    assert found.token_ids == greedy(gpt2(), UNLIKE[:1])[0].token_ids
