"""Estimators of the KL divergence from the policy to a reference, token by token, in nats.

With `x` sampled from the policy, `p` its probability there and `q` under the reference, all three
have the right value in expectation or nearly so; what differs is their gradient as a term of a
loss:

- `k1`, `log p - log q`: unbiased and noisy; its gradient, `grad log p`, is zero in expectation, so
  that as a plain term of a loss it pulls nowhere. For the reward, or corrected.
- `k2`, `(log p - log q)^2 / 2`: biased; its gradient is that of the divergence.
- `k3`, `q/p - log(q/p) - 1`: unbiased and never negative; its gradient is that of the divergence
  the other way, from the reference to the policy.

Corrected, an estimate is weighed by `p / p_old`, the ratio of the policy and the one that sampled,
which takes gradients: its value is unbiased also after several steps on a batch, and for k1 and k3
so is its gradient. The plain form is the default here; TRL's default is the corrected one
(`use_bias_correction_kl`).

Source: J. Schulman, "Approximating KL divergence" (2020); GRPO, arXiv 2402.03300, equation 4 (k3);
DeepSeek-V3.2, arXiv 2512.02556, section 3.1 (corrected).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Estimator = Literal["k1", "k2", "k3"]


def k1(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """The k1 estimate of `KL(policy || reference)`: `-d` with `d = ref - policy`; shape N."""
    return logprobs_N - reference_logprobs_N


def k2(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """The k2 estimate of `KL(policy || reference)`: `d^2 / 2` with `d = ref - policy`; shape N."""
    return 0.5 * (logprobs_N - reference_logprobs_N).square()


def k3(logprobs_N: Tensor, reference_logprobs_N: Tensor) -> Tensor:
    """The k3 estimate of `KL(policy || reference)`: `exp(d) - d - 1` with `d = ref - policy`.

    Never negative, unbiased under samples of the policy, in nats per token; shape N.

    Source: J. Schulman, "Approximating KL divergence" (2020); used by GRPO, arXiv 2402.03300.
    """
    difference_N = reference_logprobs_N - logprobs_N
    return torch.expm1(difference_N) - difference_N


ESTIMATORS: dict[Estimator, Callable[[Tensor, Tensor], Tensor]] = {"k1": k1, "k2": k2, "k3": k3}
"""By the names of `algorithm.kl_estimator`."""


def corrected(estimate_N: Tensor, logprobs_N: Tensor, old_logprobs_N: Tensor) -> Tensor:
    """An estimate weighed by `policy / old`, whose gradient counts too; shape N."""
    return estimate_N * torch.exp(logprobs_N - old_logprobs_N)
