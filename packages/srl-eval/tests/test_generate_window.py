"""The one check of prompt lengths, in every engine that knows its window."""

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from srl_data.command.errors import DataError
from srl_eval.generate import ChunkedEngine, Sampling
from srl_eval.generate.vllm import VllmEngine


def vllm_engine(max_model_len: int) -> VllmEngine:
    """vLLM's engine over the one part of an `LLM` that the check reads."""
    config = SimpleNamespace(max_model_len=max_model_len)
    llm = SimpleNamespace(llm_engine=SimpleNamespace(model_config=config))
    return VllmEngine(llm)  # type: ignore[arg-type]


def test_vllm_refuses_a_prompt_without_room_before_it_starts() -> None:
    engine = vllm_engine(10)
    engine.check([[1] * 6], Sampling(4))
    with pytest.raises(ValueError, match="prompt 1 has 7 tokens and max_new_tokens is 4") as caught:
        engine.generate([[1], [1] * 7], Sampling(4), [0, 0])
    assert isinstance(caught.value, DataError)


def test_an_empty_prompt_is_refused_by_its_row() -> None:
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        vllm_engine(10).check([[1], []], Sampling(4))


def test_an_engine_without_a_known_window_takes_any_length(
    scripted: Callable[..., ChunkedEngine],
) -> None:
    engine = scripted(lambda _prompt, _seed: "a")
    assert engine.max_length is None
    engine.check([[2] * 10_000], Sampling(10_000))
