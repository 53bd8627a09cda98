"""`srl-eval` through vLLM's own server and in its own process, with the small pretrained model.

Greedy answers of the three backends are one: in process, through the server, and transformers'.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from srl_data.command.frame import execute
from srl_eval.cli import cli

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(900)]

PROBLEMS = [
    {"id": f"p{n}", "problem": f"What is {n} + {n + 1}?", "answer": str(2 * n + 1)}
    for n in range(3, 7)
]


UNBOUND = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Threads that the machine may move: bound to a core they wait for whatever else is on it."""


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.fixture(scope="module")
def server(smollm2: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's server on a loopback port, with options that a user would give on a CPU."""
    port, log = free_port(), tmp_path_factory.mktemp("server") / "log"
    options = "--dtype float32 --enforce-eager --no-enable-chunked-prefill --max-model-len 256 "
    options += "--max-num-batched-tokens 256 --kv-cache-memory-bytes 200000000 --host 127.0.0.1"
    # `vllm serve` of the build for CPU asks for the version of a package `vllm`, which it is not.
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", smollm2]
    command += ["--logprobs-mode", "processed_logprobs", "--port", str(port), *options.split()]
    with log.open("w") as told:
        process = subprocess.Popen(
            command, stdout=told, stderr=subprocess.STDOUT, env=UNBOUND, start_new_session=True
        )
    try:
        wait(f"http://127.0.0.1:{port}/v1/models", process, log)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """End the server; where it has to be killed, its engine's process with it."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(30)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait(30)


def wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(1200):
        assert process.poll() is None, log.read_text()[-3000:]
        try:
            with urllib.request.urlopen(url, timeout=2):
                return
        except OSError:
            time.sleep(0.5)
    pytest.fail(log.read_text()[-3000:])


def answers(folder: Path, smollm2: Path, *extra: str) -> list[dict[str, object]]:
    """What `srl-eval` wrote, by its samples."""
    data = folder / "problems.jsonl"
    data.write_text("".join(json.dumps(problem) + "\n" for problem in PROBLEMS))
    out = folder / "out"
    words = f"file --task-file {data} --model {smollm2} --template chat --max-new-tokens 24"
    words += f" --chunk-size 4 --output-dir {out}"
    code = execute(cli, "srl-eval", [*words.split(), *extra])
    assert code == 0
    return [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]


def identity(folder: Path) -> dict[str, object]:
    found: dict[str, object] = json.loads((folder / "out" / "run.json").read_text())["identity"]
    return found


def test_three_backends_give_the_same_greedy_answers(
    tmp_path_factory: pytest.TempPathFactory,
    smollm2: Path,
    server: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folders = {name: tmp_path_factory.mktemp(name) for name in ("hf", "served", "inside")}
    plain = answers(folders["hf"], smollm2, "--backend", "hf")
    served = answers(folders["served"], smollm2, "--backend", "vllm", "--base-url", server)
    said = " ".join(capsys.readouterr().err.split())
    assert f"vLLM is the server at {server}, which lists '{smollm2}'" in said
    inside = answers(folders["inside"], smollm2, "--backend", "vllm", "--max-model-len", "256")
    said = " ".join(capsys.readouterr().err.split())
    assert "vLLM runs in this process" in said
    assert "starting vLLM" in said
    for key in ("id", "response", "verdict", "finish_reason", "completion_tokens"):
        assert [row[key] for row in served] == [row[key] for row in plain]
        assert [row[key] for row in inside] == [row[key] for row in plain]
    assert identity(folders["served"])["vllm"] == "a server"
    assert identity(folders["inside"])["vllm"] == "in this process"


def test_a_servers_samples_repeat_and_its_window_is_a_stated_cut(
    tmp_path_factory: pytest.TempPathFactory,
    smollm2: Path,
    server: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    flags = ["--backend", "vllm", "--base-url", server, "--mode", "avg2"]
    runs = [answers(tmp_path_factory.mktemp("run"), smollm2, *flags) for _ in range(2)]
    texts = [[row["response"] for row in rows] for rows in runs]
    assert texts[0] == texts[1]
    assert len(set(texts[0])) > len(PROBLEMS)
    capsys.readouterr()
    answers(tmp_path_factory.mktemp("cut"), smollm2, *flags[:4], "--max-new-tokens", "3000")
    assert "max_new_tokens 3000 lowered to" in " ".join(capsys.readouterr().err.split())
