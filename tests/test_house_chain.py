"""The chain as a user walks it, in processes of their own: data, training, checkpoint, evaluation.

Slow: each test starts several processes that load torch.
"""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
STEPS = 12
TRAIN = f"srl-grpo train --config smoke_test --num-steps {STEPS} --output-dir"
UNREPEATABLE = ("time", "time/", "step_time", "tokens_per_second")


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """The run directory of a training run from its first step to its last."""
    run = tmp_path_factory.mktemp("chain") / "unbroken"
    with started(f"{TRAIN} {run}", run.parent, environment) as process:
        _, complaints = process.communicate(timeout=500)
    assert process.returncode == 0, complaints
    return run


def started(command: str, folder: Path, environment: dict[str, str]) -> subprocess.Popen[str]:
    """A command of ours, begun; one thread, which is quicker for a model this small."""
    program, *arguments = shlex.split(command)
    return subprocess.Popen(
        [Path(sys.executable).with_name(program), *arguments],
        cwd=folder,
        env={**environment, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def metrics(run: Path) -> list[dict[str, float]]:
    """What a run logged, but for clocks."""
    lines = (json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines())
    return [
        {name: value for name, value in line.items() if not name.startswith(UNREPEATABLE)}
        for line in lines
    ]


def wait_for_lines(file: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until a growing file has so many lines, or its writer has ended."""
    while process.poll() is None:
        if file.is_file() and len(file.read_bytes().splitlines()) >= count:
            return
        time.sleep(0.02)


def test_a_run_leaves_what_its_guide_promises(unbroken: Path) -> None:
    names = {path.name for path in unbroken.iterdir()}
    assert {"config.yaml", "metrics.jsonl", "report.html", "rollouts", "summary.json"} <= names
    assert {"sys", "tensorboard", f"step_{STEPS}"} <= names
    assert [line["step"] for line in metrics(unbroken)] == list(range(1, STEPS + 1))
    summary = json.loads((unbroken / "summary.json").read_text())
    for moment in ("before", "after"):
        values = summary[moment]
        assert {"reward", "exact", "invalid", "greedy_reward", "final_answer"} <= set(values)
        assert -1 <= values["reward"] <= 1
    page = (unbroken / "report.html").read_text(encoding="utf-8")
    assert "<svg" in page
    assert 'src="http' not in page


def test_a_checkpoint_loads_in_plain_transformers_and_writes_text(unbroken: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = unbroken / f"step_{STEPS}"
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    ids = tokenizer("12+34=", return_tensors="pt").input_ids
    written = model.generate(ids, max_new_tokens=4, do_sample=False)
    assert written.shape[1] > ids.shape[1]
    assert isinstance(tokenizer.decode(written[0]), str)


@pytest.mark.parametrize("mode", ["greedy", "avg2"])
def test_a_checkpoint_is_evaluated_on_held_out_problems(
    mode: str, unbroken: Path, run_command: Run, tmp_path: Path
) -> None:
    made = run_command("srl-data synth arithmetic --output a.jsonl --difficulty easy --val-size 6")
    assert made.returncode == 0, made
    model = unbroken / f"step_{STEPS}"
    done = run_command(
        f"srl-eval arithmetic --model-path {model} --data-path a.eval.jsonl --mode {mode} "
        "--output-dir results"
    )
    assert done.returncode == 0, done
    lines = (tmp_path / "results" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 6 * {"greedy": 1, "avg2": 2}[mode]
    assert json.loads((tmp_path / "results" / "metrics.json").read_text())


def test_ctrl_c_leaves_a_run_that_ends_as_the_unbroken_one(
    unbroken: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    run = tmp_path / "run"
    with started(f"{TRAIN} {run}", tmp_path, environment) as process:
        wait_for_lines(run / "metrics.jsonl", 3, process)
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=200)
    assert process.returncode == 130, complaints
    assert "Traceback" not in complaints
    assert len(metrics(run)) < STEPS
    resume = complaints.rpartition("go on with: ")[2].strip()
    with started(resume, tmp_path, environment) as process:
        _, complaints = process.communicate(timeout=400)
    assert process.returncode == 0, complaints
    assert metrics(run) == metrics(unbroken)
    last = f"step_{STEPS}/model.safetensors"
    assert (run / last).read_bytes() == (unbroken / last).read_bytes()


@pytest.fixture
def cut_short(unbroken: Path, tmp_path: Path) -> Path:
    """A copy of a checkpoint whose weights end early."""
    folder = tmp_path / "step_2"
    shutil.copytree(unbroken / f"step_{STEPS}", folder)
    weights = folder / "model.safetensors"
    os.truncate(weights, weights.stat().st_size // 2)
    return folder


def test_a_checkpoint_cut_short_is_refused_by_training(cut_short: Path, run_command: Run) -> None:
    done = run_command(f"{TRAIN} out --resume {cut_short}")
    assert done.returncode == 3, done
    assert done.stderr.count(": error: ") == 1
    assert "model.safetensors" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_checkpoint_cut_short_is_refused_by_evaluation(
    cut_short: Path, run_command: Run, tmp_path: Path
) -> None:
    made = run_command("srl-data synth arithmetic --output a.jsonl --difficulty easy --val-size 6")
    assert made.returncode == 0, made
    done = run_command(f"srl-eval arithmetic --model-path {cut_short} --data-path a.eval.jsonl")
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr
    assert str(cut_short) in done.stderr
