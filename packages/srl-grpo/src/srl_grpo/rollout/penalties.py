"""What is subtracted from a completion's reward before its advantage: its length, its divergence.

Groups are chosen by the rewards as they were: dynamic sampling asks whether a prompt teaches
anything, and neither noise of an estimate nor a few tokens more are an answer. What is logged and
recorded as the reward is the reward; the penalty stands beside it.

Source: length: DAPO, arXiv 2503.14476, equation 13; divergence: "Fine-tuning language models from
human preferences", arXiv 1909.08593, equation 2.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import torch

from srl_grpo.learner.batch import Sample
from srl_grpo.learner.finite import check_logprobs
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import Metrics, Updater
from srl_grpo.objective.kl import ESTIMATORS, Estimator
from srl_grpo.rollout.algorithm import Algorithm
from srl_grpo.rollout.groups import Group


@dataclass(frozen=True)
class Penalised:
    """What a penalty makes of samples."""

    samples: list[Sample]
    """The same, with what was found out about them on the way."""
    amounts: list[float]
    """What each loses, in units of the reward."""
    metrics: Metrics


class Penalty(Protocol):
    """Something that a completion loses reward for."""

    def __call__(self, samples: Sequence[Sample]) -> Penalised:
        """The penalty of each sample. Collective."""


def soft_overlong(length: int, longest: int, buffer: int) -> float:
    """DAPO's penalty of a completion of `length` tokens, from 0 to 1.

    0 up to `longest - buffer`, from there a straight line to 1 at `longest`, and 1 beyond.
    """
    return min(max(length - (longest - buffer), 0), buffer) / buffer


@dataclass(frozen=True)
class OverlongPenalty:
    """A penalty for the last tokens that a completion may have; see `soft_overlong`."""

    longest: int
    buffer: int
    whole: float = 1.0
    """The penalty at `longest`."""

    def __call__(self, samples: Sequence[Sample]) -> Penalised:
        """See `Penalty`. Metric: `penalty/overlong`, its mean."""
        lengths = [len(sample.completion_ids) for sample in samples]
        amounts = [self.whole * soft_overlong(n, self.longest, self.buffer) for n in lengths]
        return Penalised(list(samples), amounts, {"penalty/overlong": mean(amounts)})


@dataclass(frozen=True)
class KLPenalty:
    """`beta` times the divergence of the policy that sampled from the reference, by sequence.

    The estimates of a completion's tokens are added up: `k1`'s sum is unbiased for the divergence
    of the whole sequence. The policy's log-probabilities are the trainer's, before the update.
    """

    updater: Updater
    reference: Policy
    beta: float
    estimator: Estimator = "k3"

    def __call__(self, samples: Sequence[Sample]) -> Penalised:
        """See `Penalty`. Metrics: `penalty/kl`, its mean, and `kl`, nats per token.

        Where the update takes several optimizer steps the samples keep the log-probabilities, which
        it would take again otherwise.
        """
        old, reference = self._scored(samples)
        sums = [self._sum(*rows) for rows in zip(old, reference, strict=True)]
        amounts = [self.beta * total for total in sums]
        tokens = sum(len(sample.completion_ids) for sample in samples)
        metrics = {"penalty/kl": mean(amounts), "kl": sum(sums) / max(1, tokens)}
        if self.updater.takes_one_step(samples):
            return Penalised(list(samples), amounts, metrics)
        known = [replace(s, old_logprobs=row) for s, row in zip(samples, old, strict=True)]
        return Penalised(known, amounts, metrics)

    def _scored(self, samples: Sequence[Sample]) -> tuple[list[tuple[float, ...]], ...]:
        """Log-probabilities of the tokens under the policy and under the reference."""
        old = self.updater.score(samples, self.updater.engine)
        check_logprobs(old, "the policy")
        reference = self.updater.score(samples, self.reference)
        check_logprobs(reference, "the KL reference")
        return old, reference

    def _sum(self, old: tuple[float, ...], reference: tuple[float, ...]) -> float:
        rows = (torch.tensor(row, dtype=torch.float64) for row in (old, reference))
        return float(ESTIMATORS[self.estimator](*rows).sum())


def penalised(
    samples: Sequence[Sample],
    groups: Sequence[Group],
    algorithm: Algorithm,
    penalties: Sequence[Penalty],
) -> tuple[list[Sample], Metrics]:
    """Samples with the advantages of their rewards less all penalties, and what those were.

    Args:
        samples: one per member of `groups`, in order.
        groups: the groups that are trained on.
        algorithm: makes advantages of rewards.
        penalties: applied one after the other; none leave everything as it is.
    """
    found, metrics = list(samples), Metrics()
    for penalty in penalties:
        done = penalty(found)
        metrics |= done.metrics
        found = [
            replace(sample, penalty=sample.penalty + amount)
            for sample, amount in zip(done.samples, done.amounts, strict=True)
        ]
    if not penalties:
        return found, metrics
    rows = algorithm.advantages(lowered(groups, [sample.penalty for sample in found]))
    advantages = [advantage for row in rows for advantage in row]
    return [
        replace(sample, advantage=advantage)
        for sample, advantage in zip(found, advantages, strict=True)
    ], metrics


def lowered(groups: Sequence[Group], amounts: Sequence[float]) -> list[Group]:
    """`groups` whose members' rewards are less by `amounts`, one each, in order."""
    taken = iter(amounts)
    return [
        replace(
            group,
            members=tuple(replace(m, reward=m.reward - next(taken)) for m in group.members),
        )
        for group in groups
    ]


def mean(values: Sequence[float]) -> float:
    """The mean; 0 of nothing."""
    return sum(values) / max(1, len(values))
