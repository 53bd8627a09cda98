"""From one row to a solution's steps, or the typed reason why it gives none.

A solution is kept whole or refused whole, with one exception: a target step that the reward could
not score as exactly right is left out as an instance, while the steps around it stay.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from srl_data.instances import Targets, step_instance, target_indices
from srl_data.records import SrlInstance
from srl_data.sources import Row
from srl_reward import (
    InvalidOutput,
    NonConforming,
    Step,
    StepReward,
    parse_solution,
    parse_step_output,
    render_step_output,
)
from srl_reward.steps import Preamble

REASONS = {
    "malformed_row": "not a JSON object (skipped by --on-error skip)",
    "missing_problem": "the problem is absent or empty",
    "missing_solution": "the solution is absent or empty",
    "not_unicode": "a half of a surrogate pair, which no UTF-8 file can hold",
    "graded_wrong": "not graded correct (--only-correct)",
    "no_headings": "no numbered step: a bare answer or plain prose",
    "does_not_start_at_one": "the first step is not number 1",
    "restarted": "the numbering starts again at 1",
    "not_consecutive": "a step number is left out or comes twice",
    "rival_numbering": "a plainer list comes before the steps",
    "single_step": "only one step",
    "empty_step": "a step without text",
    "target_invalid": "the step could not be a valid answer of a model",
    "target_not_exact": "the step does not score 1 against itself",
}
"""Every reason for an exclusion, in words."""

CORRECT = frozenset({"yes", "true", "correct", "1", "1.0"})
"""Grades that mean a correct solution, in lower case."""


@dataclass(frozen=True)
class Fields:
    """Which columns hold what; `grade` is None where grades do not matter."""

    problem: str
    solution: str
    grade: str | None = None


@dataclass(frozen=True)
class ExpertSolution:
    """A problem and the steps of its solution."""

    problem: str
    text: str
    steps: tuple[Step, ...]


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text; JSON's escapes can spell what it cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def read_solution(row: Row, fields: Fields, preamble: Preamble) -> ExpertSolution | str:
    """The row's solution in steps, or the reason why there is none, a key of `REASONS`."""
    problem, text = row.get(fields.problem), row.get(fields.solution)
    if not isinstance(problem, str) or not problem.strip():
        return "missing_problem"
    if not isinstance(text, str) or not text.strip():
        return "missing_solution"
    if not is_unicode(problem + text):
        return "not_unicode"
    if fields.grade and str(row.get(fields.grade)).strip().lower() not in CORRECT:
        return "graded_wrong"
    parsed = parse_solution(text, preamble=preamble)
    if isinstance(parsed, NonConforming):
        return str(parsed.reason)
    return ExpertSolution(problem, text, parsed.steps)


def target_fault(step: str, reward: StepReward) -> str | None:
    """Why a step cannot be a target: `<think>x</think>` and the step itself must score 1."""
    output = render_step_output("x", step)
    if isinstance(parse_step_output(output), InvalidOutput):
        return "target_invalid"
    return None if reward([output], target_step=[step]) == [1.0] else "target_not_exact"


def solution_instances(
    name: str, solution: ExpertSolution, targets: Targets, title_hint: bool, row: int
) -> Sequence[SrlInstance]:
    """All instances of a solution, unchecked."""
    texts = [step.text for step in solution.steps]
    return [
        step_instance(
            name,
            solution.problem,
            texts,
            index,
            title=solution.steps[index - 1].title if title_hint else None,
            meta={"row": row},
        )
        for index in target_indices(targets, len(texts))
    ]
