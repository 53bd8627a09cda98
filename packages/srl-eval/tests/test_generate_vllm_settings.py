"""How vLLM is set up, what it answers and what is refused, where there is no vLLM."""

from types import SimpleNamespace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import LlamaConfig

from srl_data.command.errors import ConfigError, DataError
from srl_eval.generate import Completion, Sampling
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.vllm import EngineError, VllmEngine
from srl_eval.generate.vllm_settings import (
    TOGETHER,
    Shape,
    cache_bytes,
    check_on_cpu,
    check_versions,
    cpu_arguments,
    llm_arguments,
    shape_of,
)

SOURCE = ModelSource("some/model", "abc")
GOOD = {"vllm": "0.32.0", "torch": "2.13.0", "transformers": "5.19.0"}
SHAPE = Shape(window=8192, head_size=64, token_bytes=46080)


def test_versions_that_go_together_pass_also_a_local_build() -> None:
    check_versions(GOOD)
    check_versions(GOOD | {"torch": "2.13.1+cpu", "vllm": "0.32.1"})


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("vllm", "0.31.9"),
        ("vllm", "0.33.0"),
        ("torch", "2.12.1+cu130"),
        ("transformers", "5.18.9"),
        ("transformers", "5.20.0"),
    ],
)
def test_a_version_that_does_not_go_with_the_others_is_named(name: str, found: str) -> None:
    with pytest.raises(ConfigError) as told:
        check_versions(GOOD | {name: found})
    line = str(told.value)
    assert line.startswith(f"{name} {found} is installed, and backend vllm needs {name}")
    assert all(f"{each}{TOGETHER[each]}" in line for each in TOGETHER)
    assert "uv sync --extra vllm" in line


def test_the_versions_of_the_lock_go_together() -> None:
    import torch
    import transformers

    check_versions(GOOD | {"torch": torch.__version__, "transformers": transformers.__version__})


def test_a_shape_is_read_from_the_configuration() -> None:
    config = LlamaConfig(
        hidden_size=576,
        num_attention_heads=9,
        num_key_value_heads=3,
        num_hidden_layers=30,
        max_position_embeddings=8192,
    )
    assert shape_of(SOURCE, config, VllmOptions()) == SHAPE
    assert shape_of(SOURCE, config, VllmOptions(max_model_len=512)).window == 512
    with pytest.raises(ConfigError, match="max_model_len 8193 is above the window of 'some/model'"):
        shape_of(SOURCE, config, VllmOptions(max_model_len=8193))


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    window=st.integers(1, 1 << 20),
    token_bytes=st.integers(1, 1 << 18),
    chunk=st.integers(1, 512),
    share=st.floats(0.01, 1.0),
    free=st.integers(0, 1 << 40),
)
def test_a_cache_holds_a_window_and_stays_in_its_share(
    window: int, token_bytes: int, chunk: int, share: float, free: int
) -> None:
    shape = Shape(window, 64, token_bytes)
    options = VllmOptions(chunk_size=chunk, gpu_memory_utilization=share)
    least = (-(-window // 128) + 1) * 128 * token_bytes
    if int(share * free) < least:
        with pytest.raises(ConfigError, match="lower --max-model-len"):
            cache_bytes(shape, options, free)
    else:
        assert least <= cache_bytes(shape, options, free) <= share * free


def test_more_rows_get_more_room_up_to_a_bound() -> None:
    rooms = [cache_bytes(SHAPE, VllmOptions(chunk_size=n), 1 << 36) for n in (1, 4, 8, 512)]
    assert rooms == sorted(rooms)
    assert rooms[0] < rooms[1] == 4 * 8192 * 46080 < rooms[3] == 4 << 30


def test_a_cpu_takes_float32_whole_prompts_and_a_cache_of_its_own() -> None:
    options = VllmOptions(chunk_size=4, gpu_memory_utilization=0.5)
    plain, cpu = llm_arguments(SOURCE, options), cpu_arguments(SHAPE, options, 1 << 36)
    assert plain["logprobs_mode"] == "processed_logprobs"
    assert plain["generation_config"] == "vllm"
    assert plain["trust_remote_code"] is False
    assert (plain["revision"], plain["tokenizer_revision"]) == ("abc", "abc")
    assert "enable_chunked_prefill" not in plain
    assert (cpu["enable_chunked_prefill"], cpu["enforce_eager"]) == (False, True)
    assert (cpu["dtype"], cpu["max_model_len"]) == ("float32", 8192)
    assert cpu["kv_cache_memory_bytes"] == cache_bytes(SHAPE, options, 1 << 36)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_other_precisions_are_refused_on_a_cpu(dtype: str) -> None:
    with pytest.raises(ConfigError, match=f"float32 on a CPU, not {dtype}"):
        check_on_cpu(SOURCE, SHAPE, VllmOptions(dtype=dtype), [64])


def test_heads_without_a_kernel_and_several_gpus_are_refused_on_a_cpu() -> None:
    check_on_cpu(SOURCE, SHAPE, VllmOptions(dtype="float32"), [32, 64])
    with pytest.raises(DataError, match="heads of size 64; vLLM on a CPU takes 32, 128"):
        check_on_cpu(SOURCE, SHAPE, VllmOptions(), [32, 128])
    with pytest.raises(ConfigError, match="vLLM does not sleep on a CPU"):
        check_on_cpu(SOURCE, SHAPE, VllmOptions(enable_sleep=True), [64])
    with pytest.raises(ConfigError, match="tensor_parallel_size 2 needs as many GPUs"):
        check_on_cpu(SOURCE, SHAPE, VllmOptions(tensor_parallel_size=2), [64])


def row(tokens: list[int], logprobs: list[float], **more: object) -> SimpleNamespace:
    """A row as vLLM gives it."""
    steps = [
        {token: SimpleNamespace(logprob=value), 999: SimpleNamespace(logprob=9.0)}
        for token, value in zip(tokens, logprobs, strict=True)
    ]
    best = SimpleNamespace(
        token_ids=tokens, logprobs=steps, finish_reason="length", stop_reason=None
    )
    return SimpleNamespace(outputs=[SimpleNamespace(**{**vars(best), **more})])


def complete(output: SimpleNamespace, sampling: Sampling) -> Completion:
    return VllmEngine(SimpleNamespace())._completion(output, sampling)  # type: ignore[arg-type]


def test_a_row_ends_with_its_stop_token_or_its_length() -> None:
    found = complete(row([5, 2, 7], [-1.0, -0.5, -2.0]), Sampling(3, stop_token_ids=(2,)))
    assert (found.token_ids, found.logprobs, found.finish_reason) == ((5, 2), (-1.0, -0.5), "stop")
    found = complete(row([5, 2], [-1.0, -0.5]), Sampling(2))
    assert (found.token_ids, found.finish_reason) == ((5, 2), "length")


def test_a_row_that_ends_for_no_reason_is_an_error() -> None:
    with pytest.raises(EngineError, match=r"\('abort', None\) after 2 of 9 tokens"):
        complete(row([5, 6], [-1.0, -1.0], finish_reason="abort"), Sampling(9))


@pytest.mark.parametrize("bad", [float("nan"), float("-inf")])
def test_numbers_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(FloatingPointError, match="at new token 1"):
        complete(row([5, 6], [-1.0, bad]), Sampling(2))


def test_a_temperature_that_vllm_would_change_is_refused() -> None:
    llm = SimpleNamespace(llm_engine=SimpleNamespace(model_config=SimpleNamespace(max_model_len=9)))
    engine = VllmEngine(llm)  # type: ignore[arg-type]
    for fine in (0.0, 0.01, 1.0):
        engine.check([[1]], Sampling(2, temperature=fine))
    with pytest.raises(ConfigError, match=r"temperature 0.005 is below what vLLM samples at"):
        engine.check([[1]], Sampling(2, temperature=0.005))
