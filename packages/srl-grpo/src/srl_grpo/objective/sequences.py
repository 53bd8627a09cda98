"""Sums and means over sequences whose tokens lie flat, by the number of each token's sequence.

Differentiable; a sequence is never split over micro-batches, so its sum is whole. Left out: what is
summed.
"""

import torch
from torch import Tensor


def broadcast_sum(values_N: Tensor, sequences_N: Tensor) -> Tensor:
    """At each token the sum of the values of its sequence; shape N.

    Args:
        values_N: one value per token.
        sequences_N: the number of each token's sequence from 0, int64, in any order.
    """
    count = sequences_N.bincount().numel()
    sums_S = values_N.new_zeros(count).index_add(0, sequences_N, values_N)
    return sums_S[sequences_N]


def broadcast_mean(values_N: Tensor, sequences_N: Tensor) -> Tensor:
    """At each token the mean of the values of its sequence; see `broadcast_sum`."""
    lengths_N = sequences_N.bincount()[sequences_N]
    return broadcast_sum(values_N, sequences_N) / lengths_N


def reference_sum(values_N: Tensor, sequences_N: Tensor) -> Tensor:
    """The obvious form: token by token. The oracle of `broadcast_sum`."""
    nothing = values_N.sum() * 0.0
    parts = [values_N[sequences_N == sequence].sum() for sequence in sequences_N]
    return torch.stack([nothing, *parts])[1:]
