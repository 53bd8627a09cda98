"""Where an RL stage's batches come from: prompts drawn, completed, scored and filtered.

A source gives `next_batch(step)`; what it must remember between steps, and across a resume, is its
state. Left out: the update.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from srl_eval.generate import Sampling
from srl_grpo.config.train import RolloutSection
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.algorithm import Algorithm
from srl_grpo.rollout.engines import PolicyRollout, Score, generate_round, regroup, round_seeds
from srl_grpo.rollout.groups import Group, Selection
from srl_grpo.rollout.refill import KeepRate, round_size
from srl_grpo.run.clock import Stopwatch


class SourceState(BaseModel):
    """What continues a source."""

    model_config = ConfigDict(extra="forbid")
    position: int = Field(default=0, ge=0)
    """Prompts drawn."""
    keep_rate: KeepRate = KeepRate()
    """What decides how many prompts a round draws."""


@dataclass
class RolloutSource:
    """Batches of groups of the policy's own completions."""

    prompts: Sequence[TrainingPrompt]
    rollout: PolicyRollout
    sampling: Sampling
    scorer: Score
    algorithm: Algorithm
    options: RolloutSection
    seed: int
    world: World
    state: SourceState

    def __post_init__(self) -> None:
        """The order of prompts, at the state's position."""
        self._sampler = PromptSampler(len(self.prompts), self.seed, self.state.position)

    @property
    def epoch(self) -> float:
        """Passes over the prompts so far."""
        return self._sampler.epoch

    def next_batch(self, step: int, clock: Stopwatch) -> Selection:
        """Rounds of sampling until the batch is full or the cap is reached (dynamic sampling).

        `step` counts from 0 and seeds the sampling; `clock` times rollout and score. Collective.
        """
        selection, rate = Selection(self.options.batch_size), self.state.keep_rate
        while count := round_size(selection, rate, self.options.max_rounds):
            groups = self._roll_out(step, selection.rounds, count, clock)
            selection.add(groups, self.algorithm.usable(groups))
        self.state.position = self._sampler.position
        self.state.keep_rate = rate.after(selection)
        return selection

    def _roll_out(self, step: int, number: int, count: int, clock: Stopwatch) -> list[Group]:
        """One round: draw `count` prompts, generate groups, score them."""
        prompts = [self.prompts[i] for i in self._sampler.draw(count)]
        size = self.algorithm.group_size
        with clock("rollout"):
            seeds = round_seeds(self.seed, step, number, len(prompts), size)
            completions = generate_round(
                self.rollout, prompts, size, self.sampling, seeds, self.world
            )
        with clock("score"):
            rows = [prompt for prompt in prompts for _ in range(size)]
            return regroup(prompts, self.scorer(rows, completions), size)
