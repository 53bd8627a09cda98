"""The losses by name: what each token adds, and how much it counts in its global batch.

Every loss is a function of flat tokens, a file each; what they share stands here: the sampler's
correction, the KL term, the weighted sum. A batch's loss is that sum, so micro-batches and ranks
add up exactly. Left out: log-probabilities (`srl_grpo.objective.logprobs`), advantages and the
reference model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from srl_grpo.objective.clip import token_clip
from srl_grpo.objective.kl import k3
from srl_grpo.objective.normalisation import Normalisation
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Metrics, Tokens

Terms = Callable[[Tokens, LossOptions], tuple[Tensor, Metrics]]
"""Of tokens: the loss of each, unweighted, and metrics as weighted sums."""


@dataclass(frozen=True)
class LossKind:
    """One loss of the family."""

    terms: Terms
    normalisation: Normalisation
    """How much a token counts in its global batch."""
    reads_old_logprobs: bool = True
    """Whether it compares the policy with the one that sampled."""


LOSSES = {
    "dapo": LossKind(token_clip, "token-mean"),
    "grpo": LossKind(token_clip, "sequence-mean"),
}
"""Losses by the name that `algorithm.loss` gives."""


class Loss(Protocol):
    """What an update minimises: a function of tokens' log-probabilities and of their columns."""

    @property
    def reads_old_logprobs(self) -> bool:
        """Whether `old_logprobs` matter once a batch takes several optimizer steps."""

    def __call__(self, logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> tuple[Tensor, Metrics]:
        """A micro-batch's share of the global loss (scalar), and metrics as weighted sums.

        `columns` holds constants of the N tokens: `weight` always, and what a sample carries.
        """


@dataclass(frozen=True)
class PolicyLoss:
    """A loss of `LOSSES` with its constants; see `policy_loss`."""

    name: str = "dapo"
    options: LossOptions = field(default_factory=LossOptions)

    @property
    def reads_old_logprobs(self) -> bool:
        """See `Loss`."""
        return LOSSES[self.name].reads_old_logprobs

    @property
    def normalisation(self) -> Normalisation:
        """How much a token counts in its global batch."""
        return LOSSES[self.name].normalisation

    def __call__(self, logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> tuple[Tensor, Metrics]:
        """See `Loss`; reads `advantage`, `sequence` and the log-probabilities there are."""
        return policy_loss(self.name, Tokens.of(logprobs_N, columns), self.options)


def policy_loss(name: str, tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """The loss called `name` of a micro-batch's tokens, plus `beta` times the KL term.

    Returns:
        The loss (scalar) and metrics as weighted sums (so that they add up over micro-batches):
        those of the loss, `approx_kl` (k3 from the old policy) and, with a reference, `kl`.
    """
    loss_N, metrics = LOSSES[name].terms(tokens, options)
    if options.sampler_cap is not None:
        assert tokens.sampler_logprobs_N is not None
        correction_N = torch.exp(tokens.old_logprobs_N - tokens.sampler_logprobs_N)
        loss_N = loss_N * correction_N.clamp(max=options.sampler_cap)
    metrics["approx_kl"] = tokens.mean(k3(tokens.old_logprobs_N, tokens.logprobs_N.detach()))
    if options.beta:
        assert tokens.reference_logprobs_N is not None
        kl_N = k3(tokens.logprobs_N, tokens.reference_logprobs_N)
        loss_N = loss_N + options.beta * kl_N
        metrics["kl"] = tokens.mean(kl_N)
    return (loss_N * tokens.weights_N).sum(), metrics
