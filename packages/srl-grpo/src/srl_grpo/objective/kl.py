"""Estimators of the KL divergence from the policy to a reference, token by token."""

import torch
from torch import Tensor


def k3(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """The k3 estimate of `KL(policy || reference)`: `exp(d) - d - 1` with `d = ref - policy`.

    Never negative, unbiased under samples of the policy, in nats per token; shape N.

    Source: J. Schulman, "Approximating KL divergence" (2020); used by GRPO, arXiv 2402.03300.
    """
    difference_N = reference_logprobs_N - logprobs_N
    return torch.expm1(difference_N) - difference_N
