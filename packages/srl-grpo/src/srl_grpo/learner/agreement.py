"""How far the sampler's log-probabilities may lie from the trainer's before a run is stopped.

Both come from the same weights, so what is between them is rounding, or a fault: buffers that were
not copied, noise in training mode, another attention. Left out: correcting for it, which is the
loss's.
"""

import math

import numpy as np
import torch
from torch import Tensor

from srl_data.command.errors import CommandError

LIMITS = {torch.float32: 1e-3, torch.bfloat16: 0.25}
"""Greatest mean difference, in nats per token, at which a run continues. Healthy runs lie far
below: SmolLM2-135M lies at 4e-6 in float32 and 0.056 in bfloat16 on a CPU."""

DIFFERENCE = "sampling/logprob_difference"

QUANTILES = {"p01": 0.01, "p50": 0.5, "p99": 0.99}

HEALTHY = {torch.float32: (0.999, 1.001), torch.bfloat16: (0.7, 1.4)}
"""Where all but a hundredth of a batch's ratios lie on either side in a healthy run: what rounding
makes of `benchmarks/sampler_ratio.py`'s models, with room."""


def difference_metrics(log_ratios_N: Tensor, shares_N: Tensor) -> dict[str, Tensor]:
    """How far the sampler's log-probabilities lie from the policy that sampled, as sums.

    Args:
        log_ratios_N: `log(old / sampler)` of each token.
        shares_N: what each token counts; all of a global batch's sum to 1.
    """
    return {DIFFERENCE: (log_ratios_N.abs() * shares_N).sum()}


def ratio_metrics(log_ratios_N: Tensor) -> dict[str, float]:
    """The distribution of `old / sampler` over all tokens of a batch; nothing of no tokens.

    Its mean, largest value and quantiles, each token counted once, whatever it counts in the loss.
    """
    if not log_ratios_N.numel():
        return {}
    ratios_N = torch.exp(log_ratios_N.double()).numpy()
    quantiles = np.quantile(ratios_N, list(QUANTILES.values()))
    found = {
        "mean": ratios_N.mean(),
        "max": ratios_N.max(),
        **dict(zip(QUANTILES, quantiles, strict=True)),
    }
    return {f"sampling/ratio_{name}": float(value) for name, value in found.items()}


def unhealthy(metrics: dict[str, float], dtype: torch.dtype) -> str | None:
    """What to say of a batch whose ratios leave `HEALTHY`; None of one whose ratios do not.

    The batch is trained on all the same: it is `check_agreement` that stops a run.
    """
    low, high = HEALTHY.get(dtype, HEALTHY[torch.bfloat16])
    ends = [metrics.get(f"sampling/ratio_{name}", 1.0) for name in ("p01", "p99")]
    if low <= ends[0] and ends[1] <= high:
        return None
    name = str(dtype).removeprefix("torch.")
    return (
        f"the trainer's over the sampler's probability of a token: a hundredth of the tokens lies "
        f"below {ends[0]:.4g}, another above {ends[1]:.4g}; a healthy run in {name} stays within "
        f"{low:g} to {high:g}. --sampler-cap 2 weighs tokens back; docs/guides/losses.md says "
        "more (said once)"
    )


def limit_of(option: float | None, dtype: torch.dtype) -> float:
    """The limit that holds: the config's, or the type's; infinity where the config says 0."""
    if option is None:
        return LIMITS.get(dtype, LIMITS[torch.bfloat16])
    return option or math.inf


def check_agreement(metrics: dict[str, float], limit: float, step: int, dtype: torch.dtype) -> None:
    """CommandError where sampler and trainer differ by more than rounding; alike on all ranks."""
    found = metrics.get(DIFFERENCE, 0.0)
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
