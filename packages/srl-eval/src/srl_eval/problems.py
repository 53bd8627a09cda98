r"""Benchmark files of several makers, read into one form, and refused where an answer is none.

The text is found by `srl_data.problem_text`, `answer` is the gold, `id` the name, else the place in
the file. Local data are what `srl_data.splits` opens.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from srl_data.command.errors import DataError
from srl_data.file_formats import split_name
from srl_data.problem_text import last_box, problem_text
from srl_data.records import PromptAnswer, short_reason
from srl_data.solutions import ExpertSolution, read_steps
from srl_eval.grading import get_grader
from srl_eval.rows import Row, hub_rows, open_rows, read_rows
from srl_eval.tasks import TaskSpec
from srl_reward.numbers import parse_number

_ID_FIELDS = ("id", "unique_id", "idx")


@dataclass(frozen=True)
class ProblemSet:
    """The problems of one run: where they came from, what they are, how many there would be.

    `fingerprints` are of all problems of the data, also of those that a limit leaves out. `steps`
    are the expert's, by the problem's id, of those problems whose data have them. `unreadable`
    names the golds that the task's grader cannot read, each with its line.
    """

    problems: list[PromptAnswer]
    source: str
    sha256: str
    total: int
    fingerprints: frozenset[str]
    steps: Mapping[str, Sequence[str]] = field(default_factory=dict)
    unreadable: Sequence[str] = ()

    @property
    def partial(self) -> bool:
        """Whether a limit left problems out."""
        return len(self.problems) < self.total


def load_problems(
    task: TaskSpec, path: Path | None, revision: str | None = None, limit: int | None = None
) -> ProblemSet:
    """The problems of a task from a local file, or from the hub where `path` is None.

    Raises DataError (exit code 3) for data that is missing, malformed or empty.
    """
    if path is not None:
        rows, source = list(read_rows(path)), str(path)
        problems = to_problems(task, rows)
        sha256 = open_rows(path).origin.sha256 or content_digest(problems)
    elif task.hub is None:
        raise DataError(f"task {task.name} is on no hub; name its file with --data-path")
    else:
        read, source = hub_rows(task.hub, revision, "--data-path")
        rows = list(read)
        problems = to_problems(task, rows)
        sha256 = content_digest(problems)
    if not problems:
        raise DataError(f"{source}: no problems in it, expected one JSON object per line")
    refuse_twins(problems, source)
    fingerprints = frozenset(fingerprint(problem.problem) for problem in problems)
    steps = {
        problem.id: found
        for problem, (_, row) in zip(problems, rows, strict=True)
        if (found := expert_steps(row))
    }
    asked = problems[:limit]
    unreadable = unreadable_golds(task, asked, rows)
    return ProblemSet(asked, source, sha256, len(problems), fingerprints, steps, unreadable)


def unreadable_golds(
    task: TaskSpec, problems: Sequence[PromptAnswer], rows: Sequence[tuple[str, Row]]
) -> list[str]:
    """The golds that the task's grader cannot read, with their lines and why."""
    grader = get_grader(task.grader)
    found = [
        (where, problem.answer, grader.unreadable(problem.answer))
        for problem, (where, _) in zip(problems, rows, strict=False)
    ]
    return [
        f"{where}: gold answer {answer!r} cannot be read: {reason}; only the same text is right"
        for where, answer, reason in found
        if reason is not None
    ]


def expert_steps(row: Row) -> list[str]:
    """The expert's steps that a row brings: its field `steps`, else its solution's; none at all."""
    steps = row.get("steps")
    if isinstance(steps, list) and all(isinstance(step, str) and step.strip() for step in steps):
        return list(steps)
    solution = row.get("solution")
    found = read_steps("", solution, "keep") if isinstance(solution, str) else None
    return [step.text for step in found.steps] if isinstance(found, ExpertSolution) else []


def file_task(path: Path, grader: str | None) -> TaskSpec:
    """The task that a file of problems is; ConfigError for an unknown grader.

    Without `grader` it is the one that the records name, else math; DataError where they name
    several.
    """
    if grader is None:
        names = sorted({str(row["grader"]) for _, row in read_rows(path) if row.get("grader")})
        if len(names) > 1:
            raise DataError(
                f"{path} names several graders ({', '.join(names)}); choose by --grader"
            )
        grader = names[0] if names else "math"
    name = re.sub(r"[^\w.-]+", "_", split_name(path)[0]).strip("_") or "problems"
    return TaskSpec(name, f"problems of {path.name}", get_grader(grader).name)


def fingerprint(text: str) -> str:
    """SHA-256 of a problem's text, the same whatever its case and its white space."""
    return hashlib.sha256(" ".join(text.split()).casefold().encode(errors="replace")).hexdigest()


def refuse_twins(problems: Sequence[PromptAnswer], source: str) -> None:
    """DataError where two problems have one id."""
    seen: dict[str, int] = {}
    for number, problem in enumerate(problems, 1):
        first = seen.setdefault(problem.id, number)
        if first != number:
            raise DataError(f"{source}: problems {first} and {number} have one id, {problem.id!r}")


def to_problems(task: TaskSpec, rows: Iterable[tuple[str, Row]]) -> list[PromptAnswer]:
    """Rows in the one form, gold answers as the grader compares them."""
    problems = []
    for place, (where, row) in enumerate(rows):
        try:
            problems.append(to_problem(task, row, place))
        except ValidationError as error:
            raise DataError(f"{where}: {short_reason(error)}") from error
        except ValueError as error:
            raise DataError(f"{where}: {error}") from error
    return problems


def to_problem(task: TaskSpec, row: Row, place: int) -> PromptAnswer:
    """One row; ValueError with the reason where it is not a problem with an answer."""
    text = problem_text(row)
    ids = (row[name] for name in _ID_FIELDS if row.get(name) is not None)
    grader = get_grader(task.grader)
    return PromptAnswer(
        id=str(next(ids, place)),
        problem=text,
        answer=grader.gold(gold_text(task, row)),
        grader=grader.name,
        meta=grading_notes(row),
    )


def gold_text(task: TaskSpec, row: Row) -> str:
    """The answer as the benchmark writes it: a field, a list of one, or the solution's last box."""
    if row.get("answer") is not None:
        return str(row["answer"])
    final = row.get("final_answer")
    if isinstance(final, list) and final:
        return ",".join(str(part) for part in final)
    boxed = last_box(str(row.get("solution"))) if task.gold_from_solution else None
    if boxed is None:
        raise ValueError("expected the field answer")
    return boxed


def grading_notes(row: Row) -> dict[str, object]:
    """What OlympiadBench says about comparing an answer."""
    notes: dict[str, object] = {}
    if row.get("unit"):
        notes["unit"] = str(row["unit"])
    if row.get("error"):
        tolerance = parse_number(str(row["error"]))
        if tolerance is None:
            raise ValueError(f"error {row['error']!r} is not a number")
        notes["tolerance"] = float(tolerance)
    return notes


def content_digest(problems: Iterable[PromptAnswer]) -> str:
    """SHA-256 over texts and answers, for data that is not a local file."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.problem, problem.answer]).encode() + b"\n")
    return digest.hexdigest()
