"""`srl-data build s1k`: expert solutions to SRL instances, a part of the questions held out.

Two passes over the source, neither holding it in memory: the first finds out which solutions
conform and why others do not, the second writes. Held out are whole questions, those whose hash
with the seed is smallest, so that a question's place does not depend on the rows around it.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Field

from srl_data.command.config import Section
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.instances import Targets
from srl_data.manifest import Manifest, beside, write_manifest
from srl_data.records import OnError, SftPair, SrlInstance, write_records
from srl_data.solutions import (
    Candidate,
    ExpertSolution,
    Fields,
    Refusal,
    Steps,
    candidates,
    read_solution,
)
from srl_data.sources import RowSource
from srl_data.splits import open_source
from srl_reward.steps import Preamble

COMMAND = "srl-data build s1k"
GRADES = {"deepseek_attempt": "deepseek_grade", "gemini_attempt": "gemini_grade"}
"""The column that grades each graded solution of s1K-1.1."""


class BuildConfig(Section):
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


@dataclass
class Survey:
    """What the first pass found."""

    rows: int = 0
    solutions: dict[int, str] = field(default_factory=dict)
    """Row to hash rank of its question, for the solutions that give instances."""
    steps: int = 0
    instances: int = 0
    excluded: dict[str, list[str]] = field(default_factory=dict)
    """Ids of excluded solutions and instances by reason."""
    bad_instances: set[str] = field(default_factory=set)
    thinking: int = 0
    """Conforming solutions from which thinking was taken out."""
    headings: Counter[str] = field(default_factory=Counter)
    """How excluded solutions spell their steps."""

    def exclude(self, reason: str, name: str) -> None:
        """Note an exclusion."""
        self.excluded.setdefault(reason, []).append(name)

    def refuse(self, refusal: Refusal, name: str) -> None:
        """Note a refused solution."""
        self.exclude(refusal.reason, name)
        if refusal.heading:
            self.headings[refusal.heading] += 1

    def take(self, index: int, solution: ExpertSolution, rank: str, instances: int) -> None:
        """Note a solution that gives so many instances."""
        self.solutions[index] = rank
        self.steps += len(solution.steps)
        self.instances += instances
        self.thinking += solution.thinking_blocks > 0


def solution_name(row: int, steps: Steps = "numbered") -> str:
    """The id of a row's solution, e.g. `s1k-00002`, `gsm8k-00002`."""
    return f"{'s1k' if steps == 'numbered' else steps}-{row:05d}"


def question_rank(problem: str, seed: int) -> str:
    """A question's place in the order in which questions are held out."""
    text = " ".join(problem.split())
    return hashlib.sha256(f"{seed}\n{text}".encode("utf-8", "surrogatepass")).hexdigest()


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


@dataclass(frozen=True)
class Builder:
    """A config with its opened source."""

    config: BuildConfig
    source: RowSource
    fields: Fields

    def solutions(
        self, label: str, survey: Survey | None = None
    ) -> Iterator[tuple[int, ExpertSolution]]:
        """Conforming solutions by row, with a bar over the rows; others are noted in `survey`."""

        def skipped(reason: str) -> None:
            if survey:
                survey.exclude("malformed_row", reason)

        rows = self.source.read(self.config.on_error, skipped)
        for index, row in track(rows, label, self.source.count(), unit="rows"):
            solution = read_solution(row, self.fields, self.config.preamble)
            if survey:
                survey.rows += 1
            if isinstance(solution, ExpertSolution):
                yield index, solution
            elif survey:
                survey.refuse(solution, self.name(index))

    def candidates(self, index: int, solution: ExpertSolution) -> list[Candidate]:
        """The steps of one solution that may become targets, unchecked."""
        return candidates(self.name(index), solution, self.config.targets)

    def name(self, index: int) -> str:
        """The id of a row's solution."""
        return solution_name(index, self.config.steps)

    def survey(self) -> Survey:
        """The first pass: what conforms, what does not, and why."""
        survey = Survey()
        for index, solution in self.solutions("reading", survey):
            good = 0
            for candidate in self.candidates(index, solution):
                fault = candidate.fault
                if fault:
                    survey.exclude(fault, candidate.id)
                    survey.bad_instances.add(candidate.id)
                good += fault is None
            if good:
                survey.take(
                    index, solution, question_rank(solution.problem, self.config.seed), good
                )
        return survey

    def chosen(self, survey: Survey, rows: set[int]) -> Iterator[SrlInstance]:
        """The second pass: the good instances of the chosen rows."""
        for index, solution in self.solutions("writing"):
            if index in rows:
                for candidate in self.candidates(index, solution):
                    if candidate.id not in survey.bad_instances:
                        yield candidate.instance(index, title_hint=self.config.title_hint)

    def pairs(self, rows: set[int]) -> Iterator[SftPair]:
        """Problems of the chosen rows with their whole solutions."""
        for index, solution in self.solutions("writing pairs"):
            if index in rows:
                text = solution.text[solution.steps[0].start :].strip()
                yield SftPair(
                    id=self.name(index),
                    prompt=solution.problem,
                    response=text,
                    meta=solution.meta(index),
                )


def open_builder(config: BuildConfig) -> Builder:
    """Open the source and find its columns; DataError where it is empty."""
    if config.output.resolve() == Path(config.source).resolve():
        raise ConfigError(f"--output {config.output} is the source itself; name another file")
    source = open_source(config.source, config.revision)
    return Builder(config, source, find_fields(config, source))


def hold_out(survey: Survey, size: int) -> set[int]:
    """Rows of the `size` questions with the smallest rank; ConfigError if none is left to train."""
    ranks = sorted(set(survey.solutions.values()))
    if ranks and size >= len(ranks):
        msg = f"--val-size {size} leaves nothing to train on: {len(ranks)} questions conform"
        raise ConfigError(f"{msg}; hold out fewer")
    held_out = set(ranks[:size])
    return {row for row, rank in survey.solutions.items() if rank in held_out}


@dataclass(frozen=True)
class Report:
    """What a build did, for the command to show."""

    survey: Survey
    fields: Fields
    written: dict[Path, Manifest]


def nothing_left(survey: Survey, builder: Builder) -> str:
    """Why no solution conforms, and what to do about the commonest reason."""
    counts = {reason: len(ids) for reason, ids in survey.excluded.items()}
    reasons = ", ".join(f"{name}: {count}" for name, count in counts.items())
    common = max(counts, key=lambda reason: counts[reason], default="")
    fields = builder.fields
    advice = {
        "malformed_row": "mend the rows, or name another --source",
        "missing_answer": f"choose another --answer-field than {fields.answer!r}",
        "no_final_line": "leave --steps gsm8k out, or choose another --field",
        "missing_problem": f"choose another --problem-field than {fields.problem!r}",
        "graded_wrong": "leave --only-correct out",
        "other_headings": "number the steps 1., 2., …; theirs begin with "
        + ", ".join(repr(heading) for heading, _ in survey.headings.most_common(3)),
    }.get(common, "choose another --field")
    return (
        f"none of the {survey.rows} solutions in column {fields.solution!r} conforms ({reasons}); "
        f"{advice}"
    )


def build(config: BuildConfig) -> Report:
    """Write the instance files with their manifests."""
    builder = open_builder(config)
    survey = builder.survey()
    if not survey.solutions:
        raise DataError(nothing_left(survey, builder))
    val = hold_out(survey, config.val_size)
    train = set(survey.solutions) - val
    files: dict[Path, Iterator[BaseModel]] = {config.output: builder.chosen(survey, train)}
    rows = {config.output: train}
    if config.val_size:
        files[beside(config.output, "val")] = builder.chosen(survey, val)
        rows[beside(config.output, "val")] = val
    if config.sft:
        files[beside(config.output, "sft")] = builder.pairs(train)
        rows[beside(config.output, "sft")] = train
    written = {
        path: write_file(builder, survey, path, records, len(rows[path]))
        for path, records in files.items()
    }
    return Report(survey, builder.fields, written)


def write_file(
    builder: Builder, survey: Survey, path: Path, records: Iterator[BaseModel], solutions: int
) -> Manifest:
    """One data file and its manifest."""
    count = write_records(path, records)
    counts = Counter(
        rows_read=survey.rows,
        solutions_conforming=len(survey.solutions),
        steps=survey.steps,
        instances=survey.instances,
        solutions_with_thinking_removed=survey.thinking,
        solutions_in_this_file=solutions,
        records_in_this_file=count,
    )
    options = builder.config.model_dump(mode="json", exclude={"output", "source"})
    columns = {"problem_field": builder.fields.problem, "field": builder.fields.solution}
    return write_manifest(
        path,
        command=COMMAND,
        source=builder.source.origin,
        options={**options, **columns},
        counts=counts,
        records=count,
        excluded=dict(sorted(survey.excluded.items())),
        headings=dict(survey.headings.most_common()),
    )
