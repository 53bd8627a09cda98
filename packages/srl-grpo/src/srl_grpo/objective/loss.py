"""The losses by name: what each token adds, and how much it counts in its global batch.

Every loss is a function of flat tokens, a file each; what they share stands here: the sampler's
correction, the KL term, the weighted sum. A batch's loss is that sum, so micro-batches and ranks
add up exactly. Left out: log-probabilities (`srl_grpo.objective.logprobs`), advantages and the
reference model.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Protocol

from torch import Tensor

from srl_grpo.objective.cispo import cispo
from srl_grpo.objective.clip import token_clip
from srl_grpo.objective.gspo import sequence_clip
from srl_grpo.objective.kl import ESTIMATORS, corrected, k3
from srl_grpo.objective.normalisation import Normalisation
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.reinforce import reinforce
from srl_grpo.objective.sapo import sapo
from srl_grpo.objective.tokens import Metrics, Tokens
from srl_grpo.objective.vespo import vespo

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
    weighs_sampler: bool = False
    """Whether it takes the sampler's correction itself; else its terms are multiplied by it."""


KINDS = {
    "no_baseline": LossKind(reinforce, "sequence-mean", reads_old_logprobs=False),
    "reinforce_with_baseline": LossKind(reinforce, "sequence-mean", reads_old_logprobs=False),
    "grpo_clip": LossKind(token_clip, "sequence-mean"),
    "grpo": LossKind(token_clip, "sequence-mean"),
    "bnpo": LossKind(token_clip, "token-mean"),
    "dapo": LossKind(token_clip, "token-mean"),
    "dr_grpo": LossKind(token_clip, "constant"),
    "gspo": LossKind(sequence_clip, "sequence-mean"),
    "luspo": LossKind(sequence_clip, "sequence-sum"),
    "cispo": LossKind(cispo, "token-mean"),
    "sapo": LossKind(sapo, "sequence-mean"),
    "vespo": LossKind(vespo, "token-mean", weighs_sampler=True),
}
"""What each loss computes, by the names of `algorithm.loss`; the constants that it was published
with are `srl_grpo.config.losses.PUBLISHED`'s."""


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
    """A loss of `KINDS` with its constants; see `policy_loss`."""

    name: str = "dapo"
    options: LossOptions = field(default_factory=LossOptions)

    @property
    def reads_old_logprobs(self) -> bool:
        """See `Loss`; also where the sampler or the KL term is corrected by them."""
        options = self.options
        corrects = options.sampler is not None or (options.kl_corrected and options.beta > 0)
        return KINDS[self.name].reads_old_logprobs or corrects

    @property
    def normalisation(self) -> Normalisation:
        """How much a token counts in its global batch."""
        return KINDS[self.name].normalisation

    def __call__(self, logprobs_N: Tensor, columns: Mapping[str, Tensor]) -> tuple[Tensor, Metrics]:
        """See `Loss`; reads `advantage`, `sequence` and the log-probabilities there are."""
        return policy_loss(self.name, Tokens.of(logprobs_N, columns), self.options)


def policy_loss(name: str, tokens: Tokens, options: LossOptions) -> tuple[Tensor, Metrics]:
    """The loss called `name` of a micro-batch's tokens, plus `beta` times the KL term.

    Returns:
        The loss (scalar) and metrics as weighted sums (so that they add up over micro-batches):
        those of the loss, `approx_kl` (k3 from the old policy), with a reference `kl`, and where
        the sampler is corrected `sampler_weight/mean` and `sampler_weight/beyond`.
    """
    kind = KINDS[name]
    tokens, correction = with_correction(tokens, options)
    loss_N, metrics = kind.terms(tokens, options)
    if tokens.correction_N is not None and not kind.weighs_sampler:
        loss_N = loss_N * tokens.correction_N
    metrics["approx_kl"] = tokens.mean(k3(tokens.old_logprobs_N, tokens.logprobs_N.detach()))
    if options.beta:
        kl_N = kl_term(tokens, options)
        loss_N = loss_N + options.beta * kl_N
        metrics["kl"] = tokens.mean(kl_N)
    return (loss_N * tokens.weights_N).sum(), metrics | correction


def kl_term(tokens: Tokens, options: LossOptions) -> Tensor:
    """The estimate of each token's KL divergence from the reference; shape N."""
    assert tokens.reference_logprobs_N is not None
    estimate_N = ESTIMATORS[options.kl_estimator](tokens.logprobs_N, tokens.reference_logprobs_N)
    if not options.kl_corrected:
        return estimate_N
    return corrected(estimate_N, tokens.logprobs_N, tokens.old_logprobs_N)


def with_correction(tokens: Tokens, options: LossOptions) -> tuple[Tokens, Metrics]:
    """Tokens with the sampler's correction, and what it did; no change where there is none."""
    if options.sampler is None:
        return tokens, {}
    assert tokens.sampler_logprobs_N is not None
    old_N, sampler_N = tokens.old_logprobs_N, tokens.sampler_logprobs_N
    weights_N = options.sampler(old_N, sampler_N, tokens.sequences_N)
    beyond_N = ~options.sampler.within(options.sampler.ratio(old_N, sampler_N, tokens.sequences_N))
    return replace(tokens, correction_N=weights_N), {
        "sampler_weight/mean": tokens.mean(weights_N),
        "sampler_weight/beyond": tokens.mean(beyond_N),
    }
