"""The update of one rollout batch: groups to samples, samples to micro-batches, losses to steps.

Every rank holds the same list of samples and trains its shard; sums are global. Left out: where
groups come from (`srl_grpo.rollout.groups`), and what the loss is (`srl_grpo.objective.loss`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from srl_eval.generate import seed_for
from srl_grpo.config.train import AlgorithmSection
from srl_grpo.learner.agreement import (
    DIFFERENCE,
    UNEXPLAINED,
    check_agreement,
    limit_of,
    unexplained,
)
from srl_grpo.learner.batch import MicroBatch, Sample, shard, to_tensors
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import check_logprobs, check_metrics
from srl_grpo.learner.policy import Policy
from srl_grpo.objective.loss import LOSSES, LossOptions, Normalisation, denominator, token_weights
from srl_grpo.rollout.groups import Group, advantages

Metrics = dict[str, float]


def samples_of(groups: Sequence[Group], eps: float) -> list[Sample]:
    """One sample a completion, with its advantage, in order of groups and members."""
    return [
        Sample(
            prompt_ids=group.prompt_ids,
            completion_ids=member.completion.token_ids,
            advantage=advantage,
            sampler_logprobs=member.completion.logprobs,
        )
        for group, row in zip(groups, advantages(groups, eps), strict=True)
        for member, advantage in zip(group.members, row, strict=True)
    ]


def weighted(samples: Sequence[Sample], normalisation: Normalisation) -> list[Sample]:
    """Samples of one optimizer step with each token's share of its global batch."""
    weights = token_weights([len(sample.completion_ids) for sample in samples], normalisation)
    return [replace(s, weight=weight) for s, weight in zip(samples, weights, strict=True)]


def weight_of(samples: Sequence[Sample], normalisation: Normalisation) -> int:
    """What an optimizer step weighs among others: the denominator of its loss."""
    return denominator([len(sample.completion_ids) for sample in samples], normalisation)


def optimizer_batches(
    samples: Sequence[Sample], size: int, seed: int, order: tuple[int, int]
) -> list[list[Sample]]:
    """One pass over a rollout batch, cut into optimizer steps of at most `size` completions.

    More than one step: in an order shuffled by (seed, step, pass). As few steps as `size` allows,
    their sizes alike to one completion: 9 with a size of 4 are 3, 3 and 3, since every step takes
    the whole learning rate, also one of a single completion.
    """
    if size >= len(samples):
        return [list(samples)]
    generator = np.random.default_rng(seed_for(seed, "update", *order))
    places = generator.permutation(len(samples))
    parts = np.array_split(places, math.ceil(len(samples) / size))
    return [[samples[place] for place in part.tolist()] for part in parts]


def mean_metrics(collected: Sequence[tuple[float, Metrics]]) -> Metrics:
    """Metrics of several optimizer steps, each with its weight, as those of all their tokens.

    The gradient norm belongs to a step, not to its tokens: its mean is a plain one.
    """
    total = sum(weight for weight, _ in collected)
    shares = [weight / total for weight, _ in collected]
    names = collected[0][1]
    means = {
        name: sum(share * m[name] for share, (_, m) in zip(shares, collected, strict=True))
        for name in names
    }
    return means | {"grad_norm": float(np.mean([m["grad_norm"] for _, m in collected]))}


@dataclass
class Updater:
    """Turns rollout batches into optimizer steps."""

    engine: TrainingEngine
    world: World
    options: AlgorithmSection
    temperature: float
    token_budget: int
    pad_id: int
    seed: int
    train_batch_size: int
    reference: Policy | None = None
    top_p: float = 1.0
    """Of the sampler; below 1 its log-probabilities are those of the nucleus."""
    max_logprob_difference: float | None = None
    """See `limit_of`."""

    def __call__(self, groups: Sequence[Group], step: int, learning_rate: float) -> Metrics:
        """All passes over one rollout batch; see `mean_metrics` for what is returned."""
        samples = self.with_constants(samples_of(groups, self.options.advantage_eps))
        size, seed, mean = self.train_batch_size, self.seed, self.options.normalisation
        collected = [
            (weight_of(batch, mean), self.optimizer_step(batch, learning_rate, step))
            for number in range(self.options.ppo_steps)
            for batch in optimizer_batches(samples, size, seed, (step, number))
        ]
        return mean_metrics(collected)

    def with_constants(self, samples: list[Sample]) -> list[Sample]:
        """Samples with old and reference log-probabilities, taken before the first update.

        With a single optimizer step the policy itself is the old one: its own log-probabilities,
        detached, are the same numbers, and no extra pass is made for them.
        """
        single = self.options.ppo_steps == 1 and self.train_batch_size >= len(samples)
        if not single:
            old = self.score(samples, self.engine)
            check_logprobs(old, "the policy")
            samples = [
                replace(s, old_logprobs=values) for s, values in zip(samples, old, strict=True)
            ]
        if self.reference is not None:
            values = self.score(samples, self.reference)
            check_logprobs(values, "the KL reference")
            samples = [
                replace(s, reference_logprobs=v) for s, v in zip(samples, values, strict=True)
            ]
        return samples

    @torch.no_grad()
    def score(
        self, samples: Sequence[Sample], scorer: TrainingEngine | Policy
    ) -> list[tuple[float, ...]]:
        """Log-probabilities of every sample's tokens, on every rank. Collective."""
        mine: dict[int, tuple[float, ...]] = {}
        for rows in shard(samples, self.token_budget, self.world.rank, self.world.size):
            batch = to_tensors(samples, rows, self.pad_id, self.world.device)
            if isinstance(scorer, Policy):
                logprobs_N, _ = scorer(batch, self.temperature)
            else:
                logprobs_N, _ = scorer.forward(batch, self.temperature)
            mine.update(zip(rows, batch.split(logprobs_N), strict=True))
        everything: dict[int, tuple[float, ...]] = {}
        for part in self.world.gather(mine):
            everything.update(part)
        return [everything[row] for row in range(len(samples))]

    def optimizer_step(self, batch: list[Sample], learning_rate: float, step: int) -> Metrics:
        """One update from a global batch. Collective.

        CommandError, before any weight moves, where a sum is not finite or the samples come from
        another model than the one that is trained.
        """
        samples = weighted(batch, self.options.normalisation)
        shards = shard(samples, self.token_budget, self.world.rank, self.world.size)
        sums: dict[str, Tensor] = {}
        for number, rows in enumerate(shards):
            self.engine.begin(last=number == len(shards) - 1)
            micro = to_tensors(samples, rows, self.pad_id, self.world.device)
            loss, metrics = self.micro_loss(micro)
            self.engine.backward(loss)
            for name, value in {"loss": loss.detach(), **metrics}.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.cpu()
        names = sorted(sums)
        values = self.world.sum([float(sums[name]) for name in names])
        totals = dict(zip(names, values, strict=True))
        check_metrics(totals, step + 1)
        dtype = self.engine.dtype
        check_agreement(totals, limit_of(self.max_logprob_difference, dtype), step + 1, dtype)
        return totals | {"grad_norm": self.engine.step(learning_rate)}

    def micro_loss(self, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """One micro-batch's share of the loss, and metrics that add up over micro-batches."""
        logprobs_N, entropy_N = self.engine.forward(batch, self.temperature)
        columns = batch.columns
        old_N = columns.get("old_logprobs", logprobs_N.detach())
        weights_N = columns["weight"]
        loss, metrics = LOSSES[self.options.loss](
            logprobs_N,
            old_N,
            columns["advantage"],
            weights_N,
            self.loss_options(),
            columns.get("reference_logprobs"),
            columns.get("sampler_logprobs"),
        )
        metrics["entropy"] = (entropy_N * weights_N).sum()
        if "sampler_logprobs" in columns:
            gap_N = (old_N - columns["sampler_logprobs"]).abs()
            metrics[DIFFERENCE] = (gap_N * weights_N).sum()
            if self.top_p < 1:
                rest_N = unexplained(old_N, columns["sampler_logprobs"], self.top_p)
                metrics[UNEXPLAINED] = (rest_N * weights_N).sum()
        return loss, metrics

    def loss_options(self) -> LossOptions:
        """The loss's constants from the config."""
        return LossOptions(
            epsilon_low=self.options.epsilon_low,
            epsilon_high=self.options.epsilon_high,
            beta=self.options.beta,
            sampler_cap=self.options.sampler_cap,
        )
