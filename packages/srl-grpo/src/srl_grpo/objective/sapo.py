"""SAPO: a smooth gate in the place of the clip."""

import torch
from torch import Tensor

from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def sapo(tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-sigmoid(t (r - 1)) 4 / t A` of each token, with `r = policy / old`.

    `t` is `sapo_temperature_pos` where the advantage is positive, else `sapo_temperature_neg`. At
    `r = 1` the gradient is that of the ratio itself. Metrics: `sapo/weight_mean`, the gate's slope,
    1 at `r = 1` and less on either side.

    Source: SAPO, arXiv 2511.20347, equations 5 and 6.
    """
    t_N = torch.full_like(tokens.advantages_N, options.sapo_temperature_neg)
    t_N[tokens.advantages_N > 0] = options.sapo_temperature_pos
    gate_N = torch.sigmoid(t_N * (torch.exp(tokens.log_ratios) - 1))
    slope_N = 4 * gate_N.detach() * (1 - gate_N.detach())
    return -gate_N * 4 / t_N * tokens.advantages_N, {"sapo/weight_mean": tokens.mean(slope_N)}
