"""Held-out evaluation while training: sampled and greedy steps, and chains of own steps.

Seeds depend on the prompt alone, so that evaluations of one run are paired. Left out: benchmarks
(`srl_eval`), which evaluate checkpoints.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from srl_eval.generate import Sampling, seed_for
from srl_eval.stats import pass_at_k, pass_levels
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.heldout.chains import Chains
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.engines import PolicyRollout, generate_round
from srl_grpo.rollout.groups import PARTS, TOTAL, Scored, mean, part_values
from srl_grpo.rollout.rewards import RewardError
from srl_grpo.rollout.scoring import Scorer

Values = dict[str, list[float]]
"""Per-item values of each metric; their means are what is reported."""


class HeldOut:
    """A held-out set and how to evaluate a policy on it; without `chains`, none is tried.

    With `right`, which tells a right completion, there is an accuracy besides. `samples`
    completions of each prompt are sampled.
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
        samples: int = 1,
    ) -> None:
        self.prompts, self.chains = list(prompts), chains
        self.to_solve = chains.problems(prompts) if chains else []
        self._scorer, self._seed, self._world, self._right = scorer, seed, world, right
        self._sampling = replace(sampling, record_kept=False)
        self._greedy = replace(sampling, temperature=0.0, top_p=1.0)
        self._samples = samples

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

        Names: `reward`, `exact`, `invalid` (sampled: the mean of a prompt's samples);
        `greedy_reward`, `greedy_exact`; `reward_answer`, `reward_format` (sampled) where the
        rewards tell; with several rewards `reward/NAME` (sampled) of each that applies throughout;
        with several samples `pass@k` of being exact; where it is told what is right, `accuracy`
        (greedy); and, where problems have boxed answers, `final_answer`.
        """
        sampled = self._score(rollout, self._sampling, self._samples)
        greedy = self._score(rollout, self._greedy, 1)
        values = self._sampled_values(sampled) | {
            "greedy_reward": [item.reward for item in greedy],
            "greedy_exact": [float(bool(item.exact)) for item in greedy],
        }
        if any(item.exact is None for item in sampled):  # no reward says
            values = {n: v for n, v in values.items() if n not in TOLD}
        elif self._samples > 1:
            values |= self._pass_at([bool(item.exact) for item in sampled])
        if self._right is not None:
            values["accuracy"] = [float(self._right(item)) for item in greedy]
        if self.chains and self.to_solve:
            values["final_answer"] = self.chains.solve(self.to_solve, rollout, self._world)
        return values

    def _sampled_values(self, sampled: Sequence[Scored]) -> Values:
        """What sampled completions say, as the means of their prompts."""
        parts = part_values(sampled)
        values: Values = {
            "reward": parts.pop(TOTAL),
            "exact": [float(bool(item.exact)) for item in sampled],
            "invalid": [float(item.reason is not None) for item in sampled],
            **{f"reward_{name}": found for name, found in parts.items()},
        }
        if len(sampled[0].rewards) > 1:
            values |= reward_values(sampled)
        return {name: self._of_prompts(found) for name, found in values.items()}

    def _of_prompts(self, values: Sequence[float]) -> list[float]:
        """The mean of each prompt's samples."""
        count = self._samples
        return [mean(values[start : start + count]) for start in range(0, len(values), count)]

    def _pass_at(self, right: Sequence[bool]) -> Values:
        """`pass@k` of each prompt, unbiased, for k = 1, 2, 4, … and the number of samples."""
        count = self._samples
        numbers = [sum(right[start : start + count]) for start in range(0, len(right), count)]
        return {
            f"pass@{k}": [pass_at_k(number, count, k) for number in numbers]
            for k in pass_levels(count)
        }

    def _score(self, rollout: PolicyRollout, sampling: Sampling, count: int) -> list[Scored]:
        """`count` completions of each prompt, prompt by prompt."""
        prompts = self.prompts
        if not prompts:
            return []
        seeds = [
            sample_seed(self._seed, prompt.id, sample)
            for prompt in prompts
            for sample in range(count)
        ]
        completions = generate_round(rollout, prompts, count, sampling, seeds, self._world)
        try:
            rows = [prompt for prompt in prompts for _ in range(count)]
            return self._scorer(rows, completions)
        except RewardError as error:
            error.held_out = True
            raise


def sample_seed(base: int, prompt: str, sample: int) -> int:
    """The seed of a prompt's sample; that of the first is the same however many there are."""
    return seed_for(base, "eval", prompt, *([sample] if sample else []))


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


TOLD = ("exact", "invalid", "greedy_exact")
"""Metrics that there are only where some reward says what is right."""


def val_rewards(found: dict[str, float]) -> dict[str, float]:
    """Held-out means as `val_reward_total`, `val_reward_answer` and `val_reward_format`."""
    names = {TOTAL: "reward", **{part: f"reward_{part}" for part in PARTS}}
    return {f"val_reward_{part}": found[name] for part, name in names.items() if name in found}


def means(values: Values) -> dict[str, float]:
    """The mean of each metric."""
    return {name: float(np.mean(items)) for name, items in values.items()}


def problem_of(prompt: TrainingPrompt) -> str:
    """The problem that a held-out record belongs to: a step's, or the record itself."""
    return problem_of_instance(prompt.id) if "step_index" in prompt.columns else prompt.id


def problem_of_instance(instance_id: str) -> str:
    """The problem of an instance: its id up to the step (`s1k-00002/3` gives `s1k-00002`)."""
    return instance_id.rpartition("/")[0] or instance_id
