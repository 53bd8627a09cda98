"""`srl-data stepify`: free-running solutions to numbered steps, straight into `build`.

One pass: each row's solution is cut by rule (or by a teacher), checked, written and measured.
Beside the output stand its manifest, with the reasons of what was left out, and the report.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.files import write_json
from srl_data.manifest import write_manifest
from srl_data.records import write_records
from srl_data.sources import RowSource
from srl_data.splits import open_source
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.cut import Cut
from srl_data.stepify.cutting import Numbered, cut_given, numbered
from srl_data.stepify.measures import Measures
from srl_data.stepify.outcome import Outcome, SteppedSolution
from srl_data.stepify.reasons import REASONS
from srl_data.stepify.render import Refused
from srl_data.stepify.solution_text import (
    PROBLEM_COLUMNS,
    SOLUTION_COLUMNS,
    Columns,
    Given,
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


def cut_all(
    config: StepifyConfig, solutions: Iterator[Numbered], outcome: Outcome
) -> Iterator[tuple[Numbered, Cut | Refused]]:
    """Each solution with its cut: by rule, or by the teacher, many at a time."""
    if config.teacher.model is not None:
        from srl_data.stepify.taught import taught  # talks over HTTP, which parsing needs not

        yield from taught(config, solutions, outcome)
        return
    for each in solutions:
        given = each.given
        cut = given if isinstance(given, Refused) else cut_given(given, config.options())
        yield each, cut


def stepped(
    config: StepifyConfig, source: RowSource, outcome: Outcome
) -> Iterator[SteppedSolution]:
    """The records, in the source's order; what is left out is noted in `outcome`."""
    for each, cut in cut_all(config, numbered(config, source, outcome), outcome):
        if isinstance(cut, Refused):
            outcome.exclude(cut.reason, each.name)
            continue
        assert isinstance(each.given, Given), "only what is given is cut"
        outcome.measures.add(cut.rule, cut.rendered.steps)
        record = record_of(each.name, each.row, each.given, cut)
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
    count = write_records(output, with_first)
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
        "teacher_failed": "see to the server and run it again: it goes on where it was",
        "teacher_numbers": "try another --model",
    }.get(common, "choose another --field")
    return (
        f"none of the {outcome.solutions} solutions in column {outcome.columns.solution!r} of "
        f"{config.source} gave steps ({reasons}: {REASONS.get(common, '')}); {advice}"
    )
