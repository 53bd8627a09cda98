"""Kill `srl-data traces` at random instants and see that nothing is lost and nothing asked twice.

The teacher is a server on loopback that answers slowly and fails a quarter of the requests: 429
with Retry-After, 500, 503, broken JSON, answers cut short, connections cut, empty contents.

    uv run python scripts/kill_traces.py --questions 1000 --kills 10 --concurrency 64

What is on the disk when a kill comes is not asked for again. An answer that was on its way then
is: no client can know of it. At the end every question has its answer, or a failure with its
reason; the cost is the sum by hand; the key stands in no file.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

from srl_data.loopback import USUAL_FAULTS, Fault, Json, LoopbackServer, chat_reply

KEY = "sk-kill-traces-0123456789abcdef"
PRICES = {"input": Fraction("0.28"), "cached": Fraction("0.028"), "output": Fraction("0.42")}
FAULTY = 0.25
"""Share of requests that fail."""
SLOWEST = 0.15
"""Seconds before an answer, at most."""


def question_of(body: Json) -> str:
    """Which question a request holds."""
    return str(body["messages"][-1]["content"]).split(":")[0]  # type: ignore[index]  # JSON


@dataclass
class Teacher:
    """A server whose words follow from a seed, a question and how often it was asked."""

    seed: int
    asked: Counter[str] = field(default_factory=Counter)
    order: list[str] = field(default_factory=list)
    """Questions in the order of the requests."""

    def draw(self, body: Json, what: str) -> random.Random:
        """Chance of its own for each request."""
        name = question_of(body)
        return random.Random(f"{self.seed}/{what}/{name}/{self.asked[name]}")

    def fault(self, body: Json) -> Fault | None:
        """What a request meets; called once for each, within the server's lock."""
        name = question_of(body)
        self.asked[name] += 1
        self.order.append(name)
        chance = self.draw(body, "fault")
        return chance.choice(USUAL_FAULTS) if chance.random() < FAULTY else None

    def answer(self, body: Json) -> object:
        """An answer of some length, after some time."""
        chance = self.draw(body, "answer")
        time.sleep(chance.uniform(0, SLOWEST))
        words = "so " * chance.randint(5, 400)
        usage = {
            "prompt_tokens": chance.randint(30, 300),
            "completion_tokens": chance.randint(50, 4000),
            "prompt_cache_hit_tokens": chance.randint(0, 30),
        }
        return chat_reply(f"{question_of(body)} \\boxed{{1}}", usage, reasoning_content=words)


@dataclass
class Run:
    """The command over questions in a folder."""

    folder: Path
    url: str
    concurrency: int

    @property
    def output(self) -> Path:
        """The file of traces."""
        return self.folder / "traces.jsonl"

    def write(self, questions: int) -> None:
        """The questions."""
        rows = ({"id": f"q{n}", "problem": f"q{n}: what is {n}?"} for n in range(questions))
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (self.folder / "questions.jsonl").write_text(text, "utf-8")

    def start(self) -> "subprocess.Popen[bytes]":
        """Begin or continue."""
        program = "from srl_data.cli import main; main()"
        words = ["traces", "--infile", "questions.jsonl", "--outfile", self.output.name]
        words += ["--model", "deepseek-chat", "--base-url", self.url, "--retry-delay", "0.02"]
        words += ["--concurrency", str(self.concurrency), "--max-retries", "7"]
        with (self.folder / "log.txt").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-c", program, *words],
                cwd=self.folder,
                stdout=log,
                stderr=log,
                env={**os.environ, "DEEPSEEK_API_KEY": KEY},
            )

    def lines(self, name: str = "traces.jsonl") -> list[bytes]:
        """The whole lines of a file."""
        path = self.folder / name
        text = path.read_bytes() if path.exists() else b""
        return text[: text.rfind(b"\n") + 1].splitlines()

    def kill_after(self, more: int) -> bool:
        """Kill the command when so many more answers are there; False where it was done before."""
        before = len(self.lines())
        process = self.start()
        while process.poll() is None:
            if len(self.lines()) >= before + more:
                process.send_signal(signal.SIGKILL)
                process.wait()
                return True
            time.sleep(0.005)
        return False


def names(lines: list[bytes]) -> dict[str, bytes]:
    """Each answered question with its line."""
    found = {json.loads(line)["id"]: line for line in lines}
    assert len(found) == len(lines), "a question has two answers"
    return found


def cost_by_hand(lines: list[bytes]) -> Fraction:
    """Tokens times prices."""
    total = Fraction(0)
    for row in map(json.loads, lines):
        usage = row["usage"]
        if usage is not None:
            fresh = usage["prompt_tokens"] - usage["cached_tokens"]
            total += fresh * PRICES["input"] + usage["cached_tokens"] * PRICES["cached"]
            total += usage["completion_tokens"] * PRICES["output"]
    return total / 1_000_000


def check_end(run: Run, questions: int) -> list[str]:
    """Everything that has to hold at the end; a line for each."""
    answers, failures = run.lines(), run.lines("traces.failures.jsonl")
    answered = names(answers)
    given_up = {row["id"] for row in map(json.loads, failures) if row["given_up"]}
    whole = {f"q{number}" for number in range(questions)}
    assert set(answered) | given_up == whole, "a question is neither answered nor accounted for"
    assert list(answered) == sorted(answered, key=lambda name: int(name[1:])), "out of order"
    counts = json.loads((run.folder / "traces.manifest.json").read_text())["counts"]
    by_hand = cost_by_hand([*answers, *failures])
    told = sum(Fraction(repr(json.loads(line)["cost"] or 0)) for line in [*answers, *failures])
    assert told == by_hand, f"{told} is not {by_hand}"
    assert counts["cost_in_millionths"] == round(by_hand * 1_000_000)
    log = (run.folder / "log.txt").read_text()
    cost = next(line for line in reversed(log.splitlines()) if line.startswith("cost: "))
    assert Fraction(cost.split()[1]) == by_hand, f"{cost} is not {by_hand}"
    for path in run.folder.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes(), f"the key stands in {path}"
    billed = sum(not json.loads(line)["given_up"] for line in failures)
    return [
        f"{len(answered)} of {questions} answered, {len(whole - set(answered))} accounted for",
        f"{billed} empty replies paid for; {cost}, which is the sum by hand",
        f"the key stands in none of {sum(path.is_file() for path in run.folder.rglob('*'))} files",
    ]


def kill_and_check(
    folder: Path, questions: int = 1000, kills: int = 10, concurrency: int = 64, seed: int = 0
) -> list[str]:
    """Kill, continue, compare; a line for each kill. AssertionError for what does not hold."""
    teacher, chance, told = Teacher(seed), random.Random(seed), []
    server = LoopbackServer(teacher.answer, fault_of=teacher.fault)
    began = time.monotonic()
    with server.running():
        run = Run(folder, server.url, concurrency)
        run.write(questions)
        known: dict[str, bytes] = {}
        marks: list[tuple[int, set[str]]] = []
        for number in range(kills):
            share = questions // (kills + 1)
            assert run.kill_after(chance.randint(1, max(1, share))), "done before all kills"
            now = names(run.lines())
            assert now.items() >= known.items(), "an answer was lost or changed"
            known, requests = now, len(teacher.order)
            told.append(f"kill {number + 1}: {len(known)} answers after {requests} requests")
            marks.append((requests, set(known)))
        process = run.start()
        assert process.wait() in (0, 4), (folder / "log.txt").read_text()[-3000:]
        assert names(run.lines()).items() >= known.items(), "an answer was lost or changed"
    for place, answered in marks:
        twice = answered & set(teacher.order[place:])
        assert not twice, f"asked again after an answer was kept: {sorted(twice)[:5]}"
    seconds = time.monotonic() - began
    told.append(f"{len(teacher.order)} requests in {seconds:.0f} s, {server.most} at a time")
    return [*told, *check_end(run, questions)]


def main() -> None:
    """Parse, kill, check."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--questions", type=int, default=1000)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--concurrency", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="killed_traces_") as folder:
        for line in kill_and_check(Path(folder), **vars(options)):
            print(line, flush=True)


if __name__ == "__main__":
    main()
