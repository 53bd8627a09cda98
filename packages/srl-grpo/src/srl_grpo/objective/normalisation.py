"""How much each token of a global batch counts: the denominator that tells losses apart.

A batch's loss is a weighted sum over its tokens, so that micro-batches and ranks add up exactly,
however the batch is cut. Left out: what each token adds (the losses).
"""

from typing import Literal

Normalisation = Literal["token-mean", "sequence-mean", "sequence-sum", "constant"]


def token_weights(
    lengths: list[int], normalisation: Normalisation, longest: int = 1
) -> list[float]:
    """The weight of each token of each sequence in a global batch; empty sequences weigh nothing.

    With S non-empty sequences of n tokens each, T tokens in all:

    - `token-mean`, 1 / T: every token alike (DAPO, arXiv 2503.14476).
    - `sequence-mean`, 1 / (S n): every sequence alike, its tokens sharing its weight (GRPO,
      arXiv 2402.03300).
    - `sequence-sum`, 1 / S: a sequence counts by its length (LUSPO, arXiv 2602.05261).
    - `constant`, 1 / (S `longest`): by its length, over one constant (Dr. GRPO, arXiv 2503.20783).

    Args:
        lengths: completion lengths in tokens, of the whole global batch.
        longest: the constant, the longest completion that the sampler may write, in tokens.

    Returns:
        One weight per sequence: that of each of its tokens.
    """
    total = denominator(lengths, normalisation)
    share = {"sequence-mean": None, "constant": longest}.get(normalisation, 1)
    return [1.0 / (total * (share or length)) if length else 0.0 for length in lengths]


def denominator(lengths: list[int], normalisation: Normalisation) -> int:
    """What the weights of a global batch are shares of: its tokens, or its non-empty sequences."""
    return sum(lengths) if normalisation == "token-mean" else sum(1 for n in lengths if n)


def share_normalisation(normalisation: Normalisation) -> Normalisation:
    """How metrics are weighed under a loss's normalisation: as it is, where its weights sum to 1.

    Under one whose weights do not, by token.
    """
    return normalisation if normalisation.endswith("-mean") else "token-mean"
