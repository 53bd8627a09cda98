"""How a rollout engine comes to sample from the policy's current weights.

One protocol, `WeightSync`: what an engine needs after an update is its own affair. Left out: the
engines themselves (`srl_eval.generate`).
"""

import copy
from dataclasses import dataclass
from typing import Protocol

import torch
from transformers import PreTrainedModel

from srl_eval.generate import Engine
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import cast_parameters


class WeightSync(Protocol):
    """Brings the policy's weights to an engine."""

    def __call__(self, engine: Engine) -> None:
        """Make `engine` sample from the current weights; counts `weights_version`. Collective."""


class SharedWeights:
    """For an engine over the policy's own module: there is nothing to bring."""

    def __call__(self, engine: Engine) -> None:
        """Count the version."""
        engine.weights_version += 1


@dataclass(frozen=True)
class CopiedWeights:
    """For an engine over a whole copy of a sharded policy (ZeRO-3)."""

    training: TrainingEngine
    twin: PreTrainedModel

    @torch.no_grad()
    def __call__(self, engine: Engine) -> None:
        """Copy parameters and buffers, and count the version. Collective."""
        copy_weights(self.training, self.twin)
        engine.weights_version += 1


def whole_copy(training: TrainingEngine) -> PreTrainedModel:
    """A model like the policy's, unsharded; `copy_weights` gives it the policy's values."""
    model = training.policy.model
    twin = type(model)(copy.deepcopy(model.config))
    first = next(model.parameters())
    cast_parameters(twin, first.dtype)
    torch.nn.Module.to(twin, device=first.device)
    twin.requires_grad_(False)
    return twin


def copy_weights(training: TrainingEngine, twin: PreTrainedModel) -> None:
    """Give `twin` the policy's parameters and buffers. Collective under ZeRO-3.

    Buffers too, saved or not: a router's correction of its scores is one, and so are rotary
    frequencies that a model stretches for long inputs. ZeRO shards none of them.
    """
    model = training.policy.model
    live = dict(model.named_parameters(remove_duplicate=False))
    for name, parameter in twin.named_parameters():
        with training.gathered([live[name]]):
            parameter.copy_(live[name])
    modules = dict(twin.named_modules(remove_duplicate=False))
    for path, buffer in model.named_buffers(remove_duplicate=False):
        place, _, name = path.rpartition(".")
        setattr(modules[place], name, buffer.clone())
