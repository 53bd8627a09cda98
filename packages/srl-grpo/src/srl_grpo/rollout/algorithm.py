"""What an algorithm of reinforcement learning makes of groups: which it trains on, and advantages.

Group size, filter and advantage belong together: group-relative advantages need several completions
per prompt whose rewards differ; a loss without a baseline takes every completion as it is. Left
out: the loss, which is `srl_grpo.objective`'s.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.batch import Sample
from srl_grpo.objective.advantage import Scale, group_advantages, has_signal
from srl_grpo.objective.decoupled import decoupled_advantages, has_decoupled_signal
from srl_grpo.rollout.groups import Group, parts_of, rewards_of


class Algorithm(Protocol):
    """Group size, filter and advantage of an algorithm."""

    @property
    def group_size(self) -> int:
        """Completions per prompt."""

    def usable(self, groups: Sequence[Group]) -> list[bool]:
        """Whether each group can be trained on; prompts drawn anew take the place of the others."""

    def advantages(self, groups: Sequence[Group]) -> list[list[float]]:
        """Each group's advantages, in order of its members."""


@dataclass(frozen=True)
class GroupRelative:
    """GRPO with dynamic sampling: advantages within a group, groups without a spread left out.

    Source: arXiv 2402.03300 (advantages), arXiv 2503.14476 (dynamic sampling).
    """

    group_size: int = 4
    eps_std: float = 1e-4
    """See `has_signal`."""
    advantage_eps: float = 1e-4
    """See `group_advantages`."""
    scale: Scale = "group"
    """See `group_advantages`."""

    def usable(self, groups: Sequence[Group]) -> list[bool]:
        """Groups whose rewards differ."""
        if not groups:
            return []
        found: list[bool] = has_signal(rewards_of(groups), self.eps_std).tolist()
        return found

    def advantages(self, groups: Sequence[Group]) -> list[list[float]]:
        """See `group_advantages`; the batch is these groups."""
        if not groups:
            return []
        rewards_BG = rewards_of(groups)
        found: list[list[float]] = group_advantages(
            rewards_BG, self.advantage_eps, self.scale
        ).tolist()
        return found


@dataclass(frozen=True)
class Decoupled:
    """GDPO with dynamic sampling: each of several rewards is normalised within its group.

    A group is left out where every reward is flat, each in its own unit, or where they cancel.
    Source: arXiv 2601.05242.
    """

    weights: tuple[float, ...]
    """Of each reward, in the order of the config."""
    group_size: int = 4
    eps_std: float = 1e-4
    """See `has_decoupled_signal`."""
    advantage_eps: float = 1e-4
    """See `decoupled_advantages`."""
    scale: Scale = "group"
    """See `decoupled_advantages`."""

    def usable(self, groups: Sequence[Group]) -> list[bool]:
        """Groups in which some reward differs and the rewards do not cancel."""
        if not groups:
            return []
        parts_KBG, weights_K = parts_of(groups), self._weights()
        usable_B = has_decoupled_signal(parts_KBG, weights_K, self.eps_std, self.scale)
        found: list[bool] = usable_B.tolist()
        return found

    def advantages(self, groups: Sequence[Group]) -> list[list[float]]:
        """See `decoupled_advantages`; the batch is these groups."""
        if not groups:
            return []
        options = (self.advantage_eps, self.scale, self.eps_std)
        advantages_BG = decoupled_advantages(parts_of(groups), self._weights(), *options)
        found: list[list[float]] = advantages_BG.tolist()
        return found

    def _weights(self) -> torch.Tensor:
        return torch.tensor(self.weights, dtype=torch.float64)


@dataclass(frozen=True)
class NoBaseline:
    """REINFORCE: the reward is the advantage, every completion is trained on, also a single one."""

    group_size: int = 1

    def usable(self, groups: Sequence[Group]) -> list[bool]:
        """All of them."""
        return [True] * len(groups)

    def advantages(self, groups: Sequence[Group]) -> list[list[float]]:
        """The rewards themselves."""
        return [list(map(float, group.rewards)) for group in groups]


@dataclass(frozen=True)
class FinishedOnly:
    """Another algorithm, for a run that does not train on truncated completions.

    A group of nothing else is not used. In the others a truncated completion's reward counts: what
    it was worth tells what the rest of its group is worth.
    """

    algorithm: Algorithm

    @property
    def group_size(self) -> int:
        """The other's."""
        return self.algorithm.group_size

    def usable(self, groups: Sequence[Group]) -> list[bool]:
        """Groups that the other uses, with a completion that came to its end."""
        finished = [any(not m.truncated for m in group.members) for group in groups]
        return [a and b for a, b in zip(self.algorithm.usable(groups), finished, strict=True)]

    def advantages(self, groups: Sequence[Group]) -> list[list[float]]:
        """The other's."""
        return self.algorithm.advantages(groups)


def algorithm_of(config: TrainConfig) -> Algorithm:
    """The algorithm of a config: by `algorithm.baseline`, or by its loss."""
    size, options = config.rollout.group_size, config.algorithm
    found: Algorithm = NoBaseline(size)
    if options.compares_with == "group":
        common = (size, config.rollout.eps_std, options.advantage_eps, options.scales_by)
        found = GroupRelative(*common)
        if options.aggregation == "normalize_then_sum":
            found = Decoupled(config.reward.weights, *common)
    return FinishedOnly(found) if options.mask_truncated else found


def samples_of(groups: Sequence[Group], algorithm: Algorithm) -> list[Sample]:
    """One sample per completion, with its advantage, in order of groups and members."""
    return [
        Sample(
            prompt_ids=group.prompt_ids,
            completion_ids=member.completion.token_ids,
            group=number,
            weights_version=member.completion.weights_version,
            advantage=advantage,
            sampler_logprobs=member.completion.logprobs,
            truncated=member.truncated,
            kept=member.completion.kept,
        )
        for number, (group, row) in enumerate(
            zip(groups, algorithm.advantages(groups), strict=True)
        )
        for member, advantage in zip(group.members, row, strict=True)
    ]
