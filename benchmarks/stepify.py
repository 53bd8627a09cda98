"""What `srl-data stepify` makes of real solutions, how fast, and of hostile texts.

Usable instances, lengths and separation on s1K's solutions that are not in steps, GSM8K and
OlympiadBench (in $SRL_TEST_DATA); megabytes per second of processor time from 1 to 100 MB;
processor seconds of hostile texts at two sizes, beside markdown-it-py reading the same, which is
the kept library whose block structure could have been used.

    SRL_TEST_DATA=DIR python benchmarks/stepify.py --output docs/benchmarks/stepify.md
"""

import argparse
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from markdown_it import MarkdownIt

from machine import processor
from srl_data.sources import open_file
from srl_data.stepify.cut import CutOptions, cut_solution
from srl_data.stepify.cutting import cut_given
from srl_data.stepify.measures import Measures, Separation, quartiles
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import Columns, Given, given_solutions
from srl_reward import NonConforming, parse_solution, target_fault

SETS = {
    "s1K, not in steps": ("s1k/s1k.json", Columns("problem", "solution")),
    "OlympiadBench": ("olympiadbench/test.jsonl", Columns("question", "solution")),
    "GSM8K train": ("gsm8k/train.jsonl", Columns("question", "answer")),
    "MATH-500": ("math500/test.jsonl", Columns("problem", "solution")),
}
HOSTILE = {
    "headings": "1. a\n",
    "headings in one line": "Step 2: a. ",
    "unclosed LaTeX": "\\[ $a \\begin{align} ",
    "no full stop": "word ",
    "full stops": ". ",
    "brackets": "([",
    "stars": "**a ",
    "quoted lines": "> a\n",
    "nested quotations": "> " * 50 + "a\n",
    "backticks": "` `` ",
}
SIZES = (1, 3, 10, 30, 100)
"""Megabytes of the corpus."""
MB = 1_000_000


@dataclass
class SetResult:
    """What became of a data set's solutions."""

    solutions: int
    reasons: Counter[str]
    measures: Measures
    faulty: int
    """Steps that no output could be rewarded for in full."""


def solutions(name: str, data: Path) -> Iterator[Given | Refused]:
    """The solutions of a set; of s1K those that the parser of `build` doesn't take."""
    path, columns = SETS[name]
    for _, row in open_file(data / path).read("fail", lambda _: None):
        for given in given_solutions(row, columns, "solution"):
            taken = isinstance(given, Given) and not isinstance(
                parse_solution(given.text), NonConforming
            )
            if not (name.startswith("s1K") and taken):
                yield given


def measured(name: str, data: Path) -> SetResult:
    """All solutions of a set, cut and measured."""
    result = SetResult(0, Counter(), Measures(), 0)
    for given in solutions(name, data):
        result.solutions += 1
        cut = given if isinstance(given, Refused) else cut_given(given, CutOptions())
        if isinstance(cut, Refused):
            result.reasons[cut.reason] += 1
            continue
        result.measures.add(cut.rule, cut.rendered.steps)
        result.faulty += sum(target_fault(step) is not None for step in cut.rendered.steps[1:])
    return result


def set_rows(results: dict[str, SetResult]) -> Iterator[str]:
    """The table of the data sets."""
    yield "| | " + " | ".join(results) + " |"
    yield "| --- |" + " ---: |" * len(results)
    figures: dict[str, Callable[[SetResult], object]] = {
        "solutions": lambda r: r.solutions,
        "in steps": lambda r: r.measures.solutions,
        "instances (steps 2 to N)": lambda r: (
            r.measures.lengths.total() - r.measures.solutions - r.faulty
        ),
        "steps that cannot be targets": lambda r: r.faulty,
        "steps per solution: median, 95 %": lambda r: two(r.measures.steps),
        "characters per step: 25 %": lambda r: quartiles(r.measures.lengths)["25 %"],
        "median": lambda r: quartiles(r.measures.lengths)["median"],
        "75 %": lambda r: quartiles(r.measures.lengths)["75 %"],
        "95 %": lambda r: quartiles(r.measures.lengths)["95 %"],
        "longest step's share of its text": lambda r: f"{mean(r.measures.shares):.2f}",
        "another step of the solution scores": lambda r: f"{apart(r).within:.3f}",
        "the same step of another solution": lambda r: f"{apart(r).across:.3f}",
        "cut by": lambda r: listed(r.measures.rules),
        "left out": lambda r: listed(r.reasons) or "none",
    }
    for label, figure in figures.items():
        cells = [figure(result) for result in results.values()]
        shown = (f"{cell:g}" if isinstance(cell, float) else str(cell) for cell in cells)
        yield f"| {label} | " + " | ".join(shown) + " |"


def two(counts: Counter[int]) -> str:
    """Median and 95th percentile."""
    found = quartiles(counts)
    return f"{found['median']:g}, {found['95 %']:g}"


def mean(values: Sequence[float]) -> float:
    """The mean."""
    return sum(values) / len(values)


def apart(result: SetResult) -> Separation:
    """The separation of a set that has one."""
    found = result.measures.separation()
    assert found is not None
    return found


def listed(counts: Counter[str]) -> str:
    """Counts by name."""
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())


def corpus(data: Path) -> list[str]:
    """The real solutions' texts."""
    found = [given for name in SETS for given in solutions(name, data)]
    return [given.text for given in found if isinstance(given, Given)]


def speed_rows(texts: list[str], sizes: tuple[int, ...]) -> Iterator[str]:
    """Processor time over the corpus, repeated to each size, and over one text of the size."""
    whole = sum(len(text.encode()) for text in texts)
    yield "| MB | solutions, s | MB/s | one text, s | MB/s |"
    yield "| ---: | ---: | ---: | ---: | ---: |"
    long = "\n\n".join(texts)
    for size in sizes:
        rounds, rest = divmod(size * MB, whole)
        begun = time.process_time()
        for text in texts * rounds + texts[: round(len(texts) * rest / whole)]:
            cut_solution(text)
        many = time.process_time() - begun
        one_text = (long * (size * MB // len(long) + 1))[: size * MB]
        begun = time.process_time()
        if size <= 10:
            cut_solution(one_text)
        one = time.process_time() - begun
        single = f"{one:.1f} | {size / one:.2f}" if size <= 10 else "– | –"
        yield f"| {size} | {many:.1f} | {size / many:.2f} | {single} |"


def markdown_rate(texts: list[str]) -> float:
    """Megabytes per second that markdown-it-py reads of the real solutions."""
    markdown = MarkdownIt("commonmark").enable("table")
    begun = time.process_time()
    for text in texts:
        markdown.parse(text)
    return sum(len(text.encode()) for text in texts) / MB / (time.process_time() - begun)


def hostile_rows() -> Iterator[str]:
    """Processor seconds of hostile texts, twice as long the second time."""
    yield "| text of | 1 MB, s | 2 MB, s | markdown-it 0.1 MB, s | 0.2 MB, s |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    markdown = MarkdownIt("commonmark").enable("table")
    for name, unit in HOSTILE.items():
        ours = [seconds(cut_solution, unit * (size // len(unit))) for size in (MB, 2 * MB)]
        theirs = [
            seconds(markdown.parse, unit * (size // len(unit))) for size in (MB // 10, MB // 5)
        ]
        cells = " | ".join(f"{value:.2f}" for value in (*ours, *theirs))
        yield f"| {name} | {cells} |"


def seconds(work: Callable[[str], object], text: str) -> float:
    """Processor seconds of one call."""
    begun = time.process_time()
    work(text)
    return time.process_time() - begun


def million() -> Iterator[str]:
    """The three texts of a size that no solution has."""
    texts = {
        "a million headings": "1. a\n" * 1_000_000,
        "10 MB without a full stop": "word " * 2_000_000,
        "10 MB of unclosed LaTeX": "\\[ x " * 2_000_000,
    }
    for name, text in texts.items():
        took = seconds(cut_solution, text)
        yield f"{name} {took:.0f} s"


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path)
    parser.add_argument("--sizes", type=int, nargs="*", default=list(SIZES))
    arguments = parser.parse_args()
    data = Path(os.environ["SRL_TEST_DATA"])
    results = {name: measured(name, data) for name in SETS}
    texts = corpus(data)
    page = [
        "# Steps out of solutions: what, how fast",
        "",
        "`benchmarks/stepify.py` wrote this page: " + processor() + ", one core, processor time,",
        f"Python's srl-data {version('srl-data')}, markdown-it-py {version('markdown-it-py')}.",
        "",
        "## Real solutions",
        "",
        "The true step scores 1; a wrong one scores what the separation's two lines say.",
        "",
        *set_rows(results),
        "",
        "## Speed",
        "",
        "The same solutions, repeated to each size, and all of them as one text.",
        "",
        *speed_rows(texts, tuple(arguments.sizes)),
        "",
        f"markdown-it-py reads the same solutions at {markdown_rate(texts):.2f} MB/s, uncut.",
        "",
        "## Hostile texts",
        "",
        "One unit repeated. Twice the text takes twice the time, or less where the limit of steps",
        f"ends it. {'; '.join(million())}.",
        "",
        *hostile_rows(),
        "",
    ]
    text = "\n".join(page)
    if arguments.output:
        arguments.output.write_text(text, "utf-8")
    print(text)


if __name__ == "__main__":
    main()
