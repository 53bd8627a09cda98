"""Attention of rows that share prompts: every row on one copy of its prompt's keys, and on its own.

While prompts are read, they lie end to end in one row, each seeing itself alone: no padding, no
mask. While rows are decoded, the queries of all rows of a prompt go over its keys in one call, and
each row's over its own keys in another; the two are merged by their log-sum-exp. Keys and values
are those of the cache (`shared_cache.py`), never repeated for the query heads. Under a name of its
own (`NAME`). Left out: which models it is right for (`shared_check.py`).
"""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from srl_eval.generate.attention_kernels import grouped, kernel_for
from srl_eval.generate.attention_switch import refuse_unknown
from srl_eval.generate.shared_cache import Block, SharedCache

NAME = "shared_rollouts"


class Attended(Protocol):
    """What tokens of a pass see."""

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """From queries (B, H, T, D) and what the cache gave (B, K, T', D): out (B, T, H, D)."""
        ...


class EndToEnd:
    """Texts of some lengths that lie end to end in one row, in every layer alike."""

    def __init__(self, lengths: Sequence[int]) -> None:
        self._lengths = lengths

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:  # noqa: ARG002
        """One causal call a text; see `Attended`."""
        kernel = kernel_for(query)
        q, k, v = grouped(query[0], key[0], value[0])
        out_1THD = torch.empty_like(query.transpose(1, 2))
        out = out_1THD[0].transpose(0, 1).unflatten(0, q.shape[:2])
        start = 0
        for length in self._lengths:
            own = slice(start, start := start + length)
            found, _ = kernel.forward(q[:, :, own], k[:, :, own], v[:, :, own], True, None, scale)
            out[:, :, own] = found
        return out_1THD


class Decoding:
    """One new token of every row, which sees its prompt and the row's own tokens."""

    def __init__(self, cache: SharedCache) -> None:
        self._cache = cache

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
        """A call on the rows' own keys and one a block of prompts, merged; see `Attended`."""
        kernel, cache = kernel_for(query), self._cache
        rows, heads = key.shape[:2]
        q = query.reshape(rows, heads, -1, query.shape[-1])
        out, lse = kernel.forward(q, key, value, False, None, scale)
        prompts = zip(cache.blocks, cache.masks, cache.shared[layer].prompts, strict=True)
        for block, mask, (keys, values) in prompts:
            part = _on_block(block, q)
            found, found_lse = kernel.forward(part, keys, values, False, mask, scale)
            out = _merged(block, out, lse, found, found_lse)
        result: Tensor = out.reshape(rows, 1, -1, query.shape[-1])
        return result


def _on_block(block: Block, query_BKRD: Tensor) -> Tensor:
    """The queries of a block's rows, (U, K, S * R, D): prompt by prompt, fillers too."""
    query = query_BKRD if block.whole else query_BKRD[block.places.flatten()]
    part = query.unflatten(0, block.places.shape).transpose(1, 2)
    flat: Tensor = part.flatten(2, 3)
    return flat


def _merged(block: Block, out: Tensor, lse: Tensor, found: Tensor, found_lse: Tensor) -> Tensor:
    """`out` (B, K, R, D) with `found` (U, K, S * R, D) taken in at the block's rows.

    The share of one part of two is a logistic function of the difference of their log-sum-exp.
    """
    slots = block.places.shape[1]
    found = found.unflatten(2, (slots, -1)).transpose(1, 2).flatten(0, 1)
    found_lse = found_lse.unflatten(2, (slots, -1)).transpose(1, 2).flatten(0, 1)
    if block.whole:
        share = (found_lse - lse).sigmoid_()[..., None]
        return torch.lerp(out, found, share.to(out.dtype))
    rows, there = block.rows, block.there
    share = (found_lse[there] - lse[rows]).sigmoid_()[..., None]
    out[rows] = torch.lerp(out[rows], found[there], share.to(out.dtype))
    return out


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,  # noqa: ARG001 - transformers gives it by its place
    dropout: float = 0.0,
    scaling: float | None = None,
    attended: Attended | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """transformers' call of an attention, in a pass that is given what its tokens see.

    NotImplementedError of a layer that asks for what this does not compute.
    """
    refuse_unknown(module, key, value, dropout, options)
    if attended is None:
        raise NotImplementedError(f"{type(module).__name__} is not told what its tokens see")
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    layer = module.layer_idx
    assert isinstance(layer, int), "a layer with a cache has its number"
    return attended.attend(layer, query, key, value, scale), None


AttentionInterface.register(NAME, attention_forward)
