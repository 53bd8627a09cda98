"""The solutions that docs/guides/stepify-judged.md judges: drawn by seed, cut as they are cut now.

    SRL_TEST_DATA=DIR python scripts/draw_stepify.py [--show]

prints an id, the rule and where the steps begin, a line each; with --show the steps themselves.
"""

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from srl_data.sources import open_file
from srl_data.stepify.cut import Cut, CutOptions
from srl_data.stepify.cutting import cut_given, name_of_solution, stem_of_source
from srl_data.stepify.solution_text import Columns, Given, given_solutions
from srl_reward import NonConforming, parse_solution

SEED = 27
SETS = {
    "s1k/s1k.json": (Columns("problem", "solution"), 15),
    "olympiadbench/test.jsonl": (Columns("question", "solution"), 15),
    "gsm8k/train.jsonl": (Columns("question", "answer"), 6),
}
"""Files with how many of their solutions are drawn; of s1K those that are not in steps."""


def cuts_of(path: Path, columns: Columns) -> Iterator[tuple[str, Cut]]:
    """The solutions of a file that give steps, by id."""
    source = open_file(path)
    stem = stem_of_source(source)
    for row, found in source.read("fail", lambda _: None):
        for given in given_solutions(found, columns, "solution"):
            if not isinstance(given, Given):
                continue
            taken = not isinstance(parse_solution(given.text), NonConforming)
            if path.stem == "s1k" and taken:
                continue
            cut = cut_given(given, CutOptions())
            if isinstance(cut, Cut):
                yield name_of_solution(stem, row, given.part), cut


def drawn(data: Path) -> Iterator[tuple[str, Cut]]:
    """The solutions that are judged."""
    chance = random.Random(SEED)
    for name, (columns, count) in SETS.items():
        for solution, cut in chance.sample(list(cuts_of(data / name, columns)), count):
            yield f"{name.partition('/')[0]}/{solution}", cut


def main() -> None:
    """Print them."""
    for name, cut in drawn(Path(os.environ["SRL_TEST_DATA"])):
        places = ", ".join(map(str, cut.rendered.cuts)) or "each line"
        print(f"{name} {cut.rule}: {places}")
        if "--show" in sys.argv:
            print("\n".join(cut.rendered.steps), end="\n\n")


if __name__ == "__main__":
    main()
