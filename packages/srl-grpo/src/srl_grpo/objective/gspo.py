"""The clipped surrogate with one ratio per sequence: GSPO, and LUSPO by other token weights."""

import torch
from torch import Tensor

from srl_grpo.objective.clip import clip_metrics, clipped_loss
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def sequence_clip(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-min(s A, clip(s, 1 - low, 1 + high) A)` with `s = exp(mean over the sequence of log r)`.

    `s`, the ratio of the sequence's likelihoods to the power of 1 / length, stands at each of its
    tokens, and its gradient reaches all of them. In a mean per sequence this is GSPO; where a
    sequence counts by its length, LUSPO. Metrics: shares of tokens in sequences that are cut off.

    Source: GSPO, arXiv 2507.18071, equations 5 and 7; LUSPO, arXiv 2602.05261.
    """
    ratio_N = torch.exp(tokens.sequence_mean(tokens.log_ratios))
    loss_N = clipped_loss(ratio_N, tokens.advantages_N, options)
    return loss_N, clip_metrics(ratio_N.detach(), tokens, options)
