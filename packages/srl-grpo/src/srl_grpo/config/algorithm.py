"""The algorithm section of a training config: the loss, its constants, the reward's baseline.

Field docstrings are the flags' help. What a loss computes is `srl_grpo.objective`'s.
"""

from collections.abc import Sequence
from typing import Annotated, ClassVar

from pydantic import Field, model_validator

from srl_data.command.config import ConfigTree, Flag, Section
from srl_grpo.config.losses import (
    CONSTANTS,
    PUBLISHED,
    Aggregation,
    Baseline,
    Correction,
    Estimator,
    LossName,
    Scale,
)
from srl_grpo.config.sections import Positive

BASE_KL = 0.02
"""The weight that `use_base_kl` gives the KL term."""

PLAIN_K1 = (
    "--kl-estimator k1 as a term of the loss has a gradient of zero in expectation: it adds noise "
    "and holds the policy nowhere; give --kl-estimator k3 or k2, or with k1 --kl-corrected or "
    "--kl-in-reward"
)

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
    clip_delta: Annotated[float, Field(gt=1), Flag(aliases=("delta",))] | None = None
    """Largest ratio of tokens with a negative advantage (two-sided clip), above 1 + epsilon_high;
    off by default."""
    sapo_temperature_pos: Annotated[float, Field(gt=0)] | None = None
    """Temperature of sapo's gate where the advantage is positive; default 1.0."""
    sapo_temperature_neg: Annotated[float, Field(gt=0)] | None = None
    """Temperature of sapo's gate elsewhere; default 1.05."""
    vespo_k_pos: Annotated[float, Field(ge=0)] | None = None
    """Power of vespo's kernel where the advantage is not negative; default 2.0."""
    vespo_lambda_pos: Annotated[float, Field(gt=0)] | None = None
    """Decay of vespo's kernel where the advantage is not negative; default 3.0."""
    vespo_k_neg: Annotated[float, Field(ge=0)] | None = None
    """Power of vespo's kernel where the advantage is negative; default 3.0."""
    vespo_lambda_neg: Annotated[float, Field(gt=0)] | None = None
    """Decay of vespo's kernel where the advantage is negative; default 2.0."""
    baseline: Baseline | None = None
    """What a reward is compared with: the other completions of its prompt, or nothing
    (REINFORCE), which trains on every completion and allows a group size of 1. Default none for
    the loss no_baseline, else group."""
    advantage_scale: Annotated[Scale, Flag(aliases=("scale-rewards",))] | None = None
    """What a reward less its baseline is divided by: the standard deviation of its group, that of
    all rewards of the batch, or nothing. Default none for dr_grpo, else group."""
    aggregation: Annotated[Aggregation, Flag(aliases=("multi-objective-aggregation",))] = (
        "sum_then_normalize"
    )
    """Several rewards are summed and their sum is normalised in its group, or each is normalised in
    its group before they are summed, and the sum over the batch (GDPO)."""
    advantage_eps: Annotated[float, Field(gt=0)] = 1e-4
    """Added to that standard deviation of rewards."""
    ppo_steps: Positive = 1
    """Passes over a rollout batch."""
    train_batch_size: Positive | None = None
    """Completions per optimizer step; default all of a rollout batch."""
    beta: Annotated[float, Field(ge=0), Flag(aliases=("kl-penalty",))] = 0.0
    """Weight of the KL term; 0 loads no reference model."""
    use_base_kl: bool = False
    """Switch the KL term on: a beta of 0.02 where none is given."""
    kl_estimator: Estimator = "k3"
    """Estimator of the KL term."""
    kl_corrected: bool = False
    """Weigh the KL term by the ratio of policy and sampling policy, for several optimizer steps per
    batch; TRL's default."""
    kl_in_reward: Annotated[bool, Flag(aliases=("use-kl-in-reward",))] = False
    """Subtract beta times a completion's KL divergence, the sum over its tokens, from its reward,
    before the advantage, instead of adding a term to the loss. Groups are chosen by the rewards as
    they were."""
    reference_every: Annotated[Positive | None, Flag(aliases=("ref-model-sync-steps",))] = None
    """Bring the KL term's reference to the policy every so many training steps; default it stays
    the policy that the run began with."""
    mask_truncated: Annotated[bool, Flag(aliases=("mask-truncated-completions",))] = False
    """Do not train on completions that were cut off at --max-new-tokens. Their rewards count in
    their group's mean and deviation, their tokens in no denominator."""
    overlong_buffer: Annotated[Positive | None, Flag(aliases=("soft-punish-cache",))] = None
    """Penalise completions softly within so many tokens of overlong_length (DAPO): from 0 to
    overlong_penalty, which is subtracted from the reward. Off by default."""
    overlong_length: Positive | None = None
    """The length in tokens at which that penalty is whole; default --max-new-tokens."""
    overlong_penalty: Annotated[float, Field(gt=0)] = 1.0
    """The whole penalty, in units of the reward."""
    sampler_cap: Annotated[float, Field(gt=0)] | None = None
    """Largest importance weight that corrects a sampler unlike the trainer; default no
    correction."""
    sampler_floor: Annotated[float, Field(ge=0)] = 0.0
    """Smallest such weight."""
    sampler_correction: Correction = "token_truncate"
    """Weights beyond these bounds are cut to them or count nothing; a weight per token or per
    sequence."""
    max_logprob_difference: Annotated[float, Field(ge=0)] | None = None
    """Mean difference of sampler and trainer, in nats per token, that stops the run; 0 for never.
    Default: 1e-3 in float32, 0.25 in bfloat16."""

    @property
    def compares_with(self) -> Baseline:
        """What a reward is compared with, by the config or by its loss."""
        return self.baseline or PUBLISHED[self.loss].baseline

    @property
    def scales_by(self) -> Scale:
        """What an advantage is divided by, by the config or by its loss."""
        return self.advantage_scale or PUBLISHED[self.loss].scale

    @property
    def loss_beta(self) -> float:
        """Weight of the KL term in the loss."""
        return 0.0 if self.kl_in_reward else self.beta

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a user should know of options that are allowed and hardly meant."""
        plain_k1 = self.loss_beta and self.kl_estimator == "k1" and not self.kl_corrected
        return (PLAIN_K1,) if plain_k1 else ()

    @property
    def constants(self) -> dict[str, float]:
        """The constants that the loss has: the config's, or else the ones it was published with."""
        own = PUBLISHED[self.loss].constants
        given = {name: getattr(self, name) for name in own}
        chosen = {name: own[name] if given[name] is None else given[name] for name in own}
        return {name: value for name, value in chosen.items() if value is not None}

    @model_validator(mode="before")
    @classmethod
    def _base_kl_has_a_weight(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("use_base_kl") is not True:
            return given
        if given.get("beta", BASE_KL) == 0:
            raise ValueError("use_base_kl is on and beta is 0; leave one of them out")
        return {"beta": BASE_KL, **given}

    @model_validator(mode="after")
    def _constants_are_taken(self) -> "AlgorithmSection":
        for name in CONSTANTS:
            if getattr(self, name) is not None and name not in PUBLISHED[self.loss].constants:
                owners = [loss for loss, known in PUBLISHED.items() if name in known.constants]
                raise ValueError(
                    f"algorithm.{name} is {getattr(self, name)!r}, but the loss {self.loss} has no "
                    f"such constant; leave it out, or give --loss {' or '.join(owners)}"
                )
        high, delta = self.constants.get("epsilon_high", 0.0), self.clip_delta
        if delta is not None and delta <= 1 + high:
            raise ValueError(
                f"algorithm.clip_delta {delta} must lie above 1 + epsilon_high = {1 + high:g}"
            )
        return self

    @model_validator(mode="after")
    def _baseline_fits(self) -> "AlgorithmSection":
        without = self.compares_with == "none"
        if self.loss == "no_baseline" and not without:
            raise ValueError(
                "the loss no_baseline compares a reward with nothing; take --baseline group out, "
                "or give --loss reinforce_with_baseline"
            )
        if self.loss == "reinforce_with_baseline" and without:
            raise ValueError(
                "the loss reinforce_with_baseline needs one; take --baseline none out, or give "
                "--loss no_baseline"
            )
        if without and self.advantage_scale not in (None, "none"):
            raise ValueError(
                f"algorithm.advantage_scale is {self.advantage_scale!r}, but without a baseline "
                "the reward itself is the advantage; leave it out"
            )
        return self

    @model_validator(mode="after")
    def _kl_options_fit(self) -> "AlgorithmSection":
        for name in ("kl_corrected", "kl_in_reward", "reference_every"):
            if getattr(self, name) and not self.beta:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r} and there is no KL term; give --beta too"
                )
        if self.kl_in_reward and self.kl_corrected:
            raise ValueError(
                "kl_in_reward and kl_corrected: in the reward the divergence is that of the policy "
                "that sampled, which needs no correction; take --kl-corrected out"
            )
        return self

    @model_validator(mode="after")
    def _overlong_options_fit(self) -> "AlgorithmSection":
        if self.overlong_buffer is None:
            if self.overlong_length is not None or self.overlong_penalty != 1.0:
                raise ValueError(
                    "overlong_length and overlong_penalty are those of the penalty by length, "
                    "which is off; give --overlong-buffer too, the tokens over which it rises"
                )
        elif self.overlong_length is not None and self.overlong_buffer > self.overlong_length:
            raise ValueError(
                f"overlong_buffer {self.overlong_buffer} is longer than overlong_length "
                f"{self.overlong_length}, of which it is the last part"
            )
        return self

    def check_aggregation(self, rewards: Sequence[str]) -> None:
        """ValueError where rewards that are each normalised would be too few, or not the whole."""
        if self.aggregation == "sum_then_normalize":
            return
        asked = "algorithm.aggregation normalize_then_sum"
        if len(rewards) < 2:
            raise ValueError(
                f"{asked} normalises each of several rewards, and {rewards[0]} is the only one; "
                "give another --reward, or leave it out"
            )
        if self.compares_with == "none":
            raise ValueError(
                f"{asked} compares each reward with its group, and there is no baseline; leave it "
                "out, or give --baseline group"
            )
        if self.kl_in_reward or self.overlong_buffer is not None:
            flag = "--kl-in-reward" if self.kl_in_reward else "--overlong-buffer"
            raise ValueError(
                f"{asked} normalises the rewards alone, and what {flag} takes off their sum would "
                "be lost; leave one of them out"
            )

    @model_validator(mode="after")
    def _corrections_fit(self) -> "AlgorithmSection":
        if self.sampler_cap is None and (
            self.sampler_floor or self.sampler_correction != "token_truncate"
        ):
            raise ValueError(
                "sampler_floor and sampler_correction are the correction's of a sampler, which is "
                "off; give --sampler-cap too, such as 2"
            )
        if self.sampler_cap is not None and self.sampler_floor > self.sampler_cap:
            raise ValueError(
                f"sampler_floor {self.sampler_floor} lies above sampler_cap {self.sampler_cap}"
            )
        if self.loss == "vespo" and self.sampler_correction.startswith("sequence"):
            raise ValueError(
                f"sampler_correction {self.sampler_correction}: vespo multiplies the weights of a "
                "sequence's tokens itself; give token_truncate or token_mask"
            )
        return self
