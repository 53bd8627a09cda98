"""The stage of reinforcement learning: sample, score, filter, update, sync, keep what was written.

A step is `RLStage.step`. Left out: the loop (`srl_grpo.stages.loop`), and how the stage is put
together from a config (`srl_grpo.stages.rl_setup`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field

from srl_grpo.config.run import RunConfig
from srl_grpo.config.train import TrainConfig
from srl_grpo.heldout.evaluation import HeldOut, Values
from srl_grpo.learner.agreement import unhealthy
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.finite import check_update
from srl_grpo.learner.updater import Metrics, Updater
from srl_grpo.rollout.algorithm import samples_of
from srl_grpo.rollout.groups import Selection, completion_metrics
from srl_grpo.rollout.penalties import Penalty, penalised
from srl_grpo.rollout.records import rollout_records
from srl_grpo.rollout.source import RolloutSource, SourceState
from srl_grpo.run.session import Session
from srl_grpo.stages.loop import Best, StepResult
from srl_grpo.stages.moving_reference import MovingReference
from srl_grpo.stages.starvation import StarvedError, diagnosis

NAME = "rl"


class RLState(SourceState):
    """What continues the stage."""

    starved_steps: int = Field(default=0, ge=0)
    """Steps without an update since the last one with."""
    reference_step: int | None = Field(default=None, ge=0)
    """Steps after which the KL term's reference was last refreshed; None for never."""


@dataclass
class RLStage:
    """Reinforcement learning from one source of rollouts."""

    config: TrainConfig
    source: RolloutSource
    updater: Updater
    held_out: HeldOut | None
    progress: RLState
    penalties: Sequence[Penalty] = ()
    """What is subtracted from rewards before advantages."""
    reference: MovingReference | None = None
    """Of the KL term, in the loss or in the reward."""
    warned: bool = False
    """Whether the user knows that the sampler's probabilities are not the trainer's."""

    def step(self, session: Session[RunConfig], step: int) -> StepResult:
        """One batch, from drawing prompts to keeping what was written."""
        batch = self.source.next_batch(step, session.clock)
        metrics = completion_metrics(batch.sampled) | batch.metrics()
        rate = session.learning_rate(step)
        samples = samples_of(batch.kept, self.source.algorithm)
        if samples:
            with session.clock("update"):
                told = (batch.kept, self.source.algorithm, self.penalties)
                samples, taken = penalised(samples, *told)
            trained = self.trained(samples)
            metrics |= taken | self.update(session, trained, step, rate)
            if self.masks:
                metrics["completions/masked_ratio"] = 1 - len(trained) / len(samples)
        if self.reference is not None and self.reference.follow(step + 1):
            self.progress.reference_step = step + 1
        self.progress.starved_steps = 0 if batch.kept else self.progress.starved_steps + 1
        with session.clock("log"):
            self.write_rollouts(session, batch, samples, step + 1)
        metrics |= {
            "learning_rate": rate,
            "epoch": self.source.epoch,
            "sampling/starved_steps": float(self.progress.starved_steps),
        }
        return StepResult(metrics, batch.tokens, updated=bool(batch.kept))

    def trained(self, samples: Sequence[Sample]) -> Sequence[Sample]:
        """The samples that are trained on: without truncated ones, where the config says so."""
        return [sample for sample in samples if not (self.masks and sample.truncated)]

    @property
    def masks(self) -> bool:
        """Whether truncated completions are not trained on."""
        return self.config.algorithm.mask_truncated

    def update(
        self, session: Session[RunConfig], samples: Sequence[Sample], step: int, rate: float
    ) -> Metrics:
        """Train on the kept groups' samples and bring the new weights to the sampler. Collective.

        CommandError where the update was not finite, before its weights are saved.
        """
        with session.clock("update"):
            self.source.rollout.rest()
            metrics = self.updater(samples, step, rate)
        check_update(metrics, step, session.saved_step)
        if not self.warned and (told := unhealthy(metrics, session.engine.dtype)):
            session.display.note(f"step {step + 1}: {told}")
            self.warned = True
        with session.clock("sync"):
            self.source.rollout.sync_weights()
        return metrics | self.source.rollout.metrics

    def write_rollouts(
        self, session: Session[RunConfig], batch: Selection, samples: Sequence[Sample], step: int
    ) -> None:
        """Keep what the model wrote in this step."""
        if session.world.is_main:
            records = rollout_records(step, batch, self.source.prompts, samples)
            session.directory.write_rollouts(step, records)

    def evaluate(self) -> Values:
        """Held-out values of the present weights. Collective."""
        assert self.held_out is not None
        return self.held_out.evaluate(self.source.rollout)

    @property
    def named(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def best(self) -> Best:
        """The step with the highest held-out reward is the best."""
        return Best("reward")

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""
        return self.progress.model_dump(mode="json")

    def check(self, session: Session[RunConfig]) -> None:
        """StarvedError, with a checkpoint behind it, where nothing can be learned. Collective."""
        limit, starved = self.config.rollout.max_starved_steps, self.progress.starved_steps
        ended = session.finished and not session.state.updates
        if not limit or (starved < limit and not ended):
            return
        session.save()
        text = ""
        if session.world.is_main:
            text = diagnosis(session.directory, session.state.step, starved, self.config)
        raise StarvedError(session.world.from_main(text))
