"""`srl-data build s1k`: expert solutions to SRL instances, a part of the questions held out.

One pass over the source (`srl_data.expert_rows`) finds out which solutions conform and why others
do not; then its records go into their files, whole questions together. Neither is held in memory.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

from pydantic import Field

from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.expert_rows import (
    HEADING,
    INSTANCES,
    PAIRS,
    PLACES,
    SolutionLines,
    SolutionReader,
    places_in,
    solutions_in,
)
from srl_data.held_out import Smallest
from srl_data.instances import Targets
from srl_data.manifest import Manifest, beside, with_manifests, write_manifest
from srl_data.passes.draft import Draft, Tally, draft
from srl_data.passes.kept import kept_pass, work_folder
from srl_data.passes.run import Pass, PassSection, add_counts
from srl_data.reasons import nothing_left
from srl_data.records import OnError
from srl_data.solutions import REASONS, Fields, Steps
from srl_data.sources import RowSource
from srl_data.splits import check_outputs, open_source
from srl_reward.steps import Preamble

COMMAND = "srl-data build s1k"
TRAIN, VAL, SFT = "train", "val", "sft"
GRADES = {"deepseek_attempt": "deepseek_grade", "gemini_attempt": "gemini_grade"}
"""The column that grades each graded solution of s1K-1.1."""


class BuildConfig(PassSection):
    """Config of `srl-data build s1k`."""

    output: Path
    """Where the training instances go; held-out ones go to NAME.val.jsonl beside it."""
    source: str = "simplescaling/s1K-1.1"
    """A file (JSON, JSON Lines, CSV, Parquet, Arrow), a glob, a folder, or a hub data set."""
    revision: str | None = None
    """Commit, branch or tag of the hub data set; the commit behind it is recorded. Default: the
    newest commit. To repeat a build exactly, give the commit from its manifest."""
    field: str = "deepseek_attempt"
    """The column with the expert's solution."""
    steps: Steps = "numbered"
    """How a solution tells its steps: numbered by its author; or gsm8k, whose lines are numbered
    here, the calculator's marks taken out and the #### line made the boxed answer."""
    answer_field: str | None = None
    """The column with the final answer, kept in each record's meta. Default: what the solution's
    last box holds, where it has one."""
    problem_field: str | None = None
    """The column with the problem. Default: question, or problem where there is no question."""
    targets: Targets = "2..N"
    """Which of a solution's N steps are to be predicted; 1..N-1 is the paper's."""
    title_hint: bool = False
    """Put the next step's title into the prompt."""
    val_size: int = Field(default=60, ge=0)
    """Questions held out."""
    seed: int = 42
    """Decides which questions are held out."""
    only_correct: bool = False
    """Keep only solutions that the data set grades as correct."""
    preamble: Preamble = "keep"
    """Text before step 1: part of step 1, or dropped."""
    sft: bool = False
    """Also write the training questions with whole solutions to NAME.sft.jsonl."""
    on_error: OnError = "fail"


@dataclass(frozen=True)
class Survey:
    """What was found in all rows."""

    rows: int
    solutions: int
    """Those that give instances."""
    steps: int
    instances: int
    thinking: int
    """Conforming solutions from which thinking was taken out."""
    reasons: dict[str, int]
    """Excluded solutions and instances, and malformed rows, by reason."""
    excluded: dict[str, list[str]]
    """The ids of the former and lines of the latter, by the same reasons; of many the first."""
    headings: Counter[str]
    """How excluded solutions spell their steps."""


def survey_of(tally: Tally) -> Survey:
    """A pass's findings by their names."""
    counts, bad = tally.counts, tally.skipped
    return Survey(
        rows=tally.taken,
        **{name: counts.get(name, 0) for name in ("solutions", "steps", "instances", "thinking")},
        reasons=tally.left_out | ({"malformed_row": bad.count} if bad.count else {}),
        excluded=tally.named | ({"malformed_row": bad.first} if bad.count else {}),
        headings=Counter(
            {
                name.removeprefix(HEADING): count
                for name, count in counts.items()
                if name.startswith(HEADING)
            }
        ),
    )


def find_fields(config: BuildConfig, source: RowSource) -> Fields:
    """The columns to read; DataError where no row has one, naming those that there are.

    A row that lacks one is excluded like one in which it is empty, the first row too.
    """
    grade = GRADES.get(config.field) if config.only_correct else None
    if config.only_correct and grade is None:
        msg = f"--only-correct needs a graded --field ({', '.join(GRADES)}), not {config.field!r}"
        raise ConfigError(msg)
    problem = config.problem_field
    wanted = {config.field: "field"} | ({grade: "only-correct"} if grade else {})
    wanted |= {config.answer_field: "answer-field"} if config.answer_field else {}
    found: dict[str, None] = {}
    for _, row in source.read(config.on_error, lambda _: None):
        found |= dict.fromkeys(row)
        if problem is None and ("question" in row or "problem" in row):
            problem = "question" if "question" in row else "problem"
        if problem in found and wanted.keys() <= found.keys():
            return Fields(problem, config.field, grade, config.answer_field, config.steps)
    if not found:
        raise DataError(f"{config.source} holds no rows; expected problems with solutions")
    wanted = {problem or "problem": "problem-field"} | wanted
    missing, flag = next((name, flag) for name, flag in wanted.items() if name not in found)
    columns = ", ".join(sorted(found))
    msg = f"{config.source} has no column {missing!r} (--{flag}); its columns: {columns}"
    raise DataError(msg)


def hold_out(config: BuildConfig, places: Iterable[int]) -> frozenset[int]:
    """The smallest places, as many as are held out; ConfigError if none is left to train on."""
    found = Smallest(config.val_size + 1)
    for place in places:
        found.add(place)
    chosen = found.ordered()
    if config.val_size >= len(chosen):
        msg = f"--val-size {config.val_size} leaves nothing to train on: {len(chosen)} questions"
        raise ConfigError(f"{msg} conform; hold out fewer")
    return frozenset(chosen[: config.val_size])


@dataclass(frozen=True)
class Report:
    """What a build did, for the command to show."""

    survey: Survey
    fields: Fields
    written: dict[Path, Manifest]


def no_solution(survey: Survey, fields: Fields) -> str:
    """Why no solution conforms, and what to do about the commonest reason."""
    advice = {
        "malformed_row": "mend the rows, or name another --source",
        "missing_answer": f"choose another --answer-field than {fields.answer!r}",
        "no_final_line": "leave --steps gsm8k out, or choose another --field",
        "missing_problem": f"choose another --problem-field than {fields.problem!r}",
        "graded_wrong": "leave --only-correct out",
        "other_headings": "number the steps 1., 2., …; theirs begin with "
        + ", ".join(repr(heading) for heading, _ in survey.headings.most_common(3)),
    }
    what = f"{survey.rows} solutions in column {fields.solution!r} conforms"
    return nothing_left(what, survey.reasons, REASONS, advice)


def build(config: BuildConfig) -> Report:
    """Write the instance files with their manifests."""
    parts = {TRAIN: True, VAL: config.val_size > 0, SFT: config.sft}
    named = {TRAIN: config.output} | {name: beside(config.output, name) for name in (VAL, SFT)}
    paths = {name: path for name, path in named.items() if parts[name]}
    check_outputs(with_manifests(paths.values()), config.source)
    source = open_source(config.source, config.revision)
    fields = find_fields(config, source)
    with work_folder(config.output) as folder:
        work = solution_pass(config, source, fields, folder)
        survey = survey_of(read_solutions(config, fields, work))
        held = hold_out(config, (place for place, _ in places_in(work.paths)))
        unused = [path for name, path in named.items() if name not in paths]
        with draft(paths, None, unused) as outputs:
            for each in track(solutions_in(work.paths), "writing", survey.solutions, "solutions"):
                write_solution(each, outputs, held=each.place in held)
    written = {
        path: describe(config, source, fields, survey, outputs.tally, name, path)
        for name, path in paths.items()
    }
    return Report(survey, fields, written)


def solution_pass(config: BuildConfig, source: RowSource, fields: Fields, folder: Path) -> Pass:
    """The pass over all rows, into a folder."""
    names = (PLACES, INSTANCES, PAIRS) if config.sft else (PLACES, INSTANCES)
    return Pass(
        command=COMMAND,
        source=source,
        paths={name: folder / name for name in names},
        options=(config.model_dump(mode="json", exclude={"output", "workers"}), asdict(fields)),
        on_error=config.on_error,
        workers=config.workers,
        label="reading",
    )


def read_solutions(config: BuildConfig, fields: Fields, work: Pass) -> Tally:
    """Run the pass; DataError where no solution conforms."""

    def check(tally: Tally) -> None:
        if not tally.counts.get("solutions"):
            raise DataError(no_solution(survey_of(tally), fields))

    reader = partial(
        SolutionReader,
        fields,
        config.preamble,
        config.targets,
        config.seed,
        config.title_hint,
        config.sft,
    )
    return kept_pass(work, reader, check)


def write_solution(each: SolutionLines, outputs: Draft, *, held: bool) -> None:
    """Put what a solution has given into the files."""
    counts, name = outputs.tally.counts, VAL if held else TRAIN
    outputs.write(name, each.instances)
    add_counts(counts, {name: len(each.instances), f"{name} solutions": 1})
    if each.pair is not None and not held:
        outputs.write(SFT, [each.pair])
        add_counts(counts, {SFT: 1, f"{SFT} solutions": 1})


def describe(
    config: BuildConfig,
    source: RowSource,
    fields: Fields,
    survey: Survey,
    written: Tally,
    name: str,
    path: Path,
) -> Manifest:
    """Write the manifest of one file."""
    count = written.counts.get(name, 0)
    options = config.model_dump(mode="json", exclude={"output", "source", "workers"})
    return write_manifest(
        path,
        command=COMMAND,
        source=source.origin,
        options={**options, "problem_field": fields.problem, "field": fields.solution},
        counts={
            "rows_read": survey.rows,
            "solutions_conforming": survey.solutions,
            "steps": survey.steps,
            "instances": survey.instances,
            "solutions_with_thinking_removed": survey.thinking,
            "solutions_in_this_file": written.counts.get(f"{name} solutions", 0),
            "records_in_this_file": count,
        },
        records=count,
        reasons=dict(sorted(survey.reasons.items())),
        excluded=dict(sorted(survey.excluded.items())),
        headings=dict(survey.headings.most_common()),
    )
