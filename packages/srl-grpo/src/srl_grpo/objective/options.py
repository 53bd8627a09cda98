"""The constants of the losses. Left out: what each loss makes of them, a file each."""

from dataclasses import dataclass

from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.kl import Estimator


@dataclass(frozen=True)
class LossOptions:
    """Constants of the losses; each reads those that it has a use for."""

    epsilon_low: float = 0.2
    """The clip range is `[1 - epsilon_low, 1 + epsilon_high]`."""
    epsilon_high: float = 0.2
    clip_delta: float | None = None
    """Bound of the ratio where the advantage is negative, above `1 + epsilon_high`; None for
    none."""
    sapo_temperature_pos: float = 1.0
    sapo_temperature_neg: float = 1.05
    vespo_k_pos: float = 2.0
    vespo_lambda_pos: float = 3.0
    vespo_k_neg: float = 3.0
    vespo_lambda_neg: float = 2.0
    beta: float = 0.0
    """Weight of the KL term; 0 takes no reference."""
    kl_estimator: Estimator = "k3"
    kl_corrected: bool = False
    """Whether the KL term is weighed by the ratio of policy and sampling policy."""
    sampler: SamplerWeights | None = None
    """How a sampler whose probabilities differ from the trainer's is corrected; None: not at
    all."""
