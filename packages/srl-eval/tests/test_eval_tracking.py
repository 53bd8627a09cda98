"""Results on Weights & Biases: for real offline, and never at the cost of the run."""

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from srl_data.command.frame import execute
from srl_data.command.wandb import RUN_ID_FILE
from srl_eval import run as running
from srl_eval.cli import cli
from srl_eval.samples import Sample, read_samples
from srl_eval.tracking import forgive, table_rows


def arguments(tmp_path: Path, model: Path, *extra: str) -> list[str]:
    path = tmp_path / "aime.jsonl"
    rows = [{"problem": f"What is {n}?", "answer": n} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return [
        *("aime24", "--model-path", str(model), "--data-path", str(path), "--mode", "avg2"),
        *("--output-dir", str(tmp_path / "out"), "--max-new-tokens", "8"),
        *("--wandb-project", "tries", *extra),
    ]


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb", exc_type=ImportError)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)


@pytest.mark.usefixtures("offline")
def test_an_offline_run_holds_the_scores_and_the_samples(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = arguments(tmp_path, model_folder, "--run-name", "first look")
    assert execute(cli, "srl-eval", args) == 0
    assert "warning" not in capsys.readouterr().err
    out = tmp_path / "out"
    (run,) = out.glob("wandb/offline-run-*/run-*.wandb")
    content = run.read_bytes()
    for part in (b"first look", b"accuracy/stderr", b"pass@2", b"verdict/no_answer", b"tries"):
        assert part in content
    (table,) = run.parent.glob("files/media/table/samples_*.json")
    stored = json.loads(table.read_text())
    samples = read_samples(out / "results.jsonl")
    assert len(stored["data"]) == len(samples) == 6
    ordered = sorted(samples, key=lambda sample: (sample.sample, sample.doc))
    assert [row[0] for row in stored["data"]] == [sample.id for sample in ordered]
    assert stored["columns"][-1] == "response"
    first_id = (out / RUN_ID_FILE).read_text()
    assert first_id.strip() in run.name
    assert execute(cli, "srl-eval", args) == 0
    assert (out / RUN_ID_FILE).read_text() == first_id
    assert execute(cli, "srl-eval", [*args, "--overwrite"]) == 0
    assert (out / RUN_ID_FILE).read_text() != first_id


def test_a_missing_library_is_named_before_anything_is_done(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("srl_data.command.wandb.find_spec", lambda _name: None)
    assert execute(cli, "srl-eval", arguments(tmp_path, model_folder)) == 2
    assert "uv sync --extra wandb" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class DeadWandb:
    """A library whose every call fails."""

    def __getattr__(self, name: str) -> object:
        raise ConnectionError(f"no route for {name}")


def test_a_dead_dashboard_costs_a_warning(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("srl_data.command.wandb.find_spec", lambda _name: object())
    monkeypatch.setitem(sys.modules, "wandb", DeadWandb())  # type: ignore[arg-type]
    assert execute(cli, "srl-eval", arguments(tmp_path, model_folder)) == 0
    shown = capsys.readouterr()
    assert "W&B failed and was left: no route for" in shown.err
    assert "avg@2" in shown.out
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["problems"] == 3


def test_a_dashboard_that_hangs_is_left(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    over = threading.Event()
    monkeypatch.setattr("srl_data.command.wandb.find_spec", lambda _name: object())
    monkeypatch.setattr(running, "send", lambda *_args: over.wait(60))
    monkeypatch.setattr(running, "PATIENCE_SECONDS", 0.2)
    started = time.monotonic()
    assert execute(cli, "srl-eval", arguments(tmp_path, model_folder)) == 0
    assert time.monotonic() - started < 30
    assert "did not answer within 0 s and was left" in capsys.readouterr().err
    over.set()


def test_a_failure_without_words_is_named_by_its_kind() -> None:
    said: list[str] = []

    def fail() -> None:
        raise SystemExit

    forgive(fail, 5.0, said.append)
    assert said == ["W&B failed and was left: SystemExit; all files are written"]


def test_the_table_is_bounded_and_begins_with_every_first_sample(
    sample: Callable[..., Sample],
) -> None:
    samples = [sample(doc=doc, sample=n) for doc in range(600) for n in range(4)]
    rows = table_rows([*samples[:-1], sample(doc=599, sample=3, response="x" * 9000)])
    assert len(rows) == 1000
    assert [row[1] for row in rows] == [0] * 600 + [1] * 400
    (long,) = table_rows([sample(response="x" * 9000)])
    assert long[-1] == "x" * 4000 + " [... 5000 characters]"
