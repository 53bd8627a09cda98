"""The clipped policy-gradient loss over a flat list of completion tokens.

Everything that tells one algorithm of the GRPO family from another by normalisation is in the
token weights; a batch's loss is a weighted sum, so micro-batches and ranks add up exactly.
What is left out: log-probabilities (`srl_grpo.objective.logprobs`), advantages and the reference
model.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import torch
from torch import Tensor

from srl_grpo.objective.kl import k3

Normalisation = Literal["token-mean", "sequence-mean"]


@dataclass(frozen=True)
class LossOptions:
    """Constants of the loss: the clip range is `[1 - epsilon_low, 1 + epsilon_high]`."""

    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    beta: float = 0.0
    """Weight of the k3 KL term; 0 takes no reference."""
    sampler_cap: float | None = None
    """Cap of the importance weight `exp(old - sampler)` that corrects for a sampler whose
    probabilities differ from the trainer's; None applies no correction."""


def token_weights(lengths: list[int], normalisation: Normalisation) -> list[float]:
    """The weight of each token of each sequence in a global batch; all weights sum to 1.

    `token-mean`: every token alike (DAPO, arXiv 2503.14476). `sequence-mean`: every sequence
    alike, its tokens sharing its weight (GRPO, arXiv 2402.03300). Empty sequences weigh nothing.

    Args:
        lengths: completion lengths in tokens, of the whole global batch.

    Returns:
        One weight per sequence: that of each of its tokens.
    """
    total = denominator(lengths, normalisation)
    if normalisation == "token-mean":
        return [1.0 / total if total else 0.0 for _ in lengths]
    return [1.0 / (total * length) if length else 0.0 for length in lengths]


def denominator(lengths: list[int], normalisation: Normalisation) -> int:
    """What the weights of a global batch are shares of: its tokens, or its non-empty sequences."""
    return sum(lengths) if normalisation == "token-mean" else sum(1 for n in lengths if n)


def policy_loss(
    logprobs_N: Tensor,
    old_logprobs_N: Tensor,
    advantages_N: Tensor,
    weights_N: Tensor,
    options: LossOptions,
    reference_logprobs_N: Tensor | None = None,
    sampler_logprobs_N: Tensor | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The PPO-clip loss, `-sum(w * min(r A, clip(r) A))`, plus `beta` times the k3 KL.

    Args:
        logprobs_N: log-probabilities of the N sampled tokens under the policy; takes gradients.
        old_logprobs_N: the same under the policy that sampled, constant.
        advantages_N: each token's advantage.
        weights_N: each token's share of the global batch (`token_weights`).
        options: clip range, KL weight, sampler correction.
        reference_logprobs_N: under the reference; required if `options.beta` is not 0.
        sampler_logprobs_N: as the sampler reported them; used if `options.sampler_cap` is set.

    Returns:
        The loss (scalar) and metrics as weighted sums (so that they add up over micro-batches):
        `clip_ratio/low_mean`, `clip_ratio/high_mean`, `clip_ratio/region_mean`, `approx_kl` (k3
        from the old policy) and, with a reference, `kl`.

    Source: PPO, arXiv 1707.06347; asymmetric clip from DAPO, arXiv 2503.14476.
    """
    log_ratio_N = logprobs_N - old_logprobs_N
    ratio_N = torch.exp(log_ratio_N)
    clipped_N = ratio_N.clamp(1 - options.epsilon_low, 1 + options.epsilon_high)
    loss_N = -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N)
    if options.sampler_cap is not None:
        assert sampler_logprobs_N is not None
        correction_N = torch.exp(old_logprobs_N - sampler_logprobs_N)
        loss_N = loss_N * correction_N.clamp(max=options.sampler_cap)
    metrics = clip_metrics(ratio_N.detach(), advantages_N, weights_N, options)
    metrics["approx_kl"] = (k3(old_logprobs_N, logprobs_N.detach()) * weights_N).sum()
    if options.beta:
        assert reference_logprobs_N is not None
        kl_N = k3(logprobs_N, reference_logprobs_N)
        loss_N = loss_N + options.beta * kl_N
        metrics["kl"] = (kl_N.detach() * weights_N).sum()
    return (loss_N * weights_N).sum(), metrics


LOSSES = {"grpo": policy_loss}
"""Losses by the name that `algorithm.loss` gives."""


class Loss(Protocol):
    """What an update minimises: a function of tokens' log-probabilities and of their columns."""

    @property
    def reads_old_logprobs(self) -> bool:
        """Whether `old_logprobs` matter once a batch takes several optimizer steps."""

    def __call__(
        self, logprobs_N: Tensor, columns: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """A micro-batch's share of the global loss (scalar), and metrics as weighted sums.

        `columns` holds constants of the N tokens: `weight` always, and what a sample carries.
        """


def old_logprobs(logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """Log-probabilities under the policy that sampled, N; without any it is the policy itself."""
    return columns.get("old_logprobs", logprobs_N.detach())


@dataclass(frozen=True)
class PolicyLoss:
    """A loss of `LOSSES` with its constants."""

    name: str = "grpo"
    options: LossOptions = LossOptions()
    reads_old_logprobs: bool = True

    def __call__(
        self, logprobs_N: Tensor, columns: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `Loss` and `policy_loss`; reads `advantage` and the log-probabilities there are."""
        return LOSSES[self.name](
            logprobs_N,
            old_logprobs(logprobs_N, columns),
            columns["advantage"],
            columns["weight"],
            self.options,
            columns.get("reference_logprobs"),
            columns.get("sampler_logprobs"),
        )


def clip_metrics(
    ratio_N: Tensor, advantages_N: Tensor, weights_N: Tensor, options: LossOptions
) -> dict[str, Tensor]:
    """Weighted shares of tokens whose gradient the clip cuts off, below and above."""
    low_N = (ratio_N < 1 - options.epsilon_low) & (advantages_N < 0)
    high_N = (ratio_N > 1 + options.epsilon_high) & (advantages_N > 0)
    low, high = (low_N * weights_N).sum(), (high_N * weights_N).sum()
    return {
        "clip_ratio/low_mean": low,
        "clip_ratio/high_mean": high,
        "clip_ratio/region_mean": low + high,
    }
