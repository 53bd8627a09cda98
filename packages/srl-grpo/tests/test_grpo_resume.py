"""Stopped and continued runs against an unbroken one, as a user meets them: through the command."""

import json
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from srl_grpo.run.checkpoint import steps_of, verify
from srl_grpo.run.directory import RunDirectory, read_rollouts

pytestmark = pytest.mark.slow

STEPS = 12
KILLED = Path(__file__).parent / "killed" / "train.yaml"
CONFIG = yaml.safe_load(KILLED.read_text()) | {"checkpoint": {"checkpoint_every": 4}}
PROGRAM = str(Path(sys.executable).with_name("srl-grpo"))


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    path = tmp_path_factory.mktemp("config") / "run.yaml"
    path.write_text(yaml.safe_dump(CONFIG))
    return path


@pytest.fixture(scope="module")
def unbroken(config, environment, tmp_path_factory):
    """Finished runs by their flags, each made once."""
    made: dict[tuple[str, ...], Path] = {}

    def run(*flags: str) -> Path:
        if flags not in made:
            made[flags] = tmp_path_factory.mktemp("unbroken") / "run"
            finish(start(config, made[flags], environment, *flags))
        return made[flags]

    return run


def start(config, out, environment, *flags):
    command = [PROGRAM, "train", "--config", str(config), "--output-dir", str(out), *flags]
    return launch(command, environment)


def launch(command, environment):
    return subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process, code=0):
    _, errors = process.communicate(timeout=250)
    assert process.returncode == code, errors[-3000:]
    return errors


def lines_of(run):
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


def send_after(process, run, steps, number):
    """Send a signal once so many steps are logged."""
    until = time.monotonic() + 240
    while len(lines_of(run)) < steps:
        assert process.poll() is None, process.stderr.read()[-3000:]
        assert time.monotonic() < until
        time.sleep(0.02)
    process.send_signal(number)


def metrics_of(run):
    """The logged metrics, without what is measured with a clock."""
    timed = ("time", "step_time", "tokens_per_second")
    return [
        {n: v for n, v in json.loads(line).items() if n not in timed and not n.startswith("time/")}
        for line in lines_of(run)
    ]


def rollouts_of(run):
    files = RunDirectory(run).rollout_files()
    return {step: list(read_rollouts(path)) for step, path in files.items()}


def assert_same_run(found, expected):
    assert [line["step"] for line in metrics_of(found)] == list(range(1, STEPS + 1))
    assert metrics_of(found) == metrics_of(expected)
    assert rollouts_of(found) == rollouts_of(expected)
    weights = f"step_{STEPS}/model.safetensors"
    assert (found / weights).read_bytes() == (expected / weights).read_bytes()
    verify(found / f"step_{STEPS}")
    ours, theirs = (json.loads((run / "summary.json").read_text()) for run in (found, expected))
    for name in ("before", "after", "intervals"):
        assert ours[name] == theirs[name]
    best, other = (json.loads((run / "best.json").read_text()) for run in (found, expected))
    assert best == other


@pytest.mark.parametrize("flags", [(), ("--zero-stage", "2")], ids=["zero-0", "zero-2"])
def test_stopped_by_ctrl_c_and_continued_is_the_unbroken_run(
    config, environment, tmp_path, unbroken, flags
):
    run = tmp_path / "run"
    process = start(config, run, environment, *flags)
    send_after(process, run, 5, signal.SIGINT)
    errors = finish(process, code=130)

    stopped = len(lines_of(run))
    assert 5 <= stopped < STEPS
    assert steps_of(run)[-1] == stopped
    assert not (run / "summary.json").exists()
    (said,) = [line for line in errors.splitlines() if line.startswith("srl-grpo: error: ")]
    command = shlex.split(said.partition("resume with: ")[2])
    assert command == [
        *("srl-grpo", "train", "--config", str(config), *flags),
        *("--output-dir", str(run), "--resume", "auto"),
    ]
    finish(launch([PROGRAM, *command[1:]], environment))
    assert_same_run(run, unbroken(*flags))


def test_killed_and_continued_is_the_unbroken_run(config, environment, tmp_path, unbroken):
    run = tmp_path / "run"
    process = start(config, run, environment)
    send_after(process, run, 7, signal.SIGKILL)
    finish(process, code=-signal.SIGKILL)
    assert steps_of(run)
    assert steps_of(run)[-1] < STEPS
    finish(start(config, run, environment, "--resume", "auto"))
    assert_same_run(run, unbroken())
    assert not list(run.glob(".*.tmp"))


def test_killed_before_its_first_checkpoint_it_begins_anew_in_its_folder(
    config, environment, tmp_path, unbroken
):
    run = tmp_path / "run"
    process = start(config, run, environment)
    send_after(process, run, 1, signal.SIGKILL)
    finish(process, code=-signal.SIGKILL)
    finish(start(config, run, environment, "--resume", "auto"))
    assert_same_run(run, unbroken())


def test_a_finished_run_resumed_changes_nothing(config, environment, unbroken):
    run = unbroken()
    before = (run / "metrics.jsonl").read_bytes(), (run / "step_12/MANIFEST.json").read_bytes()
    finish(start(config, run, environment, "--resume", "auto"))
    after = (run / "metrics.jsonl").read_bytes(), (run / "step_12/MANIFEST.json").read_bytes()
    assert before == after


def test_two_processes_stopped_by_ctrl_c_continue_as_the_unbroken_run(
    config, environment, tmp_path, unbroken
):
    flags = ("--zero-stage", "2", "--nproc-per-node", "2")
    run = tmp_path / "run"
    process = start(config, run, environment, *flags)
    send_after(process, run, 4, signal.SIGINT)
    errors = finish(process, code=130)
    assert "--resume auto" in errors
    finish(start(config, run, environment, *flags, "--resume", "auto"))
    assert_same_run(run, unbroken(*flags))
