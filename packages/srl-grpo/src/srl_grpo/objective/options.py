"""The constants of the losses. Left out: what each loss makes of them, a file each."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LossOptions:
    """Constants of the losses; each reads those that it has a use for."""

    epsilon_low: float = 0.2
    """The clip range is `[1 - epsilon_low, 1 + epsilon_high]`."""
    epsilon_high: float = 0.2
    beta: float = 0.0
    """Weight of the KL term; 0 takes no reference."""
    sampler_cap: float | None = None
    """Cap of the importance weight `exp(old - sampler)` that corrects for a sampler whose
    probabilities differ from the trainer's; None applies no correction."""
