"""vLLM on GPUs: every weight transfer, sleep and the memory that it gives back, bfloat16.

Run `uv sync --extra vllm` and `uv run --no-sync pytest -m gpu tests/test_house_vllm_gpu.py` on a
machine with a GPU; with two or three the tests that need them run too. CI has none.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_eval.generate import Sampling
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions

pytestmark = [pytest.mark.gpu, pytest.mark.timeout(1200)]

Run = Callable[[Sequence[str]], CompletedProcess[str]]
GPUS = torch.cuda.device_count()
HEALTHY = {"float32": (0.999, 1.001, 1e-4), "bfloat16": (0.7, 1.4, 0.1)}
"""The trainer's over the sampler's probability (1st and 99th percentile), and their mean distance
in nats per token: the ranges of the guide on losses."""


@pytest.fixture(autouse=True)
def _vllm_is_here() -> None:
    pytest.importorskip("vllm")


TWO = "--nproc-per-node 2"
WAYS = [
    pytest.param("in_process", "", 1, id="in_process"),
    pytest.param("ipc", "", 1, id="ipc"),
    pytest.param("nccl", "", 2, id="nccl"),
    pytest.param("in_process", TWO, 2, id="in_process-2"),
    pytest.param("ipc", TWO, 2, id="ipc-2"),
    pytest.param(
        "in_process", "--nproc-per-node 2 --vllm-tensor-parallel 2", 2, id="in_process-tp"
    ),
    pytest.param("ipc", "--nproc-per-node 2 --vllm-tensor-parallel 2", 2, id="ipc-tp"),
    pytest.param("auto", "--vllm-tensor-parallel 2", 3, id="auto-nccl-tp"),
    pytest.param("nccl", TWO, 3, id="nccl-of-two"),
]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("way", "flags", "gpus"), WAYS)
def test_after_every_sync_vllm_samples_what_the_policy_would(
    run_command: Run,
    vllm_run: Callable[..., str],
    tmp_path: Path,
    way: str,
    flags: str,
    gpus: int,
    dtype: str,
) -> None:
    """Four real updates; the trainer's over the sampler's probability stays near 1."""
    if gpus > GPUS:
        pytest.skip(f"needs {gpus} GPUs, there are {GPUS}")
    path = vllm_run(tmp_path, rollout={"chunk_size": 4})
    command = f"srl-grpo train --config {path} --output-dir run --dtype {dtype}"
    done = run_command(f"{command} --vllm-gpu-memory 0.3 --vllm-weight-transfer {way} {flags}")
    assert done.returncode == 0, done.stderr
    lowest, highest, distance = HEALTHY[dtype]
    for row in updates(tmp_path / "run"):
        assert row["grad_norm"] > 0
        assert row["sampling/sync_difference"] < distance
        assert row["sampling/logprob_difference"] < distance
        assert lowest < row["sampling/ratio_p01"] <= row["sampling/ratio_p99"] < highest


@pytest.mark.parametrize("zero_stage", [0, 3])
@pytest.mark.parametrize("level", [1, 2])
@pytest.mark.parametrize("way", ["in_process", "ipc"])
def test_a_run_whose_sampler_sleeps_samples_the_same(
    run_command: Run,
    vllm_run: Callable[..., str],
    tmp_path: Path,
    way: str,
    level: int,
    zero_stage: int,
) -> None:
    path = vllm_run(tmp_path, engine={"zero_stage": zero_stage})
    sleep = f"--vllm-enable-sleep --vllm-sleep-level {level} --vllm-weight-transfer {way}"
    done = run_command(
        f"srl-grpo train --config {path} --output-dir run --vllm-gpu-memory 0.3 {sleep}"
    )
    assert done.returncode == 0, done.stderr
    assert all(row["sampling/sync_difference"] < 1e-3 for row in updates(tmp_path / "run"))


@pytest.mark.parametrize("level", [1, 2])
def test_sleep_gives_the_memory_back(tmp_path: Path, level: int) -> None:
    """Most of what vLLM took; after level 1 it answers as before, after level 2 once reloaded."""
    from srl_eval.generate.vllm import start_vllm

    sizes = {"hidden_size": 1024, "num_attention_heads": 16, "num_key_value_heads": 4}
    config = Qwen2Config(
        vocab_size=32_000,
        num_hidden_layers=8,
        intermediate_size=2048,
        max_position_embeddings=512,
        **sizes,
    )
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(tmp_path)
    before = torch.cuda.mem_get_info()[0]
    options = VllmOptions(
        dtype="bfloat16",
        gpu_memory_utilization=0.3,
        in_process=True,
        enable_sleep=True,
        extra={"skip_tokenizer_init": True},
    )
    engine = start_vllm(ModelSource(str(tmp_path)), options)
    try:
        asked = ([[5, 6, 7], [8, 9]], Sampling(8, temperature=0.0), [0, 1])
        first = engine.generate(*asked)
        awake = torch.cuda.mem_get_info()[0]
        engine.sleep(level)
        asleep = torch.cuda.mem_get_info()[0]
        assert asleep - awake > 0.8 * (before - awake)
        engine.wake_weights()
        if level == 2:
            engine.load_weights((name, value.cuda()) for name, value in saved(model))
        between = torch.cuda.mem_get_info()[0]
        assert between > awake  # the cache is not there yet
        engine.wake_cache()
        assert [row.token_ids for row in engine.generate(*asked)] == [
            row.token_ids for row in first
        ]
    finally:
        engine.close()


def saved(model: Qwen2ForCausalLM) -> list[tuple[str, torch.Tensor]]:
    """A model's weights by the names of its checkpoint."""
    return [(name, value) for name, value in model.state_dict().items()]


def updates(folder: Path) -> list[dict[str, Any]]:
    """The metrics of the steps that had something to learn from: two at least."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    found = [row for row in rows if "grad_norm" in row]
    assert len(found) >= 2
    return found
