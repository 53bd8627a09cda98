"""The loss of supervised training: how unlikely given responses are, token by token.

What a token weighs is in its batch's weights, so that micro-batches and ranks add up exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor


def response_loss(logprobs_N: Tensor, weights_N: Tensor) -> Tensor:
    """The negative log-likelihood, `-sum(w * log p)`; shape (), nats per token.

    Per token, where the weights sum to 1 over the global batch.

    Args:
        logprobs_N: log-probabilities of the N response tokens under the policy; takes gradients.
        weights_N: each token's share of the global batch.
    """
    return -(logprobs_N * weights_N).sum()


@dataclass(frozen=True)
class ResponseLoss:
    """`response_loss` of samples whose completions are the responses to learn."""

    reads_old_logprobs: bool = False

    def __call__(
        self, logprobs_N: Tensor, columns: Mapping[str, Tensor]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """See `srl_grpo.objective.loss.Loss`; the loss itself is the only figure."""
        return response_loss(logprobs_N, columns["weight"]), {}
