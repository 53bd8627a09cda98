"""From one row to a solution's steps, or the typed reason why it gives none.

A solution is kept whole or refused whole, with two exceptions: thinking between its marks is taken
out first, and a target step that the reward could not score as exactly right is left out as an
instance, while the steps around it stay.
"""

from dataclasses import dataclass, replace
from typing import Literal

from srl_data.columns import answer_in
from srl_data.gsm8k import numbered_steps
from srl_data.instances import Targets, step_instance, target_indices
from srl_data.other_headings import other_heading, second_heading
from srl_data.records import Row, SrlInstance, is_unicode
from srl_data.thinking_blocks import without_thinking
from srl_reward import (
    NonConforming,
    NonConformingReason,
    Step,
    extract_boxed,
    parse_solution,
    target_fault,
)
from srl_reward.steps import Preamble

REASONS = {
    "malformed_row": "not a JSON object (skipped by --on-error skip)",
    "missing_problem": "the problem is absent or empty",
    "missing_solution": "the solution is absent or empty",
    "missing_answer": "the answer's column is absent or empty",
    "no_final_line": "no line `#### NUMBER` that ends the solution (--steps gsm8k)",
    "not_unicode": "a half of a surrogate pair, which no UTF-8 file can hold",
    "graded_wrong": "not graded correct (--only-correct)",
    "unclosed_thinking": "the solution opens its thinking and never closes it",
    "only_thinking": "the solution is thinking and nothing else",
    "no_headings": "no numbered step: a bare answer or plain prose",
    "other_headings": "steps spelt otherwise than `1.`, `Step 1:` and their like",
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


Steps = Literal["numbered", "gsm8k"]
"""How a solution tells its steps: by its author's numbers, or as GSM8K's lines."""


@dataclass(frozen=True)
class Fields:
    """Which columns hold what; `grade` is None where grades do not matter.

    `answer` None takes a solution's last box for its answer, where it has one.
    """

    problem: str
    solution: str
    grade: str | None = None
    answer: str | None = None
    steps: Steps = "numbered"


@dataclass(frozen=True)
class ExpertSolution:
    """A problem and the steps of its solution."""

    problem: str
    text: str
    """The solution without its thinking."""
    steps: tuple[Step, ...]
    thinking_blocks: int = 0
    """Blocks of thinking that were taken out."""
    answer: str | None = None
    """The final answer: of its column, else what the last box holds."""

    def meta(self, row: int) -> dict[str, object]:
        """What a record says about its origin, with the answer where it is known."""
        return {"row": row} if self.answer is None else {"row": row, "answer": self.answer}


@dataclass(frozen=True)
class Refusal:
    """A row without a solution in steps: why, a key of `REASONS`, and a heading it has instead."""

    reason: str
    heading: str | None = None


def read_solution(row: Row, fields: Fields, preamble: Preamble) -> ExpertSolution | Refusal:
    """The row's solution in steps, or the reason why there is none."""
    problem, text = row.get(fields.problem), row.get(fields.solution)
    if not isinstance(problem, str) or not problem.strip():
        return Refusal("missing_problem")
    if not isinstance(text, str) or not text.strip():
        return Refusal("missing_solution")
    if not is_unicode(problem + text):
        return Refusal("not_unicode")
    if fields.grade and str(row.get(fields.grade)).strip().lower() not in CORRECT:
        return Refusal("graded_wrong")
    if fields.steps == "gsm8k":
        lines = numbered_steps(text)
        if lines is None:
            return Refusal("no_final_line")
        text = "\n".join(lines)
    return with_answer(row, fields.answer, read_steps(problem, text, preamble))


def with_answer(
    row: Row, name: str | None, solution: ExpertSolution | Refusal
) -> ExpertSolution | Refusal:
    """A solution with the answer in the named column, else with what its last box holds."""
    if isinstance(solution, Refusal):
        return solution
    if name is None:
        boxed = (extract_boxed(solution.text) or "").strip()
        return replace(solution, answer=boxed or None)
    try:
        return replace(solution, answer=answer_in(row, name, "--answer-field"))
    except ValueError:
        return Refusal("missing_answer")


def read_steps(problem: str, text: str, preamble: Preamble) -> ExpertSolution | Refusal:
    """A solution's steps, its thinking taken out, or the reason why it has none."""
    answered = without_thinking(text)
    if answered is None:
        return Refusal("unclosed_thinking")
    solution, blocks = answered
    if not solution.strip():
        return Refusal("only_thinking")
    parsed = parse_solution(solution, preamble=preamble)
    if isinstance(parsed, NonConforming):
        heading = heading_instead(parsed.reason, solution)
        return Refusal("other_headings" if heading else str(parsed.reason), heading)
    return ExpertSolution(problem, solution, parsed.steps, blocks)


def heading_instead(reason: NonConformingReason, text: str) -> str | None:
    """How the steps are spelt of a text in which none, or no second one, was found."""
    if reason is NonConformingReason.NO_HEADINGS:
        return other_heading(text)
    return second_heading(text) if reason is NonConformingReason.SINGLE_STEP else None


@dataclass(frozen=True)
class Candidate:
    """A step of a solution that may become a target; `fault` is why not, a key of `REASONS`."""

    solution: ExpertSolution
    name: str
    index: int
    """1-based."""

    @property
    def id(self) -> str:
        """The id of its instance."""
        return f"{self.name}/{self.index}"

    @property
    def fault(self) -> str | None:
        """Why the step cannot be a target."""
        fault = target_fault(self.solution.steps[self.index - 1].text)
        if fault is None:
            return None
        return "target_not_exact" if fault == "not_exact" else "target_invalid"

    def instance(self, row: int, *, title_hint: bool) -> SrlInstance:
        """The instance, which validates itself: only where there is no fault."""
        steps = self.solution.steps
        return step_instance(
            self.name,
            self.solution.problem,
            [step.text for step in steps],
            self.index,
            title=steps[self.index - 1].title if title_hint else None,
            meta=self.solution.meta(row),
        )


def candidates(name: str, solution: ExpertSolution, targets: Targets) -> list[Candidate]:
    """The steps of a solution that may become targets."""
    indices = target_indices(targets, len(solution.steps))
    return [Candidate(solution, name, index) for index in indices]
