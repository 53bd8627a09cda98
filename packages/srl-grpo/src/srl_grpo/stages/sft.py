"""The stage of supervised fine-tuning: draw examples, make them likelier.

A step is `SftStage.step`. Left out: the loop (`srl_grpo.stages.loop`), the examples
(`srl_grpo.data.examples`), and how the stage is put together (`srl_grpo.stages.sft_setup`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from srl_grpo.config.run import RunConfig
from srl_grpo.config.sft import SftConfig
from srl_grpo.data.examples import Example
from srl_grpo.data.sampler import PromptSampler
from srl_grpo.heldout.evaluation import Values
from srl_grpo.heldout.examples import HeldOutExamples, sample_of
from srl_grpo.learner.finite import check_update
from srl_grpo.learner.updater import Updater
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.run.session import Session
from srl_grpo.stages.loop import Best, StepResult

NAME = "sft"


class SftState(BaseModel):
    """What continues the stage."""

    model_config = ConfigDict(extra="forbid")
    position: int = Field(default=0, ge=0)
    """Examples drawn so far; the next ones are a function of it and the seed."""
    examples_per_step: int = Field(ge=1)
    """Examples of an optimizer step, the same throughout the run."""


@dataclass
class SftStage:
    """Supervised fine-tuning on a list of examples."""

    config: SftConfig
    examples: Sequence[Example]
    updater: Updater
    rollout: PolicyRollout
    held_out: HeldOutExamples | None
    progress: SftState

    def step(self, session: Session[RunConfig], step: int) -> StepResult:
        """One optimizer step; the run's last batch is as small as what is left to train on."""
        sampler = PromptSampler(len(self.examples), session.config.seed, self.progress.position)
        left = self.config.examples_in_all(len(self.examples)) - sampler.position
        drawn = sampler.draw(min(left, self.config.examples_per_step))
        samples = [sample_of(self.examples[place], number) for number, place in enumerate(drawn)]
        rate = session.learning_rate(step)
        with session.clock("update"):
            found = self.updater(samples, step, rate)
        check_update(found, step, session.saved_step)
        self.progress.position = sampler.position
        tokens = sum(len(sample.completion_ids) for sample in samples)
        metrics = {
            "train/loss": found["loss"],
            "train/learning_rate": rate,
            "grad_norm": found["grad_norm"],
            "entropy": found["entropy"],
            "epoch": sampler.epoch,
            "examples": float(len(samples)),
            "completions/mean_length": tokens / len(samples),
        }
        return StepResult(metrics, tokens, updated=True)

    def evaluate(self) -> Values:
        """Held-out values of the present weights. Collective."""
        assert self.held_out is not None
        self.rollout.sync_weights()
        return self.held_out.evaluate(self.rollout, self.updater)

    @property
    def best(self) -> Best:
        """The step with the lowest held-out loss is the best."""
        return Best("loss", lower=True)

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""
        return self.progress.model_dump(mode="json")

    def check(self, session: Session[RunConfig]) -> None:
        """Nothing: a supervised step always learns something."""
