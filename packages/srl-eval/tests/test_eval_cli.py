"""The command: a real model folder from end to end, and one clear line for each mistake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srl_data.command.errors import ConfigError
from srl_data.command.frame import execute
from srl_eval import EvalConfig, evaluate, get_task
from srl_eval.cli import cli


def problems_file(folder: Path, count: int = 5) -> Path:
    path = folder / "aime.jsonl"
    rows = [{"id": n, "problem": f"What is {n}?", "answer": f"{n:03d}"} for n in range(count)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arguments(tmp_path: Path, model: Path, *extra: str) -> list[str]:
    return [
        *("aime24", "--model-path", str(model), "--data-path", str(problems_file(tmp_path))),
        *("--output-dir", str(tmp_path / "out"), "--max-new-tokens", "12", *extra),
    ]


def run(args: list[str]) -> int:
    return execute(cli, "srl-eval", args)


def test_a_model_folder_from_end_to_end(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tmp_path, model_folder, "--mode", "avg2", "--chunk-size", "4")) == 0
    shown = capsys.readouterr()
    assert "avg@2" in shown.out
    assert "pass@2" in shown.out
    assert "[user]What is 0?" in shown.err
    assert "temperature 0.6, top_p 0.95" in shown.err
    assert (tmp_path / "out" / "report.html").exists()
    lines = (tmp_path / "out" / "results.jsonl").read_text().splitlines()
    assert len(lines) == 10
    assert json.loads(lines[3])["gold"] == "1"
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert record["identity"]["template"] == "boxed/1"
    assert record["identity"]["stop_token_ids"] == [0]


def test_the_recorded_template_is_used(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    (model / "srl_template.json").write_text('{"name": "bare", "version": 1}')
    assert run(arguments(tmp_path, model)) == 0
    assert "bare/1, step by step" in capsys.readouterr().err
    assert run(arguments(tmp_path, model, "--template", "question_only", "--overwrite")) == 0
    assert "question_only/1, in one answer" in capsys.readouterr().err


def test_a_tokenizer_that_gives_other_text_back_is_refused(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(model_folder, model)
    assert run(arguments(tmp_path, model)) == 0
    assert "does not give back" not in capsys.readouterr().err
    path = model / "config.json"
    path.write_text(path.read_text().replace('"qwen3"', '"qwen2"').replace("Qwen3", "Qwen2"))
    tokenizer = json.loads((model / "tokenizer.json").read_text())
    tokenizer["pre_tokenizer"] = {"type": "Digits", "individual_digits": True}
    (model / "tokenizer.json").write_text(json.dumps(tokenizer))
    assert run(arguments(tmp_path, model, "--overwrite")) == 3
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "does not give back the first prompt: '[user]What is 0?" in line


@pytest.mark.parametrize(
    ("extra", "code", "reason"),
    [
        (["--mode", "avg0"], 2, "expected greedy, stepwise, or avgN"),
        (["--backend", "server"], 2, "--backend server needs --base-url http://HOST:PORT/v1"),
        (["--base-url", "http://h:1/v1"], 2, "--base-url is for --backend server or vllm, not hf"),
        (["--base-url", "h:1/v1"], 2, "expected http://HOST:PORT/v1"),
        (["--base-url", "http://me:pw@h/v1"], 2, "without user, query and fragment"),
        (["--base-url", "http://h:99999/v1"], 2, "port out of range"),
        (["--backend", "vllm"], 2, "uv sync --extra vllm"),
        (["--template", "boxd"], 2, "did you mean 'boxed'?"),
        (["--data-path", "nowhere.jsonl"], 3, "no such data file: nowhere.jsonl"),
        (["--model", ""], 2, "model.model = '': string should have at least 1 character (--model)"),
        (["--model", "x"], 2, "--model and --model-path name the same thing"),
        (["--chunk-size", "0"], 2, "greater than or equal to 1"),
        (["--nonsense"], 2, "No such option"),
    ],
)
def test_mistakes_have_one_line_and_their_code(
    tmp_path: Path,
    model_folder: Path,
    capsys: pytest.CaptureFixture[str],
    extra: list[str],
    code: int,
    reason: str,
) -> None:
    assert run(arguments(tmp_path, model_folder, *extra)) == code
    error = capsys.readouterr().err.strip().splitlines()
    assert len(error) == 1
    assert reason in error[0]


def test_what_is_no_model_is_refused(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    cut = tmp_path / "cut"
    shutil.copytree(model_folder, cut)
    weights = cut / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:2000])
    bare = tmp_path / "bare"
    shutil.copytree(model_folder, bare)
    (bare / "model.safetensors").unlink()
    for folder, reason in (
        (tmp_path / "none", "does not exist"),
        (empty, "is empty"),
        (bare, "model.safetensors missing"),
        (cut, "cannot load model"),
    ):
        assert run(arguments(tmp_path, folder)) == 3
        assert reason in capsys.readouterr().err.strip().splitlines()[-1]


def test_a_missing_model_is_told_before_any_data_is_fetched(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object) -> None:
        pytest.fail("data was read first")

    monkeypatch.setattr("srl_eval.plan.load_problems", fetch)
    missing = str(tmp_path / "run" / "step_100")
    for flag in ("--model", "--model-path"):
        assert run(["aime24", flag, missing]) == 3
        assert f"{missing} does not exist" in capsys.readouterr().err


DEFAULT = "Qwen/Qwen2.5-7B-Instruct"


def test_without_a_model_it_is_the_default_said_at_the_start(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run(["aime24", "--mode", "greedy", "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert f"model: {DEFAULT}" in shown.out
    assert f"would evaluate {DEFAULT} on aime24" in shown.out
    assert shown.err == f"srl-eval: no --model given, so it is {DEFAULT}\n"
    assert run(["aime24", "--help"]) == 0
    assert DEFAULT in capsys.readouterr().out


@pytest.mark.parametrize("given", [[], ["--data-path", "aime.jsonl"]])
def test_without_a_model_and_a_hub_it_ends_in_one_line(tmp_path: Path, given: list[str]) -> None:
    problems_file(tmp_path)
    done = subprocess.run(
        [Path(sys.executable).with_name("srl-eval"), "aime24", "--mode", "greedy", *given],
        env={**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told, *complaint = done.stderr.splitlines()
    assert told == f"srl-eval: no --model given, so it is {DEFAULT}"
    assert len(complaint) == 1, done.stderr
    assert ("srl-eval: error: cannot read" if not given else DEFAULT) in complaint[0]
    assert done.returncode == 3


def test_a_server_without_a_tokenizer_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    server = ["--backend", "server", "--base-url", "http://h:1/v1", "--served-model", "mine"]
    assert run(["aime24", *server]) == 2
    assert "--model" in capsys.readouterr().err


def test_from_python_no_model_is_an_error() -> None:
    with pytest.raises(ConfigError, match="no model given"):
        evaluate(get_task("aime24"), EvalConfig())


def test_dry_run_prints_and_stops(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(arguments(tmp_path, model_folder, "--dry-run")) == 0
    shown = capsys.readouterr().out
    assert "max_new_tokens: 12" in shown
    assert "would evaluate" in shown
    assert not (tmp_path / "out").exists()


def test_list_shows_the_tasks(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["list"]) == 0
    shown = capsys.readouterr().out
    assert "aime24" in shown
    assert "arithmetic" in shown
    assert "r1_zero" in shown
    assert "answered step by step" in shown


def test_help_needs_no_torch() -> None:
    code = (
        "import sys; from srl_eval.cli import cli; from srl_data.command.frame import execute;"
        "assert execute(cli, 'srl-eval', ['aime24', '--help']) == 0;"
        "heavy = {'numpy', 'torch', 'transformers', 'lm_eval', 'datasets'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "--max-new-tokens" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_a_resumable_run(
    tmp_path: Path, model_folder: Path, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["srl-eval"])
    args = arguments(tmp_path, model_folder, "--mode", "avg32", "--chunk-size", "4")
    args[args.index("12")] = "150"
    command = [sys.executable, "-c", "from srl_eval.cli import main; main()", *args]
    results = tmp_path / "out" / "results.jsonl"
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (results.exists() and results.stat().st_size):
        time.sleep(0.05)
    process.send_signal(how)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted; resume with: srl-eval aime24 --model-path" in error
    kept = len(results.read_bytes().splitlines())
    assert 0 < kept < 160
    assert run(args) == 0
    interrupted = results.read_bytes()
    assert len(interrupted.splitlines()) == 160
    args[args.index("--output-dir") + 1] = str(tmp_path / "whole")
    assert run(args) == 0
    assert (tmp_path / "whole" / "results.jsonl").read_bytes() == interrupted
