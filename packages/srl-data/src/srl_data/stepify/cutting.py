"""Solutions of all rows with their cuts: by rule, or by a teacher, many at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from srl_data.command.progress import track
from srl_data.sources import RowSource
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.cut import Cut, CutOptions, cut_solution
from srl_data.stepify.headings import chosen_family
from srl_data.stepify.outcome import Outcome
from srl_data.stepify.protected import Protected, protected_spans
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import Given, given_solutions


def name_of_solution(source: RowSource, row: int, part: int | None) -> str:
    """The id of a solution: its file's name and its row, e.g. `train-00017`."""
    stem = Path(source.origin.name).name.split(".")[0] or "row"
    name = f"{stem}-{row:05d}"
    return name if part is None else f"{name}.{part}"


def cut_given(given: Given, options: CutOptions) -> Cut | Refused:
    """A solution's steps by rule; GSM8K's lines are steps where they have no headings."""
    if given.lines is None:
        return cut_solution(given.text, options)
    by_lines = options.by in ("auto", "lines") and options.min_chars is options.max_chars is None
    if not by_lines or has_longer_steps(given.text, len(given.lines.steps) - 1):
        return cut_solution(given.text, options)
    count = len(given.lines.steps)
    if count > options.max_steps:
        return Refused("too_many_steps")
    return Cut("gsm8k", given.lines) if count >= options.min_steps else Refused("too_few_steps")


def has_longer_steps(text: str, lines: int) -> bool:
    """Whether an author numbered the steps of so many lines, some of more than one line."""
    family = chosen_family(text, Protected(protected_spans(text)))
    numbered_by_author = family is not None and family.headings[0].number is not None
    return numbered_by_author and family is not None and len(family.headings) < lines


@dataclass(frozen=True)
class Numbered:
    """A solution with its id and its row, or the reason why there is none."""

    name: str
    row: int
    given: Given | Refused


def numbered(config: StepifyConfig, source: RowSource, outcome: Outcome) -> Iterator[Numbered]:
    """The solutions of all rows, in order."""
    rows = source.read(config.on_error, lambda reason: outcome.exclude("malformed_row", reason))
    count = source.count()
    total = min(count, config.limit) if count is not None and config.limit else count
    for index, row in track(islice(rows, config.limit), "cutting", total, unit="rows"):
        outcome.rows += 1
        for given in given_solutions(row, outcome.columns, config.cut_from):
            outcome.solutions += 1
            part = given.part if isinstance(given, Given) else None
            yield Numbered(name_of_solution(source, index, part), index, given)
