"""The tokens that every loss is a function of: flat, whichever rows or trees they come from.

Left out: what a loss makes of them, a file each (`srl_grpo.objective.loss` lists them).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from srl_grpo.objective.sequences import broadcast_mean, broadcast_sum

Metrics = dict[str, Tensor]


@dataclass(frozen=True)
class Tokens:
    """N sampled tokens of any number of sequences, flat, with what is known of each."""

    logprobs_N: Tensor
    """Under the policy; takes gradients."""
    old_logprobs_N: Tensor
    """Under the policy that sampled, constant."""
    advantages_N: Tensor
    weights_N: Tensor
    """What each token counts in the loss (`srl_grpo.objective.normalisation`)."""
    sequences_N: Tensor | None = None
    """Which sequence each token belongs to, int64; needed by losses with a ratio per sequence."""
    reference_logprobs_N: Tensor | None = None
    sampler_logprobs_N: Tensor | None = None
    """As the sampler reported them."""
    shares_N: Tensor | None = None
    """What each token counts in metrics; all of a global batch's sum to 1. None: as in the loss."""
    correction_N: Tensor | None = None
    """Importance weights of the sampler's correction, where there is one; constant."""

    @classmethod
    def of(cls, logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> "Tokens":
        """The tokens of a micro-batch; without old log-probabilities the policy is the old one."""
        return cls(
            logprobs_N,
            old_logprobs(logprobs_N, columns),
            columns["advantage"],
            columns["weight"],
            columns.get("sequence"),
            columns.get("reference_logprobs"),
            columns.get("sampler_logprobs"),
            columns.get("share"),
        )

    @property
    def log_ratios(self) -> Tensor:
        """`log(policy / old)` of each token."""
        return self.logprobs_N - self.old_logprobs_N

    def sequence_mean(self, values_N: Tensor) -> Tensor:
        """At each token the mean of its sequence's values."""
        assert self.sequences_N is not None
        return broadcast_mean(values_N, self.sequences_N)

    def sequence_sum(self, values_N: Tensor) -> Tensor:
        """At each token the sum of its sequence's values."""
        assert self.sequences_N is not None
        return broadcast_sum(values_N, self.sequences_N)

    def mean(self, values_N: Tensor) -> Tensor:
        """The mean of values by the tokens' shares; it adds up over micro-batches and ranks."""
        shares_N = self.weights_N if self.shares_N is None else self.shares_N
        return (values_N.detach() * shares_N).sum()


def old_logprobs(logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> Tensor:
    """Log-probabilities under the policy that sampled, N; without any it is the policy itself."""
    return columns.get("old_logprobs", logprobs_N.detach())
