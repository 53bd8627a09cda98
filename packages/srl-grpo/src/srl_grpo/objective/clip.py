"""The clipped surrogate of PPO, token by token: `min(r A, clip(r) A)` with `r = policy / old`.

GRPO, DAPO, BNPO, Dr. GRPO and CS336's GRPO-clip all take it, with other clip ranges and token
weights. Left out: those weights (`srl_grpo.objective.normalisation`).
"""

import torch
from torch import Tensor

from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def clipped_loss(ratio_N: Tensor, advantages_N: Tensor, options: LossOptions) -> Tensor:
    """`-min(r A, clip(r, 1 - low, 1 + high) A)` of each ratio; shape N, or any that broadcast.

    With `clip_delta` the first `r` is at most that: a token of negative advantage whose probability
    has risen far keeps a bounded loss, and no gradient.

    Source: PPO, arXiv 1707.06347, equation 7; the second bound: "dual clip", arXiv 1912.09729,
    and "two-sided", INTELLECT-2, arXiv 2505.07291.
    """
    clipped_N = ratio_N.clamp(1 - options.epsilon_low, 1 + options.epsilon_high)
    if options.clip_delta is not None:
        ratio_N = ratio_N.clamp(max=options.clip_delta)
    return -torch.minimum(ratio_N * advantages_N, clipped_N * advantages_N)


def token_clip(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-min(r A, clip(r, 1 - low, 1 + high) A)` of each token, with `r = policy / old`.

    Source: GRPO, arXiv 2402.03300, equation 3; the range with two bounds of its own: DAPO,
    arXiv 2503.14476, equation 8. Metrics: see `clip_metrics`.
    """
    ratio_N = torch.exp(tokens.log_ratios)
    loss_N = clipped_loss(ratio_N, tokens.advantages_N, options)
    return loss_N, clip_metrics(ratio_N.detach(), tokens, options)


def clip_metrics(ratio_N: Tensor, tokens: Tokens, options: LossOptions) -> Metrics:
    """Weighted shares of tokens whose gradient the clip cuts off, below and above."""
    low_N = (ratio_N < 1 - options.epsilon_low) & (tokens.advantages_N < 0)
    high_N = (ratio_N > 1 + options.epsilon_high) & (tokens.advantages_N > 0)
    return shares_beyond(low_N, high_N, tokens)


def shares_beyond(low_N: Tensor, high_N: Tensor, tokens: Tokens) -> Metrics:
    """Weighted shares of tokens below and above a range, and of both together."""
    low, high = tokens.mean(low_N), tokens.mean(high_N)
    return {
        "clip_ratio/low_mean": low,
        "clip_ratio/high_mean": high,
        "clip_ratio/region_mean": low + high,
    }
