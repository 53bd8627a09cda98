"""The reference of a KL term that follows the policy: brought to it every so many steps.

Between two refreshes it is frozen, and it is part of every checkpoint after the first one, so that
a resumed run continues with the reference that it had. Left out: the reference that a run begins
with (`srl_grpo.run.reference`).
"""

from dataclasses import dataclass
from pathlib import Path

import torch

from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model_folder import save_model_folder
from srl_grpo.learner.policy import Policy
from srl_grpo.rollout.sync import copy_weights


@dataclass(frozen=True)
class MovingReference:
    """A reference and the policy that it follows."""

    policy: Policy
    """The reference itself, whole on every rank."""
    engine: TrainingEngine
    every: int | None = None
    """Training steps between refreshes; None for never."""

    @torch.no_grad()
    def follow(self, step: int) -> bool:
        """Take the policy's weights where a refresh is due after `step` steps; whether it was.

        Collective under ZeRO-3.
        """
        if self.every is None or step % self.every:
            return False
        copy_weights(self.engine, self.policy.model)
        return True

    def save(self, folder: Path) -> None:
        """Write the reference as a transformers folder without a tokenizer."""
        model = self.policy.model
        save_model_folder(folder, model, model.state_dict(), None)
