"""Group-relative advantages and the test of whether a group teaches anything.

Pure functions of reward tensors. What is left out: where rewards come from, which groups are
left out (`srl_grpo.rollout.algorithm`), and the loss.
"""

from typing import Literal

from torch import Tensor

Scale = Literal["group", "batch", "none"]

NOISE = 1e-9
"""Rewards that differ by less than this share of the largest are equal: 0.1 + 0.2 is 0.3. Two
similarities of texts of 20,000 characters that are not equal lie further apart."""


def group_advantages(rewards_BG: Tensor, eps: float = 1e-4, scale: Scale = "group") -> Tensor:
    """Advantages inside each group: `(r - mean) / (std + eps)`.

    Args:
        rewards_BG: rewards of B groups with G >= 2 completions each.
        eps: added to the standard deviation, in units of the reward.
        scale: the standard deviation of each group, that of all B x G rewards, or `none`: not
            divided.

    Returns:
        Tensor of the same shape. The standard deviation is the sample one (divisor G - 1), as in
        TRL and verl.

    Source: GRPO, arXiv 2402.03300, section 4.1; by the batch: arXiv 2508.08221; not divided:
    Dr. GRPO, arXiv 2503.20783.
    """
    centred_BG = rewards_BG - rewards_BG.mean(dim=1, keepdim=True)
    if scale == "none":
        return centred_BG
    if scale == "batch":
        return centred_BG / (rewards_BG.std(correction=1) + eps)
    return centred_BG / (rewards_BG.std(dim=1, keepdim=True, correction=1) + eps)


def has_signal(rewards_BG: Tensor, eps_std: float) -> Tensor:
    """Whether each group's population standard deviation reaches `eps_std`.

    A group whose rewards are (nearly) all alike has no advantage: it is neither trained on nor
    counted in a denominator (dynamic sampling; DAPO, arXiv 2503.14476, and SRL, arXiv 2510.25992).

    Args:
        rewards_BG: rewards of B groups of G completions, float64.
        eps_std: the threshold, in the reward's own unit.

    Returns:
        Boolean tensor of shape B. With `eps_std` 0 only groups of equal rewards are without signal.
        Rounding decides nothing: rewards are equal up to `NOISE`, and so is a deviation that
        reaches the threshold.
    """
    std_B = rewards_BG.std(dim=1, correction=0)
    largest_B = rewards_BG.abs().amax(dim=1)
    spread_B = rewards_BG.amax(dim=1) - rewards_BG.amin(dim=1) > NOISE * largest_B
    return (std_B >= eps_std * (1.0 - NOISE)) & spread_B
