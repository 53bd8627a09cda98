"""CISPO: the ratio is clipped as a weight, so that no token loses its gradient."""

import torch
from torch import Tensor

from srl_grpo.objective.clip import shares_beyond
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def cispo(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-sg(clip(r, 1 - low, 1 + high)) A log p` of each token; `sg` takes no gradient.

    `epsilon_low` 1 sets no lower bound, as in the source's runs. Metrics: shares of tokens whose
    weight is cut, whatever their advantage.

    Source: MiniMax-M1, arXiv 2506.13585, equations 4 and 5; an upper bound of about 5, with no
    lower one: ScaleRL, arXiv 2510.13786.
    """
    low, high = 1 - options.epsilon_low, 1 + options.epsilon_high
    ratio_N = torch.exp(tokens.log_ratios).detach()
    loss_N = -ratio_N.clamp(low, high) * tokens.advantages_N * tokens.logprobs_N
    return loss_N, shares_beyond(ratio_N < low, ratio_N > high, tokens)
