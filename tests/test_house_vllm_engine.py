"""The engine over the real vLLM, on a CPU, with the small pretrained model: against our own engine.

vLLM's build for CPU stands in an environment of its own (`.ci/run vllm` makes it).
"""

import random
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from srl_data.command.errors import ConfigError, DataError
from srl_eval.generate import Sampling, TransformersEngine, completion_text, seed_for
from srl_eval.generate.draw import filter_sorted
from srl_eval.generate.engine import PromptTooLongError
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions

if TYPE_CHECKING:
    from srl_eval.generate.vllm import VllmEngine

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

WINDOW = 256
QUESTIONS = (
    "Tom has 3 apples and buys 4 more. How many",
    "The capital of France is",
    "1, 2, 3, 4,",
    "Once upon a time there was a small",
)
SEEDS = [seed_for(0, row) for row in range(8)]


@pytest.fixture(scope="module")
def tokenizer(smollm2: Path) -> PreTrainedTokenizerBase:
    return AutoTokenizer.from_pretrained(smollm2)


@pytest.fixture(scope="module")
def model(smollm2: Path) -> PreTrainedModel:
    return AutoModelForCausalLM.from_pretrained(smollm2, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def ours(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> TransformersEngine:
    return TransformersEngine(model, pad_token_id=2, decoder=tokenizer)


@pytest.fixture(scope="module")
def engine(smollm2: Path, tokenizer: PreTrainedTokenizerBase) -> Iterator["VllmEngine"]:
    from srl_eval.generate.vllm import start_vllm

    options = VllmOptions(
        chunk_size=32, max_model_len=WINDOW, extra={"max_num_batched_tokens": WINDOW}
    )
    started = start_vllm(ModelSource(str(smollm2)), options, tokenizer)
    yield started
    started.close()


@pytest.fixture(scope="module")
def prompts(tokenizer: PreTrainedTokenizerBase) -> list[list[int]]:
    return [tokenizer(question)["input_ids"] for question in QUESTIONS]


def test_greedy_tokens_and_their_probabilities_are_those_of_transformers(
    engine: "VllmEngine", ours: TransformersEngine, prompts: list[list[int]]
) -> None:
    sampling = Sampling(12, temperature=0.0, stop_token_ids=(2,))
    found = engine.generate(prompts, sampling, SEEDS[:4])
    expected = ours.generate(prompts, sampling, SEEDS[:4])
    assert [each.token_ids for each in found] == [each.token_ids for each in expected]
    assert [each.finish_reason for each in found] == [each.finish_reason for each in expected]
    for mine, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(mine.logprobs, theirs.logprobs, atol=1e-3)


def test_a_row_is_drawn_by_its_seed(engine: "VllmEngine", prompts: list[list[int]]) -> None:
    rows, sampling = [prompts[0]] * 8, Sampling(8)
    first = engine.generate(rows, sampling, SEEDS)
    torch.manual_seed(1)  # the process's own generator plays no part
    assert engine.generate(rows, sampling, SEEDS) == first
    turned = engine.generate(rows, sampling, SEEDS[::-1])[::-1]
    assert [each.token_ids for each in turned] == [each.token_ids for each in first]
    assert len({each.token_ids for each in first}) == 8


def test_long_prompts_are_seeded_too(
    engine: "VllmEngine", tokenizer: PreTrainedTokenizerBase
) -> None:
    """A prompt that vLLM cuts into chunks cannot rewind the generator of its seed on a CPU."""
    rows = [tokenizer("word " * WINDOW)["input_ids"][: 110 - place] for place in range(3)]
    assert sum(map(len, rows)) > WINDOW
    first = engine.generate(rows, Sampling(4), SEEDS[:3])
    assert engine.generate(rows, Sampling(4), SEEDS[:3]) == first


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(6, temperature=0.7),
        Sampling(6, temperature=1.3, top_p=0.8),
        Sampling(6, top_k=5),
        Sampling(6, min_p=0.1),
        Sampling(6, top_k=20, top_p=0.9),
    ],
    ids=str,
)
def test_probabilities_are_of_the_distribution_that_was_drawn_from(
    engine: "VllmEngine", model: PreTrainedModel, prompts: list[list[int]], sampling: Sampling
) -> None:
    for row, prompt in zip(engine.generate(prompts, sampling, SEEDS[:4]), prompts, strict=True):
        ids = torch.tensor([[*prompt, *row.token_ids]])
        with torch.no_grad():
            logits_TV = model(ids).logits[0, len(prompt) - 1 : -1]
        kept_TV, order_TV = filter_sorted(logits_TV / sampling.temperature, sampling)
        logprob_TV = kept_TV.log_softmax(-1)
        at_T = (order_TV == ids[0, len(prompt) :, None]).nonzero()[:, 1]
        expected = logprob_TV.gather(1, at_T[:, None])[:, 0].numpy()
        np.testing.assert_allclose(row.logprobs, expected, atol=2e-3)


def test_a_stop_token_and_a_stop_string_end_a_row_as_in_our_engine(
    engine: "VllmEngine",
    ours: TransformersEngine,
    prompts: list[list[int]],
    tokenizer: PreTrainedTokenizerBase,
) -> None:
    plain = ours.generate(prompts, Sampling(12, temperature=0.0), SEEDS[:4])
    token = plain[0].token_ids[9]
    text = tokenizer.decode(plain[1].token_ids[4:7])[1:-1]  # begins and ends within tokens
    assert len(text) > 2
    for sampling in (
        Sampling(12, 0.0, stop_token_ids=(token,)),
        Sampling(12, 0.0, stop=(text, "\n"), stop_token_ids=(token,)),
    ):
        found = engine.generate(prompts, sampling, SEEDS[:4])
        expected = ours.generate(prompts, sampling, SEEDS[:4])
        assert "stop" in {each.finish_reason for each in expected}
        for mine, theirs in zip(found, expected, strict=True):
            assert mine.token_ids == theirs.token_ids
            assert mine.stop_string == theirs.stop_string
            assert mine.finish_reason == theirs.finish_reason
            assert completion_text(mine, tokenizer) == completion_text(theirs, tokenizer)


def test_what_does_not_fit_is_refused_before_it_starts(engine: "VllmEngine") -> None:
    with pytest.raises(PromptTooLongError, match="together 257; the model takes 256"):
        engine.generate([[5], [5] * 250], Sampling(7), [0, 1])


def test_the_process_is_as_it_was(
    engine: "VllmEngine", prompts: list[list[int]], capfd: pytest.CaptureFixture[str]
) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_rng_state().tolist(),
            random.getstate(),
            np.random.get_state()[1].tolist(),
            torch.get_num_threads(),
            torch.set_num_threads,
        )

    before = state()
    engine.generate(prompts, Sampling(4), SEEDS[:4])
    assert state() == before
    assert torch.set_num_threads.__name__ == "set_num_threads"  # vLLM's own skips
    assert capfd.readouterr() == ("", "")


def test_nothing_is_compiled_for_the_first_tokens(
    engine: "VllmEngine", prompts: list[list[int]]
) -> None:
    from torch._dynamo.utils import counters

    engine.generate(prompts[:1], Sampling(2), [0])
    assert not counters["stats"]["unique_graphs"]


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"dtype": "bfloat16"}, "vLLM runs in float32 on a CPU, not bfloat16"),
        ({"tensor_parallel_size": 2}, "needs as many GPUs"),
        ({"max_model_len": 10_000}, "max_model_len 10000 is above the window"),
        ({"gpu_memory_utilization": 1e-4}, "lower --max-model-len"),
    ],
)
def test_what_a_cpu_cannot_do_is_told_before_a_weight_is_read(
    smollm2: Path, options: dict[str, Any], reason: str
) -> None:
    from srl_eval.generate.vllm import start_vllm

    with pytest.raises(ConfigError, match=reason):
        start_vllm(ModelSource(str(smollm2)), VllmOptions(**options))


def test_heads_of_a_size_that_has_no_kernel_are_told(tmp_path: Path) -> None:
    from srl_eval.generate.vllm import start_vllm

    sizes = {"hidden_size": 64, "num_attention_heads": 4, "num_key_value_heads": 2}
    config = Qwen2Config(vocab_size=300, num_hidden_layers=1, intermediate_size=64, **sizes)
    Qwen2ForCausalLM(config).save_pretrained(tmp_path)
    with pytest.raises(DataError, match=r"attention heads of size 16; vLLM on a CPU takes 32, 64"):
        start_vllm(ModelSource(str(tmp_path)), VllmOptions())
