"""VESPO: a gradient weighed by a soft kernel of the whole sequence's ratio."""

import math

import torch
from torch import Tensor

from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens

LOWEST, HIGHEST = math.log(1e-8), 20.0
"""Bounds of the logarithm of a sequence's weight."""


def vespo(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-sg(phi(w)) A log p`, with `phi(w) = w^k exp(l (1 - w))` and `w` the sequence's ratio.

    `w` is the product of `policy / old` over the sequence and, where the sampler is corrected for,
    of its tokens' weights; `k` and `l` are those of the advantage's sign (0 counts as positive).
    `phi(1)` is 1, and `sg` takes no gradient. Metrics: `vespo/phi_mean`.

    Source: VESPO, arXiv 2602.10693, and the bounds of its published code.
    """
    log_ratio_N = tokens.log_ratios.detach().clamp(-HIGHEST, HIGHEST)
    if tokens.correction_N is not None:
        log_ratio_N = log_ratio_N + tokens.correction_N.log().clamp(LOWEST, HIGHEST)
    log_w_N = tokens.sequence_sum(log_ratio_N).clamp(LOWEST, HIGHEST)
    w_N = log_w_N.exp()
    good_N = torch.exp(options.vespo_k_pos * log_w_N + options.vespo_lambda_pos * (1 - w_N))
    bad_N = torch.exp(options.vespo_k_neg * log_w_N + options.vespo_lambda_neg * (1 - w_N))
    phi_N = torch.where(tokens.advantages_N >= 0, good_N, bad_N)
    return -phi_N * tokens.advantages_N * tokens.logprobs_N, {"vespo/phi_mean": tokens.mean(phi_N)}
