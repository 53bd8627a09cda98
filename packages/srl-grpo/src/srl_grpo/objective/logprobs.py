"""Log-probabilities of given tokens from hidden states, without the whole logits.

Logits dominate memory: 8k tokens of a 152k vocabulary are 4.6 GiB in float32, and the plain path
holds several copies. Here at most `LOGIT_BYTES` of them exist at a time, forward and backward.
Left out: which tokens to score and the model that makes the hidden states
(`srl_grpo.learner.policy`).
"""

from collections.abc import Iterator
from typing import cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

LOGIT_BYTES = 256 << 20
"""Most bytes of float32 logits alive at once; the forward holds about two such buffers."""


def reference_logprobs(
    hidden_NH: Tensor, weight_VH: Tensor, targets_N: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """The obvious form: all logits, then log-softmax. The oracle of `linear_logprobs`.

    Returns:
        Log-probabilities of the targets and entropies, each of shape N, in nats.
    """
    logits_NV = (hidden_NH @ weight_VH.T).float() / temperature
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(dim=-1)
    return logprobs_NV.gather(1, targets_N[:, None])[:, 0], entropy_N


def compute_entropy(logits: Tensor) -> Tensor:
    """The entropy of the softmax over the last dimension, in nats; the other dimensions stay.

    `logsumexp - sum(p logit)`, which overflows nowhere.
    """
    probabilities = logits.softmax(-1)
    return logits.logsumexp(-1) - (probabilities * logits).sum(-1)


def chunks(count: int, vocabulary: int) -> Iterator[slice]:
    """Slices of `range(count)` whose float32 logits fit into `LOGIT_BYTES`."""
    size = max(1, LOGIT_BYTES // (4 * vocabulary))
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def chunk_logits(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float
) -> Tensor:
    """Float32 logits of a few positions, divided by the temperature; shape N x V."""
    return nn.functional.linear(hidden_NH, weight_VH, bias_V).float().div_(temperature)


class _LinearLogprobs(torch.autograd.Function):
    """Logits chunk by chunk, computed again in the backward pass; see `linear_logprobs`."""

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
    ) -> tuple[Tensor, Tensor]:
        count = hidden_NH.shape[0]
        logprobs_N = torch.empty(count, dtype=torch.float32, device=hidden_NH.device)
        entropy_N, normaliser_N = torch.empty_like(logprobs_N), torch.empty_like(logprobs_N)
        for part in chunks(count, weight_VH.shape[0]):
            logits_PV = chunk_logits(hidden_NH[part], weight_VH, bias_V, temperature)
            normaliser_P = torch.logsumexp(logits_PV, dim=-1)
            chosen_P = logits_PV.gather(1, targets_N[part, None])[:, 0]
            logprobs_N[part] = chosen_P - normaliser_P
            probabilities_PV = torch.exp(logits_PV - normaliser_P[:, None])
            entropy_N[part] = normaliser_P - (probabilities_PV * logits_PV).sum(dim=-1)
            normaliser_N[part] = normaliser_P
        saved = (hidden_NH, weight_VH, bias_V, targets_N, normaliser_N)
        ctx.save_for_backward(*saved)  # type: ignore[arg-type]  # None is allowed, the stub says no
        ctx.temperature = temperature  # type: ignore[attr-defined]  # torch's way to keep constants
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(
        ctx: FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor, Tensor, Tensor | None, None, None]:
        hidden_NH, weight_VH, bias_V, targets_N, normaliser_N = ctx.saved_tensors  # type: ignore[attr-defined]
        temperature: float = ctx.temperature  # type: ignore[attr-defined]
        scale_N = gradients[0].float() / temperature
        grad_hidden_NH = torch.empty_like(hidden_NH)
        grad_weight_VH = torch.zeros_like(weight_VH, dtype=torch.float32)
        grad_bias_V = None if bias_V is None else torch.zeros_like(bias_V, dtype=torch.float32)
        for part in chunks(hidden_NH.shape[0], weight_VH.shape[0]):
            logits_PV = chunk_logits(hidden_NH[part], weight_VH, bias_V, temperature)
            slope_PV = torch.exp(logits_PV - normaliser_N[part, None]).neg_()
            slope_PV.scatter_add_(1, targets_N[part, None], torch.ones_like(slope_PV[:, :1]))
            slope_PV.mul_(scale_N[part, None])
            if grad_bias_V is not None:
                grad_bias_V += slope_PV.sum(dim=0)
            low_PV = slope_PV.to(weight_VH.dtype)
            grad_hidden_NH[part] = low_PV @ weight_VH
            grad_weight_VH += (low_PV.T @ hidden_NH[part]).float()
        bias = None if grad_bias_V is None or bias_V is None else grad_bias_V.to(bias_V.dtype)
        return grad_hidden_NH, grad_weight_VH.to(weight_VH.dtype), bias, None, None


def linear_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    temperature: float = 1.0,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets_N` under `softmax((hidden @ weight.T + bias) / temperature)`.

    Args:
        hidden_NH: final hidden states of N positions.
        weight_VH: the output embedding; may be bfloat16 (sums are float32).
        bias_V: its bias, or None.
        targets_N: token ids, int64.
        temperature: the sampling temperature, above 0.

    Returns:
        Log-probabilities and entropies (no gradient), shape N, float32, in nats.
    """
    if hidden_NH.shape[0] == 0:
        # An empty micro-batch still touches the weights, so that every rank reduces the same.
        touched = [hidden_NH, weight_VH, *([] if bias_V is None else [bias_V])]
        nothing_N = torch.stack([0.0 * part.sum() for part in touched]).sum().float().expand(0)
        return nothing_N, nothing_N.detach()
    apply = _LinearLogprobs.apply
    result = apply(hidden_NH, weight_VH, bias_V, targets_N, temperature)  # type: ignore[no-untyped-call]  # untyped in torch
    return cast("tuple[Tensor, Tensor]", result)


class LogprobHead(nn.Linear):
    """An output embedding that can also score tokens, inside its own forward.

    Inside, since under ZeRO-3 a parameter is whole only while its module runs: a matmul with
    `lm_head.weight` from elsewhere would meet an empty tensor.
    """

    def forward(  # type: ignore[override]  # nn.Linear's call plus the scoring form
        self, hidden: Tensor, targets_N: Tensor | None = None, temperature: float = 1.0
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of `hidden` (…, H); or, given targets, what `linear_logprobs` returns."""
        if targets_N is None:
            return nn.functional.linear(hidden, self.weight, self.bias)
        return linear_logprobs(hidden, self.weight, self.bias, targets_N, temperature)

    @classmethod
    def of(cls, linear: nn.Linear) -> "LogprobHead":
        """A head that shares the parameters of `linear`, tied weights included."""
        with torch.device("meta"):
            head = cls(linear.in_features, linear.out_features, bias=linear.bias is not None)
        head.weight = linear.weight
        head.bias = linear.bias
        return head
