"""How far the sampler's log-probabilities may lie from the trainer's before a run is stopped.

Both come from the same weights, so what is between them is rounding, or a fault: buffers that were
not copied, noise in training mode, another attention. Left out: correcting for it, which is the
loss's.
"""

import math

import torch
from torch import Tensor

from srl_data.command.errors import CommandError

LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Greatest mean difference, in nats per token, at which a run continues. Healthy runs lie far
below: SmolLM2-135M lies at 4e-6 in float32 and 0.056 in bfloat16 on a CPU."""

DIFFERENCE = "sampling/logprob_difference"
UNEXPLAINED = "sampling/logprob_unexplained"


def unexplained(trainer_N: Tensor, sampler_N: Tensor, top_p: float) -> Tensor:
    """The part of each token's difference that nucleus sampling does not account for, N, nats.

    Renormalising over a nucleus of mass m adds -log m, which is at least 0 and at most -log(top_p).
    With `top_p` 1 this is the absolute difference.
    """
    gap_N = sampler_N - trainer_N
    return torch.maximum(-gap_N, gap_N + math.log(top_p)).clamp(min=0)


def limit_of(option: float | None, dtype: torch.dtype) -> float:
    """The limit that holds: the config's, or the type's; infinity where the config says 0."""
    if option is None:
        return LIMITS.get(dtype, LIMITS[torch.bfloat16])
    return option or math.inf


def check_agreement(metrics: dict[str, float], limit: float, step: int, dtype: torch.dtype) -> None:
    """CommandError where sampler and trainer differ by more than rounding; alike on all ranks."""
    found = metrics.get(UNEXPLAINED, metrics.get(DIFFERENCE, 0.0))
    if found <= limit:
        return
    name = str(dtype).removeprefix("torch.")
    raise CommandError(
        f"step {step}: the sampler's log-probabilities lie {found:.3g} nats per token from the "
        f"trainer's, where a healthy run in {name} stays far below {LIMITS.get(dtype, limit):g}: "
        "the model that samples is not the one that is trained (noise in training mode, weights or "
        "buffers that were not copied, an attention that differs: try --attention eager); this "
        "update was not made. --max-logprob-difference allows more; 0 never stops"
    )
