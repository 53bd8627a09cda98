"""Groups of completions of one prompt, and which of them a rollout batch keeps.

Dynamic sampling as data: rounds of groups go in, the batch and the counts come out. The decision
is a function of all ranks' groups, so every rank makes the same one. Left out: generation.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import torch

from srl_eval.generate import Completion
from srl_grpo.objective.advantage import has_signal


@dataclass(frozen=True)
class Scored:
    """One completion with its text and what the reward said of it."""

    completion: Completion
    text: str
    reward: float
    reason: str | None = None
    """Why the output is invalid; None where it is valid."""
    exact: bool | None = False
    """Whether the output is wholly right; None where no reward says."""
    right: bool | None = None
    """Whether all rewards that say so call it wholly right; None where none says."""
    rewards: dict[str, float | None] = field(default_factory=dict)
    """Each reward by its name, unweighted; None where it does not apply."""
    parts: dict[str, object] = field(default_factory=dict)
    """What the reward wants shown: thinking, action, per-part values."""

    @property
    def truncated(self) -> bool:
        """Whether the completion was cut off at the sampler's longest."""
        return self.completion.finish_reason == "length"


@dataclass(frozen=True)
class Group:
    """G scored completions of one prompt."""

    index: int
    """Position of the prompt in the data set."""
    prompt_ids: tuple[int, ...]
    members: tuple[Scored, ...]

    @property
    def rewards(self) -> list[float]:
        """The members' rewards, in order of sampling."""
        return [member.reward for member in self.members]

    @property
    def tokens(self) -> int:
        """Completion tokens generated for the group."""
        return sum(len(member.completion.token_ids) for member in self.members)


@dataclass
class Selection:
    """A rollout batch being filled, and what filling it took."""

    wanted: int
    """Groups that the batch should hold."""
    kept: list[Group] = field(default_factory=list)
    sampled: list[Group] = field(default_factory=list)
    """Every group of the step, kept, surplus or without a use."""
    surplus: int = 0
    rounds: int = 0

    def add(self, groups: Sequence[Group], usable: Sequence[bool]) -> None:
        """Take one round's groups of all ranks: keep usable ones, count those beyond the batch."""
        self.rounds += 1
        self.sampled.extend(groups)
        good = [group for group, use in zip(groups, usable, strict=True) if use]
        room = self.wanted - len(self.kept)
        self.kept.extend(good[:room])
        self.surplus += max(0, len(good) - room)

    @property
    def usable(self) -> int:
        """Sampled groups that can be trained on, kept or surplus."""
        return len(self.kept) + self.surplus

    @property
    def tokens(self) -> int:
        """Completion tokens generated for all groups."""
        return sum(group.tokens for group in self.sampled)

    @property
    def full(self) -> bool:
        """Whether the batch holds as many groups as it should."""
        return len(self.kept) >= self.wanted

    def metrics(self) -> dict[str, float]:
        """What sampling cost, per kept group; NaN where no group was kept."""
        kept = len(self.kept) or math.nan
        constant = (~has_signal(rewards_of(self.sampled), 0.0)).float().mean().item()
        return {
            "frac_reward_zero_std": constant,
            "sampling/rounds": float(self.rounds),
            "sampling/keep_rate": self.usable / len(self.sampled),
            "sampling/prompts_per_kept_group": len(self.sampled) / kept,
            "sampling/tokens_per_kept_group": self.tokens / kept,
            "sampling/surplus_groups": float(self.surplus),
            "sampling/starved": float(not self.full),
        }


def rewards_of(groups: Sequence[Group]) -> torch.Tensor:
    """Rewards of B groups of G, float64 whatever numbers the reward gave; shape B x G."""
    return torch.tensor([group.rewards for group in groups], dtype=torch.float64)


def parts_of(groups: Sequence[Group]) -> torch.Tensor:
    """The K rewards of B groups of G, unweighted and float64; NaN where one does not apply."""
    rows = [
        [[value_of(member, name) for member in group.members] for group in groups]
        for name in groups[0].members[0].rewards
    ]
    return torch.tensor(rows, dtype=torch.float64)


def value_of(member: Scored, name: str) -> float:
    """One reward of a completion; NaN where it does not apply."""
    value = member.rewards[name]
    return math.nan if value is None else float(value)


def mean_spread(rewards_BG: torch.Tensor) -> float:
    """Mean over groups of their standard deviation (divisor G - 1); NaN for groups of one."""
    if rewards_BG.shape[1] < 2:
        return math.nan
    return rewards_BG.std(dim=1, correction=1).mean().item()


def completion_metrics(groups: Sequence[Group]) -> dict[str, float]:
    """Reward and length statistics over every completion of `groups`, kept or not."""
    members = [member for group in groups for member in group.members]
    rewards_BG = rewards_of(groups)
    lengths = [len(member.completion.token_ids) for member in members]
    cut = sum(member.truncated for member in members)
    told = [member for member in members if member.exact is not None]
    reasons = [member.reason for member in told if member.reason]
    shares = {
        f"reward/invalid/{reason}": reasons.count(reason) / len(told) for reason in set(reasons)
    }
    return {
        "reward": rewards_BG.mean().item(),
        "reward_std": mean_spread(rewards_BG),
        "reward/exact": mean([bool(member.exact) for member in told]),
        "reward/invalid": mean([member.reason is not None for member in told]),
        "completions/mean_length": sum(lengths) / len(lengths),
        "completions/max_length": float(max(lengths)),
        "completions/min_length": float(min(lengths)),
        "completions/clipped_ratio": cut / len(members),
        **shares,
        **reward_means(members),
        **{f"train_reward_{part}": mean(found) for part, found in part_values(members).items()},
        **kept_metrics(members),
    }


TOTAL, PARTS = "total", ("answer", "format")
"""Under which a reward and its parts are logged as `train_reward_NAME` and `val_reward_NAME`."""


def part_values(members: Sequence[Scored]) -> dict[str, list[float]]:
    """Each completion's reward, and the parts that the rewards say of all of them.

    Parts are unweighted: 1 where the answer is right, or the form, else 0.
    """
    found = {TOTAL: [member.reward for member in members]}
    for part in PARTS:
        values = [member.parts.get(part) for member in members]
        told = [float(value) for value in values if isinstance(value, int | float)]
        if len(told) == len(members):
            found[part] = told
    return found


def kept_metrics(members: Sequence[Scored]) -> dict[str, float]:
    """The mean number of tokens that a token was drawn from, where filters left some out."""
    counts = [n for m in members if m.completion.kept for n in m.completion.kept.counts]
    return {"sampling/kept_tokens": mean(counts)} if counts else {}


def reward_means(members: Sequence[Scored]) -> dict[str, float]:
    """`reward/NAME` of each reward: its mean where it applies, NaN where it never does."""
    names = members[0].rewards
    values = {name: [member.rewards[name] for member in members] for name in names}
    return {
        f"reward/{name}": mean([value for value in found if value is not None])
        for name, found in values.items()
    }


def mean(values: Sequence[float]) -> float:
    """The mean; NaN of nothing."""
    return sum(values) / len(values) if values else math.nan
