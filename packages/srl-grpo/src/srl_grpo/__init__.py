"""GRPO with step rewards: a DeepSpeed trainer, and its parts for use elsewhere.

`train` runs what a `TrainConfig` describes. The maths (advantages, losses, KL, log-probabilities)
are pure functions of tensors; beside them stand the functions of Stanford's CS336, assignment 5,
over the same code. Names are loaded at first use, so that importing the package is quick.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from srl_grpo.config.expert import ExpertConfig
    from srl_grpo.config.sft import SftConfig
    from srl_grpo.config.train import TrainConfig
    from srl_grpo.heldout.generations import log_generations
    from srl_grpo.learner.responses import get_response_log_probs, tokenize_prompt_and_output
    from srl_grpo.objective.advantage import group_advantages, has_signal
    from srl_grpo.objective.kl import k3
    from srl_grpo.objective.logprobs import compute_entropy, linear_logprobs
    from srl_grpo.objective.loss import policy_loss
    from srl_grpo.objective.masked import masked_mean, masked_normalize
    from srl_grpo.objective.normalisation import token_weights
    from srl_grpo.objective.options import LossOptions
    from srl_grpo.objective.padded import (
        compute_group_normalized_rewards,
        compute_grpo_clip_loss,
        compute_naive_policy_gradient_loss,
        compute_policy_gradient_loss,
        grpo_microbatch_train_step,
        sft_microbatch_train_step,
    )
    from srl_grpo.objective.tokens import Tokens
    from srl_grpo.report import write_report
    from srl_grpo.stages.train import expert_iteration, sft, train

__all__ = [
    "ExpertConfig",
    "LossOptions",
    "SftConfig",
    "Tokens",
    "TrainConfig",
    "compute_entropy",
    "compute_group_normalized_rewards",
    "compute_grpo_clip_loss",
    "compute_naive_policy_gradient_loss",
    "compute_policy_gradient_loss",
    "expert_iteration",
    "get_response_log_probs",
    "group_advantages",
    "grpo_microbatch_train_step",
    "has_signal",
    "k3",
    "linear_logprobs",
    "log_generations",
    "masked_mean",
    "masked_normalize",
    "policy_loss",
    "sft",
    "sft_microbatch_train_step",
    "token_weights",
    "tokenize_prompt_and_output",
    "train",
    "write_report",
]

_HOMES = {
    "LossOptions": "objective.options",
    "ExpertConfig": "config.expert",
    "SftConfig": "config.sft",
    "Tokens": "objective.tokens",
    "TrainConfig": "config.train",
    "compute_entropy": "objective.logprobs",
    "compute_group_normalized_rewards": "objective.padded",
    "compute_grpo_clip_loss": "objective.padded",
    "compute_naive_policy_gradient_loss": "objective.padded",
    "compute_policy_gradient_loss": "objective.padded",
    "expert_iteration": "stages.train",
    "get_response_log_probs": "learner.responses",
    "group_advantages": "objective.advantage",
    "grpo_microbatch_train_step": "objective.padded",
    "has_signal": "objective.advantage",
    "k3": "objective.kl",
    "linear_logprobs": "objective.logprobs",
    "log_generations": "heldout.generations",
    "masked_mean": "objective.masked",
    "masked_normalize": "objective.masked",
    "policy_loss": "objective.loss",
    "sft": "stages.train",
    "sft_microbatch_train_step": "objective.padded",
    "token_weights": "objective.normalisation",
    "tokenize_prompt_and_output": "learner.responses",
    "train": "stages.train",
    "write_report": "report",
}


def __getattr__(name: str) -> object:
    if name in _HOMES:
        return getattr(import_module(f"srl_grpo.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
