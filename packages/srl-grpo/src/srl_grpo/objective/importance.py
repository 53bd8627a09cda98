"""Importance weights for a sampler whose probabilities are not quite the trainer's.

A sampler with other kernels, another type or other rounding draws from a distribution that lies
near the trainer's old policy and is not it; `old / sampler` weighs that back. Truncated, a weight
is kept within bounds; masked, one beyond them counts nothing. Per token, or per sequence: the
product of its tokens' ratios, which is exact and scatters with the length. Left out: how far apart
they are (`srl_grpo.learner.mismatch`).

Source: truncated: "Your efficient RL framework secretly brings you off-policy RL training" (F. Yao
et al., 2025); masked: IcePop, arXiv 2510.18855.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from srl_grpo.objective.sequences import broadcast_sum

Correction = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


@dataclass(frozen=True)
class SamplerWeights:
    """Which weights correct for the sampler."""

    cap: float
    """Largest weight."""
    floor: float = 0.0
    """Smallest one."""
    correction: Correction = "token_truncate"

    def __call__(
        self, old_logprobs_N: Tensor, sampler_logprobs_N: Tensor, sequences_N: Tensor | None = None
    ) -> Tensor:
        """The weight of each token, constant; shape N.

        Args:
            old_logprobs_N: under the trainer's weights that the sampler had.
            sampler_logprobs_N: as the sampler reported them.
            sequences_N: the number of each token's sequence; read per sequence.
        """
        ratio_N = self.ratio(old_logprobs_N, sampler_logprobs_N, sequences_N)
        if self.correction.endswith("truncate"):
            return ratio_N.clamp(self.floor, self.cap)
        return torch.where(self.within(ratio_N), ratio_N, 0.0)  # also where it is infinite

    def ratio(
        self, old_logprobs_N: Tensor, sampler_logprobs_N: Tensor, sequences_N: Tensor | None
    ) -> Tensor:
        """`old / sampler` of each token, or of its sequence; shape N."""
        log_ratio_N = (old_logprobs_N - sampler_logprobs_N).detach()
        if self.correction.startswith("sequence"):
            assert sequences_N is not None
            log_ratio_N = broadcast_sum(log_ratio_N, sequences_N)
        return torch.exp(log_ratio_N)

    def within(self, ratio_N: Tensor) -> Tensor:
        """Whether each ratio lies within the bounds."""
        return (ratio_N >= self.floor) & (ratio_N <= self.cap)
