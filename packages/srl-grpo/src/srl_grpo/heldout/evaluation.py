"""Held-out evaluation while training: sampled and greedy steps, and chains of own steps.

Seeds depend on the prompt alone, so that evaluations of one run are paired. Left out: benchmarks
(`srl_eval`), which evaluate checkpoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from srl_eval.generate import Sampling, seed_for
from srl_eval.grading import Candidate, Gold, Grader, Verdict, get_grader, judge
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import PolicyRollout, generate_round
from srl_grpo.rollout.groups import Scored
from srl_grpo.rollout.rewards import RewardError
from srl_grpo.rollout.scoring import Scorer
from srl_reward import ParsedOutput, extract_boxed, parse_step_output

DEFAULT_GRADER = "math"
"""Compares answers as expressions, as `srl-eval` does where records name no grader."""

MakePrompt = Callable[[str, dict[str, object]], TrainingPrompt]
"""Renders the next prompt of a chain from an id and columns."""

Values = dict[str, list[float]]
"""Per-item values of each metric; their means are what is reported."""


@dataclass(frozen=True)
class Problem:
    """A held-out problem to be solved by the model's own steps."""

    id: str
    columns: dict[str, object]
    answer: str
    max_steps: int


@dataclass
class Chain:
    """A problem on its way to an answer: the expert's first steps, if any, then the model's own."""

    problem: Problem
    steps: list[str] = field(default_factory=list)
    running: bool = True
    answered: bool = False
    """Whether the last step holds a boxed answer of the model's own."""

    def take(self, step: str | None) -> None:
        """Add a step, None for an invalid one; ends the chain at an answer or at the cap."""
        if step is None:
            self.running = False
            return
        self.steps.append(step)
        self.answered = extract_boxed(step) is not None
        self.running = not self.answered and len(self.steps) < self.problem.max_steps


class HeldOut:
    """A held-out set and how to evaluate a policy on it.

    Without `make_prompt`, where no prompt shows the steps so far, no problem is solved in steps.
    """

    def __init__(
        self,
        prompts: Sequence[TrainingPrompt],
        scorer: Scorer,
        make_prompt: MakePrompt | None,
        sampling: Sampling,
        max_prompt_length: int,
        seed: int,
        world: World,
        chain_start: int = 1,
        grader: str = DEFAULT_GRADER,
    ) -> None:
        self._grader = get_grader(grader)
        self.prompts = list(prompts)
        found = problems_of(prompts) if make_prompt else []
        self.problems = [each for each in found if has_gold(self._grader, each)]
        self._scorer, self._make_prompt = scorer, make_prompt
        self._sampling, self._greedy = sampling, replace(sampling, temperature=0.0, top_p=1.0)
        self._max_prompt_length, self._seed, self._world = max_prompt_length, seed, world
        self._chain_start = chain_start

    def evaluate(self, rollout: PolicyRollout) -> Values:
        """Sampled and greedy values per instance, `final_answer` per problem. Collective.

        Names: `reward`, `exact`, `invalid` (sampled); `greedy_reward`, `greedy_exact`; with several
        rewards `reward/NAME` (sampled) of each that applies throughout; and, where problems have
        boxed answers, `final_answer`.
        """
        sampled = self._score(rollout, self.prompts, self._sampling)
        greedy = self._score(rollout, self.prompts, self._greedy)
        values: Values = {
            "reward": [item.reward for item in sampled],
            "exact": [float(bool(item.exact)) for item in sampled],
            "invalid": [float(item.reason is not None) for item in sampled],
            "greedy_reward": [item.reward for item in greedy],
            "greedy_exact": [float(bool(item.exact)) for item in greedy],
        }
        if any(item.exact is None for item in sampled):  # no reward says
            values = {name: values[name] for name in ("reward", "greedy_reward")}
        if len(sampled[0].rewards) > 1:
            values |= reward_values(sampled)
        if self.problems:
            values["final_answer"] = self._solve(rollout)
        return values

    def _score(
        self, rollout: PolicyRollout, prompts: Sequence[TrainingPrompt], sampling: Sampling
    ) -> list[Scored]:
        if not prompts:
            return []
        seeds = [seed_for(self._seed, "eval", prompt.id) for prompt in prompts]
        completions = generate_round(rollout, prompts, 1, sampling, seeds, self._world)
        try:
            return self._scorer(prompts, completions)
        except RewardError as error:
            error.held_out = True
            raise

    def _solve(self, rollout: PolicyRollout) -> list[float]:
        """Whether each problem's chain of greedy steps ends in an answer that is graded right.

        A chain ends unsolved at an invalid step, at the cap on steps, and where its next prompt
        would be longer than prompts may be.
        """
        chains = [Chain(each, given_steps(each, self._chain_start)) for each in self.problems]
        while running := [chain for chain in chains if chain.running]:
            asked = [(chain, self._next_prompt(chain)) for chain in running]
            fitting = [pair for pair in asked if len(pair[1].ids) <= self._max_prompt_length]
            for chain, prompt in asked:
                chain.running = len(prompt.ids) <= self._max_prompt_length
            outputs = self._score(rollout, [prompt for _, prompt in fitting], self._greedy)
            for (chain, prompt), output in zip(fitting, outputs, strict=True):
                chain.take(step_of(output, prompt.think_prefilled))
        return self._world.from_main(self._graded(chains) if self._world.is_main else [])

    def _graded(self, chains: Sequence[Chain]) -> list[float]:
        """1 for each chain whose answer the grader takes for right, else 0."""
        answered = [chain for chain in chains if chain.answered]
        found = iter(
            judge(
                self._grader,
                [
                    Candidate(
                        chain.steps[-1], "stop", Gold(self._grader.gold(chain.problem.answer))
                    )
                    for chain in answered
                ],
            )
        )
        return [
            float(chain.answered and next(found).verdict is Verdict.CORRECT) for chain in chains
        ]

    def _next_prompt(self, chain: "Chain") -> TrainingPrompt:
        columns = {
            **chain.problem.columns,
            "previous_steps": chain.steps,
            "step_index": len(chain.steps) + 1,
            "title": None,
        }
        assert self._make_prompt is not None
        return self._make_prompt(chain.problem.id, columns)


def reward_values(sampled: Sequence[Scored]) -> Values:
    """`reward/NAME` of each reward that applies to every completion."""
    rows = {
        f"reward/{name}": [item.rewards[name] for item in sampled] for name in sampled[0].rewards
    }
    return {
        name: [value for value in values if value is not None]
        for name, values in rows.items()
        if None not in values
    }


def has_gold(grader: Grader, problem: Problem) -> bool:
    """Whether the expert's boxed answer is one that the grader can compare with."""
    try:
        grader.gold(problem.answer)
    except ValueError:
        return False
    return True


def given_steps(problem: Problem, chain_start: int) -> list[str]:
    """The expert's steps before step `chain_start`; all but the last where there are fewer."""
    steps = problem.columns.get("previous_steps")
    return [str(step) for step in steps][: chain_start - 1] if isinstance(steps, list) else []


def step_of(output: Scored, think_prefilled: bool) -> str | None:
    """The step an output wrote, or None where it is invalid."""
    cut = output.completion.finish_reason == "length"
    parsed = parse_step_output(output.text, think_prefilled=think_prefilled, truncated=cut)
    return parsed.action if isinstance(parsed, ParsedOutput) else None


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
            problems.append(Problem(prompt.id, dict(columns), answer, count + 2))
    return problems


def means(values: Values) -> dict[str, float]:
    """The mean of each metric."""
    return {name: float(np.mean(items)) for name, items in values.items()}


def paired_interval(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
) -> tuple[float, float]:
    """95 % interval of the mean difference `after - before`, by bootstrap over clusters.

    Items of one cluster (steps of one problem) are drawn together, since they are not independent.
    """
    _, index_N = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(index_N.max()) + 1
    difference_N = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    sums_C = np.bincount(index_N, weights=difference_N, minlength=count)
    sizes_C = np.bincount(index_N, minlength=count)
    draws_RC = np.random.default_rng(seed).integers(count, size=(resamples, count))
    means_R = sums_C[draws_RC].sum(axis=1) / sizes_C[draws_RC].sum(axis=1)
    low, high = np.quantile(means_R, [0.025, 0.975])
    return float(low), float(high)


def problem_of(prompt: TrainingPrompt) -> str:
    """The problem that a held-out record belongs to: a step's, or the record itself."""
    return problem_of_instance(prompt.id) if "step_index" in prompt.columns else prompt.id


def problem_of_instance(instance_id: str) -> str:
    """The problem of an instance: its id up to the step (`s1k-00002/3` gives `s1k-00002`)."""
    return instance_id.rpartition("/")[0] or instance_id
