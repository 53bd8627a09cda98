"""GRPO with step rewards: a DeepSpeed trainer, and its parts for use elsewhere.

`train` runs what a `TrainConfig` describes. The maths (advantages, loss, KL, log-probabilities) are
pure functions of tensors. Names are loaded at first use, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srl_grpo.config.sft import SftConfig
    from srl_grpo.config.train import TrainConfig
    from srl_grpo.objective.advantage import group_advantages, has_signal
    from srl_grpo.objective.kl import k3
    from srl_grpo.objective.logprobs import linear_logprobs
    from srl_grpo.objective.loss import policy_loss
    from srl_grpo.objective.normalisation import token_weights
    from srl_grpo.objective.options import LossOptions
    from srl_grpo.objective.tokens import Tokens
    from srl_grpo.report import write_report
    from srl_grpo.stages.train import sft, train

__all__ = [
    "LossOptions",
    "SftConfig",
    "Tokens",
    "TrainConfig",
    "group_advantages",
    "has_signal",
    "k3",
    "linear_logprobs",
    "policy_loss",
    "sft",
    "token_weights",
    "train",
    "write_report",
]

_HOMES = {
    "LossOptions": "objective.options",
    "SftConfig": "config.sft",
    "Tokens": "objective.tokens",
    "TrainConfig": "config.train",
    "group_advantages": "objective.advantage",
    "has_signal": "objective.advantage",
    "k3": "objective.kl",
    "linear_logprobs": "objective.logprobs",
    "policy_loss": "objective.loss",
    "sft": "stages.train",
    "token_weights": "objective.normalisation",
    "train": "stages.train",
    "write_report": "report",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"srl_grpo.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
