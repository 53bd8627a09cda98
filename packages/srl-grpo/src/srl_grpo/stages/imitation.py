"""Passes over examples, an optimizer step at a time: what makes given responses likelier.

`srl-grpo sft` trains by it throughout its run, expert iteration in each of its rounds. Left out:
the learning rate's course, and where examples come from.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from srl_grpo.config.sections import EngineSection
from srl_grpo.data.examples import Example
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.heldout.examples import sample_of
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import check_update
from srl_grpo.learner.updater import Metrics, UpdateOptions, Updater
from srl_grpo.objective.likelihood import ResponseLoss
from srl_grpo.run.clock import Stopwatch


@dataclass(frozen=True)
class Imitated:
    """What one optimizer step did."""

    metrics: Metrics
    """`loss` in nats per token, `grad_norm`, `entropy`."""
    tokens: int
    """Response tokens."""
    examples: int
    epoch: float


@dataclass
class Imitation:
    """Seeded passes over a list of examples, up to so many in all."""

    examples: Sequence[Example]
    updater: Updater
    seed: int
    """Of the order of examples."""
    per_step: int
    """Examples per optimizer step; the last one takes what is left."""
    total: int
    """Examples in all, repeats counted."""
    position: int = 0
    """Examples drawn so far; the next ones are a function of it and the seed."""

    @property
    def steps_left(self) -> int:
        """Optimizer steps to the end."""
        return math.ceil(max(0, self.total - self.position) / self.per_step)

    def step(self, clock: Stopwatch, rate: float, step: int, saved_step: int) -> Imitated:
        """One optimizer step at a learning rate; the run's step and newest checkpoint are named.

        CommandError where the update was not finite. Collective.
        """
        sampler = PromptSampler(len(self.examples), self.seed, self.position)
        drawn = sampler.draw(min(self.total - self.position, self.per_step))
        samples = [sample_of(self.examples[place], number) for number, place in enumerate(drawn)]
        with clock("update"):
            found = self.updater(samples, step, rate)
        check_update(found, step, saved_step)
        self.position = sampler.position
        tokens = sum(len(sample.completion_ids) for sample in samples)
        return Imitated(found, tokens, len(samples), sampler.epoch)


def imitation_updater(
    engine: TrainingEngine,
    section: EngineSection,
    per_step: int,
    micro_batches: int | None,
    seed: int,
    pad_id: int,
) -> Updater:
    """The updater whose loss is that of given responses, each token counting the same."""
    options = UpdateOptions(
        batch_size=per_step,
        token_budget=section.token_budget,
        micro_batches=micro_batches,
        packing=section.packing,
        sharing=engine.policy.sharing,
        seed=seed,
    )
    return Updater(engine, ResponseLoss(), options, pad_id)
