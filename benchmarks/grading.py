"""Grading beside a plain loop over math-verify: pairs per second, and where the verdicts differ.

Contenders take turns over the same blocks of pairs in one run: our pool of killable processes with
one and with two of them, and math-verify in this process as its documentation calls it, with its
own timeouts. What counts is wall time, since the pool works in other processes; loading is left
out on all sides, and our cache of verdicts is emptied before each turn. Pairs are MATH-500's
answers against a right and an altered writing of them, drawn from one seed. Left out: hostile
answers, on which a plain loop hangs or dies.

    SRL_TEST_DATA=… python benchmarks/grading.py --output docs/benchmarks/grading.md
"""

import argparse
import os
import platform
import random
import re
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import math_verify

from machine import processor
from srl_data.records import read_objects
from srl_reward import _math_pool, grading
from srl_reward.grading import Verdict, grade_batch

Pair = tuple[str, str]
Grade = Callable[[Sequence[Pair]], list[bool]]
BLOCK = 100
SECONDS = 5.0

WRITINGS: list[Callable[[str], str]] = [
    lambda a: f"${a}$",
    lambda a: f"x = {a}",
    lambda a: f"\\displaystyle {a}",
    lambda a: f"{a}.",
    lambda a: a.replace("\\frac", "\\dfrac") + " ",
    lambda a: re.sub(r"\d+", lambda m: str(int(m[0]) + 1), a, count=1) + "{}",
]
"""The last one is another answer."""


@dataclass
class Contender:
    """One way to grade, with the seconds of its turns and its verdicts."""

    name: str
    grade: Grade
    seconds: list[float] = field(default_factory=list)
    verdicts: list[bool] = field(default_factory=list)

    def take(self, pairs: Sequence[Pair]) -> None:
        """Grade a block."""
        began = time.perf_counter()
        self.verdicts += self.grade(pairs)
        self.seconds.append((time.perf_counter() - began) / len(pairs))

    @property
    def speed(self) -> float:
        """Pairs a second, by the median block."""
        return 1 / statistics.median(self.seconds)


def pooled(pool: _math_pool.Pool) -> Grade:
    """Our grader with a pool of its own."""

    def grade(pairs: Sequence[Pair]) -> list[bool]:
        _math_pool._Shared.pool = pool  # noqa: SLF001 - else there is one size a process
        grading._cache = grading._Cache()  # noqa: SLF001 - each contender does all the work
        verdicts = grade_batch("math", pairs, seconds=SECONDS)
        return [verdict is Verdict.CORRECT for verdict in verdicts]

    return grade


def plain_loop(pairs: Sequence[Pair]) -> list[bool]:
    """math-verify, pair by pair."""
    return [
        bool(math_verify.verify(*(math_verify.parse(f"\\boxed{{{text}}}") for text in pair)))
        for pair in pairs
    ]


def make_pairs(path: Path, rng: random.Random) -> list[Pair]:
    """Each answer of the file in each writing, shuffled; none twice."""
    answers = dict.fromkeys(str(row["answer"]) for _, row in read_objects(path))
    pairs = [(answer, write(answer)) for answer in answers for write in WRITINGS]
    rng.shuffle(pairs)
    return pairs


def race(pairs: Sequence[Pair], peers: Sequence[Contender]) -> None:
    """Let the contenders take turns, each first as often as the others."""
    for peer in peers:
        peer.grade([("1", f"{number}+1") for number in range(8)])  # processes start, sympy loads
    for turn, start in enumerate(range(0, len(pairs), BLOCK)):
        first = turn % len(peers)
        for peer in [*peers[first:], *peers[:first]]:
            peer.take(pairs[start : start + BLOCK])


def table(peers: Sequence[Contender]) -> Iterator[str]:
    """Yield speeds and ratios."""
    yield "| grader | pairs/s, median block | against the plain loop | slowest block, pairs/s |"
    yield "|---|--:|--:|--:|"
    loop = peers[-1]
    for peer in peers:
        ratio = statistics.median(
            theirs / ours for ours, theirs in zip(peer.seconds, loop.seconds, strict=True)
        )
        yield f"| {peer.name} | {peer.speed:,.0f} | {ratio:.2f}× | {1 / max(peer.seconds):,.0f} |"


def integers(count: int = 2_000) -> Iterator[str]:
    """Yield what one integer against another takes, which needs no process."""
    began = time.perf_counter()
    for number in range(count):
        grade_batch("math", [(str(number), str(number + 1))], seconds=SECONDS)
    each = 1e6 * (time.perf_counter() - began) / count
    yield f"\nOne integer against another, one at a time and uncached: {each:.0f} microseconds."


def earlier(path: Path) -> Iterator[str]:
    """Yield the table of an earlier report, run on the version before."""
    lines = path.read_text().splitlines()
    yield "\n## Before\n"
    yield "The same run of the version that asked math-verify about every pair:\n"
    table = [line for line in lines[: lines.index("## Agreement")] if line.startswith("|")]
    yield from table


def agreement(pairs: Sequence[Pair], ours: Contender, loop: Contender) -> Iterator[str]:
    """Yield how often the verdicts agree, and an example of each difference, shortest first."""
    differing = [
        (pair, mine)
        for pair, mine, theirs in zip(pairs, ours.verdicts, loop.verdicts, strict=True)
        if mine != theirs
    ]
    share = 1 - len(differing) / len(pairs)
    kinder = sum(mine for _, mine in differing)
    yield (
        f"Same verdict on {share:.2%} of {len(pairs):,} pairs. Of the other {len(differing)}, "
        f"{kinder} are correct by ours alone and {len(differing) - kinder} by the loop alone; "
        "here are some of each.\n"
    )
    yield "| gold | answer | ours | plain loop |"
    yield "|---|---|---|---|"
    for said in (True, False):
        chosen = sorted((p for p, mine in differing if mine is said), key=lambda p: len(p[1]))
        for gold, answer in chosen[:: max(1, len(chosen) // 6)][:6]:
            names = ("correct", "not") if said else ("not", "correct")
            yield f"| `{gold}` | `{answer}` | {names[0]} | {names[1]} |"


def report(path: Path, seed: int, before: Path | None) -> Iterator[str]:
    """Yield the whole document, line by line."""
    pairs = make_pairs(path, random.Random(seed))
    one, two = _math_pool.Pool(1), _math_pool.Pool(2)
    peers = [
        Contender("ours, one process", pooled(one)),
        Contender("ours, two processes", pooled(two)),
        Contender("math-verify, plain loop", plain_loop),
    ]
    race(pairs, peers)
    one.close()
    two.close()
    versions = ", ".join(f"{name} {version(name)}" for name in ("math-verify", "sympy"))
    yield "# Grading beside a plain loop over math-verify\n"
    yield (
        f"`python benchmarks/grading.py` on {processor()}, "
        f"{os.cpu_count()} cores, CPython {platform.python_version()}, {versions}; seed {seed}. "
        f"{len(pairs):,} pairs from the answers of MATH-500, each in {len(WRITINGS)} writings, one "
        f"of them altered; one interleaved run in blocks of {BLOCK}, wall time, no cache. Other "
        f"work shared the machine (load average {os.getloadavg()[0]:.1f} at the end, which our "
        "own part is in), so read the ratios, which are medians over the same blocks; a second "
        "process gains what a free core gives it.\n"
    )
    yield from table(peers)
    yield from integers()
    if before is not None:
        yield from earlier(before)
    yield "\n## Agreement\n"
    yield from agreement(pairs, peers[0], peers[-1])


def main() -> None:
    """Print the report, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--before", type=Path, help="an earlier report, whose table is shown")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    if not os.environ.get("SRL_TEST_DATA"):
        parser.error("SRL_TEST_DATA names no folder; expected one with math500/test.jsonl in it")
    lines = []
    path = Path(os.environ["SRL_TEST_DATA"], "math500", "test.jsonl")
    for line in report(path, options.seed, options.before):
        print(line, flush=True)
        lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
