"""The clipped surrogate of PPO, token by token: `min(r A, clip(r) A)` with `r = policy / old`.

GRPO, DAPO, BNPO, Dr. GRPO and CS336's GRPO-clip all take it, with other clip ranges and token
weights. Left out: those weights (`srl_grpo.objective.normalisation`).
"""

import torch
from torch import Tensor

from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def clipped_loss(ratio_N: Tensor, advantages_N: Tensor, options: LossOptions) -> Tensor:
    """`-min(r A, clip(r, 1 - low, 1 + high) A)` of each ratio; shape N, of any shape."""
    clipped_N = ratio_N.clamp(1 - options.epsilon_low, 1 + options.epsilon_high)
    return -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N)


def token_clip(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """The loss of each token, and the shares of tokens that the clip cuts off.

    Source: PPO, arXiv 1707.06347, equation 7; GRPO, arXiv 2402.03300, equation 3; the range with
    two bounds of its own: DAPO, arXiv 2503.14476, equation 8.
    """
    ratio_N = torch.exp(tokens.log_ratios)
    loss_N = clipped_loss(ratio_N, tokens.advantages_N, options)
    return loss_N, clip_metrics(ratio_N.detach(), tokens, options)


def clip_metrics(ratio_N: Tensor, tokens: Tokens, options: LossOptions) -> Metrics:
    """Weighted shares of tokens whose gradient the clip cuts off, below and above."""
    low_N = (ratio_N < 1 - options.epsilon_low) & (tokens.advantages_N < 0)
    high_N = (ratio_N > 1 + options.epsilon_high) & (tokens.advantages_N > 0)
    low, high = (low_N * tokens.weights_N).sum(), (high_N * tokens.weights_N).sum()
    return {
        "clip_ratio/low_mean": low,
        "clip_ratio/high_mean": high,
        "clip_ratio/region_mean": low + high,
    }
