"""`srl-eval --backend server`: the same results as without one, resumed, and each fault named."""

import json
import socket
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data.command.frame import execute
from srl_data.loopback import Fault, LoopbackHandler, LoopbackServer, failing
from srl_eval.cli import cli


def problems_file(folder: Path) -> Path:
    path = folder / "aime.jsonl"
    rows = [{"id": n, "problem": f"What is {n}?", "answer": n} for n in range(3)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def arguments(tmp_path: Path, model: Path, out: str, *extra: str) -> list[str]:
    return [
        *("aime24", "--model-path", str(model), "--data-path", str(problems_file(tmp_path))),
        *("--mode", "avg2", "--output-dir", str(tmp_path / out), "--max-new-tokens", "12"),
        *("--chunk-size", "1", *extra),
    ]


@pytest.fixture
def tokenizer_folder(
    tmp_path: Path, tokenizer: PreTrainedTokenizerFast, model_folder: Path
) -> Path:
    """A model's folder without its weights."""
    folder = tmp_path / "tokenizer"
    tokenizer.save_pretrained(folder)
    (folder / "config.json").write_bytes((model_folder / "config.json").read_bytes())
    return folder


def test_the_command_gives_the_same_results_through_a_server(
    tmp_path: Path,
    server: LoopbackServer,
    model_folder: Path,
    tokenizer_folder: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "sk-very-secret")
    extra = ["--backend", "server", "--base-url", server.url, "--served-model", "tiny"]
    args = arguments(tmp_path, tokenizer_folder, "remote", *extra)
    server.faults = [failing(503)]
    assert execute(cli, "srl-eval", args) == 0
    assert execute(cli, "srl-eval", arguments(tmp_path, model_folder, "local")) == 0
    remote, local = (
        (tmp_path / name / "results.jsonl").read_bytes() for name in ("remote", "local")
    )
    # The server takes seeds of 63 bits, so the draws differ where the 64th is set.
    pairs = [
        (json.loads(a), json.loads(b))
        for a, b in zip(remote.splitlines(), local.splitlines(), strict=True)
    ]
    same = [pair for pair in pairs if pair[1]["seed"] < 2**63]
    assert same
    assert all(a == b for a, b in same)
    assert all(head["Authorization"] == "Bearer sk-very-secret" for head in server.headers)
    for path in (tmp_path / "remote").rglob("*"):
        assert path.is_dir() or b"sk-very-secret" not in path.read_bytes()
    identity = json.loads((tmp_path / "remote" / "run.json").read_text())["identity"]
    assert (identity["backend"], identity["served_model"]) == ("server", "tiny")
    assert "device" not in identity


def test_a_server_that_dies_leaves_a_run_that_goes_on(
    tmp_path: Path,
    server: LoopbackServer,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    extra = ["--backend", "server", "--base-url", server.url, "--served-model", "tiny"]
    whole = arguments(tmp_path, tokenizer_folder, "whole", *extra)
    assert execute(cli, "srl-eval", whole) == 0
    broken = arguments(tmp_path, tokenizer_folder, "broken", *extra, "--request-attempts", "1")
    passes: list[Fault] = [answered] * 3
    server.faults = [*passes, failing(500, b"sk- \x1b[2J died")]
    assert execute(cli, "srl-eval", broken) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert f"{server.url}/completions: status 500: sk- [2J died (attempts: 1)" in error
    results = tmp_path / "broken" / "results.jsonl"
    assert len(results.read_bytes().splitlines()) == 3
    assert execute(cli, "srl-eval", broken) == 0
    assert results.read_bytes() == (tmp_path / "whole" / "results.jsonl").read_bytes()


def answered(handler: LoopbackHandler) -> None:
    """No fault."""
    handler.reply(handler.server.answer(handler.server.requests[-1]))


def test_no_server_and_another_model_are_named(
    tmp_path: Path,
    server: LoopbackServer,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nowhere = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
        args = arguments(tmp_path, tokenizer_folder, "out", "--backend", "server")
        args += ["--request-attempts", "1"]
        assert execute(cli, "srl-eval", [*args, "--base-url", nowhere]) == 3
    error = capsys.readouterr().err
    assert f"no server answers: {nowhere}/models: [Errno 111] Connection refused" in error
    assert execute(cli, "srl-eval", [*args, "--base-url", server.url]) == 3
    assert "does not serve '" in (error := capsys.readouterr().err)
    assert "but 'tiny'; name it with --served-model" in error
    args += ["--base-url", server.url, "--served-model", "tiny", "--overwrite"]
    server.models = {"data": "nonsense"}
    assert execute(cli, "srl-eval", args) == 3
    assert "/models: data: Input should be a valid list" in capsys.readouterr().err
    server.models = {"data": [{"id": "tiny", "max_model_len": 20}]}
    assert execute(cli, "srl-eval", args) == 3
    assert "the model takes 20: lower max_new_tokens" in capsys.readouterr().err


def test_a_key_that_cannot_be_sent_is_refused_unshown(
    tmp_path: Path,
    server: LoopbackServer,
    tokenizer_folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SRL_EVAL_API_KEY", "secret\r\nX-Evil: 1")
    args = arguments(tmp_path, tokenizer_folder, "out", "--backend", "server")
    assert execute(cli, "srl-eval", [*args, "--base-url", server.url]) == 2
    error = capsys.readouterr().err
    assert "SRL_EVAL_API_KEY holds white space" in error
    assert "secret" not in error
