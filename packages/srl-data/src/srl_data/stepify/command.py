"""`srl-data stepify`: free-running solutions to numbered steps, straight into `build`.

One pass: each row's solution is cut by rule (or by a teacher), checked, written and measured.
Beside the output stand its manifest, with the reasons of what was left out, and the report.
"""

from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.files import remove_temporaries, write_json
from srl_data.manifest import named_after, with_manifests, write_manifest
from srl_data.passes.draft import Tally, holding
from srl_data.passes.run import Pass, run_pass
from srl_data.reasons import nothing_left
from srl_data.records import read_records, write_records
from srl_data.sources import RowSource, first_of
from srl_data.splits import check_outputs, open_source
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.cut import Cut
from srl_data.stepify.cutting import (
    STEPS,
    Cutter,
    Numbered,
    cut_by_rule,
    numbered,
    record_of,
    stem_of_source,
)
from srl_data.stepify.measures import Measures
from srl_data.stepify.outcome import Outcome, SteppedSolution, answers_path
from srl_data.stepify.reasons import REASONS
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import (
    PROBLEM_COLUMNS,
    SOLUTION_COLUMNS,
    Columns,
)

COMMAND = "srl-data stepify"


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


def stepped(
    config: StepifyConfig, source: RowSource, outcome: Outcome
) -> Iterator[SteppedSolution]:
    """The records one by one, in the source's order; what is left out is noted in `outcome`."""
    solutions = numbered(config, source, outcome)
    cuts: Iterator[tuple[Numbered, Cut | Refused]]
    if config.teacher.model is not None:
        from srl_data.stepify.taught import taught  # talks over HTTP, which parsing needs not

        cuts = taught(config, solutions, outcome)
    else:
        cuts = ((each, cut_by_rule(each, config)) for each in solutions)
    for each, cut in cuts:
        record = record_of(each, cut)
        if isinstance(record, Refused):
            outcome.exclude(record.reason, each.name)
            continue
        outcome.measure(record, config.preview)
        yield record


def stepify(config: StepifyConfig) -> Outcome:
    """Write the solutions in steps with manifest and report; with --preview alone only look."""
    if config.output is not None:
        check_outputs(files_of(config.output, config.teacher.model), config.source)
    source = first_of(open_source(config.source, config.revision), config.limit)
    outcome = Outcome(find_columns(config, source), Measures(config.seed))
    if config.output is None:
        list(islice(stepped(config, source, outcome), config.preview))
    elif config.teacher.model is not None:
        with holding(config.output):
            write_taught(config.output, stepped(config, source, outcome))
    else:
        cut_file(config, config.output, source, outcome)
    if not outcome.measures.steps:
        raise DataError(no_steps(config, outcome))
    if config.output is not None:
        describe(config, config.output, source, outcome)
    return outcome


def write_taught(output: Path, records: Iterator[SteppedSolution]) -> None:
    """The records' file; nothing is written where there is none."""
    first = next(records, None)
    if first is not None:
        write_records(output, (record for group in ([first], records) for record in group))


def options_of(config: StepifyConfig, columns: Columns) -> dict[str, object]:
    """What decides the records besides the source."""
    options = config.model_dump(mode="json", exclude={"output", "source", "preview", "workers"})
    return {**options, "problem_field": columns.problem, "field": columns.solution}


def cut_file(config: StepifyConfig, output: Path, source: RowSource, outcome: Outcome) -> None:
    """Cut by rule, in any number of processes; then read back and measure what was written.

    Raises DataError where nothing is in steps, and then writes nothing.
    """

    def check(tally: Tally) -> None:
        outcome.take(tally)
        if not tally.counts.get("solutions_in_steps"):
            raise DataError(no_steps(config, outcome))

    work = Pass(
        command=COMMAND,
        source=source,
        paths={STEPS: output},
        options=options_of(config, outcome.columns),
        on_error=config.on_error,
        workers=config.workers,
        label="cutting",
    )
    run_pass(work, partial(Cutter, config, outcome.columns, stem_of_source(source)), check)
    for record in read_records(output, SteppedSolution):
        outcome.measure(record, config.preview)


def describe(config: StepifyConfig, output: Path, source: RowSource, outcome: Outcome) -> None:
    """Write the manifest and the report."""
    measures = outcome.measures
    outcome.manifest = write_manifest(
        output,
        command=COMMAND,
        source=source.origin,
        options=options_of(config, outcome.columns),
        counts={
            "rows_read": outcome.rows,
            "solutions": outcome.solutions,
            "solutions_in_steps": measures.solutions,
            "steps": measures.lengths.total(),
        },
        records=measures.solutions,
        reasons=dict(sorted(outcome.reasons.items())),
        excluded=dict(sorted(outcome.excluded.items())),
    )
    write_json(report_path(output), outcome.measures.as_json())
    remove_temporaries(report_path(output))


def files_of(output: Path, teacher: str | None) -> list[Path]:
    """All files that a run writes, with a teacher or without."""
    files = [*with_manifests([output]), report_path(output)]
    return files if teacher is None else [*files, answers_path(output)]


def report_path(output: Path) -> Path:
    """`NAME.report.json` for `NAME.jsonl`."""
    return named_after(output, "report.json")


def no_steps(config: StepifyConfig, outcome: Outcome) -> str:
    """Why no solution gave steps, and what to do about the commonest reason."""
    advice = {
        "missing_answer": f"choose another --answer-field than {config.answer_field!r}",
        "missing_problem": f"choose another --problem-field than {outcome.columns.problem!r}",
        "no_headings": "leave --by headings out",
        "too_few_steps": "try --by sentences and a smaller --min-chars, or another --field",
        "too_many_steps": "raise --max-steps, or join short steps with --min-chars",
        "only_thinking": "cut the thinking with --from thinking",
        "no_thinking": "leave --from thinking out",
        "teacher_failed": "see to the server and run it again: it goes on where it was",
        "teacher_numbers": "try another --model",
    }
    column = f"column {outcome.columns.solution!r} of {config.source}"
    what = f"{outcome.solutions} solutions in {column} gave steps"
    return nothing_left(what, outcome.reasons, REASONS, advice)
