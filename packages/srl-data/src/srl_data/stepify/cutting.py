"""Solutions of all rows with their cuts: by rule, or by a teacher, many at a time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.progress import track
from srl_data.passes import workers as passes
from srl_data.passes.chunks import NumberedRow
from srl_data.records import Row, encode
from srl_data.sources import RowSource
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.cut import Cut, CutOptions, cut_solution
from srl_data.stepify.headings import chosen_family
from srl_data.stepify.outcome import Outcome, SteppedSolution
from srl_data.stepify.protected import Protected, protected_spans
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import Columns, From, Given, given_solutions

STEPS = "steps"
"""The output of a pass that cuts."""


def stem_of_source(source: RowSource) -> str:
    """What the ids of a source's solutions begin with."""
    return Path(source.origin.name).name.split(".")[0] or "row"


def name_of_solution(stem: str, row: int, part: int | None) -> str:
    """The id of a solution: its file's name and its row, e.g. `train-00017`."""
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


def solutions_in(
    stem: str, position: int, row: Row, columns: Columns, text: From
) -> list[Numbered]:
    """The solutions of a row; `stem` begins their ids."""
    return [
        Numbered(name_of_solution(stem, position, getattr(given, "part", None)), position, given)
        for given in given_solutions(row, columns, text)
    ]


def numbered(config: StepifyConfig, source: RowSource, outcome: Outcome) -> Iterator[Numbered]:
    """The solutions of all rows, in order; what is read is noted in `outcome`."""
    rows = source.read(config.on_error, outcome.skip)
    stem = stem_of_source(source)
    for position, row in track(rows, "cutting", source.count(), unit="rows"):
        outcome.rows += 1
        for each in solutions_in(stem, position, row, outcome.columns, config.cut_from):
            outcome.solutions += 1
            yield each


@dataclass(frozen=True)
class Cutter:
    """Cuts the solutions of rows by rule; the worker of a pass."""

    config: StepifyConfig
    columns: Columns
    stem: str

    def __call__(self, rows: Sequence[NumberedRow]) -> passes.Outcome:
        """The solutions in steps as lines."""
        outcome = passes.Outcome()
        for position, row in rows:
            found = solutions_in(self.stem, position, row, self.columns, self.config.cut_from)
            outcome.counts["solutions"] += len(found)
            for each in found:
                record = record_of(each, cut_by_rule(each, self.config))
                if isinstance(record, Refused):
                    outcome.leave_out(record.reason, each.name)
                    continue
                outcome.write(STEPS, encode(record))
                outcome.counts["solutions_in_steps"] += 1
        return outcome


def cut_by_rule(each: Numbered, config: StepifyConfig) -> Cut | Refused:
    """A solution with its cut."""
    given = each.given
    return given if isinstance(given, Refused) else cut_given(given, config.options())


def record_of(each: Numbered, cut: Cut | Refused) -> SteppedSolution | Refused:
    """One solution in steps, with what its headings were in the original."""
    if isinstance(cut, Refused):
        return cut
    assert isinstance(each.given, Given), "only what is given is cut"
    meta: dict[str, object] = {"row": each.row, "cut_by": cut.rule}
    if cut.rendered.removed:
        meta["headings"] = list(cut.rendered.removed)
    return SteppedSolution(
        id=each.name,
        problem=each.given.problem,
        solution=cut.rendered.text,
        answer=each.given.answer,
        meta=meta,
    )
