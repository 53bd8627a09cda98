"""The flat summary: its numbers, and where it cannot be written."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srl_data.command.frame import execute
from srl_eval.cli import cli

Run = Callable[..., Path]
Write = Callable[..., Path]


def test_the_summary_of_a_run_under_r1_zero(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "baseline_results_summary.json"
    form = {"text": "so</think> <answer>", "end": "</answer>", "template": "r1_zero"}
    output = {"output_dir": tmp_path / "m", "summary": path, "bootstrap": 200}
    run("m", 0.5, **form, output=output)
    found = json.loads(path.read_text())
    metrics = json.loads((tmp_path / "m/metrics.json").read_text())
    assert all(not isinstance(value, dict | list) for value in found.values())
    assert found["accuracy"] == metrics["accuracy"]["mean"]
    assert 0 < found["accuracy"] < 1
    assert (found["accuracy_low"], found["accuracy_high"]) == (
        metrics["accuracy"]["low"],
        metrics["accuracy"]["high"],
    )
    assert found["mean_format_reward"] == 1.0
    assert found["mean_answer_reward"] == found["mean_total_reward"] == found["accuracy"]
    assert found["template"].startswith("r1_zero/")
    assert found["samples"] == 32
    names = ("format_right_answer_right", "format_right_answer_wrong", "format_wrong")
    assert [found[f"{name}_count"] for name in names] == [
        metrics["verdicts"]["correct"],
        32 - metrics["verdicts"]["correct"],
        0,
    ]
    assert sum(found[f"{name}_share"] for name in names) == 1.0
    for name, count in metrics["verdicts"].items():
        assert (found[f"{name}_count"], found[f"{name}_share"]) == (count, count / 32)


def test_a_right_answer_in_the_wrong_format_is_accurate_and_earns_nothing(
    run: Run, tmp_path: Path
) -> None:
    path = tmp_path / "summary.json"
    folder = run("m", 1.1, text="so</think> ", template="r1_zero")
    assert execute(cli, "srl-eval", ["rescore", str(folder), "--summary", str(path)]) == 0
    found = json.loads(path.read_text())
    assert found["accuracy"] == 1.0
    rewards = ("mean_format_reward", "mean_answer_reward", "mean_total_reward")
    assert [found[name] for name in rewards] == [0.0, 0.0, 0.0]
    assert (found["format_wrong_count"], found["format_wrong_share"]) == (32, 1.0)


def test_the_command_writes_it_also_for_a_run_that_is_finished(
    tmp_path: Path, model_folder: Path, problems_file: Write, capsys: pytest.CaptureFixture[str]
) -> None:
    data = problems_file(tmp_path, 3)
    args = ["gsm8k", "--model-path", str(model_folder), "--data-path", str(data)]
    args += ["--template", "r1_zero", "--max-new-tokens", "4", "--output-dir", str(tmp_path / "o")]
    assert execute(cli, "srl-eval", args) == 0
    results = (tmp_path / "o/results.jsonl").read_bytes()
    path = tmp_path / "new folder" / "summary.json"
    assert execute(cli, "srl-eval", [*args, "--summary", str(path)]) == 0
    assert (tmp_path / "o/results.jsonl").read_bytes() == results
    assert "summary.json" in "".join(capsys.readouterr().out.split())
    found = json.loads(path.read_text())
    assert (found["problems"], found["accuracy"]) == (3, 0.0)
    assert found["accuracy_high"] == pytest.approx(0.7076, abs=1e-4)  # 0 of 3


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("folder", "is a folder; name a file, such as"),
        ("out", "is a folder; name a file, such as"),
        ("out/results.jsonl/summary.json", "is a file of the run itself"),
        ("out/metrics.json", "is a file of the run itself"),
        ("out/../out/results.jsonl", "is a file of the run itself"),
        ("../../../../../../../../../dev/null", "is a device or a pipe"),
        ("file/summary.json", "is a file, not a folder"),
    ],
)
def test_where_it_cannot_be_written_nothing_is_generated(
    tmp_path: Path,
    model_folder: Path,
    problems_file: Write,
    capsys: pytest.CaptureFixture[str],
    place: str,
    reason: str,
) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").touch()
    args = ["gsm8k", "--model-path", str(model_folder), "--output-dir", str(tmp_path / "out")]
    args += ["--data-path", str(problems_file(tmp_path)), "--summary", str(tmp_path / place)]
    assert execute(cli, "srl-eval", args) == 2
    assert reason in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_finished_run_is_not_touched_where_its_summary_cannot_be_written(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = run("m", 0.5)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    args = ["rescore", str(folder), "--summary", str(folder / "run.json")]
    assert execute(cli, "srl-eval", args) == 2
    assert "is a file of the run itself" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_suite_has_no_single_summary(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tree = {
        "output_dir": str(tmp_path / "suite"),
        "models": [{"name": "one", "model_path": str(model_folder)}],
        "tasks": ["gsm8k"],
        "shared": {"output": {"summary": "summary.json"}},
    }
    path = tmp_path / "suite.yaml"
    path.write_text(json.dumps(tree))
    assert execute(cli, "srl-eval", ["suite", str(path), "--dry-run"]) == 2
    assert "every evaluation would write it" in capsys.readouterr().err
