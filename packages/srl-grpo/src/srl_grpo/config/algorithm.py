"""The algorithm section of a training config: the loss, its constants, the reward's baseline.

Field docstrings are the flags' help. What a loss computes is `srl_grpo.objective`'s.
"""

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from srl_data.command.config import ConfigTree, Flag, Section
from srl_grpo.config.losses import LOSSES, LossName
from srl_grpo.config.sections import Positive

BASE_KL = 0.02
"""The weight that `use_base_kl` gives the KL term."""

WRITE_DAPO = "write `loss: dapo`"
WRITE_GRPO = "write `loss: grpo` and, at the top of the file, `config_version: 2`"
FORMER_NORMALISATION = (
    f"part of algorithm.loss (--loss): {WRITE_DAPO} for token-mean, which was the default; for "
    f"sequence-mean, {WRITE_GRPO}"
)


def former_loss(tree: ConfigTree) -> str | None:
    """What to write in a file from when there was one loss, called grpo, with two normalisations.

    None for a file of today: it has no normalisation, and says its version where it says grpo.
    """
    section = tree.get("algorithm")
    if not isinstance(section, dict) or "config_version" in tree:
        return None
    if (mean := section.get("normalisation")) is not None:
        now = WRITE_GRPO if mean == "sequence-mean" else WRITE_DAPO
        return f"in place of algorithm.normalisation = {mean!r} {now}"
    if section.get("loss") != "grpo":
        return None
    return (
        f"algorithm.loss = 'grpo' was a mean over tokens, now called dapo: {WRITE_DAPO}; where the "
        f"mean per sequence of the GRPO paper is meant, {WRITE_GRPO}"
    )


class AlgorithmSection(Section):
    """What is learned from a batch: the loss, and what a reward is compared with."""

    former: ClassVar[dict[str, str]] = {"normalisation": FORMER_NORMALISATION}

    loss: LossName = "dapo"
    """What is minimised; docs/guides/losses.md has their formulas."""
    epsilon_low: Annotated[float, Field(gt=0, le=1)] | None = None
    """Clip range of the probability ratio, below 1; default the loss's own (dapo: 0.2). No effect
    at one optimizer step per batch."""
    epsilon_high: Annotated[float, Field(gt=0)] | None = None
    """Clip range of the probability ratio, above 1; default the loss's own (dapo: 0.28). No effect
    at one optimizer step per batch."""
    beta: Annotated[float, Field(ge=0), Flag(aliases=("kl-penalty",))] = 0.0
    """Weight of the k3 KL term; 0 loads no reference model."""
    use_base_kl: bool = False
    """Switch the KL term on: a beta of 0.02 where none is given."""
    ppo_steps: Positive = 1
    """Passes over a rollout batch."""
    train_batch_size: Positive | None = None
    """Completions per optimizer step; default all of a rollout batch."""
    baseline: Literal["group", "none"] | None = None
    """What a reward is compared with: the other completions of its prompt, or nothing
    (REINFORCE), which trains on every completion and allows a group size of 1. Default none for
    the loss no_baseline, else group."""
    advantage_eps: Annotated[float, Field(gt=0)] = 1e-4
    """Added to the group's standard deviation of rewards."""
    sampler_cap: Annotated[float, Field(gt=0)] | None = None
    """Cap of the importance weight that corrects a sampler unlike the trainer; off by default."""
    max_logprob_difference: Annotated[float, Field(ge=0)] | None = None
    """Mean difference of sampler and trainer, in nats per token, that stops the run; 0 for never.
    Default: 1e-3 in float32, 0.25 in bfloat16."""

    @property
    def compares_with(self) -> Literal["group", "none"]:
        """What a reward is compared with, by the config or by its loss."""
        return self.baseline or LOSSES[self.loss].baseline

    @model_validator(mode="before")
    @classmethod
    def _base_kl_has_a_weight(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("use_base_kl") is not True:
            return given
        if given.get("beta", BASE_KL) == 0:
            raise ValueError("use_base_kl is on and beta is 0; leave one of them out")
        return {"beta": BASE_KL, **given}
