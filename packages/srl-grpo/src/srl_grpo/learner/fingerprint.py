"""What tells a model's weights from others: a checksum over some values of each parameter.

Cheap enough for every step. Left out: whole checksums, which checkpoints have.
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
