"""Signals and lost terminals, as the command meets them."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srl_grpo.config.sections import LaunchSection
from srl_grpo.launch import torchrun_arguments
from srl_grpo.run.checkpoint import steps_of, verify
from srl_grpo.run.stopping import stop_requested

PROGRAM = str(Path(sys.executable).with_name("srl-grpo"))


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_each_signal_is_a_wish_to_stop_and_no_more(number):
    # What started the tests may have set it to be ignored.
    before = signal.signal(signal.Signals[number], signal.SIG_DFL)
    try:
        with stop_requested() as stopping:
            assert not stopping()
            os.kill(os.getpid(), signal.Signals[number])
            assert stopping()
        assert signal.getsignal(signal.Signals[number]) == signal.SIG_DFL
    finally:
        signal.signal(signal.Signals[number], before)


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with stop_requested() as stopping:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not stopping()
        words = torchrun_arguments(LaunchSection(nproc_per_node=2), ["train"])
    finally:
        signal.signal(signal.SIGHUP, before)
    assert words[words.index("--signals-to-handle") + 1] == "SIGINT,SIGTERM,SIGUSR1,SIGQUIT"


def lines_of(run):
    path = run / "metrics.jsonl"
    return path.read_text().splitlines() if path.is_file() else []


def wait_for_lines(process, run, count):
    until = time.monotonic() + 240
    while len(lines_of(run)) < count:
        assert process.poll() is None, "it ended too early"
        assert time.monotonic() < until
        time.sleep(0.02)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1])
def test_a_signal_ends_the_run_with_a_checkpoint(tiny, environment, tmp_path, number, processes):
    run = tmp_path / "out"
    command = [PROGRAM, "train", "--config", str(tiny(num_steps=5000)), "--output-dir", str(run)]
    process = subprocess.Popen(
        [*command, "--nproc-per-node", str(processes)],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_lines(process, run, 2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors[-2000:]
    (step,) = steps_of(run)
    assert step == len(lines_of(run)) >= 2
    verify(run / f"step_{step}")
    assert f"its checkpoint is step {step}; resume with: srl-grpo train" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
@pytest.mark.parametrize("pipe", ["| head -n 1", "2>&1 | head -n 1", ">&- 2>&-", ">/dev/full 2>&1"])
def test_training_goes_on_to_its_end_whoever_reads(tiny, environment, tmp_path, pipe):
    run = tmp_path / "out"
    command = f"{PROGRAM} train --config {tiny(num_steps=6)} --output-dir {run} {pipe}"
    result = subprocess.run(
        ["bash", "-c", f"{command}; exit ${{PIPESTATUS[0]}}"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert result.returncode == 0, result.stderr[-2000:]
    assert len(lines_of(run)) == 6
    assert (run / "report.html").is_file()
    verify(run / "step_6")


@pytest.mark.slow
@pytest.mark.parametrize("heeds", [True, False], ids=["hangup heeded", "nohup"])
def test_a_terminal_that_goes_away(tiny, environment, tmp_path, heeds):
    """With the panel on a terminal: its end stops the run well, or under nohup not at all."""
    run = tmp_path / "out"
    steps = 5000 if heeds else 30
    command = [PROGRAM, "train", "--config", str(tiny(num_steps=steps)), "--output-dir", str(run)]
    pid, terminal = pty.fork()
    if pid == 0:
        if not heeds:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        os.execve(PROGRAM, command, {**environment, "TERM": "xterm"})
    until = time.monotonic() + 200
    while len(lines_of(run)) < 2:
        assert time.monotonic() < until
        os.set_blocking(terminal, False)
        try:
            os.read(terminal, 65536)
        except BlockingIOError:
            time.sleep(0.02)
    os.close(terminal)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == (130 if heeds else 0)
    step = steps_of(run)[-1]
    assert step == len(lines_of(run))
    assert step == 30 or heeds
    verify(run / f"step_{step}")
