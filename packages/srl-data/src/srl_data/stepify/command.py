"""`srl-data stepify`: free-running solutions to numbered steps, straight into `build`.

One pass: each row's solution is cut by rule (or by a teacher), checked, written and measured.
Beside the output stand its manifest, with the reasons of what was left out, and the report.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from srl_data.command.config import Flag, Section
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.files import write_json
from srl_data.manifest import Manifest, write_manifest
from srl_data.records import OnError, Record, Unicode, write_records
from srl_data.records import Text as NotBlank
from srl_data.sources import RowSource
from srl_data.splits import open_source
from srl_data.stepify.cut import By, Cut, CutOptions, Text, cut_solution, own_steps
from srl_data.stepify.measures import Measures
from srl_data.stepify.reasons import REASONS
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import (
    PROBLEM_COLUMNS,
    SOLUTION_COLUMNS,
    Columns,
    From,
    Given,
    given_solutions,
)

COMMAND = "srl-data stepify"


class SteppedSolution(Record):
    """A problem and its solution in numbered steps, as `build` reads it."""

    problem: NotBlank
    solution: NotBlank
    answer: Unicode | None = None


class StepifyConfig(Section):
    """Config of `srl-data stepify`."""

    source: str
    """A file (.json, .jsonl, .parquet), a folder saved by `datasets`, or a data set on the hub."""
    output: Path | None = None
    """Where the solutions in steps go; may be left out with --preview."""
    revision: str | None = None
    """Commit, branch or tag of a hub data set."""
    field: str | None = None
    """The column with the solution, or with a list of them. Default: solution, answer,
    deepseek_attempt, response or output, the first that there is."""
    problem_field: str | None = None
    """The column with the problem. Default: problem, question, prompt or instruction."""
    answer_field: str | None = None
    """The column with the final answer. Default: what the solution's last box holds."""
    by: By = "auto"
    """What solutions are cut at. auto takes the author's headings, else paragraphs, lines,
    sentences: the coarsest that give enough steps."""
    cut_from: Annotated[From, Flag("from")] = "solution"
    """What is cut: the solution without its thinking, or (an experiment) the thinking itself."""
    corrections: bool = False
    """Cut before self-corrections (Wait, Alternatively), an experiment for --from thinking."""
    rows: bool = False
    """Let rows of aligned LaTeX blocks be steps: the one exception to no cut inside LaTeX."""
    min_chars: int | None = Field(default=None, ge=0)
    """Shorter steps are joined to a neighbour. Default: 12 for text without headings, equations
    aside; an author's own steps stay."""
    max_chars: int | None = Field(default=None, ge=1)
    """Longer steps are cut at finer boundaries, where they have any. Default: 1200 for text
    without headings; an author's own steps stay."""
    min_steps: int = Field(default=2, ge=2)
    """Solutions with fewer steps are left out."""
    max_steps: int = Field(default=100, ge=2)
    """Solutions with more steps are left out."""
    limit: int | None = Field(default=None, ge=1)
    """Read only the first so many rows."""
    preview: int = Field(default=0, ge=0)
    """Show so many records as a model will see them; without --output nothing is written."""
    seed: int = 42
    """Decides which solutions the report compares."""
    on_error: OnError = "fail"

    @model_validator(mode="after")
    def _lengths_in_order(self) -> "StepifyConfig":
        if self.max_chars is not None and (self.min_chars or 0) > self.max_chars:
            raise ValueError(f"min_chars {self.min_chars} exceeds max_chars {self.max_chars}")
        if self.max_steps < self.min_steps:
            raise ValueError(f"min_steps {self.min_steps} exceeds max_steps {self.max_steps}")
        if self.output is None and not self.preview:
            raise ValueError("give --output FILE, or --preview N to look without writing")
        return self

    def options(self) -> CutOptions:
        """How a solution is cut."""
        return CutOptions(
            by=self.by,
            min_chars=self.min_chars,
            max_chars=self.max_chars,
            min_steps=self.min_steps,
            max_steps=self.max_steps,
            corrections=self.corrections,
            rows=self.rows,
        )


@dataclass
class Outcome:
    """What a run did, for the command to show."""

    columns: Columns
    measures: Measures
    rows: int = 0
    solutions: int = 0
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Ids of solutions that were left out, by reason."""
    shown: list[SteppedSolution] = field(default_factory=list)
    manifest: Manifest | None = None

    def exclude(self, reason: str, name: str) -> None:
        """Note a solution that was left out."""
        self.excluded.setdefault(reason, []).append(name)


def find_columns(config: StepifyConfig, source: RowSource) -> Columns:
    """The columns to read, told by the first rows; DataError naming those that there are."""
    found: dict[str, None] = {}
    rows = source.read(config.on_error, lambda _: None)
    for _, row in islice(rows, 100):
        found |= dict.fromkeys(row)
    if not found:
        raise DataError(f"{config.source} holds no rows; expected problems with solutions")
    problem = column(config, found, config.problem_field, PROBLEM_COLUMNS, "problem-field")
    usual = [name for name in SOLUTION_COLUMNS if name != problem]
    solution = column(config, found, config.field, usual, "field")
    answer = config.answer_field
    if answer is not None:
        column(config, found, answer, (), "answer-field")
    return Columns(problem, solution, answer)


def column(
    config: StepifyConfig,
    found: dict[str, None],
    wanted: str | None,
    usual: list[str] | tuple[str, ...],
    flag: str,
) -> str:
    """The column that is named, else the first of the usual ones that there is."""
    if wanted is not None:
        if wanted.partition(".")[0] in found or wanted in found:
            return wanted
        missing = repr(wanted)
    else:
        present = [name for name in usual if name in found]
        if present:
            return present[0]
        missing = " or ".join(map(repr, usual))
    columns = ", ".join(sorted(found))
    raise DataError(f"{config.source} has no column {missing} (--{flag}); its columns: {columns}")


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
    if not by_lines or own_steps(Text(given.text, options)) is not None:
        return cut_solution(given.text, options)
    count = len(given.lines.steps)
    if count > options.max_steps:
        return Refused("too_many_steps")
    return Cut("gsm8k", given.lines) if count >= options.min_steps else Refused("too_few_steps")


def stepped(
    config: StepifyConfig, source: RowSource, outcome: Outcome
) -> Iterator[SteppedSolution]:
    """The records, in the source's order; what is left out is noted in `outcome`."""
    options = config.options()
    rows = source.read(config.on_error, lambda reason: outcome.exclude("malformed_row", reason))
    for index, row in islice(rows, config.limit):
        outcome.rows += 1
        for part, given in enumerate(
            given_solutions(row, outcome.columns, config.cut_from), start=1
        ):
            outcome.solutions += 1
            several = isinstance(given, Given) and given.part is not None
            name = name_of_solution(source, index, part if several else None)
            cut = given if isinstance(given, Refused) else cut_given(given, options)
            if isinstance(cut, Refused) or isinstance(given, Refused):
                outcome.exclude(cut.reason if isinstance(cut, Refused) else "", name)
                continue
            outcome.measures.add(cut.rule, cut.rendered.steps)
            record = record_of(name, index, given, cut)
            if len(outcome.shown) < config.preview:
                outcome.shown.append(record)
            yield record


def record_of(name: str, row: int, given: Given, cut: Cut) -> SteppedSolution:
    """One solution in steps, with what its headings were in the original."""
    meta: dict[str, object] = {"row": row, "cut_by": cut.rule}
    if cut.rendered.removed:
        meta["headings"] = list(cut.rendered.removed)
    return SteppedSolution(
        id=name,
        problem=given.problem,
        solution=cut.rendered.text,
        answer=given.answer,
        meta=meta,
    )


def stepify(config: StepifyConfig) -> Outcome:
    """Write the solutions in steps with manifest and report; with --preview alone only look."""
    if config.output is not None and config.output.resolve() == Path(config.source).resolve():
        raise ConfigError(f"--output {config.output} is the source itself; name another file")
    source = open_source(config.source, config.revision)
    outcome = Outcome(find_columns(config, source), Measures(config.seed))
    records = stepped(config, source, outcome)
    if config.output is None:
        list(islice(records, config.preview))
    else:
        write(config, config.output, source, records, outcome)
    if not outcome.measures.steps:
        raise DataError(nothing_left(config, outcome))
    return outcome


def write(
    config: StepifyConfig,
    output: Path,
    source: RowSource,
    records: Iterator[SteppedSolution],
    outcome: Outcome,
) -> None:
    """The records' file, its manifest and its report; nothing is written where none is left."""
    first = next(records, None)
    if first is None:
        return
    with_first = (record for group in ([first], records) for record in group)
    count = write_records(output, track(with_first, output.name, unit="solutions"))
    counts = Counter(
        rows_read=outcome.rows,
        solutions=outcome.solutions,
        solutions_in_steps=count,
        steps=sum(outcome.measures.steps),
    )
    columns = {"problem_field": outcome.columns.problem, "field": outcome.columns.solution}
    options = config.model_dump(mode="json", exclude={"output", "source", "preview"})
    outcome.manifest = write_manifest(
        output,
        command=COMMAND,
        source=source.origin,
        options={**options, **columns},
        counts=counts,
        records=count,
        excluded=dict(sorted(outcome.excluded.items())),
    )
    write_json(report_path(output), outcome.measures.as_json())


def report_path(output: Path) -> Path:
    """`NAME.report.json` for `NAME.jsonl`."""
    return output.with_name(f"{output.name.removesuffix('.jsonl')}.report.json")


def nothing_left(config: StepifyConfig, outcome: Outcome) -> str:
    """Why no solution gave steps, and what to do about the commonest reason."""
    counts = {reason: len(ids) for reason, ids in outcome.excluded.items()}
    reasons = ", ".join(f"{name}: {count}" for name, count in counts.items())
    common = max(counts, key=lambda reason: counts[reason], default="")
    advice = {
        "missing_answer": f"choose another --answer-field than {config.answer_field!r}",
        "missing_problem": f"choose another --problem-field than {outcome.columns.problem!r}",
        "no_headings": "leave --by headings out",
        "too_few_steps": "try --by sentences and a smaller --min-chars, or another --field",
        "too_many_steps": "raise --max-steps, or join short steps with --min-chars",
        "only_thinking": "cut the thinking with --from thinking",
        "no_thinking": "leave --from thinking out",
    }.get(common, "choose another --field")
    return (
        f"none of the {outcome.solutions} solutions in column {outcome.columns.solution!r} of "
        f"{config.source} gave steps ({reasons}: {REASONS.get(common, '')}); {advice}"
    )
