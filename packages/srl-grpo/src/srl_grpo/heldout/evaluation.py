"""Held-out evaluation while training: sampled and greedy steps, and chains of own steps.

Seeds depend on the prompt alone, so that evaluations of one run are paired. Left out: benchmarks
(`srl_eval`), which evaluate checkpoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from srl_eval.generate import Sampling, seed_for
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.chains import Chains
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import PolicyRollout, generate_round
from srl_grpo.rollout.groups import Scored
from srl_grpo.rollout.rewards import RewardError
from srl_grpo.rollout.scoring import Scorer

Values = dict[str, list[float]]
"""Per-item values of each metric; their means are what is reported."""


class HeldOut:
    """A held-out set and how to evaluate a policy on it; without `chains`, none is tried.

    With `right`, which tells a right completion, there is an accuracy besides.
    """

    def __init__(
        self,
        prompts: Sequence[TrainingPrompt],
        scorer: Scorer,
        sampling: Sampling,
        seed: int,
        world: World,
        chains: Chains | None = None,
        right: Callable[[Scored], bool] | None = None,
    ) -> None:
        self.prompts, self.chains = list(prompts), chains
        self.to_solve = chains.problems(prompts) if chains else []
        self._scorer, self._seed, self._world, self._right = scorer, seed, world, right
        self._sampling, self._greedy = sampling, replace(sampling, temperature=0.0, top_p=1.0)

    @property
    def instances(self) -> int:
        """Prompts that are evaluated."""
        return len(self.prompts)

    @property
    def problems(self) -> int:
        """Problems that are solved by the model's own steps."""
        return len(self.to_solve)

    def clusters(self, metric: str) -> list[str]:
        """The problem of each value of a metric: values of one problem are not independent."""
        if metric == "final_answer":
            return [problem_of_instance(problem.id) for problem in self.to_solve]
        return [problem_of(prompt) for prompt in self.prompts]

    def evaluate(self, rollout: PolicyRollout) -> Values:
        """Sampled and greedy values per instance, `final_answer` per problem. Collective.

        Names: `reward`, `exact`, `invalid` (sampled); `greedy_reward`, `greedy_exact`; with several
        rewards `reward/NAME` (sampled) of each that applies throughout; where it is told what is
        right, `accuracy` (greedy); and, where problems have boxed answers, `final_answer`.
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
        if self._right is not None:
            values["accuracy"] = [float(self._right(item)) for item in greedy]
        if self.chains and self.to_solve:
            values["final_answer"] = self.chains.solve(self.to_solve, rollout, self._world)
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


def means(values: Values) -> dict[str, float]:
    """The mean of each metric."""
    return {name: float(np.mean(items)) for name, items in values.items()}


def problem_of(prompt: TrainingPrompt) -> str:
    """The problem that a held-out record belongs to: a step's, or the record itself."""
    return problem_of_instance(prompt.id) if "step_index" in prompt.columns else prompt.id


def problem_of_instance(instance_id: str) -> str:
    """The problem of an instance: its id up to the step (`s1k-00002/3` gives `s1k-00002`)."""
    return instance_id.rpartition("/")[0] or instance_id
