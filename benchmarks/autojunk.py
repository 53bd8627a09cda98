"""The cliff of difflib's autojunk: mean ratio of lightly edited copies by length, off and on.

From 200 characters of the second text on, autojunk ignores each character that makes up more than
one per cent of it, which is most of an ordinary step. Texts are sentences of a word list, drawn
from one seed, or steps cut to length out of expert solutions; in each copy three characters of a
hundred are replaced. Left out: pairs that are not alike, on which both modes are low.

    python benchmarks/autojunk.py
    python benchmarks/autojunk.py --solutions s1k.json --field solution
"""

import argparse
import json
import random
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

from srl_reward import Solution, parse_solution, ratio_batch

LENGTHS = (150, 199, 200, 250, 500)
PAIRS = 200
EDITED_SHARE = 0.03
LOW = 0.5
LETTERS = "abcdefghijklmnopqrstuvwxyz"
TEXT = (
    "the so we add both sides and divide by two which gives x equal to three since each of these "
    "terms is even it follows that their sum must be even as well now let n be any number with "
    "this property then by the formula above there are exactly four choices for every pair of "
    "points on a circle whose radius is one half of that value hence we find"
)
WORDS = TEXT.split()


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--solutions", type=Path, help="JSON list of records with solutions")
    parser.add_argument("--field", default="solution", help="where the solution stands")
    options = parser.parse_args()
    texts = drawn_texts() if options.solutions is None else steps(options.solutions, options.field)
    sys.stdout.write("| characters | off | on | on, under 0.5 |\n| ---: | ---: | ---: | ---: |\n")
    for length in LENGTHS:
        off, on = ratios([text[:length] for text in texts if len(text) >= length])
        low = sum(value < LOW for value in on) / len(on)
        means = f"{statistics.fmean(off):.2f} | {statistics.fmean(on):.2f}"
        sys.stdout.write(f"| {length} | {means} | {low:.0%} |\n")
    return 0


def ratios(texts: list[str]) -> tuple[list[float], list[float]]:
    """Ratio of an edited copy with its text, for each text, autojunk off and on."""
    rng = random.Random(1)
    copies = [edited(text, rng) for text in texts]
    return ratio_batch(copies, texts, autojunk=False), ratio_batch(copies, texts, autojunk=True)


def edited(text: str, rng: random.Random) -> str:
    """Replace some characters by letters."""
    return "".join(rng.choice(LETTERS) if rng.random() < EDITED_SHARE else char for char in text)


def drawn_texts() -> list[str]:
    """Draw texts as long as the longest length."""
    rng = random.Random(0)
    return [" ".join(rng.choices(WORDS, k=max(LENGTHS)))[: max(LENGTHS)] for _ in range(PAIRS)]


def steps(path: Path, field: str) -> list[str]:
    """All steps of the solutions that conform."""
    return list(_steps(json.loads(path.read_text(encoding="utf-8")), field))


def _steps(records: list[dict[str, str]], field: str) -> Iterator[str]:
    for record in records:
        solution = parse_solution(record[field])
        if isinstance(solution, Solution):
            yield from (step.text for step in solution.steps)


if __name__ == "__main__":
    sys.exit(main())
