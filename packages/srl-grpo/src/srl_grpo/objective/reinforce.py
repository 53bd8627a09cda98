"""The policy gradient itself: `-A log p`, without a ratio. Left out: what the advantage is.

With the reward as the advantage it is REINFORCE; with the reward less its group's mean, REINFORCE
with a baseline. Samples of an older policy are taken as if they were the policy's own.
"""

from torch import Tensor

from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens


def policy_gradient_loss(advantages_N: Tensor, logprobs_N: Tensor) -> Tensor:
    """`-A log p` of each token; shape N, or any that broadcast.

    Source: R. Williams, "Simple statistical gradient-following algorithms" (1992); CS336,
    assignment 5, section 7.
    """
    return -advantages_N * logprobs_N


def reinforce(tokens: Tokens, _options: LossOptions) -> tuple[Tensor, Metrics]:
    """`-A log p` of each token; no metrics. See `policy_gradient_loss`."""
    return policy_gradient_loss(tokens.advantages_N, tokens.logprobs_N), {}
