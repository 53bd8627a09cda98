"""Reinforcement learning on real questions with a real small model: it runs, resumes, evaluates.

Of so few tokens nothing is learned, and nothing is asserted of what the model answers;
`benchmarks/rlvr_small_model.py` is the same at a size that shows something.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.model,
    pytest.mark.timeout(500),
    pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set"),
]
TRAIN = (
    "srl-grpo train --data gsm8k --problem-field question --answer-field answer --template chat "
    "--reward gsm8k --reward format --baseline none --batch-size 1 --group-size 2 --ppo-steps 2 "
    "--max-prompt-length 200 --max-new-tokens 12 --top-p 0.9 --train-max-samples 8 "
    "--test-max-samples 2 --eval-samples 2 --eval-steps 1 --saving-steps 1 --output-dir run"
)


def test_gsm8k_is_trained_on_resumed_and_evaluated(
    smollm2: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    for split in ("train", "test"):
        lines = (Path(os.environ["SRL_TEST_DATA"]) / "gsm8k" / f"{split}.jsonl").open()
        with lines:
            kept = "".join(next(lines) for _ in range(10))
        (tmp_path / "gsm8k").mkdir(exist_ok=True)
        (tmp_path / "gsm8k" / f"{split}.jsonl").write_text(kept)

    def run(flags: str) -> None:
        program, *words = shlex.split(f"{TRAIN} {flags}")
        command = [str(Path(sys.executable).with_name(program)), *words]
        done = subprocess.run(
            [*command, "--model", str(smollm2)],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]

    run("--num-steps 1")
    run("--num-steps 2 --resume auto")
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    metrics = [json.loads(line) for line in lines]
    assert [line["step"] for line in metrics] == [1, 2]
    for line in metrics:
        assert line["completions/max_length"] <= 12
        assert line["sampling/kept_tokens"] > 1
        assert line["sampling/logprob_difference"] < 1e-3
        assert {"val_reward_total", "val_reward_answer", "eval/pass@2"} <= line.keys()
    assert (tmp_path / "run" / "final" / "model.safetensors").is_file()
