"""Records per second and peak memory of the way from questions to pairs, by size and processes.

Synthetic questions with solutions go through `build answers` and, in sentences, `stepify`, and a
teacher's answers to them (made here: four of five are right) through `grade`, `pairs` and `split`,
each command in a process of its own, as a user runs it. Memory is the largest resident size of any
of its processes.

    python benchmarks/data_supply.py --output docs/benchmarks/data-supply.md
"""

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from machine import processor

SIZES = (10_000, 100_000)
CODE = "from srl_data.cli import main; main()"
WORDS = [
    "let",
    "the",
    "number",
    "of",
    "apples",
    "be",
    "then",
    "we",
    "add",
    "both",
    "sides",
    "and",
    "divide",
    "by",
    "so",
    "that",
    "remains",
]


@dataclass(frozen=True)
class Run:
    """What one command took."""

    wall: float
    cpu: float
    """Seconds, its workers' included."""
    memory: float
    """MB."""


def questions(count: int) -> Iterator[tuple[str, str, int]]:
    """Problems, solutions of some 600 characters, and answers."""
    rng = random.Random(0)
    for number in range(count):
        first, second = rng.randrange(10**6), rng.randrange(10**6)
        text = " ".join(rng.choices(WORDS, k=120))
        problem = f"Problem {number}: what is {first}+{second}?"
        yield problem, f"{text} \\boxed{{{first + second}}}.", first + second


def write_inputs(folder: Path, count: int) -> None:
    """The table of problems, and a teacher's traces of them."""
    with (folder / "questions.jsonl").open("w") as table, (folder / "traces.jsonl").open("w") as to:
        for number, (problem, solution, answer) in enumerate(questions(count)):
            table.write(json.dumps({"problem": problem, "solution": solution}) + "\n")
            said = answer + (number % 5 == 0)
            trace = {
                "id": f"row-{number:06d}",
                "problem": problem,
                "answer": str(answer),
                "sample": 0,
                "model": "teacher",
                "reasoning_content": solution,
                "content": f"The answer is \\boxed{{{said}}}.",
                "finish_reason": "stop",
                "meta": {"level": number % 5},
            }
            to.write(json.dumps(trace) + "\n")


def write_prose(folder: Path, count: int) -> None:
    """The problems with solutions of eight sentences."""
    with (folder / "prose.jsonl").open("w") as table:
        for problem, solution, _ in questions(count):
            words, box = solution.rsplit(" ", 1)
            parts = words.split()
            sentences = (" ".join(parts[at : at + 15]).capitalize() for at in range(0, 120, 15))
            row = {"problem": problem, "solution": ". ".join(sentences) + f". It is ${box[:-1]}$."}
            table.write(json.dumps(row) + "\n")


def commands(workers: int) -> dict[str, list[str]]:
    """The commands, in their order."""
    many = ["--workers", str(workers)]
    build = ["build", "answers", "--source", "questions.jsonl", "--solution-field", "solution"]
    return {
        "build answers": [
            *build,
            "--output-dir",
            "built",
            "--snapshot-dir",
            f"snap{workers}",
            *many,
        ],
        "stepify": ["stepify", "--source", "prose.jsonl", "--output", "steps.jsonl", *many],
        "grade": ["grade", "traces.jsonl", "--reward", "math", "--output", "graded.jsonl", *many],
        "pairs": ["pairs", "--source", "graded.jsonl", "--output", "sft.jsonl", *many],
        "split": ["split", "--source", "sft.jsonl", "--stratify", "level", *many],
    }


def measured(words: list[str], folder: Path) -> Run:
    """Run one command and measure it."""
    begun = time.monotonic()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen([sys.executable, "-c", CODE, *words], cwd=folder, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit((folder / "log").read_text())
    cpu = used.ru_utime + used.ru_stime
    return Run(time.monotonic() - begun, cpu, used.ru_maxrss / 1000)


def table(results: dict[tuple[str, int, int], Run], sizes: tuple[int, ...]) -> Iterator[str]:
    """A line for each command and number of processes."""
    small, large = sizes[0], sizes[-1]
    yield (
        f"| command | processes | seconds for {large:,} | records/s | processor seconds "
        f"| MB at {small:,} | MB at {large:,} | more |"
    )
    yield "| --- |" + " ---: |" * 7
    for name, workers in sorted({(name, workers) for name, workers, _ in results}):
        one, all_ = results[name, workers, small], results[name, workers, large]
        yield (
            f"| `{name}` | {workers} | {all_.wall:.1f} | {large / all_.wall:,.0f} | {all_.cpu:.1f} "
            f"| {one.memory:.1f} | {all_.memory:.1f} | {all_.memory / one.memory - 1:+.1%} |"
        )


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    arguments = parser.parse_args()
    results: dict[tuple[str, int, int], Run] = {}
    for size in arguments.sizes:
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            write_inputs(folder, size)
            write_prose(folder, size)
            for workers in (1, 2):
                for command, words in commands(workers).items():
                    results[command, workers, size] = measured(words, folder)
    load = os.getloadavg()[0]
    page = [
        "# From questions to pairs: how fast, how much memory",
        "",
        f"`benchmarks/data_supply.py` wrote this page: {processor()}, {os.cpu_count()} cores,",
        f"a load of {load:.0f} from other work at its end: seconds are an upper bound. Records",
        "are synthetic: a problem, 600 characters of reasoning, an answer. Processor seconds are",
        "those of all processes of a command, memory the largest resident size of any of them.",
        "",
        *table(results, tuple(arguments.sizes)),
        "",
    ]
    text = "\n".join(page)
    if arguments.output:
        arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
