"""Attention that also tells the log-sum-exp of its scores, so that parts of it can be merged.

A part is some queries on some keys. Of several parts on the same queries, `out` and `lse` merge to
those of all their keys; given the merged ones, the backward pass of each part yields exactly its
share of the gradient. Shapes: queries K x R x Q x D (K key-value heads, R query heads per one of
them), keys and values K x R x S x D, usually expanded over R without a copy.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Gradients = tuple[Tensor, Tensor, Tensor]
"""Of queries, keys and values."""


@dataclass(frozen=True)
class Kernel:
    """One implementation, forward and backward."""

    forward: Callable[..., tuple[Tensor, Tensor]]
    """Of (queries, keys, values, causal, mask, scale): values per query, and the log-sum-exp of
    its scores (K x R x Q, float32 or wider). `causal` is for as many queries as keys; `mask`
    (Q x S, added to scores) stands in its place."""
    backward: Callable[..., Gradients]
    """Of (gradient, queries, keys, values, out, lse, causal, mask, scale), merged `out` and
    `lse`."""
    masks: bool = True
    """Whether it takes a mask."""


def plain_scores(
    query: Tensor, key: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> Tensor:
    """Scaled scores of every query on every key, minus infinity where it does not see it."""
    scores = query @ key.mT * scale
    if causal:
        unseen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).triu(1)
        scores = scores.masked_fill(unseen, -torch.inf)
    return scores if mask is None else scores + mask


def plain_forward(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """The obvious form: all scores at once, in float32 or wider."""
    wide = torch.promote_types(query.dtype, torch.float32)
    scores = plain_scores(query.to(wide), key.to(wide), causal, mask, scale)
    lse = scores.logsumexp(-1)
    weights = (scores - lse[..., None]).exp()
    return (weights @ value.to(wide)).to(query.dtype), lse


def plain_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
) -> Gradients:
    """The gradients of `plain_forward`, written out."""
    wide = torch.promote_types(query.dtype, torch.float32)
    grad, query, key, value, out = (t.to(wide) for t in (grad, query, key, value, out))
    weights = (plain_scores(query, key, causal, mask, scale) - lse[..., None]).exp()
    slopes = weights * (grad @ value.mT - (grad * out).sum(-1, keepdim=True)) * scale
    return slopes @ key, slopes.mT @ query, weights.mT @ grad


def cpu_forward(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """torch's flash attention of the CPU."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu  # noqa: SLF001 - the public call keeps the log-sum-exp to itself
    found: tuple[Tensor, Tensor] = operator(
        query, key, value, 0.0, causal, attn_mask=mask, scale=scale
    )
    return found


def cpu_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
) -> Gradients:
    """Its backward pass."""
    operator = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu_backward  # noqa: SLF001 - as above
    found: Gradients = operator(
        grad, query, key, value, out, lse, 0.0, causal, attn_mask=mask, scale=scale
    )
    return found


def cuda_forward(
    query: Tensor, key: Tensor, value: Tensor, causal: bool, mask: Tensor | None, scale: float
) -> tuple[Tensor, Tensor]:
    """torch's flash attention of CUDA, for half precision."""
    assert mask is None, "flash attention of CUDA takes no mask"
    operator = torch.ops.aten._scaled_dot_product_flash_attention  # noqa: SLF001 - as above
    out, lse, *_ = operator(query, key, value, 0.0, causal, False, scale=scale)
    return out, lse


def cuda_backward(
    grad: Tensor,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    out: Tensor,
    lse: Tensor,
    causal: bool,
    mask: Tensor | None,
    scale: float,
) -> Gradients:
    """Its backward pass; without dropout the state of the random generator is not read."""
    assert mask is None, "flash attention of CUDA takes no mask"
    operator = torch.ops.aten._scaled_dot_product_flash_attention_backward  # noqa: SLF001 - as above
    longest = query.shape[2], key.shape[2]
    unused = torch.zeros(2, dtype=torch.uint64, device=query.device)
    rest = (None, None, *longest, 0.0, causal, unused, unused[:0])
    same = [tensor.contiguous() for tensor in (grad, query, key, value, out, lse)]
    found: Gradients = operator(*same, *rest, scale=scale)
    return found


PLAIN = Kernel(plain_forward, plain_backward)
CPU = Kernel(cpu_forward, cpu_backward)
CUDA = Kernel(cuda_forward, cuda_backward, masks=False)


def kernel_for(query: Tensor) -> Kernel:
    """The implementation for a tensor's device, type and head size (its last dimension)."""
    if query.device.type == "cpu":
        return CPU
    half = query.dtype in (torch.float16, torch.bfloat16)
    fits = query.shape[-1] % 8 == 0 and query.shape[-1] <= 256
    return CUDA if query.device.type == "cuda" and half and fits else PLAIN


def by_head(values_HTD: Tensor, heads: int) -> Tensor:
    """Values of H heads as those of `heads` key-value heads; a view, shape heads x R x T x D."""
    found: Tensor = values_HTD.unflatten(0, (heads, -1))
    return found


def grouped(query: Tensor, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All three by key-value heads; keys and values for each query head, without a copy."""
    q = by_head(query, len(key))
    return (
        q,
        key[:, None].expand(-1, q.shape[1], -1, -1),
        value[:, None].expand(-1, q.shape[1], -1, -1),
    )
