"""Advantages of several rewards, each normalised within its group before they are summed (GDPO).

Pure functions of reward tensors. Source: GDPO, arXiv 2601.05242, section 3: equations of the
group-wise normalisation of each reward, of their weighted sum, and of its normalisation over the
batch. Left out: rewards that are summed first (`srl_grpo.objective.advantage`).
"""

import torch
from torch import Tensor

from srl_grpo.objective.advantage import NOISE, Scale, has_signal


def decoupled_advantages(
    rewards_KBG: Tensor,
    weights_K: Tensor,
    eps: float = 1e-4,
    scale: Scale = "group",
    eps_std: float = 0.0,
) -> Tensor:
    """Advantages of K rewards: `(s - mean(s)) / (std(s) + eps)` over the batch.

    s is the sum over rewards of `weight * (r - mean(r)) / (std(r) + eps)`, each within its group.

    Args:
        rewards_KBG: K rewards of B groups of G >= 2 completions, float64; NaN where one does not
            apply to a completion, to whose sum it adds nothing.
        weights_K: of each reward.
        eps: added to each standard deviation.
        scale: what each reward is divided by: its deviation within the group, that over the batch,
            or `none`: not divided, and neither is the sum.
        eps_std: a reward whose deviation within a group does not reach it adds nothing there.

    Returns:
        Tensor of shape B x G. Standard deviations are sample ones.
    """
    sum_BG = weighted_sum(rewards_KBG, weights_K, eps, scale, eps_std)
    if scale not in ("group", "batch"):
        return sum_BG
    deviation = sum_BG.std(correction=1) if sum_BG.numel() > 1 else 0.0
    return (sum_BG - sum_BG.mean()) / (deviation + eps)


def weighted_sum(
    rewards_KBG: Tensor, weights_K: Tensor, eps: float, scale: Scale, eps_std: float
) -> Tensor:
    """The sum of the rewards, each normalised within its group; shape B x G."""
    applies_KBG = ~rewards_KBG.isnan()
    count_KB1 = applies_KBG.sum(dim=2, keepdim=True)
    mean_KB1 = rewards_KBG.nansum(dim=2, keepdim=True) / count_KB1.clamp(min=1)
    centred_KBG = torch.where(applies_KBG, rewards_KBG - mean_KB1, 0.0)
    normalised_KBG = centred_KBG
    if scale == "group":
        variance_KB1 = centred_KBG.square().sum(dim=2, keepdim=True) / (count_KB1 - 1).clamp(min=1)
        normalised_KBG = centred_KBG / (variance_KB1.sqrt() + eps)
    elif scale != "none":
        deviations = [reward[~reward.isnan()].std(correction=1) for reward in rewards_KBG]
        normalised_KBG = centred_KBG / (torch.stack(deviations)[:, None, None] + eps)
    differs_KB1 = parts_with_signal(rewards_KBG, eps_std)[:, :, None]
    terms_KBG = torch.where(differs_KB1, weights_K[:, None, None] * normalised_KBG, 0.0)
    return terms_KBG.sum(dim=0)


def parts_with_signal(rewards_KBG: Tensor, eps_std: float) -> Tensor:
    """Whether each reward differs within each group, where it applies; shape K x B.

    See `has_signal`; the threshold is in the unit of each reward.
    """
    applies_KBG = ~rewards_KBG.isnan()
    count_KB1 = applies_KBG.sum(dim=2, keepdim=True).clamp(min=1)
    mean_KB1 = rewards_KBG.nansum(dim=2, keepdim=True) / count_KB1
    filled_KBG = torch.where(applies_KBG, rewards_KBG, mean_KB1)
    # The mean of a few of equal values may be off by a rounding, which `NOISE` covers; filled in,
    # the deviation is that of those it applies to times the root of their share.
    share_KB1 = count_KB1 / rewards_KBG.shape[2]
    scaled_KBG = mean_KB1 + (filled_KBG - mean_KB1) / share_KB1.sqrt()
    return torch.stack([has_signal(reward_BG, eps_std) for reward_BG in scaled_KBG])


def has_decoupled_signal(
    rewards_KBG: Tensor, weights_K: Tensor, eps_std: float, scale: Scale = "group"
) -> Tensor:
    """Whether each group teaches anything; shape B.

    Not where every reward with a weight is flat, nor where those that differ cancel: the sum of
    what is normalised is the same for all completions then. By the batch they are not the group's
    alone, and cancelling is not looked at.
    """
    weighs_K1 = (weights_K != 0)[:, None]
    differs_B = (parts_with_signal(rewards_KBG, eps_std) & weighs_K1).any(dim=0)
    if scale not in ("group", "none"):
        return differs_B
    sum_BG = weighted_sum(rewards_KBG, weights_K, 0.0, scale, eps_std)
    spread_B = sum_BG.amax(dim=1) - sum_BG.amin(dim=1)
    return differs_B & (spread_B > NOISE * sum_size(rewards_KBG, weights_K, scale))


def sum_size(rewards_KBG: Tensor, weights_K: Tensor, scale: Scale) -> Tensor:
    """What the terms of a sum are as large as, for its rounding; shape B."""
    if scale == "group":
        return weights_K.abs().sum().expand(rewards_KBG.shape[1])
    largest_KB = rewards_KBG.nan_to_num(0.0).abs().amax(dim=2)
    return (weights_K.abs()[:, None] * largest_KB).sum(dim=0)
