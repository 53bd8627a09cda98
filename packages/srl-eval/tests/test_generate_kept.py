"""The sets that top-k, top-p and min-p left to draw from, as an engine records them."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    MinPLogitsWarper,
    Qwen2Config,
    Qwen2ForCausalLM,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from srl_eval.generate import KeptTokens, Sampling, TransformersEngine, seed_for
from srl_eval.generate.draw import filter_sorted
from srl_eval.generate.kept import KeptRecorder
from srl_eval.generate.vllm import VllmEngine

FILTERS = [{"top_p": 0.6}, {"top_k": 3}, {"min_p": 0.2}, {"top_p": 0.8, "top_k": 5, "min_p": 0.05}]


def tiny() -> Qwen2ForCausalLM:
    torch.manual_seed(3)
    config = Qwen2Config(
        vocab_size=23,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        initializer_range=0.5,
    )
    return Qwen2ForCausalLM(config).eval()


def by_transformers(logits: list[float], sampling: Sampling, factor: float) -> dict[int, float]:
    """What transformers draws from, in its order, with p moved by a factor."""
    warpers = LogitsProcessorList([TemperatureLogitsWarper(sampling.temperature)])
    if sampling.top_k:
        warpers.append(TopKLogitsWarper(sampling.top_k))
    if sampling.top_p < 1:
        warpers.append(TopPLogitsWarper(min(1.0, sampling.top_p * factor)))
    if sampling.min_p:
        warpers.append(MinPLogitsWarper(sampling.min_p * factor))
    row = warpers(torch.zeros(1, 0, dtype=torch.long), torch.tensor([logits])).softmax(-1)[0]
    return {token: float(p) for token, p in enumerate(row) if p > 0}


@pytest.mark.parametrize("filters", FILTERS, ids=str)
@pytest.mark.parametrize("temperature", [0.7, 1.0])
def test_each_token_comes_with_the_set_it_was_drawn_from(filters, temperature) -> None:
    """The sets are those of transformers, in its order; rows that end early leave the batch."""
    model = tiny()
    sampling = Sampling(
        9, temperature, **filters, stop_token_ids=tuple(range(0, 23, 3)), record_kept=True
    )
    prompts = [[1, 4], [7, 7, 7], [9]] * 4
    seeds = [seed_for(0, row) for row in range(12)]
    found = TransformersEngine(model, pad_token_id=0, chunk_size=5).generate(
        prompts, sampling, seeds
    )
    assert len({len(c.token_ids) for c in found}) > 1
    compared = 0
    for prompt, completion in zip(prompts, found, strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad():
            logits_TV = model(input_ids=ids).logits[0, len(prompt) - 1 : -1]
        assert completion.kept is not None
        sets = completion.kept.sets
        assert len(sets) == len(completion.token_ids)
        for token, logprob, kept, row in zip(
            completion.token_ids, completion.logprobs, sets, logits_TV.tolist(), strict=True
        ):
            assert token in kept
            expected, *moved = (by_transformers(row, sampling, f) for f in (1.0, 0.9999, 1.0001))
            if all(set(other) == set(expected) for other in moved):  # else rounding decides
                assert sorted(kept) == sorted(expected)
                assert logprob == pytest.approx(math.log(expected[token]), abs=1e-4)
                compared += 1
    assert compared > 15


def test_the_record_changes_nothing_and_is_made_only_where_it_is_asked_for() -> None:
    engine = TransformersEngine(tiny(), pad_token_id=0)
    plain = engine.generate([[1, 4]], Sampling(6, 1.0, top_p=0.6), [5])[0]
    recorded = engine.generate([[1, 4]], Sampling(6, 1.0, top_p=0.6, record_kept=True), [5])[0]
    assert plain.kept is None
    assert (recorded.token_ids, recorded.logprobs) == (plain.token_ids, plain.logprobs)
    for other in (Sampling(3, record_kept=True), Sampling(3, 0.0, top_p=0.5, record_kept=True)):
        assert engine.generate([[1]], other, [5])[0].kept is None


@given(
    st.lists(st.lists(st.integers(-8, 8), min_size=10, max_size=10), min_size=1, max_size=4),
    st.integers(0, 10),
)
def test_equal_logits_at_the_end_of_the_k_likeliest_keep_exactly_k(logits, top_k) -> None:
    sampling = Sampling(1, top_k=top_k)
    kept_BV, order_BV = filter_sorted(torch.tensor(logits, dtype=torch.float32), sampling)
    recorder = KeptRecorder(len(logits))
    recorder.add(torch.arange(len(logits)).numpy(), kept_BV, order_BV)
    for row, values in enumerate(logits):
        (kept,) = recorder.first(row, 1).sets
        by_rank = sorted(range(10), key=lambda token: (-values[token], token))
        assert kept == by_rank[: top_k or 10]


def test_sets_of_their_sizes_come_back_as_they_were_given() -> None:
    sets = [[3, 1, 2], [7], [0, 4]]
    found = KeptTokens.of(sets)
    assert (found.sets, found.counts, found) == (sets, (3, 1, 2), KeptTokens.of(sets))
    assert KeptTokens.of([]).sets == []


def test_an_engine_that_tells_no_sets_refuses_to_be_trained_on() -> None:
    engine = VllmEngine(SimpleNamespace())  # type: ignore[arg-type]
    sampling = Sampling(3, top_p=0.9, record_kept=True)
    with pytest.raises(ValueError, match=r"VllmEngine does not tell which tokens top_k, top_p"):
        engine.check([[1]], sampling)
