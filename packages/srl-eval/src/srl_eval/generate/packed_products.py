"""A model's matrix products with few rows, by weights that are laid out for them, on a CPU.

A product of some ten rows reads every weight once and does little with it; from weights in oneDNN's
own layout it takes half to two thirds of the time that it takes from plain ones. The copy costs
what four to five tokens of eight rows gain, and is made anew for each chunk, since weights change.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType

import torch
from torch import Tensor, nn

MOST_ROWS = 128
"""Rows up to which it gains: beyond, plain products keep the processor as busy."""
LEAST_TOKENS = 16
"""Tokens that have to follow, so that the copy is paid for."""
LEAST_WEIGHTS, MOST_WEIGHTS = 1 << 24, 1 << 30
"""Weights of all layers: fewer stay in the processor's caches, more are too large a copy."""


@contextmanager
def packed_products(model: nn.Module, rows: int, tokens: int) -> Iterator[None]:
    """Meanwhile the linear layers of a model compute from packed weights, where that gains."""
    layers = linear_layers(model) if rows <= MOST_ROWS and tokens >= LEAST_TOKENS else []
    weights = sum(layer.weight.numel() for layer in layers)
    if not (LEAST_WEIGHTS < weights <= MOST_WEIGHTS and torch.backends.mkldnn.is_available()):
        yield
        return
    try:
        for layer in layers:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), rows)  # noqa: SLF001 - as torch's own compiler calls it
            layer.forward = MethodType(_product(packed), layer)  # type: ignore[method-assign]  # for a while
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("forward", None)


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The plain linear layers of float32 on a CPU, each once."""
    return [
        module
        for module in model.modules()
        if type(module) is nn.Linear
        and module.weight.dtype == torch.float32
        and module.weight.device.type == "cpu"
        and module.weight.numel()
        and "forward" not in module.__dict__
    ]


def _product(packed: Tensor) -> Callable[[nn.Linear, Tensor], Tensor]:
    """A linear layer's forward pass from its packed weight."""
    operator = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - as torch's own compiler calls it

    def forward(layer: nn.Linear, values: Tensor) -> Tensor:
        found: Tensor = operator(values, packed, layer.bias, "none", [], "")
        return found

    return forward
