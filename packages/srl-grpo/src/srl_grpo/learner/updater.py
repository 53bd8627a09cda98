"""The update of one batch: samples to micro-batches, micro-batches to losses, losses to steps.

Every rank holds the same list of samples and trains its shard; sums are global. Left out: where
samples come from, and what the loss is (`srl_grpo.objective.loss`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from srl_eval.generate import seed_for
from srl_grpo.learner.agreement import (
    DIFFERENCE,
    UNEXPLAINED,
    check_agreement,
    limit_of,
    unexplained,
)
from srl_grpo.learner.batch import MicroBatch, Sample, to_tensors
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import check_logprobs, check_metrics
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.sharding import Cutting, shard
from srl_grpo.objective.loss import Loss
from srl_grpo.objective.normalisation import Normalisation, denominator, token_weights
from srl_grpo.objective.tokens import old_logprobs

Metrics = dict[str, float]


def with_token_weights(
    samples: Sequence[Sample], normalisation: Normalisation, longest: int = 1
) -> list[Sample]:
    """Samples of one optimizer step with each token's share of its global batch."""
    lengths = [len(sample.completion_ids) for sample in samples]
    weights = token_weights(lengths, normalisation, longest)
    return [replace(s, weight=weight) for s, weight in zip(samples, weights, strict=True)]


def loss_denominator(samples: Sequence[Sample], normalisation: Normalisation) -> int:
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


@dataclass(frozen=True)
class UpdateOptions:
    """How a batch of samples becomes optimizer steps."""

    batch_size: int
    """Samples per optimizer step, at most."""
    passes: int = 1
    """Passes over the samples."""
    normalisation: Normalisation = "token-mean"
    longest: int = 1
    """The constant of `constant` normalisation, in tokens."""
    token_budget: int = 16384
    """Padded tokens per forward pass."""
    micro_batches: int | None = None
    """Forward passes per optimizer step and rank, instead of a token budget."""
    packing: bool = False
    """Several samples to a row of tokens; see `srl_grpo.learner.packing`."""
    temperature: float = 1.0
    """At which log-probabilities are taken: the sampler's."""
    top_p: float = 1.0
    """Of the sampler; below 1 its log-probabilities are those of the nucleus."""
    max_logprob_difference: float | None = None
    """See `srl_grpo.learner.agreement.limit_of`."""
    seed: int = 0
    """Of the order of samples, where there are several optimizer steps."""


@dataclass(frozen=True)
class Updater:
    """Turns batches of samples into optimizer steps."""

    engine: TrainingEngine
    loss: Loss
    options: UpdateOptions
    pad_id: int
    reference: Policy | None = None
    """Of the loss's KL term."""

    @property
    def world(self) -> World:
        """The processes that take part."""
        return self.engine.world

    def __call__(self, samples: Sequence[Sample], step: int, learning_rate: float) -> Metrics:
        """All passes over one batch of samples; see `mean_metrics` for what is returned."""
        options = self.options
        constant, size = self.with_constants(samples), options.batch_size
        collected = [
            (
                loss_denominator(batch, options.normalisation),
                self.optimizer_step(batch, learning_rate, step),
            )
            for number in range(options.passes)
            for batch in optimizer_batches(constant, size, options.seed, (step, number))
        ]
        return mean_metrics(collected)

    def with_constants(self, samples: Sequence[Sample]) -> list[Sample]:
        """Samples with old and reference log-probabilities, taken before the first update.

        A sample that brings its own old log-probabilities keeps them. With a single optimizer step
        the policy itself is the old one: its own log-probabilities, detached, are the same
        numbers, and no extra pass is made for them.
        """
        samples, options = list(samples), self.options
        single = options.passes == 1 and options.batch_size >= len(samples)
        brought = [bool(sample.old_logprobs) for sample in samples]
        needed = not single or any(brought)
        if self.loss.reads_old_logprobs and needed and not all(brought):
            values = self.score(samples, self.engine)
            check_logprobs(values, "the policy")
            samples = [
                replace(s, old_logprobs=s.old_logprobs or old)
                for s, old in zip(samples, values, strict=True)
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
        temperature = self.options.temperature
        for rows in self.micro_batches(samples):
            batch = self.tensors(samples, rows)
            if isinstance(scorer, Policy):
                logprobs_N, _ = scorer(batch, temperature)
            else:
                logprobs_N, _ = scorer.forward(batch, temperature)
            mine.update(zip(batch.rows, batch.split(logprobs_N), strict=True))
        everything: dict[int, tuple[float, ...]] = {}
        for part in self.world.gather(mine):
            everything.update(part)
        return [everything[row] for row in range(len(samples))]

    def micro_batches(self, samples: Sequence[Sample]) -> list[list[int]]:
        """This rank's micro-batches; see `shard`."""
        options, world = self.options, self.world
        cutting = Cutting(options.token_budget, options.micro_batches, options.packing)
        return shard(samples, cutting, world.rank, world.size)

    def tensors(self, samples: Sequence[Sample], rows: Sequence[int]) -> MicroBatch:
        """One of `micro_batches` on the device; see `to_tensors`."""
        dtype = torch.promote_types(self.engine.dtype, torch.float32)
        device, packing = self.world.device, self.options.packing
        return to_tensors(samples, rows, self.pad_id, device, packing, dtype)

    def optimizer_step(self, batch: list[Sample], learning_rate: float, step: int) -> Metrics:
        """One update from a global batch. Collective.

        CommandError, before any weight moves, where a sum is not finite or the samples come from
        another model than the one that is trained.
        """
        totals = self.accumulate(batch)
        check_metrics(totals, step + 1)
        dtype = self.engine.dtype
        limit = limit_of(self.options.max_logprob_difference, dtype)
        check_agreement(totals, limit, step + 1, dtype)
        return totals | {"grad_norm": self.engine.step(learning_rate)}

    def accumulate(self, batch: list[Sample]) -> Metrics:
        """Add up the gradients of a global batch, and its metrics. Collective.

        What the engine then holds are the gradients of one optimizer step that is not made yet.
        """
        samples = with_token_weights(batch, self.options.normalisation, self.options.longest)
        shards = self.micro_batches(samples)
        sums: dict[str, Tensor] = {}
        for number, rows in enumerate(shards):
            self.engine.begin(last=number == len(shards) - 1)
            loss, metrics = self.micro_loss(self.tensors(samples, rows))
            self.engine.backward(loss)
            for name, value in {"loss": loss.detach(), **metrics}.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.cpu()
        names = sorted(sums)
        values = self.world.sum([float(sums[name]) for name in names])
        return dict(zip(names, values, strict=True))

    def micro_loss(self, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor]]:
        """One micro-batch's share of the loss, and metrics that add up over micro-batches."""
        logprobs_N, entropy_N = self.engine.forward(batch, self.options.temperature)
        loss, metrics = self.loss(logprobs_N, batch.columns)
        metrics["entropy"] = (entropy_N * batch.columns["weight"]).sum()
        if "sampler_logprobs" in batch.columns:
            metrics |= self.difference_metrics(logprobs_N, batch.columns)
        return loss, metrics

    def difference_metrics(
        self, logprobs_N: Tensor, columns: Mapping[str, Tensor]
    ) -> dict[str, Tensor]:
        """How far the sampler's log-probabilities lie from the policy that sampled, as sums."""
        old_N, sampler_N = old_logprobs(logprobs_N, columns), columns["sampler_logprobs"]
        weights_N, top_p = columns["weight"], self.options.top_p
        found = {DIFFERENCE: ((old_N - sampler_N).abs() * weights_N).sum()}
        if top_p < 1:
            found[UNEXPLAINED] = (unexplained(old_N, sampler_N, top_p) * weights_N).sum()
        return found
