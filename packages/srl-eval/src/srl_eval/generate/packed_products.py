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
    gains = rows <= MOST_ROWS and tokens >= LEAST_TOKENS and can_pack()
    layers = linear_layers(model) if gains else []
    weights = sum(layer.weight.numel() for layer in layers)
    if not layers or not LEAST_WEIGHTS <= weights <= MOST_WEIGHTS:
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


def can_pack() -> bool:
    """Whether plain products would be oneDNN's in float32: under autocast they are not."""
    mkldnn = torch.backends.mkldnn
    enabled = mkldnn.is_available() and bool(mkldnn.enabled)
    return enabled and not torch.is_autocast_enabled("cpu")


def linear_layers(model: nn.Module) -> list[nn.Linear]:
    """The linear layers of float32 on a CPU that compute the plain product, each once."""
    return [
        module
        for module in model.modules()
        if isinstance(module, nn.Linear)
        and computes_plain_product(type(module))
        and all(map(is_packable, module.parameters(recurse=False)))
        and module.weight.numel()
        and "forward" not in module.__dict__
    ]


def computes_plain_product(kind: type[nn.Linear]) -> bool:
    """Whether a class's forward pass of one argument is that of `nn.Linear`.

    A class of its own says so by `plain_product = True`; those derived from it have to say it too.
    """
    return kind is nn.Linear or vars(kind).get("plain_product") is True


def is_packable(parameter: Tensor) -> bool:
    """Whether it is a float32 tensor on a CPU whose products are torch's: no subclass's."""
    plain = type(parameter) in (Tensor, nn.Parameter)
    return plain and parameter.dtype == torch.float32 and parameter.device.type == "cpu"


def _product(packed: Tensor) -> Callable[..., object]:
    """A linear layer's forward pass from its packed weight; with more arguments its class's own."""
    operator = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - as torch's own compiler calls it

    def forward(layer: nn.Linear, values: Tensor, *more: object, **options: object) -> object:
        if more or options:
            return type(layer).forward(layer, values, *more, **options)
        found: Tensor = operator(values, packed, layer.bias, "none", [], "")
        return found

    return forward
