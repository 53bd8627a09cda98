"""The learning rate as a function of the step alone, so that resuming needs no state."""

import math
from typing import Literal

from srl_grpo.config.sections import OptimizerSection

Schedule = Literal["constant", "linear", "cosine"]


def scheduled_rate(options: OptimizerSection, step: int, num_steps: int) -> float:
    """The learning rate of step `step` (0-based) of `num_steps`, as the config says."""
    warmup = options.warmup_steps
    if options.warmup_ratio is not None:
        warmup = math.ceil(options.warmup_ratio * num_steps)
    return learning_rate(step, options.learning_rate, options.schedule, warmup, num_steps)


def learning_rate(
    step: int, peak: float, schedule: Schedule, warmup_steps: int, num_steps: int
) -> float:
    """The rate of step `step` (0-based) of `num_steps`.

    Rises linearly over `warmup_steps` steps to `peak`, then stays, or falls to 0 at `num_steps`.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    done = (step - warmup_steps) / max(1, num_steps - warmup_steps)
    if schedule == "linear":
        return peak * (1 - done)
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * done))
    return peak
