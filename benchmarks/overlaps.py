"""Overlaps of training sets with benchmarks: MATH, AIME and GSM8K, counted by several rules.

What `srl-data decontaminate` finds between the sets in $SRL_TEST_DATA, and the closest pairs as the
guide shows them. `--prints` writes by what `srl-data build math` knows the problems of MATH-500.

    SRL_TEST_DATA=DIR python benchmarks/overlaps.py --output docs/benchmarks/overlaps.md
"""

import argparse
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from srl_data.answers.math_folder import math500_print
from srl_data.decontamination import Benchmarks, OverlapSection, open_benchmarks
from srl_data.overlap import ngrams, words_of
from srl_data.problem_text import problem_text
from srl_data.splits import open_source

PRINTS = Path("packages/srl-data/src/srl_data/answers/math500.json")
RULES = {
    "13 words in a row": OverlapSection(),
    "`--common 10`": OverlapSection(common=10),
    "`--min-share 0.5`": OverlapSection(min_share=0.5),
    "`--ngram 8`": OverlapSection(ngram=8),
}


@dataclass(frozen=True)
class Comparison:
    """A training set and an evaluation set, by their files."""

    training: str
    file: str
    benchmark: str
    against: str


COMPARISONS = (
    Comparison("MATH train (7,474 of 7,500)", "math_train/math.json", "MATH-500", "math500"),
    Comparison(
        "AIME 1983–2023", "aime_1983_2023/train_aime.json", "AIME 2024", "aime24/test.jsonl"
    ),
    Comparison(
        "AIME 1983–2023", "aime_1983_2023/train_aime.json", "AIME 2025", "aime25/qwq_aime25.jsonl"
    ),
    Comparison("GSM8K train", "gsm8k/train.jsonl", "GSM8K test", "gsm8k/test.jsonl"),
)
SHOWN = (4, 2, 1, 3)
"""Pairs shown of each comparison, no two of one benchmark problem."""


@dataclass
class Counted:
    """What one rule found in one comparison."""

    benchmarks: Benchmarks
    rows: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    pairs: list[dict[str, object]] = field(default_factory=list)

    @property
    def cells(self) -> str:
        """Counts for a table."""
        (each,) = self.benchmarks.overlaps(self.counts).values()
        return f"{each.exact:,} | {each.exact + each.ngram:,} | {each.problems_overlapped:,}"


def training_problems(path: Path) -> Iterator[tuple[str, str]]:
    """Names and texts of a training set's problems."""
    for position, row in open_source(path).read("fail", print):
        year, number = row.get("year"), row.get("problem_number")
        name = f"{year}, problem {number}" if year else f"row {position + 1}"
        yield name, problem_text(row)


def compare(data: Path, each: Comparison, rule: OverlapSection) -> Counted:
    """Count the overlaps of two sets by one rule."""
    against = f"{each.benchmark}={data / each.against}"
    found = Counted(open_benchmarks([against], rule))
    if rule.common is not None:
        for _, text in training_problems(data / each.file):
            found.benchmarks.index.count(text)
    for name, text in training_problems(data / each.file):
        found.rows += 1
        compared = found.benchmarks.compare(name, text)
        found.counts += compared.counts
        found.pairs += compared.pairs
    return found


def table(results: dict[Comparison, dict[str, Counted]]) -> str:
    """All comparisons by all rules."""
    head = (
        "| training × evaluation | rule | same text | training problems | evaluation problems |\n"
        "| --- | --- | ---: | ---: | ---: |\n"
    )
    return head + "\n".join(
        f"| {each.training} × {each.benchmark} | {rule} | {counted.cells} |"
        for each, by_rule in results.items()
        for rule, counted in by_rule.items()
    )


def closest(counted: Counted, count: int) -> list[dict[str, object]]:
    """The pairs that share most, no benchmark problem twice."""
    found: dict[object, dict[str, object]] = {}
    by_share = sorted(
        counted.pairs, key=lambda pair: (-float(str(pair["share"])), str(pair["benchmark_id"]))
    )
    for pair in by_share:
        found.setdefault(pair["benchmark_id"], pair)
    return list(found.values())[:count]


def longest_run(one: str, other: str, size: int = 13) -> list[str]:
    """The longest run of words that two texts have in common."""
    words, run = words_of(one), size
    while set(ngrams(words, run + 1)) & set(ngrams(words_of(other), run + 1)):
        run += 1
    common = set(ngrams(words_of(other), run))
    return next((gram.split() for gram in ngrams(words, run) if gram in common), [])


def pairs_table(results: dict[Comparison, dict[str, Counted]]) -> str:
    """Ten of the closest pairs, each with the words that are the same."""
    lines = ["| training | evaluation | share | the longest run of the same words |"]
    lines.append("| --- | --- | ---: | --- |")
    for (each, by_rule), count in zip(results.items(), SHOWN, strict=True):
        for pair in closest(next(iter(by_rule.values())), count):
            run = longest_run(str(pair["problem"]), str(pair["benchmark_problem"]))
            shown = " ".join(run[:18]) + (" …" if len(run) > 18 else "")
            lines.append(
                f"| {each.training.split(' (')[0]}, {pair['id']} | {each.benchmark}, "
                f"{pair['benchmark_id']} | {float(str(pair['share'])):.0%} | {len(run)}: {shown} |"
            )
    return "\n".join(lines)


def compare_all(data: Path) -> dict[Comparison, dict[str, Counted]]:
    """Every comparison by every rule."""
    return {
        each: {name: compare(data, each, rule) for name, rule in RULES.items()}
        for each in COMPARISONS
    }


PAGE = """# Overlaps of training sets with benchmarks

`benchmarks/overlaps.py` wrote this page. An overlap is the same text (case and spacing aside) or 13
words in a row; "training problems" have one with any evaluation problem, the same text among them,
"evaluation problems" with any training problem. `--common 10` does not count what more than ten
training problems have, `--min-share 0.5` asks for half of an evaluation problem's n-grams.

{table}

No problem of these benchmarks is in its training set as a whole. Thirteen words in a row find
variations of one problem and figures with the same preamble (MATH), variations (GSM8K) and,
between AIMEs, turns of phrase: "where m and n are relatively prime positive integers find m n" is
such a run. No AIME problem shares half of its n-grams with an earlier one.

Ten of the closest pairs, no evaluation problem twice:

{pairs}

## What was not at hand

MATH's training set is a copy of 7,474 problems, of 7,500, with answers and without solutions; its
test set of 5,000, NuminaMath-CoT, and the hub's own files were not at hand. AIME 1983–2023 is a
copy of 975 problems, and AIME 2025 one of 30 without its makers' numbers.
"""


def write_prints(data: Path) -> None:
    """Write by what the problems of MATH-500 are known."""
    rows = open_source(data / "math500").read("fail", print)
    prints = sorted(math500_print(str(row["problem"])) for _, row in rows)
    lines = [", ".join(map(json.dumps, prints[n : n + 4])) for n in range(0, len(prints), 4)]
    PRINTS.write_text("[\n  " + ",\n  ".join(lines) + "\n]\n", encoding="utf-8")


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--prints", action="store_true", help=f"write {PRINTS} too")
    options = parser.parse_args()
    data = Path(os.environ["SRL_TEST_DATA"])
    if options.prints:
        write_prints(data)
    results = compare_all(data)
    page = PAGE.format(table=table(results), pairs=pairs_table(results))
    options.output.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
