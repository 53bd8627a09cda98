"""Training with rollouts by the real vLLM, on a CPU, with a small model made on the spot.

vLLM's build for CPU stands in an environment of its own (`.ci/run vllm` makes it).
"""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

from srl_grpo.run.directory import read_rollouts

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

Run = Callable[[Sequence[str]], CompletedProcess[str]]

Written = Callable[..., str]
"""The fixture `vllm_run`."""


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def rollouts(folder: Path, step: int) -> list[dict[str, Any]]:
    return list(read_rollouts(folder / "rollouts" / f"step_{step:06d}.jsonl.zst"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, vllm_run: Written) -> Path:
    """The folder of a run of four steps that was not disturbed."""
    from srl_data.command.frame import execute
    from srl_grpo.cli import cli

    folder = tmp_path_factory.mktemp("whole")
    args = ["train", "--config", vllm_run(folder), "--output-dir", str(folder / "run")]
    assert execute(cli, "srl-grpo", args) == 0
    return folder / "run"


def test_vllm_samples_what_the_policy_would(whole: Path) -> None:
    """In every step, of tokens drawn from weights that an update has changed."""
    rows = metrics(whole)
    assert len(rows) == 4
    for row in rows:
        assert row["sampling/logprob_difference"] < 1e-5
        assert 0.9999 < row["sampling/ratio_p01"] <= row["sampling/ratio_p99"] < 1.0001
        assert row["sampling/sync_difference"] < 1e-5
        assert row["grad_norm"] > 0
    assert rows[-1]["reward"] > -0.9  # what the warm start taught came to the sampler


def test_a_completion_says_which_weights_wrote_it(whole: Path) -> None:
    versions = [{row["weights_version"] for row in rollouts(whole, step)} for step in range(1, 5)]
    assert versions == [{1}, {2}, {3}, {4}]


def test_a_resumed_run_writes_what_the_unbroken_one_wrote(
    whole: Path, run_inside: Run, tmp_path: Path
) -> None:
    """On one machine bit by bit: chunks, seeds and weights are the same, and so are batches."""
    shutil.copytree(whole, tmp_path / "run")
    shutil.rmtree(tmp_path / "run" / "step_4")
    shutil.rmtree(tmp_path / "run" / "final")
    done = run_inside("srl-grpo train --output-dir run --resume auto")
    assert done.returncode == 0, done.stderr
    for step in (3, 4):
        assert rollouts(tmp_path / "run", step) == rollouts(whole, step)
    same = ("loss", "reward", "sampling/ratio_max", "sampling/sync_difference")
    for again, before in zip(metrics(tmp_path / "run"), metrics(whole), strict=True):
        assert {name: again[name] for name in same} == {name: before[name] for name in same}


def test_two_processes_with_sharded_weights_sample_as_one(
    whole: Path, vllm_run: Written, run_command: Run, tmp_path: Path
) -> None:
    """ZeRO-3, an engine per process: each parameter is gathered when its turn comes."""
    whole_options = {"zero_optimization": {"stage3_param_persistence_threshold": 0}}
    path = vllm_run(
        tmp_path,
        num_steps=2,
        engine={"zero_stage": 3, "deepspeed": whole_options},
        rollout={"chunk_size": 4},
        warm_start={"steps": 0},
        model={"path": str(whole / "sft" / "final"), "build": None},
    )
    command = f"srl-grpo train --config {path} --output-dir run --nproc-per-node 2"
    done = run_command(command)
    assert done.returncode == 0, done.stderr
    for row in metrics(tmp_path / "run"):
        assert row["sampling/logprob_difference"] < 1e-5
        assert row["sampling/sync_difference"] < 1e-5
    first, expected = rollouts(tmp_path / "run", 1), rollouts(whole, 1)
    assert [row["completion"] for row in first] == [row["completion"] for row in expected]
    assert {row["weights_version"] for row in rollouts(tmp_path / "run", 2)} == {2}


def test_a_sync_that_leaves_the_packed_head_as_it_was_ends_the_run(
    run_inside: Run, vllm_run: Written, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """vLLM on a CPU keeps what it packed of a tied head; greedy tokens may hide it."""
    monkeypatch.setattr("srl_eval.generate.vllm.pack_again", lambda _model: None)
    done = run_inside(f"srl-grpo train --config {vllm_run(tmp_path)} --output-dir run")
    assert done.returncode == 1
    assert "after a sync the sampler's log-probabilities lie" in done.stderr


def test_rounds_are_asked_of_vllm_with_filters(run_inside: Run, tmp_path: Path) -> None:
    problems = [{"id": f"p{n}", "problem": f"{n}+1=?", "answer": str(n)} for n in range(10, 14)]
    (tmp_path / "data.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    tree = {
        "n_ei_steps": 1,
        "model": {
            "dtype": "float32",
            "build": {"hidden_size": 128, "num_heads": 2, "num_kv_heads": 2},
        },
        "data": {"path": "data.jsonl", "template": "question_only", "max_prompt_length": 64},
        "rollout": {"group_size": 4, "batch_size": 4, "max_new_tokens": 16, "top_p": 0.9},
    }
    (tmp_path / "rounds.yaml").write_text(yaml.safe_dump(tree))
    done = run_inside("srl-grpo expert-iteration --config rounds.yaml --use-vllm --output-dir run")
    assert done.returncode == 1  # random weights find no answer: nothing to learn from
    rows = list(read_rollouts(tmp_path / "run" / "rollouts" / "step_000001.jsonl.zst"))
    assert len(rows) == 16
    assert len({row["completion"] for row in rows}) > 8


@pytest.mark.parametrize(
    ("flags", "code", "reason"),
    [
        ("--vllm-enable-sleep", 2, "vLLM does not sleep on a CPU"),
        ("--dtype bfloat16", 2, "vLLM runs in float32 on a CPU, not bfloat16"),
        ("--num-heads 8 --num-kv-heads 8", 3, "attention heads of size 16; vLLM on a CPU takes"),
        ("--vllm-gpu-memory 1e-6", 2, "lower --max-model-len, in training --max-prompt-length"),
        ("--vllm-weight-transfer ipc", 2, "--vllm-weight-transfer ipc needs a GPU (CUDA shares"),
        ("--vllm-weight-transfer nccl", 2, "which auto chooses"),
        ("--vllm-tensor-parallel 2", 2, "--vllm-tensor-parallel 2 does not divide the run's 1"),
    ],
)
def test_what_a_cpu_cannot_do_ends_a_run_before_it_has_a_folder(
    run_inside: Run, vllm_run: Written, tmp_path: Path, flags: str, code: int, reason: str
) -> None:
    path = vllm_run(tmp_path)
    done = run_inside(f"srl-grpo train --config {path} --output-dir run {flags}")
    assert done.returncode == code, done.stderr
    assert reason in done.stderr
    assert not (tmp_path / "run").exists()


def test_lengths_beyond_the_window_are_told_by_the_flags_that_set_them(
    whole: Path, run_inside: Run, vllm_run: Written, tmp_path: Path
) -> None:
    """As with transformers, before vLLM would name its own."""
    path = vllm_run(
        tmp_path, model={"path": str(whole / "final"), "build": None}, warm_start={"steps": 0}
    )
    done = run_inside(f"srl-grpo train --config {path} --output-dir run --max-new-tokens 9000")
    assert done.returncode == 2
    assert "max_prompt_length 128 + max_new_tokens 9000 exceeds the model's" in done.stderr
    assert not (tmp_path / "run").exists()
