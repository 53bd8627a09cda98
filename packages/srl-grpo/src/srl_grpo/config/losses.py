"""What each loss takes where a config says nothing; no torch is needed to know it.

Left out: what they compute, by the same names (`srl_grpo.objective.loss.KINDS`).
"""

from dataclasses import dataclass
from typing import Literal

LossName = Literal[
    "dapo",
    "grpo",
    "bnpo",
    "dr_grpo",
    "gspo",
    "luspo",
    "cispo",
    "sapo",
    "vespo",
    "grpo_clip",
    "reinforce_with_baseline",
    "no_baseline",
]
Baseline = Literal["group", "none"]
Aggregation = Literal["sum_then_normalize", "normalize_then_sum"]
Scale = Literal["group", "batch", "none"]
Estimator = Literal["k1", "k2", "k3"]
Correction = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]

CLIP = ("epsilon_low", "epsilon_high", "clip_delta")
SAPO = ("sapo_temperature_pos", "sapo_temperature_neg")
VESPO = ("vespo_k_pos", "vespo_lambda_pos", "vespo_k_neg", "vespo_lambda_neg")
CONSTANTS = (*CLIP, *SAPO, *VESPO)
"""Options that are constants of some losses; each is None in a config that leaves it to the
loss."""


@dataclass(frozen=True)
class LossDefaults:
    """The constants that a loss was published with, which of them it has, and its advantages."""

    constants: dict[str, float | None]
    baseline: Baseline = "group"
    scale: Scale = "group"


def clip(low: float, high: float) -> dict[str, float | None]:
    """A clip range around 1, without a second bound."""
    return {"epsilon_low": low, "epsilon_high": high, "clip_delta": None}


PUBLISHED: dict[LossName, LossDefaults] = {
    "dapo": LossDefaults(clip(0.2, 0.28)),
    "grpo": LossDefaults(clip(0.2, 0.2)),
    "bnpo": LossDefaults(clip(0.2, 0.2)),
    "dr_grpo": LossDefaults(clip(0.2, 0.2), scale="none"),
    "gspo": LossDefaults(clip(3e-4, 4e-4)),
    "luspo": LossDefaults(clip(2e-3, 2.5e-3)),
    "cispo": LossDefaults({"epsilon_low": 1.0, "epsilon_high": 4.0}),
    "sapo": LossDefaults({"sapo_temperature_pos": 1.0, "sapo_temperature_neg": 1.05}),
    "vespo": LossDefaults(dict(zip(VESPO, (2.0, 3.0, 3.0, 2.0), strict=True))),
    "grpo_clip": LossDefaults(clip(0.2, 0.2)),
    "reinforce_with_baseline": LossDefaults({}),
    "no_baseline": LossDefaults({}, baseline="none"),
}
"""The constants of each loss, by the names of `algorithm.loss`."""
