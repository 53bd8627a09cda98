"""Held-out problems solved by the policy's own steps: `srl_eval`'s stepwise solver and graders.

A chain is a problem on its way to an answer: the expert's first steps, if any, then the model's own
until one holds a boxed answer.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompt_format import PromptFormat
from srl_eval.generate import Sampling, seed_for
from srl_eval.grading import Candidate, Gold, Grader, get_grader
from srl_eval.solvers import Answer, StepwiseSolver
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.right import Judged, right
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import PolicyRollout, all_ranks
from srl_reward import extract_boxed

DEFAULT_GRADER = "math"
"""Compares answers as expressions, as `srl-eval` does too where records name no grader."""
SPARE_STEPS = 2
"""Steps that a chain may take beyond the expert's number."""


@dataclass(frozen=True)
class Problem:
    """A held-out problem to be solved by the model's own steps."""

    id: str
    columns: dict[str, object]
    answer: str
    grader: Grader
    """What decides whether an answer is right."""


@dataclass(frozen=True)
class Chains:
    """How held-out problems are solved in steps."""

    prompts: PromptFormat
    sampling: Sampling
    """Of a step; its temperature is not used: chains are greedy."""
    max_prompt_length: int
    start: int = 1
    """The first step that the model writes; the expert's before it are given."""
    seed: int = 0

    def problems(self, prompts: Sequence[TrainingPrompt]) -> list[Problem]:
        """Problems among held-out instances whose answer their grader can compare with."""
        return [each for each in problems_of(prompts) if has_gold(each)]

    def solve(
        self, problems: Sequence[Problem], rollout: PolicyRollout, world: World
    ) -> list[float]:
        """1 for each problem whose chain of greedy steps ends in a right answer, else 0.

        A chain ends unsolved at an invalid step, at the cap on steps, and where its next prompt
        would be longer than prompts may be.
        """
        rows = [
            {**each.columns, "previous_steps": given_steps(each, self.start)} for each in problems
        ]
        greedy = replace(self.sampling, temperature=0.0, top_p=1.0)
        most = max(map(steps_allowed, rows), default=0)
        solver = StepwiseSolver(
            self.prompts,
            greedy,
            max_steps=most,
            max_tokens=most * greedy.max_new_tokens + 1,
            window=self.max_prompt_length + greedy.max_new_tokens,
            steps_allowed=steps_allowed,
        )
        seeds = [seed_for(self.seed, "eval", problem.id) for problem in problems]
        answers = solver.solve(all_ranks(rollout, world), rows, seeds)
        return world.from_main(graded(problems, answers) if world.is_main else [])


def graded(problems: Sequence[Problem], answers: Sequence[Answer]) -> list[float]:
    """1 for each answer that its problem's grader takes for right, else 0."""
    judged: list[Judged] = []
    for each, answer in zip(problems, answers, strict=True):
        gold = Gold(each.grader.gold(each.answer))
        candidate = Candidate(answer.answer_text, answer.finish_reason, gold)
        judged.append((each.grader, candidate))
    return right(judged)


def steps_allowed(columns: Mapping[str, object]) -> int:
    """Steps of the model's own: the expert's number and some, less those that are given."""
    count, given = columns["num_steps"], columns["previous_steps"]
    assert isinstance(count, int)
    assert isinstance(given, list)
    return count + SPARE_STEPS - len(given)


def has_gold(problem: Problem) -> bool:
    """Whether the expert's boxed answer is one that the grader can compare with."""
    try:
        problem.grader.gold(problem.answer)
    except ValueError:
        return False
    return True


def grader_of(prompt: TrainingPrompt) -> Grader:
    """The grader that an instance's `meta` names, else the default; DataError where it is none."""
    name = prompt.meta.get("grader") or DEFAULT_GRADER
    try:
        return get_grader(str(name))
    except ConfigError as error:
        raise DataError(f"record {prompt.id!r}: meta: {error}") from error


def given_steps(problem: Problem, chain_start: int) -> list[str]:
    """The expert's steps before step `chain_start`; all but the last where there are fewer."""
    steps = problem.columns.get("previous_steps")
    return [str(step) for step in steps][: chain_start - 1] if isinstance(steps, list) else []


def problems_of(prompts: Sequence[TrainingPrompt]) -> list[Problem]:
    """Problems whose last step, with its boxed answer, is among SRL instances; in their order."""
    problems: list[Problem] = []
    for prompt in prompts:
        columns = prompt.columns
        target, count = columns.get("target_step"), columns.get("num_steps")
        if not isinstance(target, str) or not isinstance(count, int):
            continue
        answer = extract_boxed(target)
        if columns.get("step_index") == count and answer is not None:
            problems.append(Problem(prompt.id, dict(columns), answer, grader_of(prompt)))
    return problems
