"""Whether real golds are confused: each against itself in five notations, and against others.

Golds are those of AIME, AMC 2023, MATH-500, Minerva and OlympiadBench, judged as evaluation judges
them: by the task's own grader, boxed. Others are drawn from one seed among golds of other texts; of
those called equal some are (`0.5` and `1/2`), which is why they are listed. An earlier version's
figures come from the same file run with that version's packages, and are put beside these.

    SRL_TEST_DATA=… python benchmarks/confusion.py --json before.json
    SRL_TEST_DATA=… python benchmarks/confusion.py --before before.json --output docs/…
"""

import argparse
import json
import os
import random
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge
from srl_eval.problems import load_problems
from srl_eval.tasks import TaskSpec, get_task

Write = Callable[[str], str]
MANY, FEW = 200, 20
_BRACKET = re.compile(r"(?<!\\left)(?<!\\right)([()])")

NUMBER: dict[str, Write] = {
    "n = 33": lambda a: f"n = {a}",
    "33^\\circ": lambda a: f"{a}^\\circ",
    "\\mathbf{33}": lambda a: f"\\mathbf{{{a}}}",
    "{33}": lambda a: f"{{{a}}}",
    "33.": lambda a: f"{a}.",
}
"""How an integer is written otherwise."""
FORMULA: dict[str, Write] = {
    "\\left( \\right), \\dfrac": lambda a: _BRACKET.sub(_sized, a).replace("\\frac", "\\dfrac"),
    "~33\\quad": lambda a: f"~{a}\\quad",
    "{33}": lambda a: f"{{{a}}}",
    "\\displaystyle 33.": lambda a: f"\\displaystyle {a}.",
    "$33$\\\\": lambda a: f"${a}$\\\\",
}
"""How any other answer is written otherwise."""


@dataclass(frozen=True, slots=True)
class Source:
    """Golds of one data set, and against how many others each is put."""

    name: str
    task: str
    files: tuple[str, ...]
    others: int


SOURCES = (
    Source(
        "AIME",
        "aime24",
        ("aime24/test.jsonl", "aime25/qwq_aime25.jsonl", "aime_1983_2023/train_aime.json"),
        MANY,
    ),
    Source("AMC 2022 and 2023", "amc23", ("amc23/test.jsonl", "amc23/amc_2022_2023_83.json"), FEW),
    Source("MATH-500", "math500", ("math500/test.jsonl",), MANY),
    Source("Minerva", "minerva_math", ("minerva_math/test.jsonl",), FEW),
    Source("OlympiadBench", "olympiadbench", ("olympiadbench/test.jsonl",), FEW),
)


@dataclass
class Found:
    """What became of one source's golds."""

    name: str
    golds: int = 0
    written: int = 0
    lost: list[tuple[str, str]] = field(default_factory=list)
    pairs: int = 0
    confused: list[tuple[str, str]] = field(default_factory=list)
    seconds: float = 0.0


def _sized(match: re.Match[str]) -> str:
    return ("\\left" if match[1] == "(" else "\\right") + match[1]


def golds_of(source: Source, folder: Path) -> list[Gold]:
    """The golds of a source, each text once."""
    task = get_task(source.task)
    whole = TaskSpec(source.name, "", task.grader, gold_from_solution=task.gold_from_solution)
    problems = [p for file in source.files for p in load_problems(whole, folder / file).problems]
    return list({problem.answer: Gold.of(problem) for problem in problems}.values())


def are_right(grader: str, pairs: Sequence[tuple[Gold, str]]) -> list[bool]:
    """Whether each answer is judged correct, boxed."""
    candidates = [Candidate(f"\\boxed{{{answer}}}", "stop", gold) for gold, answer in pairs]
    judged = judge(get_grader(grader), candidates)
    return [judgement.verdict is Verdict.CORRECT for judgement in judged]


def examine(source: Source, folder: Path, seed: int, share: float) -> Found:
    """Put each gold to itself in five notations, and to a share of the others."""
    began, rng = time.monotonic(), random.Random(seed)
    golds, grader = golds_of(source, folder), get_task(source.task).grader
    written = [
        (gold, write(gold.answer))
        for gold in golds
        for write in (NUMBER if gold.answer.isdigit() else FORMULA).values()
    ]
    others = [
        (gold, other.answer)
        for gold in golds
        for other in rng.sample(golds, min(round(share * source.others), len(golds)))
        if other.answer != gold.answer
    ]
    own, foreign = are_right(grader, written), are_right(grader, others)
    return Found(
        name=source.name,
        golds=len(golds),
        written=len(written),
        lost=[(g.answer, a) for (g, a), right in zip(written, own, strict=True) if not right],
        pairs=len(others),
        confused=[(g.answer, a) for (g, a), right in zip(others, foreign, strict=True) if right],
        seconds=round(time.monotonic() - began, 1),
    )


def table(now: Sequence[Found], before: Sequence[Found]) -> Iterator[str]:
    """Counts, before and after."""
    yield "| golds | in five notations | lost before | now | of others, equal before | equal now |"
    yield "|---|--:|--:|--:|--:|--:|"
    for found, old in zip(now, before, strict=True):
        yield (
            f"| {found.name} ({found.golds}) | {found.written:,} | {len(old.lost)} | "
            f"{len(found.lost)} | {len(old.confused)} of {old.pairs:,} | "
            f"{len(found.confused)} of {found.pairs:,} |"
        )


def listed(title: str, now: Sequence[Found], before: Sequence[Found]) -> Iterator[str]:
    """All other golds that are called equal now, and those that no longer are."""
    kept = {pair for found in now for pair in found.confused}
    gone = {pair for found in before for pair in found.confused} - kept
    yield f"\n## {title}\n"
    for label, pairs in (("equal now", kept), ("equal before, unequal or not drawn now", gone)):
        end = ":" if pairs else "."
        yield f"{label[0].upper()}{label[1:]}: {len(pairs)} different pairs{end}\n"
        if pairs:
            yield "| gold | other gold |"
            yield "|---|---|"
            yield from (f"| {_cell(gold)} | {_cell(other)} |" for gold, other in sorted(pairs))
            yield ""


def lost_list(now: Sequence[Found]) -> Iterator[str]:
    """Golds that are not known again."""
    lost = [pair for found in now for pair in found.lost]
    yield "\n## Golds not known again in another notation\n"
    yield "None." if not lost else "| gold | as written |\n|---|---|"
    yield from (f"| {_cell(gold)} | {_cell(answer)} |" for gold, answer in lost)


def _cell(text: str) -> str:
    return "`" + text.replace("|", "\\|").replace("\n", " ")[:90] + "`"


def report(now: Sequence[Found], before: Sequence[Found], seed: int) -> Iterator[str]:
    """Yield the whole document, line by line."""
    seconds, old = (sum(found.seconds for found in each) for each in (now, before))
    share = "over a smaller share of the others"
    earlier = f", before in {old:.0f} s ({share})" if before else ""
    yield "# Real golds against themselves and one another\n"
    yield (
        f"`python benchmarks/confusion.py`, seed {seed}: each gold in five other notations, and "
        f"against {MANY} others (AIME, MATH-500) or {FEW}, by the task's own grader. "
        f"{sum(found.written + found.pairs for found in now):,} verdicts in {seconds:.0f} s"
        f"{earlier}, on a machine that others used as well.\n"
    )
    yield from table(now, before or now)
    yield from listed("Golds that are called equal to another", now, before)
    yield from lost_list(now)


def main() -> None:
    """Print the report, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--share", type=float, default=1.0, help="of the others, for a slow grader")
    parser.add_argument("--json", type=Path, help="write the figures for a later --before")
    parser.add_argument("--before", type=Path, help="an earlier version's figures")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    folder = os.environ.get("SRL_TEST_DATA")
    if not folder:
        parser.error("SRL_TEST_DATA names no folder; expected one with math500/test.jsonl in it")
    now = [examine(source, Path(folder), options.seed, options.share) for source in SOURCES]
    if options.json:
        options.json.write_text(json.dumps([asdict(found) for found in now]))
    before = []
    if options.before:
        before = [Found(**found) for found in json.loads(options.before.read_text())]
        for found in before:
            found.lost = [(gold, answer) for gold, answer in found.lost]
            found.confused = [(gold, answer) for gold, answer in found.confused]
    lines = list(report(now, before, options.seed))
    print("\n".join(lines))
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
