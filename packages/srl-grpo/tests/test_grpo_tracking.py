import json
import math
import os
import subprocess
import sys
import time

import pytest

from srl_data.command.errors import ConfigError, DataError
from srl_data.command.wandb import stored_run_id
from srl_grpo.config.sections import TrackingSection
from srl_grpo.run.dashboards import TensorBoardTracker, WandbTracker, free_name
from srl_grpo.run.trackers import (
    MetricsFile,
    Trackers,
    check_trackers,
    read_metrics,
)


class Memory:
    def __init__(self, broken=False):
        self.rows, self.closed, self.broken = [], False, broken

    def log(self, step, metrics):
        if self.broken:
            raise ConnectionError("dashboard is down")
        self.rows.append((step, dict(metrics)))

    def close(self):
        self.closed = True


def test_metrics_are_one_flushed_object_a_line(tmp_path):
    file = MetricsFile(tmp_path / "metrics.jsonl")
    file.log(1, {"reward": 0.25, "kl": math.nan, "grad_norm": math.inf, "reward/exact": 1})
    text = (tmp_path / "metrics.jsonl").read_text()
    row = json.loads(text)
    assert text.endswith("\n")
    assert list(row) == ["step", "time", "reward", "kl", "grad_norm", "reward/exact"]
    assert row["reward"] == 0.25
    assert row["kl"] is None
    assert row["grad_norm"] is None

    back = next(read_metrics(file.path))
    assert back["step"] == 1.0
    assert math.isnan(back["kl"])
    file.close()


def test_resuming_drops_later_rows_and_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    with_rows = MetricsFile(path)
    for step in (1, 2, 3, 4):
        with_rows.log(step, {"reward": step / 10})
    with_rows.close()
    with path.open("ab") as file:
        file.write(b'{"step": 5, "rew')

    resumed = MetricsFile(path, resume_step=2)
    resumed.log(3, {"reward": 9.0})
    resumed.close()

    rows = list(read_metrics(path))
    assert [(row["step"], row["reward"]) for row in rows] == [(1, 0.1), (2, 0.2), (3, 9.0)]
    assert list(tmp_path.iterdir()) == [path]


def test_the_reader_passes_over_a_torn_line(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1, "reward": 1}\n{"step": 2, "rew')
    assert list(read_metrics(path)) == [{"step": 1.0, "reward": 1.0}]


@pytest.mark.parametrize("bad", ["{oops", "[1]", '{"reward": 1}', '{"step": 1, "reward": "x"}'])
def test_a_bad_line_is_refused_with_its_number(tmp_path, bad):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 1}\n' + bad + '\n{"step": 2}\n')
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: "):
        list(read_metrics(path))
    with pytest.raises(DataError, match=r"metrics\.jsonl:2: "):
        MetricsFile(path, resume_step=1)
    assert path.read_text().count("\n") == 3


def test_a_full_disk_ends_the_run_and_names_the_file(tmp_path):
    script = (
        "import resource, signal, sys, pathlib\n"
        "from srl_grpo.run.trackers import MetricsFile, Trackers\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (300, 300))\n"
        "t = Trackers(MetricsFile(pathlib.Path(sys.argv[1])))\n"
        "try:\n"
        "    [t.log(i, {'reward': 0.5}) for i in range(100)]\n"
        "except OSError as e:\n"
        "    print(e.filename)\n"
    )
    path = tmp_path / "metrics.jsonl"
    command = [sys.executable, "-c", script, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == str(path)


def test_one_backend_failing_is_warned_once_and_the_others_go_on():
    record, down, up = Memory(), Memory(broken=True), Memory()
    warnings = []
    trackers = Trackers(record, [down, up], warn=warnings.append)
    trackers.log(1, {"reward": 0.1})
    trackers.log(2, {"reward": 0.2})
    trackers.close()

    assert record.rows == up.rows == [(1, {"reward": 0.1}), (2, {"reward": 0.2})]
    assert len(warnings) == 1
    assert "Memory failed: ConnectionError('dashboard is down')" in warnings[0]
    assert record.closed
    assert up.closed


def test_the_record_failing_is_raised():
    with pytest.raises(ConnectionError):
        Trackers(Memory(broken=True)).log(1, {})


def test_interrupts_pass_through_the_fan_out():
    class Interrupted(Memory):
        def log(self, step, metrics):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Trackers(Memory(), [Interrupted()]).log(1, {})


def test_tensorboard_holds_the_scalars_and_purges_at_resume(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    first = TensorBoardTracker(tmp_path)
    for step in (1, 2, 3):
        first.log(step, {"reward": step / 4, "kl": math.nan})
    first.close()
    time.sleep(1.1)  # TensorBoard reads files in the order of their names, which hold the second
    resumed = TensorBoardTracker(tmp_path, resume_step=2)
    resumed.log(3, {"reward": 8.0})
    resumed.close()

    events = EventAccumulator(str(tmp_path)).Reload()
    scalars = [(event.step, event.value) for event in events.Scalars("reward")]
    assert scalars == [(1, 0.25), (2, 0.5), (3, 8.0)]
    assert events.Tags()["scalars"] == ["reward"]


@pytest.mark.parametrize(
    ("module", "asked"), [("wandb", {"wandb": "offline"}), ("trackio", {"trackio": True})]
)
def test_a_missing_backend_names_its_installation(monkeypatch, module, asked):
    monkeypatch.setitem(sys.modules, module, None)
    check_trackers(TrackingSection())
    fix = rf"uv sync --extra {module}` \(or `pip install 'srl-grpo\[{module}\]'`\)"
    with pytest.raises(ConfigError, match=fix):
        check_trackers(TrackingSection.model_validate(asked))


def test_dashboards_are_thinned_and_the_record_is_not():
    record, shown = Memory(), Memory()
    trackers = Trackers(record, [shown], every=4)
    for step in range(1, 12):
        trackers.log(step, {"reward": step / 10, **({"eval/reward": 1.0} if step == 6 else {})})
    assert [step for step, _ in shown.rows] == [1, 4, 6, 8]
    trackers.close()
    assert [step for step, _ in record.rows] == list(range(1, 12))
    assert [step for step, _ in shown.rows] == [1, 4, 6, 8, 11]
    assert [row for row in shown.rows if row not in record.rows] == []  # values of the step itself


def test_the_last_step_is_sent_once_and_a_resumed_run_shows_its_first():
    shown = Memory()
    trackers = Trackers(Memory(), [shown], every=3)
    for step in (5, 6):
        trackers.log(step, {"reward": 0.5})
    trackers.close()
    assert [step for step, _ in shown.rows] == [5, 6]


class FakeWandb:
    Settings = dict

    def __init__(self):
        self.options, self.rows, self.finished = {}, [], False

    def init(self, **options):
        self.options = options
        return self

    def define_metric(self, name, step_metric=None):
        self.axis = step_metric

    def log(self, data):
        self.rows.append(data)

    def finish(self):
        self.finished = True


def test_a_resumed_wandb_run_goes_on_under_its_id(tmp_path, monkeypatch):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    WandbTracker(tmp_path, "p", "the run", mode="offline", config={"seed": 1}).close()
    first = dict(fake.options)
    again = WandbTracker(tmp_path, "p", "the run", mode="offline", resume_step=40)
    again.log(41, {"reward": 0.5})

    assert first["mode"] == "offline"
    assert first["name"] == "the run"
    assert first["config"] == {"seed": 1}
    assert fake.options["id"] == first["id"]
    assert fake.options["resume"] == "allow"
    assert fake.rows == [{"step": 41, "reward": 0.5}]
    assert fake.axis == "step"
    assert fake.finished


def test_a_new_run_gets_a_new_id(tmp_path):
    path = tmp_path / "id"
    first = stored_run_id(path, resume=False)
    assert stored_run_id(path, resume=True) == first
    assert stored_run_id(path, resume=False) != first


def test_a_taken_name_gets_a_number():
    assert free_name("run", set()) == "run"
    assert free_name("run", {"run", "run-2", "other"}) == "run-3"


def trackio_rows(folder, script):
    """What trackio holds after a script, read by another process: rows per run, in order."""
    pytest.importorskip("trackio")
    environment = {**os.environ, "TRACKIO_DIR": str(folder), "HF_HUB_OFFLINE": "1"}
    for name in ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL"):
        environment.pop(name, None)
    read = (
        "import json, trackio\n"
        "from trackio.sqlite_storage import SQLiteStorage\n"
        "runs = {run.name: SQLiteStorage.get_logs('p', run.name, run_id=run.id)\n"
        "        for run in trackio.Api().runs('p')}\n"
        "print('@@' + json.dumps(runs))\n"
    )
    for code in (script, read):
        command = [sys.executable, "-c", code]
        done = subprocess.run(
            command, capture_output=True, text=True, env=environment, timeout=120, check=False
        )
        assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.rpartition("@@")[2])


def test_trackio_holds_every_row_and_a_resumed_run_keeps_its_name(tmp_path):
    script = f"""
from pathlib import Path
from srl_grpo.run.dashboards import TrackioTracker
def run(folder, name, steps, resume=None):
    tracker = TrackioTracker(Path({str(tmp_path)!r}) / folder, "p", name, resume, {{"seed": 1}})
    for step in steps:
        tracker.log(step, {{"reward": step / 4, "kl": float("nan")}})
    tracker.close()
run("a", "run", [1, 2, 3, 4])
run("b", "run", [1])
run("a", "renamed", [3, 4, 5], resume=2)
"""
    runs = trackio_rows(tmp_path / "trackio", script)
    assert sorted(runs) == ["run", "run-2"]
    rows = [(row["step"], row["reward"]) for row in runs["run"]]
    assert rows == [(step, step / 4) for step in (1, 2, 3, 4, 3, 4, 5)]
    assert [row["step"] for row in runs["run-2"]] == [1]


@pytest.mark.slow
def test_a_training_run_goes_to_trackio_thinned(tmp_path):
    out = tmp_path / "out"
    arguments = [
        *("train", "--config", "smoke_test", "--num-steps", "5", "--output-dir", str(out)),
        *("--trackio", "--trackio-project", "p", "--logging-steps", "4", "--eval-every", "0"),
    ]
    command = ["srl-grpo", *arguments]
    script = f"import sys\nsys.argv = {command!r}\nfrom srl_grpo.cli import main\nmain()"
    runs = trackio_rows(tmp_path / "trackio", script)
    assert list(runs) == ["out"]
    whole = {row["step"]: row for row in read_metrics(out / "metrics.jsonl")}
    assert sorted(whole) == [1, 2, 3, 4, 5]
    assert [row["step"] for row in runs["out"]] == [1, 4, 5]
    assert [row["reward"] for row in runs["out"]] == [whole[n]["reward"] for n in (1, 4, 5)]


def test_importing_tracking_loads_no_torch():
    code = (
        "import sys, srl_grpo.run.trackers, srl_grpo.run.directory as _; "
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
