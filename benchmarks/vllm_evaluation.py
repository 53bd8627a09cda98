r"""One benchmark by three backends, on a CPU: vLLM in process, vLLM's server, transformers.

`srl-eval gsm8k` with greedy answers; those that differ are shown side by side. A run that is there
already is not done again.

    OMP_NUM_THREADS=1 python benchmarks/vllm_evaluation.py --model smollm2 --data gsm8k/test.jsonl \
        --work runs --output docs/benchmarks/vllm-evaluation.md
"""

import argparse
import json
import os
import resource
import shlex
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from textwrap import wrap

from machine import processor
from srl_eval.generate.vllm_settings import installed_version

BACKENDS = {
    "hf": "--backend hf",
    "vllm": "--backend vllm --max-model-len {window}",
    "server": "--backend server --base-url {url}",
}
NAMES = {"hf": "transformers", "vllm": "vLLM in process", "server": "vLLM's server"}
WINDOW = 512
UNBOUND = {**os.environ, "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""Threads that the machine may move."""


@contextmanager
def server(model: Path, work: Path) -> Iterator[tuple[str, int]]:
    """vLLM's server on a loopback port: its URL and its process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = int(taken.getsockname()[1])
    options = f"--model {model} --dtype float32 --enforce-eager --no-enable-chunked-prefill "
    options += f"--max-model-len {WINDOW} --max-num-batched-tokens {WINDOW} --host 127.0.0.1 "
    options += f"--kv-cache-memory-bytes 1000000000 --port {port}"
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", *shlex.split(options)]
    with (work / "server.log").open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=UNBOUND, start_new_session=True
        )
    try:
        while process.poll() is None:
            with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health"):
                yield f"http://127.0.0.1:{port}/v1", process.pid
                break
            time.sleep(1)
        else:
            raise SystemExit(f"the server ended, see {work / 'server.log'}")
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait()


def seconds_of(leader: int) -> float:
    """Processor time of all processes of a session, in seconds."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            fields = path.read_text().rpartition(")")[2].split()
            if int(fields[3]) == leader:
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def evaluate(options: argparse.Namespace, backend: str, url: str, leader: int | None) -> None:
    """Run one backend to its end, and keep what it took."""
    flags = BACKENDS[backend].format(window=WINDOW, url=url)
    command = (
        f"gsm8k --model {options.model} --data-path {options.data} --limit {options.limit} {flags} "
        f"--max-new-tokens {options.max_new_tokens} --chunk-size {options.limit} "
        f"--output-dir {options.work / backend} --overwrite"
    )
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    served = seconds_of(leader) if leader else 0.0
    program = Path(sys.executable).with_name("srl-eval")
    subprocess.run([program, *shlex.split(command)], check=True, env=UNBOUND)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    cpu += (seconds_of(leader) - served) if leader else 0.0
    told = {"wall": time.monotonic() - began, "cpu": cpu}
    (options.work / f"{backend}.json").write_text(json.dumps(told))


def results(work: Path, backend: str) -> list[dict[str, object]]:
    """The answers, in order of problems."""
    lines = (work / backend / "results.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def table(work: Path) -> list[str]:
    """A row per backend."""
    lines = [
        "| Backend | right | cut off | tokens | answers as transformers' | CPU time | wall |",
        "| --- | --: | --: | --: | --: | --: | --: |",
    ]
    reference = [row["response"] for row in results(work, "hf")]
    for backend, name in NAMES.items():
        rows, took = results(work, backend), json.loads((work / f"{backend}.json").read_text())
        right = sum(row["verdict"] == "correct" for row in rows)
        cut = sum(row["finish_reason"] == "length" for row in rows)
        tokens = sum(int(str(row["completion_tokens"])) for row in rows)
        same = sum(row["response"] == text for row, text in zip(rows, reference, strict=True))
        cells = f"{right} of {len(rows)} | {cut} | {tokens:,} | {same} of {len(rows)}"
        lines.append(f"| {name} | {cells} | {took['cpu']:.0f} s | {took['wall']:.0f} s |")
    return lines


def differences(work: Path) -> list[str]:
    """Where answers part, read side by side."""
    lines: list[str] = []
    for backend in ("vllm", "server"):
        for row, other in zip(results(work, "hf"), results(work, backend), strict=True):
            a, b = str(row["response"]), str(other["response"])
            if a == b:
                continue
            start = next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), 0)
            parts = [repr(text[max(0, start - 30) : start + 40]) for text in (a, b)]
            lines.append(
                f"- {NAMES[backend]}, {row['id']}: at character {start} transformers writes "
                f"`{parts[0]}`, it `{parts[1]}`; {row['verdict']} and {other['verdict']}"
            )
    return lines or ["No answer differs."]


def page(options: argparse.Namespace) -> str:
    """The page."""
    versions = ", ".join(f"{name} {version(name)}" for name in ("torch", "transformers"))
    machine = f"{processor()}, float32, vLLM {installed_version()}, {versions}"
    return "\n".join(
        [
            "# One benchmark by three backends",
            "",
            *wrap(
                f"`benchmarks/vllm_evaluation.py`: `srl-eval gsm8k --limit {options.limit} "
                f"--max-new-tokens {options.max_new_tokens}`, greedy, with SmolLM2-135M-Instruct "
                f"(de-quantised from Q4_1). {machine}, {os.environ.get('OMP_NUM_THREADS', 'all')} "
                "thread(s); other work shared the machine, so read processor times. Those of vLLM "
                "in process have its start in them, that of the server has not.",
                100,
            ),
            "",
            *table(options.work),
            "",
            "## Answers that differ",
            "",
            *differences(options.work),
            "",
        ]
    )


def main() -> None:
    """Run what is not done yet, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--data", type=Path, required=True, help="GSM8K's test.jsonl")
    parser.add_argument("--work", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--output", type=Path, required=True, help="the page, Markdown")
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--max-new-tokens", type=int, default=128)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    left = [name for name in BACKENDS if not (options.work / f"{name}.json").is_file()]
    for backend in (name for name in left if name != "server"):
        evaluate(options, backend, "", None)
    if "server" in left:
        with server(options.model, options.work) as (url, leader):
            evaluate(options, "server", url, leader)
    options.output.write_text(page(options), "utf-8")


if __name__ == "__main__":
    main()
