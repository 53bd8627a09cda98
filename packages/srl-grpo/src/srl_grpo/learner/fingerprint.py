"""What tells a model's weights from others: by some values of each parameter, or by all.

Cheap enough for every step. Left out: checksums of files, which checkpoints have.
"""

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn
from transformers import PreTrainedModel

SAMPLED = 64
"""Values of each parameter that a fingerprint reads."""

Gathered = Callable[[list[nn.Parameter]], AbstractContextManager[object]]
"""Makes parameters whole that an engine shards; see `TrainingEngine.gathered`."""


def whole(_parameters: list[nn.Parameter]) -> AbstractContextManager[object]:
    """Of a model that nothing shards."""
    return nullcontext()


def fingerprint(model: PreTrainedModel, gathered: Gathered = whole) -> str:
    """`dtype:sha256` over names, shapes and spread-out values of a model's parameters.

    Collective where `gathered` is.
    """
    digest = hashlib.sha256()
    dtype = next(model.parameters()).dtype
    for name, parameter in model.named_parameters():
        with gathered([parameter]):
            flat = parameter.detach().flatten()
            sample = flat[:: max(1, flat.numel() // SAMPLED)][:SAMPLED].to("cpu", torch.float32)
            digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(sample.numpy().tobytes())
    return f"{str(dtype).removeprefix('torch.')}:{digest.hexdigest()}"


INTEGERS = {1: torch.int8, 2: torch.int16, 4: torch.int32, 8: torch.int64}
"""Integers by their bytes."""


def checksum(model: PreTrainedModel, gathered: Gathered = whole) -> str:
    """A fingerprint that a change of any single value changes, also one of the last bit.

    Sums of the values' bits as integers: exact, so the same on every device and in any order.
    Collective where `gathered` is.
    """
    sums: list[int] = []
    for parameter in model.parameters():
        with gathered([parameter]):
            bits = parameter.detach().contiguous().view(INTEGERS[parameter.element_size()])
            sums.append(int(bits.sum(dtype=torch.int64)))
    digest = hashlib.sha256(repr(sums).encode()).hexdigest()
    return f"{fingerprint(model, gathered)}:{digest}"
