"""The update of one batch: samples to micro-batches, micro-batches to losses, losses to steps.

Every rank holds the same list of samples and trains its shard; sums are global. Left out: where
samples come from, and what the loss is (`srl_grpo.objective.loss`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from srl_eval.generate import seed_for
from srl_grpo.learner.agreement import (
    check_agreement,
    difference_metrics,
    limit_of,
    ratio_metrics,
)
from srl_grpo.learner.batch import MicroBatch, Sample
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import check_logprobs, check_metrics
from srl_grpo.learner.micro_batches import MicroBatches
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.prompt_groups import Sharing, whole_groups
from srl_grpo.learner.sharding import Cutting, shard
from srl_grpo.objective.loss import Loss
from srl_grpo.objective.normalisation import (
    Normalisation,
    denominator,
    share_normalisation,
    token_weights,
)
from srl_grpo.objective.tokens import old_logprobs

Metrics = dict[str, float]

SHARED_RATIO = "update/shared_ratio"
"""The metric of tokens trained, prompts included, over tokens that passed through the model."""


def with_token_weights(
    samples: Sequence[Sample], normalisation: Normalisation, longest: int = 1
) -> list[Sample]:
    """Samples of one optimizer step with what each token counts in its loss and its metrics."""
    lengths = [len(sample.completion_ids) for sample in samples]
    weights = token_weights(lengths, normalisation, longest)
    shares = token_weights(lengths, share_normalisation(normalisation))
    return [
        replace(sample, weight=weight, share=share)
        for sample, weight, share in zip(samples, weights, shares, strict=True)
    ]


def step_weights(batches: Sequence[Sequence[Sample]], normalisation: Normalisation) -> list[int]:
    """What each optimizer step counts among several: the denominator of its weights."""
    return [
        denominator([len(sample.completion_ids) for sample in batch], normalisation)
        for batch in batches
    ]


def optimizer_batches(
    samples: Sequence[Sample],
    size: int,
    seed: int,
    order: tuple[int, int],
    *,
    by_prompt: bool = False,
) -> list[list[Sample]]:
    """One pass over a rollout batch, cut into optimizer steps of at most `size` completions.

    More than one step: in an order shuffled by (seed, step, pass). As few steps as `size` allows,
    their sizes alike to one completion: 9 with a size of 4 are 3, 3 and 3, since every step takes
    the whole learning rate, also one of a single completion. With `by_prompt` prompts are shuffled
    and a step ends between two where it can.
    """
    if size >= len(samples):
        return [list(samples)]
    generator = np.random.default_rng(seed_for(seed, "update", *order))
    if by_prompt:
        return whole_groups(samples, size, generator)
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
    sharing: Sharing | None = None
    """How common beginnings are computed once; None for each sample on its own."""
    temperature: float = 1.0
    """At which log-probabilities are taken: the sampler's."""
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
        """All passes over one batch of samples; metrics are those of all its tokens. Collective."""
        options = self.options
        constant, size = self.with_constants(samples), options.batch_size
        batches = [
            batch
            for number in range(options.passes)
            for batch in optimizer_batches(
                constant, size, options.seed, (step, number), by_prompt=self.shares(constant)
            )
        ]
        done = [self.optimizer_step(batch, learning_rate, step) for batch in batches]
        metrics = [step_metrics for step_metrics, _ in done]
        by_loss = step_weights(batches, options.normalisation)
        by_share = step_weights(batches, share_normalisation(options.normalisation))
        means = mean_metrics(list(zip(by_share, metrics, strict=True)))
        means["loss"] = mean_metrics(list(zip(by_loss, metrics, strict=True)))["loss"]
        first_pass = done[: len(done) // options.passes]  # the others compare the same tokens again
        return means | ratio_metrics(torch.cat([log_ratios_N for _, log_ratios_N in first_pass]))

    def with_constants(self, samples: Sequence[Sample]) -> list[Sample]:
        """Samples with old and reference log-probabilities, taken before the first update.

        A sample that brings its own old log-probabilities keeps them. With a single optimizer step
        the policy itself is the old one: its own log-probabilities, detached, are the same
        numbers, and no extra pass is made for them. With several they are taken for the comparison
        with the sampler too, whether the loss reads them or not.
        """
        samples = list(samples)
        brought = [bool(sample.old_logprobs) for sample in samples]
        needed = not self.takes_one_step(samples) or any(brought)
        read = self.loss.reads_old_logprobs or any(sample.sampler_logprobs for sample in samples)
        if read and needed and not all(brought):
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

    def shares(self, samples: Sequence[Sample]) -> bool:
        """Whether common beginnings of these samples are computed once."""
        return self.options.sharing is not None and self.options.sharing.takes(samples)

    def takes_one_step(self, samples: Sequence[Sample]) -> bool:
        """Whether they make a single optimizer step, whose policy is the old one itself."""
        return self.options.passes == 1 and self.options.batch_size >= len(samples)

    @torch.no_grad()
    def score(
        self, samples: Sequence[Sample], scorer: TrainingEngine | Policy
    ) -> list[tuple[float, ...]]:
        """Log-probabilities of every sample's tokens, on every rank. Collective."""
        mine: dict[int, tuple[float, ...]] = {}
        temperature = self.options.temperature
        policy = scorer if isinstance(scorer, Policy) else scorer.policy
        batches = self.micro_batches(samples, None)
        with batches.attention(policy):
            for batch in batches:
                if isinstance(scorer, Policy):
                    logprobs_N, _ = scorer(batch, temperature)
                else:
                    logprobs_N, _ = scorer.forward(batch, temperature)
                mine.update(zip(batch.rows, batch.split(logprobs_N), strict=True))
        everything: dict[int, tuple[float, ...]] = {}
        for part in self.world.gather(mine):
            everything.update(part)
        return [everything[row] for row in range(len(samples))]

    def micro_batches(self, samples: Sequence[Sample], count: int | None) -> MicroBatches:
        """This rank's micro-batches: `count` of them, or as many as the token budget asks for."""
        options, place = self.options, (self.world.rank, self.world.size)
        sharing = options.sharing if self.shares(samples) else None
        if sharing is not None:
            rows = sharing.shard(samples, options.token_budget, count, *place)
        else:
            rows = shard(samples, Cutting(options.token_budget, count, options.packing), *place)
        return MicroBatches(
            samples,
            rows,
            in_trees=sharing is not None,
            packing=options.packing,
            pad_id=self.pad_id,
            device=self.world.device,
            dtype=torch.promote_types(self.engine.dtype, torch.float32),
        )

    def optimizer_step(
        self, batch: list[Sample], learning_rate: float, step: int
    ) -> tuple[Metrics, Tensor]:
        """One update from a global batch; its metrics, and `log(old / sampler)` of its tokens.

        Collective. CommandError, before any weight moves, where a sum is not finite or the samples
        come from another model than the one that is trained.
        """
        totals, log_ratios_N = self.accumulate(batch)
        check_metrics(totals, step + 1)
        dtype = self.engine.dtype
        limit = limit_of(self.options.max_logprob_difference, dtype)
        check_agreement(totals, limit, step + 1, dtype)
        return totals | {"grad_norm": self.engine.step(learning_rate)}, log_ratios_N

    def accumulate(self, batch: list[Sample]) -> tuple[Metrics, Tensor]:
        """Add up a global batch's gradients; otherwise as `optimizer_step`. Collective.

        What the engine then holds are the gradients of one optimizer step that is not made yet.
        """
        samples = with_token_weights(batch, self.options.normalisation, self.options.longest)
        batches = self.micro_batches(samples, self.options.micro_batches)
        with batches.attention(self.engine.policy):
            sums, log_ratios, computed = self.passes(batches)
        names = sorted(sums)
        *values, tokens = self.world.sum([*(float(sums[name]) for name in names), computed])
        # As arrays: pickling a tensor asks torch what its type is called.
        parts = self.world.gather(torch.cat(log_ratios).float().numpy())
        everywhere_N = torch.from_numpy(np.concatenate(parts))
        ratio = {SHARED_RATIO: sum(sample.length for sample in samples) / max(1, tokens)}
        return dict(zip(names, values, strict=True)) | ratio, everywhere_N

    def passes(self, batches: MicroBatches) -> tuple[dict[str, Tensor], list[Tensor], int]:
        """Forward and backward over this rank's micro-batches of one optimizer step.

        Returns the sums of its metrics, `log(old / sampler)` part by part, and tokens computed.
        """
        sums: dict[str, Tensor] = {}
        log_ratios, computed = [torch.zeros(0)], 0
        for number, batch in enumerate(batches, start=1):
            self.engine.begin(last=number == len(batches))
            loss, metrics, log_ratios_N = self.micro_loss(batch)
            self.engine.backward(loss)
            computed += batch.input_ids_BT.numel()
            log_ratios.append(log_ratios_N.cpu())
            for name, value in {"loss": loss.detach(), **metrics}.items():
                sums[name] = sums.get(name, torch.zeros(())) + value.cpu()
        return sums, log_ratios, computed

    def micro_loss(self, batch: MicroBatch) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """One micro-batch's share of the loss, metrics that add up, `log(old / sampler)` of N."""
        logprobs_N, entropy_N = self.engine.forward(batch, self.options.temperature)
        columns = batch.columns
        loss, metrics = self.loss(logprobs_N, columns)
        metrics["entropy"] = (entropy_N * columns["share"]).sum()
        if "sampler_logprobs" not in columns:
            return loss, metrics, torch.zeros(0)
        log_ratios_N = old_logprobs(logprobs_N, columns) - columns["sampler_logprobs"]
        metrics |= difference_metrics(log_ratios_N, columns["share"])
        return loss, metrics, log_ratios_N
