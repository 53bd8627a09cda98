"""What each loss takes where a config says nothing; no torch is needed to know it.

Left out: their formulas (`srl_grpo.objective.loss`).
"""

from dataclasses import dataclass
from typing import Literal

LossName = Literal["dapo", "grpo"]


@dataclass(frozen=True)
class LossDefaults:
    """The constants that a loss was published with."""

    epsilon_low: float = 0.2
    epsilon_high: float = 0.2
    baseline: Literal["group", "none"] = "group"


LOSSES: dict[LossName, LossDefaults] = {
    "dapo": LossDefaults(epsilon_high=0.28),
    "grpo": LossDefaults(),
}
"""By the names of `algorithm.loss`."""
