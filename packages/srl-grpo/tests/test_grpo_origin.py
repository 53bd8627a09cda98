"""Where a run starts: damaged checkpoints, finished runs, folders in use, other runs' folders."""

import json
import os
import shutil
import socket

import pytest
import yaml

from srl_data.lock import FolderLock
from srl_grpo.run.checkpoint import read_state, steps_of


@pytest.fixture
def train(call, tiny):
    """Trains the tiny run with a checkpoint a step: exit code, standard output, errors."""

    def run(*flags, **changes):
        config = tiny(**({"checkpoint": {"checkpoint_every": 1}} | changes))
        return call("train", "--config", config, *flags)

    return run


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize("damage", ["a changed byte", "a missing file", "no manifest", "cut short"])
def test_a_damaged_newest_checkpoint_is_passed_over_aloud(train, tmp_path, damage):
    assert train("--output-dir", "out")[0] == 0
    newest = tmp_path / "out/step_2"
    weights = newest / "model.safetensors"
    if damage == "a changed byte":
        content = bytearray(weights.read_bytes())
        content[-1] ^= 1
        weights.write_bytes(content)
    elif damage == "a missing file":
        weights.unlink()
    elif damage == "no manifest":
        (newest / "MANIFEST.json").unlink()
    else:
        (newest / "MANIFEST.json").write_text('{"step": 2')
    code, shown, errors = train("--output-dir", "out", "--resume", "auto", "--num-steps", 3)
    assert (code, errors) == (0, "")
    (told,) = [line for line in shown.splitlines() if line.startswith("passed over: ")]
    assert "out/step_2" in told
    assert "step 2/3" in shown
    assert steps_of(tmp_path / "out") == [1, 2, 3]


@pytest.mark.parametrize("resume", [["--resume", "auto"], ["--resume", "out/step_2"]])
def test_a_finished_run_says_so_and_how_to_train_on(train, tmp_path, resume):
    assert train("--output-dir", "out")[0] == 0
    before = snapshot(tmp_path / "out")
    code, shown, errors = train("--output-dir", "out", *resume)
    assert (code, errors) == (0, "")
    assert "out/step_2 is at step 2 of 2, finished; to train on, give --num-steps above 2" in shown
    assert snapshot(tmp_path / "out") == before
    code, shown, _ = train("--output-dir", "out", *resume, "--num-steps", 1)
    assert code == 0
    assert "is at step 2 of 1, past that; to train on, give --num-steps above 2" in shown
    assert snapshot(tmp_path / "out") == before
    code, shown, _ = train("--output-dir", "out", *resume, "--num-steps", 3)
    assert code == 0
    assert "step 3/3" in shown


def test_a_run_stopped_before_its_last_evaluation_is_not_finished(train, tmp_path):
    evaluation = {"before_after": True}
    assert train("--output-dir", "out", evaluation=evaluation)[0] == 0
    (tmp_path / "out/summary.json").unlink()
    code, _, _ = train("--output-dir", "out", "--resume", "auto", evaluation=evaluation)
    assert code == 0
    assert json.loads((tmp_path / "out/summary.json").read_text()).keys() >= {"before", "after"}


@pytest.mark.parametrize(
    "flags",
    [
        ["--output-dir", "out", "--resume", "auto"],
        ["--output-dir", "out", "--resume", "out/step_1"],
        ["--resume", "out/step_1"],
        ["--resume", "out"],
    ],
)
def test_a_folder_in_use_is_refused_with_its_holder(train, tmp_path, flags):
    out = tmp_path / "out"
    assert train("--output-dir", "out")[0] == 0
    before = snapshot(out)
    lock = FolderLock()
    lock.take(out)
    code, _, errors = train(*flags, "--num-steps", 3)
    assert code == 1
    assert errors.count("\n") == 1
    assert f"out is in use by process {os.getpid()} on {socket.gethostname()} since" in errors
    assert snapshot(out) == before
    lock.release()
    assert train(*flags, "--num-steps", 3)[0] == 0


def test_two_fresh_runs_cannot_begin_in_one_folder_at_once(train, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    lock = FolderLock()
    lock.take(out)
    code, _, errors = train("--output-dir", "out")
    assert code == 1
    assert "is in use by process" in errors
    assert snapshot(out) == {}
    lock.release()


def test_a_checkpoint_is_not_continued_over_another_runs_checkpoints(train, tmp_path):
    assert train("--output-dir", "a")[0] == 0
    assert train("--output-dir", "b")[0] == 0
    before = snapshot(tmp_path / "b")
    code, _, errors = train("--resume", "a/step_1", "--output-dir", "b")
    assert code == 2
    assert "--output-dir b holds another run than a/step_1" in errors
    assert snapshot(tmp_path / "b") == before


def test_a_fork_without_a_checkpoint_of_its_own_starts_from_the_other_run_again(train, tmp_path):
    assert train("--output-dir", "a", num_steps=3)[0] == 0
    assert train("--resume", "a/step_2", "--output-dir", "b", "--num-steps", 4)[0] == 0
    for again in range(2):
        for step in (3, 4):  # as if it had been killed before its first checkpoint
            shutil.rmtree(tmp_path / "b" / f"step_{step}")
        shutil.rmtree(tmp_path / "b" / "final")
        code, shown, _ = train("--resume", "auto", "--output-dir", "b", "--num-steps", 4)
        assert code == 0, again
        assert "it starts from" in shown
        assert "a/step_2 again" in shown
        assert steps_of(tmp_path / "b") == [3, 4]
        assert read_state(tmp_path / "b/step_4").step == 4
    kept = yaml.safe_load((tmp_path / "b/config.yaml").read_text())["checkpoint"]["resume"]
    assert kept == str(tmp_path / "a/step_2")
