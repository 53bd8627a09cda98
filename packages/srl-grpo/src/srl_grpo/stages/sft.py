"""The stage of supervised fine-tuning: draw examples, make them likelier.

A step is `SftStage.step`. Left out: the loop (`srl_grpo.stages.loop`), the examples
(`srl_grpo.data.examples`), an optimizer step (`srl_grpo.stages.imitation`), and how the stage is
put together (`srl_grpo.stages.sft_setup`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import BaseModel, ConfigDict, Field

from srl_grpo.config.run import RunConfig
from srl_grpo.heldout.evaluation import Values
from srl_grpo.heldout.examples import HeldOutExamples
from srl_grpo.rollout.engines import PolicyRollout
from srl_grpo.run.session import Session
from srl_grpo.stages.imitation import Imitation
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

    imitation: Imitation
    rollout: PolicyRollout
    held_out: HeldOutExamples | None
    progress: SftState

    def step(self, session: Session[RunConfig], step: int) -> StepResult:
        """One optimizer step; the run's last batch is as small as what is left to train on."""
        rate = session.learning_rate(step)
        done = self.imitation.step(session.clock, rate, step, session.saved_step)
        self.progress.position = self.imitation.position
        metrics = {
            "train/loss": done.metrics["loss"],
            "train/learning_rate": rate,
            "grad_norm": done.metrics["grad_norm"],
            "entropy": done.metrics["entropy"],
            "epoch": done.epoch,
            "examples": float(done.examples),
            "completions/mean_length": done.tokens / done.examples,
        }
        return StepResult(metrics, done.tokens, updated=True)

    def evaluate(self) -> Values:
        """Held-out values of the present weights. Collective."""
        assert self.held_out is not None
        self.rollout.sync_weights()
        return self.held_out.evaluate(self.rollout, self.imitation.updater)

    @property
    def named(self) -> Mapping[str, str]:
        """None."""
        return {}

    @property
    def best(self) -> Best:
        """The step with the lowest held-out loss is the best."""
        return Best("loss", lower=True)

    def state(self) -> dict[str, object]:
        """What continues the stage, as JSON."""
        return self.progress.model_dump(mode="json")

    def check(self, session: Session[RunConfig]) -> None:
        """Nothing: a supervised step always learns something."""
