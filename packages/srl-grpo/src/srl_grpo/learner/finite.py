"""What is not finite is neither saved nor trained on: the checks, and what to say of it.

Every check ends alike on all ranks, so that none waits for another that has stopped.
"""

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from srl_data.command.errors import CommandError
from srl_grpo.learner.distributed import World

if TYPE_CHECKING:
    from srl_grpo.learner.engine import TrainingEngine


def first_not_finite(tensors: Iterable[tuple[str, Tensor]]) -> str | None:
    """`NAME holds VALUE` of the first tensor with a NaN or an infinity; None if all are finite."""
    for name, tensor in tensors:
        if not tensor.is_floating_point():
            continue
        finite = torch.isfinite(tensor)
        if not bool(finite.all()):
            return f"{name} holds {float(tensor[~finite][0])}"
    return None


LARGEST_WEIGHT = 1e6
"""Beyond it squares of activations overflow, and norms answer 0, which looks finite; the largest
weights of trained language models are some hundreds."""


def first_overgrown(weights: Mapping[str, Tensor]) -> str | None:
    """`NAME has grown to VALUE` of the first weight beyond `LARGEST_WEIGHT`, or None."""
    for name, weight in weights.items():
        if weight.is_floating_point() and weight.numel():
            size = float(weight.abs().max())
            if size > LARGEST_WEIGHT:
                return f"{name} has grown to {size:.3g}, too large to compute with"
    return None


def largest(weights: Mapping[str, Tensor]) -> str:
    """`VALUE in NAME` of the weight furthest from 0."""
    name, weight = max(weights.items(), key=lambda pair: float(pair[1].abs().max()))
    return f"{float(weight.abs().max()):.3g} in {name}"


def advice(kept_step: int) -> str:
    """What to do after a step that was not finite; `kept_step` is the newest checkpoint's, or 0."""
    if kept_step:
        return f"lower --learning-rate and continue from step {kept_step} with --resume auto"
    return "there is no checkpoint yet: lower --learning-rate and begin anew"


def check_savable(
    engine: "TrainingEngine", weights: Mapping[str, Tensor], step: int, kept: int, world: World
) -> None:
    """CommandError where weights, optimizer state or the model's outputs are not finite.

    `weights` are the whole model's on rank 0, as `TrainingEngine.model_state` gives them. Size and
    outputs count too: weights of 1e10 are finite, and no run can continue from them. Collective.
    """
    own = first_not_finite(weights.items())
    own = own or first_overgrown(weights) or first_not_finite(engine.optimizer_tensors())
    if not engine.last_outputs_are_finite() and own is None:
        size = f", the largest {largest(weights)}" if weights else ""
        own = f"the model's log-probabilities are not finite, though its weights are{size}"
    for rank, fault in enumerate(world.gather(own)):
        if fault is not None:
            raise CommandError(
                f"step {step}: {fault} (seen on rank {rank}); no checkpoint was written; "
                + advice(kept)
            )


def sampling_fault(engine: "TrainingEngine", fault: str, step: int, kept: int) -> str:
    """What to say where the model could not be sampled from after `step`. Collective.

    On rank 0, which has the whole model's weights, it names the first one that is to blame.
    """
    weights = engine.model_state()
    blame = first_not_finite(weights.items()) or first_overgrown(weights)
    return "; ".join([f"after step {step}: {fault}", *([blame] if blame else []), advice(kept)])


def check_update(metrics: Mapping[str, float], step: int, kept_step: int) -> None:
    """CommandError where a step's gradient was not finite, before its weights are saved.

    `step` counts from 0; `kept_step` is that of the newest checkpoint.
    """
    norm = metrics["grad_norm"]
    if not math.isfinite(norm):
        raise CommandError(
            f"step {step + 1}: the gradient norm is {norm}; nothing of this step was saved; "
            f"{advice(kept_step)}"
        )


def check_metrics(metrics: Mapping[str, float], step: int) -> None:
    """CommandError where a step's loss or another sum is not finite, before weights change."""
    for name, value in metrics.items():
        if not math.isfinite(value):
            raise CommandError(
                f"step {step}: {name} is {value}; this update was not made; lower "
                "--learning-rate and continue from the newest checkpoint with --resume auto"
            )


def check_logprobs(rows: Iterable[tuple[float, ...]], whose: str) -> None:
    """CommandError where log-probabilities are not finite; `whose` says under which policy."""
    for row in rows:
        bad = [value for value in row if not math.isfinite(value)]
        if bad:
            raise CommandError(
                f"log-probabilities under {whose} hold {bad[0]}: its weights or activations are "
                "not finite; lower --learning-rate and continue with --resume auto"
            )
