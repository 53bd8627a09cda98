"""The losses over padded rows, as Stanford's CS336 calls them, by the formulas of flat tokens.

One value per completion (`batch x 1`) meets one per token (`batch x sequence`). Gradients of
micro-batches add up: a train step divides its loss by their number and calls `backward`. Left out:
log-probabilities (`srl_grpo.learner.responses`).

Source: CS336, assignment 5 (2025), sections 4.2 and 7.2.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Tensor

from srl_grpo.objective.advantage import group_advantages
from srl_grpo.objective.clip import clipped_loss
from srl_grpo.objective.masked import masked_mean, masked_normalize
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.reinforce import policy_gradient_loss
from srl_grpo.objective.tokens import Metrics

PolicyGradient = Literal["no_baseline", "reinforce_with_baseline", "grpo_clip"]
RewardFunction = Callable[[str, str], dict[str, float]]
"""Of a response and its ground truth: `reward`, `format_reward` and `answer_reward`."""


def compute_group_normalized_rewards(
    reward_fn: RewardFunction,
    rollout_responses: Sequence[str],
    repeated_ground_truths: Sequence[str],
    group_size: int,
    advantage_eps: float,
    normalize_by_std: bool,
) -> tuple[Tensor, Tensor, dict[str, float]]:
    """Rewards of groups of responses, less their group's mean; see `group_advantages`.

    Args:
        rollout_responses: B x G responses, groups one after another.
        repeated_ground_truths: the truth of each response.
        group_size: G, at least 2 where `normalize_by_std`.
        advantage_eps: added to the standard deviation (the unbiased one).
        normalize_by_std: whether to divide by it.

    Returns:
        Advantages and rewards, each of B x G values, and statistics of the rewards.
    """
    scores = [
        reward_fn(response, truth)
        for response, truth in zip(rollout_responses, repeated_ground_truths, strict=True)
    ]
    if not scores or len(scores) % group_size:
        raise ValueError(
            f"{len(scores)} responses are no whole number of groups of {group_size}; give "
            "group_size responses for each prompt"
        )
    rewards = torch.tensor([score["reward"] for score in scores])
    scale: Literal["group", "none"] = "group" if normalize_by_std else "none"
    advantages_BG = group_advantages(rewards.reshape(-1, group_size), advantage_eps, scale)
    metadata = {
        "reward_mean": rewards.mean().item(),
        "reward_std": rewards.std(correction=0).item(),
        "reward_min": rewards.min().item(),
        "reward_max": rewards.max().item(),
    }
    for part in ("format_reward", "answer_reward"):
        if all(part in score for score in scores):
            metadata[f"{part}_mean"] = sum(score[part] for score in scores) / len(scores)
    return advantages_BG.reshape(-1), rewards, metadata


def compute_naive_policy_gradient_loss(
    raw_rewards_or_advantages: Tensor, policy_log_probs: Tensor
) -> Tensor:
    """`-A log p` of each token; `batch x 1` and `batch x sequence` give `batch x sequence`."""
    return policy_gradient_loss(raw_rewards_or_advantages, policy_log_probs)


def compute_grpo_clip_loss(
    advantages: Tensor, policy_log_probs: Tensor, old_log_probs: Tensor, cliprange: float
) -> tuple[Tensor, Metrics]:
    """`-min(r A, clip(r, 1 - cliprange, 1 + cliprange) A)` of each token; see `clipped_loss`.

    Metadata: `is_clipped`, true where the clipped side is the smaller one, and `ratio`.
    """
    ratio = torch.exp(policy_log_probs - old_log_probs)
    loss = clipped_loss(ratio, advantages, LossOptions(cliprange, cliprange))
    is_clipped = loss.detach() > (-ratio * advantages).detach()
    return loss, {"is_clipped": is_clipped, "ratio": ratio.detach()}


def compute_policy_gradient_loss(
    policy_log_probs: Tensor,
    loss_type: PolicyGradient,
    raw_rewards: Tensor | None = None,
    advantages: Tensor | None = None,
    old_log_probs: Tensor | None = None,
    cliprange: float | None = None,
) -> tuple[Tensor, Metrics]:
    """The loss called `loss_type` of each token, from what it needs of the rest.

    ValueError naming what is missing, or the names there are.
    """
    if loss_type == "no_baseline":
        rewards = needed(raw_rewards, "raw_rewards", loss_type)
        return compute_naive_policy_gradient_loss(rewards, policy_log_probs), {}
    if loss_type == "reinforce_with_baseline":
        given = needed(advantages, "advantages", loss_type)
        return compute_naive_policy_gradient_loss(given, policy_log_probs), {}
    if loss_type != "grpo_clip":
        raise ValueError(
            f"loss_type {loss_type!r}: expected no_baseline, reinforce_with_baseline or grpo_clip"
        )
    if cliprange is None:
        raise ValueError("loss_type 'grpo_clip' needs cliprange, such as 0.2")
    return compute_grpo_clip_loss(
        needed(advantages, "advantages", loss_type),
        policy_log_probs,
        needed(old_log_probs, "old_log_probs", loss_type),
        cliprange,
    )


def needed(value: Tensor | None, name: str, loss_type: str) -> Tensor:
    """A tensor that a loss cannot do without; ValueError where it is not given."""
    if value is None:
        raise ValueError(f"loss_type {loss_type!r} needs {name}")
    return value


def sft_microbatch_train_step(
    policy_log_probs: Tensor,
    response_mask: Tensor,
    gradient_accumulation_steps: int,
    normalize_constant: float | None = 1.0,
) -> tuple[Tensor, Metrics]:
    """Backpropagate one micro-batch's negative log-likelihood of its response tokens.

    Each row's sum over `normalize_constant` (None: 1), the mean of the rows, over the number of
    micro-batches.

    Returns:
        That loss, detached, and the mean per response token under `token_loss`.
    """
    per_row = -masked_normalize(policy_log_probs, response_mask, normalize_constant or 1.0, dim=-1)
    loss = per_row.mean() / gradient_accumulation_steps
    loss.backward()
    return loss.detach(), {"token_loss": -masked_mean(policy_log_probs, response_mask).detach()}


def grpo_microbatch_train_step(
    policy_log_probs: Tensor,
    response_mask: Tensor,
    gradient_accumulation_steps: int,
    loss_type: PolicyGradient,
    raw_rewards: Tensor | None = None,
    advantages: Tensor | None = None,
    old_log_probs: Tensor | None = None,
    cliprange: float | None = None,
    constant_normalize_factor: float | None = None,
) -> tuple[Tensor, Metrics]:
    """Backpropagate one micro-batch's policy-gradient loss.

    Each row's mean over its response tokens (with `constant_normalize_factor` its sum over that, as
    in Dr. GRPO), the mean of the rows, over the number of micro-batches.

    Returns:
        That loss, detached, and the metadata of `compute_policy_gradient_loss`; where tokens are
        clipped also their share of the response, `clip_fraction`.
    """
    per_token, metadata = compute_policy_gradient_loss(
        policy_log_probs, loss_type, raw_rewards, advantages, old_log_probs, cliprange
    )
    if constant_normalize_factor is None:
        per_row = masked_mean(per_token, response_mask, dim=-1)
    else:
        per_row = masked_normalize(per_token, response_mask, constant_normalize_factor, dim=-1)
    loss = per_row.mean() / gradient_accumulation_steps
    loss.backward()
    if "is_clipped" in metadata:
        metadata["clip_fraction"] = masked_mean(metadata["is_clipped"].float(), response_mask)
    return loss.detach(), metadata
