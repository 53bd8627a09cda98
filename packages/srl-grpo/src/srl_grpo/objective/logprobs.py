"""Log-probabilities of given tokens from hidden states, without the whole logits.

Logits dominate memory: 8k tokens of a 152k vocabulary are 4.6 GiB in float32, and the plain path
holds several copies. Here at most `LOGIT_BYTES` of them exist at a time, forward and backward;
where all of them fit into that, the backward pass finds their exponentials kept.

A head in bfloat16 is read a block of its vocabulary at a time, in float32: products of bfloat16
numbers are exact there, so that logits and gradients are rounded once, at the end. bfloat16 logits
would put several per cent of noise on a probability (docs/benchmarks/logprob-head.md).

Left out: which tokens to score and the model that makes the hidden states
(`srl_grpo.learner.policy`).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import FunctionCtx

from srl_grpo.objective.kept import Kept

LOGIT_BYTES = 256 << 20
"""Most bytes of float32 logits alive at once; a GPU's forward pass holds about two such buffers."""
TILE_BYTES = 1 << 20
"""Bytes of logits over which a CPU makes several passes while they are in its cache."""
WEIGHT_BYTES = 64 << 20
"""Most bytes of a float32 copy of weights that are not float32 themselves."""


def reference_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    targets_N: Tensor,
    temperature: float,
    kept: Kept | None = None,
) -> tuple[Tensor, Tensor]:
    """The obvious form: all logits, then log-softmax. The oracle of `linear_logprobs`.

    Of bfloat16 weights in float32, as there.

    Returns:
        Log-probabilities of the targets and entropies, each of shape N, in nats.
    """
    logits_NV = (wide(hidden_NH) @ wide(weight_VH).T) / temperature
    logprobs_NV = torch.log_softmax(logits_NV, dim=-1)
    entropy_N = -(logprobs_NV.exp() * logprobs_NV).sum(dim=-1)
    if kept is not None:
        mask_NV = kept.mask(slice(0, len(targets_N)), slice(0, len(weight_VH)), targets_N)
        logprobs_NV = torch.log_softmax(logits_NV.masked_fill(~mask_NV, -torch.inf), dim=-1)
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


def blocks(weight_VH: Tensor) -> Iterator[slice]:
    """Slices of the vocabulary: all of a float32 weight, else within `WEIGHT_BYTES`."""
    vocabulary, width = weight_VH.shape
    size = vocabulary
    if weight_VH.dtype.itemsize < 4:
        size = max(1, WEIGHT_BYTES // (4 * width))
    for start in range(0, vocabulary, size):
        yield slice(start, min(start + size, vocabulary))


@contextmanager
def exact_products(weight_VH: Tensor) -> Iterator[None]:
    """On a GPU, float32 products of what was bfloat16 by TF32, whose inputs hold all its digits."""
    matmul = torch.backends.cuda.matmul
    before = matmul.fp32_precision
    if weight_VH.is_cuda and weight_VH.dtype == torch.bfloat16:
        matmul.fp32_precision = "tf32"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def wide(values: Tensor) -> Tensor:
    """`values` in float32, or in float64 where they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def block_logits(
    hidden_NH: Tensor, weight_RH: Tensor, bias_R: Tensor | None, temperature: float
) -> Tensor:
    """Logits of a few positions over a part of the vocabulary; shape N x R."""
    bias = None if bias_R is None else wide(bias_R)
    logits_NR = nn.functional.linear(hidden_NH, weight_RH, bias)
    return logits_NR if temperature == 1 else logits_NR.div_(temperature)


def chunk_logits(
    hidden_NH: Tensor, weight_VH: Tensor, bias_V: Tensor | None, temperature: float
) -> Tensor:
    """Logits of a few positions, divided by the temperature; shape N x V."""
    if weight_VH.dtype.itemsize >= 4:
        return block_logits(hidden_NH, weight_VH, bias_V, temperature)
    logits_NV = hidden_NH.new_empty(len(hidden_NH), len(weight_VH))
    for block in blocks(weight_VH):
        bias = None if bias_V is None else bias_V[block]
        part = block_logits(hidden_NH, wide(weight_VH[block]), bias, temperature)
        logits_NV[:, block] = part
    return logits_NV


def exponentiate(logits_PV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Write `exp(logits - their maximum)` over the logits of P positions.

    Returns:
        The sums of what is written, the log-sum-exp of the logits and the entropy of their softmax,
        in nats; each of shape P.
    """
    found = [exponentiate_tile(logits_PV[rows]) for rows in tiles(logits_PV)]
    sums_P, normaliser_P, entropy_P = (torch.cat(parts) for parts in zip(*found, strict=True))
    return sums_P, normaliser_P, entropy_P


def tiles(logits_PV: Tensor) -> Iterator[slice]:
    """Rows that stay in a CPU's cache while several passes are made over them; else all rows."""
    count, vocabulary = logits_PV.shape
    row_bytes = vocabulary * logits_PV.dtype.itemsize
    size = count if logits_PV.device.type != "cpu" else max(1, TILE_BYTES // row_bytes)
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))


def exponentiate_tile(logits_PV: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """`exponentiate` of a few rows, which needs as much memory again."""
    most_P1 = logits_PV.amax(-1, keepdim=True)
    shifted_PV = logits_PV.sub_(most_P1)
    values_PV = shifted_PV.exp()
    sums_P = values_PV.sum(-1)
    log_sums_P = sums_P.log()
    mean_P = shifted_PV.mul_(values_PV).sum(-1) / sums_P
    logits_PV.copy_(values_PV)
    return sums_P, log_sums_P + most_P1[:, 0], log_sums_P - mean_P


def slopes(
    values_PR: Tensor, share_P: Tensor, targets_P: Tensor, start: int, scale_P: Tensor
) -> Tensor:
    """The gradient by logits of the vocabulary from `start` on, written over `values_PR`.

    Those times `share_P` are the probabilities there times `scale_P`, which is the gradient by the
    target's log-probability over the temperature.
    """
    slope_PR = values_PR.mul_(share_P.neg()[:, None])
    rows = slope_PR.shape[1]
    here_P = (targets_P >= start) & (targets_P < start + rows)
    places_P1 = (targets_P - start).clamp(0, rows - 1)[:, None]
    return slope_PR.scatter_add_(1, places_P1, (here_P * scale_P)[:, None])


class _LinearLogprobs(torch.autograd.Function):
    """Logits chunk by chunk; see `linear_logprobs`.

    The backward pass computes them again, unless a single chunk holds all: then it finds what the
    forward pass has left in their place.
    """

    @staticmethod
    def forward(
        ctx: FunctionCtx,
        hidden_NH: Tensor,
        weight_VH: Tensor,
        bias_V: Tensor | None,
        targets_N: Tensor,
        temperature: float,
        kept: Kept | None,
    ) -> tuple[Tensor, Tensor]:
        whole = slice(0, weight_VH.shape[0])
        count = hidden_NH.shape[0]
        full_NH = wide(hidden_NH)
        logprobs_N = full_NH.new_empty(count)
        entropy_N, normaliser_N = torch.empty_like(logprobs_N), torch.empty_like(logprobs_N)
        left: list[Tensor] = []
        for part in chunks(count, weight_VH.shape[0]):
            with exact_products(weight_VH):
                logits_PV = chunk_logits(full_NH[part], weight_VH, bias_V, temperature)
            chosen_P = logits_PV.gather(1, targets_N[part, None])[:, 0]
            if kept is not None:
                kept_PV = logits_PV.masked_fill(~kept.mask(part, whole, targets_N), -torch.inf)
                normaliser_N[part] = torch.logsumexp(kept_PV, dim=-1)
            sums_P, normaliser_P, entropy_N[part] = exponentiate(logits_PV)
            if kept is None:
                normaliser_N[part] = normaliser_P
                left = [logits_PV, sums_P] if len(logits_PV) == count else []
            logprobs_N[part] = chosen_P - normaliser_N[part]
        saved = (hidden_NH, weight_VH, bias_V, targets_N, normaliser_N, *left)
        ctx.save_for_backward(*saved)  # type: ignore[arg-type]  # None is allowed, the stub says no
        ctx.temperature = temperature  # type: ignore[attr-defined]  # torch's way to keep constants
        ctx.kept = kept  # type: ignore[attr-defined]  # as above
        ctx.mark_non_differentiable(entropy_N)
        return logprobs_N, entropy_N

    @staticmethod
    def backward(
        ctx: FunctionCtx, *gradients: Tensor
    ) -> tuple[Tensor | None, Tensor | None, Tensor | None, None, None, None]:
        hidden_NH, weight_VH, bias_V, targets_N, normaliser_N, *left = ctx.saved_tensors  # type: ignore[attr-defined]
        needs: tuple[bool, ...] = ctx.needs_input_grad  # type: ignore[attr-defined]  # torch sets it
        temperature: float = ctx.temperature  # type: ignore[attr-defined]
        kept: Kept | None = ctx.kept  # type: ignore[attr-defined]  # as above
        scale_N = wide(gradients[0]) / temperature
        full_NH = wide(hidden_NH)
        scored = _Scored(
            full_NH, weight_VH, bias_V, targets_N, normaliser_N, left, temperature, kept, scale_N
        )
        grad_hidden_NH = torch.zeros_like(full_NH) if needs[0] else None
        grad_weight_VH = torch.zeros_like(weight_VH) if needs[1] else None
        grad_bias_V = torch.empty_like(bias_V) if needs[2] else None
        with torch.autocast(hidden_NH.device.type, enabled=False):
            for block in blocks(weight_VH):
                scored.add_block(block, grad_hidden_NH, grad_weight_VH, grad_bias_V)
        if grad_hidden_NH is not None:
            grad_hidden_NH = grad_hidden_NH.to(hidden_NH.dtype)
        return grad_hidden_NH, grad_weight_VH, grad_bias_V, None, None, None


@dataclass(frozen=True)
class _Scored:
    """What the backward pass has: the forward pass's inputs and what it kept.

    `scale_N` is the gradient by the log-probabilities over the temperature.
    """

    full_NH: Tensor
    weight_VH: Tensor
    bias_V: Tensor | None
    targets_N: Tensor
    normaliser_N: Tensor
    left: Sequence[Tensor]
    temperature: float
    kept: Kept | None
    scale_N: Tensor

    def add_block(
        self,
        block: slice,
        grad_hidden_NH: Tensor | None,
        grad_weight_VH: Tensor | None,
        grad_bias_V: Tensor | None,
    ) -> None:
        """Take a block of the vocabulary into the gradients, but for those that none asks for."""
        weight_RH = wide(self.weight_VH[block])
        # the gradient itself, or a longer type's zeros
        sums_RH = None if grad_weight_VH is None else wide(grad_weight_VH[block])
        bias_sums_R = weight_RH.new_zeros(len(weight_RH))
        for part in chunks(len(self.full_NH), len(weight_RH)):
            with exact_products(self.weight_VH):
                slope_PR = self.slope(part, block, weight_RH)
                if grad_hidden_NH is not None:
                    grad_hidden_NH[part].addmm_(slope_PR, weight_RH)
                if sums_RH is not None:
                    sums_RH.addmm_(slope_PR.T, self.full_NH[part])
            if grad_bias_V is not None:
                bias_sums_R += slope_PR.sum(dim=0)
        if (
            grad_weight_VH is not None
            and sums_RH is not None
            and sums_RH.dtype != grad_weight_VH.dtype
        ):
            grad_weight_VH[block] = sums_RH
        if grad_bias_V is not None:
            grad_bias_V[block] = bias_sums_R

    def slope(self, part: slice, block: slice, weight_RH: Tensor) -> Tensor:
        """The gradient by the logits of some positions over a block; shape P x R."""
        targets_N, scale_N, left, kept = self.targets_N, self.scale_N, self.left, self.kept
        if left:
            values_PR, share_P = left[0][part, block], scale_N[part] / left[1][part]
        else:
            bias_R = None if self.bias_V is None else self.bias_V[block]
            values_PR = block_logits(self.full_NH[part], weight_RH, bias_R, self.temperature)
            if kept is not None:
                values_PR.masked_fill_(~kept.mask(part, block, targets_N), -torch.inf)
            values_PR.sub_(self.normaliser_N[part, None]).exp_()
            share_P = scale_N[part]
        return slopes(values_PR, share_P, targets_N[part], block.start, scale_N[part])


def linear_logprobs(
    hidden_NH: Tensor,
    weight_VH: Tensor,
    bias_V: Tensor | None,
    targets_N: Tensor,
    temperature: float = 1.0,
    kept: Kept | None = None,
) -> tuple[Tensor, Tensor]:
    """Log-probabilities of `targets_N` under `softmax((hidden @ weight.T + bias) / temperature)`.

    With `kept` that distribution is renormalised over each place's set, to which its target belongs
    in any case; entropies are those of the whole distribution all the same.

    Args:
        hidden_NH: final hidden states of N positions.
        weight_VH: the output embedding; may be bfloat16 (products and sums are float32).
        bias_V: its bias, or None.
        targets_N: token ids, int64.
        temperature: the sampling temperature, above 0.
        kept: the sets that the targets were drawn from; None where nothing was left out.

    Returns:
        Log-probabilities and entropies (no gradient), shape N, in nats: float32, or float64 of
        float64.
    """
    if hidden_NH.shape[0] == 0:
        # An empty micro-batch still touches the weights, so that every rank reduces the same.
        touched = [hidden_NH, weight_VH, *([] if bias_V is None else [bias_V])]
        nothing_N = wide(torch.stack([0.0 * part.sum() for part in touched]).sum()).expand(0)
        return nothing_N, nothing_N.detach()
    apply = _LinearLogprobs.apply
    with torch.autocast(hidden_NH.device.type, enabled=False):  # products here are float32
        result = apply(hidden_NH, weight_VH, bias_V, targets_N, temperature, kept)  # type: ignore[no-untyped-call]  # untyped in torch
    return cast("tuple[Tensor, Tensor]", result)


class LogprobHead(nn.Linear):
    """An output embedding that can also score tokens, inside its own forward.

    Inside, since under ZeRO-3 a parameter is whole only while its module runs: a matmul with
    `lm_head.weight` from elsewhere would meet an empty tensor.
    """

    plain_product: ClassVar[bool] = True
    """Of hidden states alone it is `nn.Linear`: `srl_eval.generate.packed_products` asks."""

    def forward(  # type: ignore[override]  # nn.Linear's call plus the scoring form
        self,
        hidden: Tensor,
        targets_N: Tensor | None = None,
        temperature: float = 1.0,
        kept: Kept | None = None,
    ) -> Tensor | tuple[Tensor, Tensor]:
        """Logits of `hidden` (…, H); or, given targets, what `linear_logprobs` returns."""
        if targets_N is None:
            return nn.functional.linear(hidden, self.weight, self.bias)
        return linear_logprobs(hidden, self.weight, self.bias, targets_N, temperature, kept)

    @classmethod
    def of(cls, linear: nn.Linear) -> "LogprobHead":
        """A head that shares the parameters of `linear`, tied weights included."""
        with torch.device("meta"):
            head = cls(linear.in_features, linear.out_features, bias=linear.bias is not None)
        head.weight = linear.weight
        head.bias = linear.bias
        return head
