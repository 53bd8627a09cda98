"""Attention of a row of tokens that is a tree: every token sees its own text up to itself.

No mask of the whole row and no copies of keys: a branch's tokens see each other in one causal call,
and all that continues it sees its keys in one more; the parts of a query are merged by their
log-sum-exp. Small neighbours are taken in one masked call, since each call costs some microseconds
whatever its size. Under a name of its own (`NAME`) among transformers' attention implementations;
a forward pass without a tree is that of `sdpa` there. Left out: the kernels
(`srl_eval.generate.attention_kernels`), and which models it is right for
(`srl_grpo.learner.sharing`).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from srl_eval.generate.attention_kernels import by_head, grouped, kernel_for
from srl_eval.generate.attention_switch import attention_on, refuse_unknown
from srl_grpo.learner.trie import Branch

NAME = "shared_prompts"
SMALL = 128
"""Tokens that neighbouring branches may have together to be taken in one masked call."""


@dataclass(frozen=True)
class Part:
    """Some queries of the row on some of its keys."""

    queries: slice
    keys: slice
    causal: bool = False
    first: bool = False
    """Whether these queries have no part before it."""
    mask: Tensor | None = None
    """What is added to scores, float32; None for a part that needs none."""


class Tree:
    """The branches of a row, as its attention takes them."""

    def __init__(self, branches: Sequence[Branch]) -> None:
        self.branches = branches
        self._parts: dict[tuple[torch.device, torch.dtype, int], list[Part]] = {}

    def parts(self, like: Tensor, small: int) -> list[Part]:
        """The parts, with masks of a tensor's type; small neighbours together, up to `small`."""
        key = like.device, like.dtype, small
        if key not in self._parts:
            self._parts[key] = [
                part if part.mask is None else replace(part, mask=part.mask.to(like))
                for part in parts_of(self.branches, small)
            ]
        return self._parts[key]


def parts_of(branches: Sequence[Branch], small: int) -> Iterator[Part]:
    """The parts of a row, so that those of a query's earlier keys come first."""
    place = 0
    while place < len(branches):
        branch, first = branches[place], branches[place].depth == 0
        count, stop = neighbours(branches, place, small)
        whole = slice(branch.start, stop)
        if count > 1:
            mask = mask_of(branches[place : place + count])
            yield Part(whole, whole, first=first, mask=mask)
            place += count
            continue
        own = slice(branch.start, branch.end)
        yield Part(own, own, causal=True, first=first)
        if branch.stop > branch.end:
            yield Part(slice(branch.end, branch.stop), own, first=first)
        place += 1


def neighbours(branches: Sequence[Branch], place: int, small: int) -> tuple[int, int]:
    """How many branches from `place` on are whole subtrees of one parent and small together.

    Also where they end in the row.
    """
    start, depth = branches[place].start, branches[place].depth
    end, taken, count = start, place, 0
    while taken < len(branches) and branches[taken].depth == depth:
        stop = branches[taken].stop
        if stop - start > small or branches[taken].start != end:
            break
        while taken < len(branches) and branches[taken].start < stop:
            taken += 1
        end, count = stop, taken - place
    return count, end


def mask_of(branches: Sequence[Branch]) -> Tensor:
    """What is added to the scores of whole subtrees that lie side by side; float32."""
    start, stop = branches[0].start, branches[-1].end
    sees = torch.zeros(stop - start, stop - start, dtype=torch.bool)
    for branch in branches:
        own = slice(branch.start - start, branch.end - start)
        sees[branch.start - start : branch.stop - start, own] = True
    return torch.zeros(sees.shape).masked_fill_(~sees.tril_(), -torch.inf)


class _TreeAttention(torch.autograd.Function):
    """Queries H x T x D, keys and values K x T x D, a multiple of K heads; out T x H x D."""

    @staticmethod
    def forward(
        ctx: FunctionCtx, query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float
    ) -> Tensor:
        heads, count, width = query.shape
        kernel = kernel_for(query)
        parts = tree.parts(query, SMALL if kernel.masks else 0)
        wide = torch.promote_types(query.dtype, torch.float32)
        out_THD = query.new_empty(count, heads, width, dtype=wide)
        out = by_head(out_THD.transpose(0, 1), len(key))
        lse = query.new_empty(out.shape[:-1], dtype=wide)
        q, k, v = grouped(query, key, value)
        for part in parts:
            rows, columns = part.queries, part.keys
            found, found_lse = kernel.forward(
                q[:, :, rows], k[:, :, columns], v[:, :, columns], part.causal, part.mask, scale
            )
            if part.first:
                out[:, :, rows], lse[:, :, rows] = found, found_lse
            else:
                merge(out[:, :, rows], lse[:, :, rows], found, found_lse)
        result = out_THD.to(query.dtype)
        ctx.save_for_backward(query, key, value, result, lse)
        ctx.rest = kernel, parts, scale  # type: ignore[attr-defined]  # torch's way to keep constants
        return result

    @staticmethod
    def backward(ctx: FunctionCtx, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        query, key, value, out_THD, lse = ctx.saved_tensors  # type: ignore[attr-defined]  # as above
        kernel, parts, scale = ctx.rest  # type: ignore[attr-defined]  # as above
        q, k, v = grouped(query, key, value)
        out, grad = (by_head(t.transpose(0, 1), len(key)) for t in (out_THD, gradients[0]))
        wide = torch.promote_types(query.dtype, torch.float32)
        sums = [torch.zeros_like(t, dtype=wide) for t in (query, key, value)]
        sums_q = by_head(sums[0], len(key))
        for part in parts:
            rows, columns = part.queries, part.keys
            found_q, found_k, found_v = kernel.backward(
                grad[:, :, rows],
                q[:, :, rows],
                k[:, :, columns],
                v[:, :, columns],
                out[:, :, rows],
                lse[:, :, rows],
                part.causal,
                part.mask,
                scale,
            )
            sums_q[:, :, rows] += found_q
            sums[1][:, columns] += found_k.sum(1)
            sums[2][:, columns] += found_v.sum(1)
        found = [total.to(query.dtype) for total in sums]
        return found[0], found[1], found[2], None, None


def merge(out: Tensor, lse: Tensor, found: Tensor, found_lse: Tensor) -> None:
    """Take another part of the same queries into `out` and `lse`, in place."""
    both = torch.logaddexp(lse, found_lse)
    out.mul_((lse - both).exp_()[..., None])
    out.addcmul_(found.to(out.dtype), (found_lse - both).exp_()[..., None])
    lse.copy_(both)


def tree_attention(
    query: Tensor, key: Tensor, value: Tensor, tree: Tree, scale: float | None = None
) -> Tensor:
    """Attention of one row of T tokens that is a tree.

    Args:
        query: shape H x T x D.
        key: shape K x T x D, where H is a multiple of K.
        value: shape K x T x D.
        tree: the row's branches.
        scale: of scores; default one over the square root of D.

    Returns:
        Shape T x H x D.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    result: Tensor = _TreeAttention.apply(query, key, value, tree, scale)  # type: ignore[no-untyped-call]  # untyped in torch
    return result


def attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    dropout: float = 0.0,
    scaling: float | None = None,
    tree: Tree | None = None,
    **options: object,
) -> tuple[Tensor, None]:
    """transformers' call of an attention; without a tree, that of `PLAIN`.

    NotImplementedError of a layer that asks for what a tree's attention does not compute.
    """
    if tree is None:
        found: tuple[Tensor, None] = sdpa_attention_forward(
            module,
            query,
            key,
            value,
            attention_mask,
            dropout,
            scaling,
            **options,  # type: ignore[arg-type]  # the layer's own
        )
        return found
    refuse_unknown(module, key, value, dropout, options)
    return tree_attention(query[0], key[0], value[0], tree, scaling)[None], None


AttentionInterface.register(NAME, attention_forward)
AttentionMaskInterface.register(NAME, sdpa_mask)


def tree_attention_on(model: nn.Module) -> AbstractContextManager[None]:
    """Meanwhile the model's plain attention is `NAME`; see `attention_on`."""
    return attention_on(model, NAME)
