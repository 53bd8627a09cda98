"""Whether a sampler that was brought the policy's weights samples from them.

A few greedy tokens are written by the sampler and scored by the policy: tokens may agree where
weights do not, log-probabilities do not. Left out: the comparison of all that is trained on, which
the updater makes (`srl_grpo.learner.agreement`).
"""

from dataclasses import dataclass

import torch

from srl_data.command.errors import CommandError
from srl_eval.generate import Completion, Sampling
from srl_eval.generate.architectures import vocabulary_size
from srl_eval.generate.engine import Completer
from srl_grpo.learner.agreement import limit_of
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.rollout.placement import IN_PROCESS, Placement

PROMPT, NEW = 12, 8
"""Tokens of the prompt that is completed, and of its completion, where they fit."""


@dataclass(frozen=True)
class Parity:
    """How sampler and policy are compared; `window` is the sampler's, in tokens."""

    training: TrainingEngine
    window: int
    limit: float | None = None
    """See `srl_grpo.learner.agreement.limit_of`."""
    placement: Placement = IN_PROCESS

    def check(self, sampler: Completer) -> float:
        """The mean difference of their log-probabilities, in nats per token. Collective.

        CommandError, on every rank, where it is more than rounding.
        """
        difference = max(self.training.world.gather(self.difference(sampler)))
        dtype = self.training.dtype
        if not difference <= limit_of(self.limit, dtype):
            name = str(dtype).removeprefix("torch.")
            raise CommandError(
                f"after a sync the sampler's log-probabilities lie {difference:.3g} nats per token "
                f"from the policy's, where {name} stays far below {limit_of(None, dtype):g}: it "
                "does not sample from the weights that are trained; --rollout-backend hf does"
            )
        return difference

    @torch.no_grad()
    def difference(self, sampler: Completer) -> float:
        """This rank's. Collective under ZeRO-3, where every rank's rows have one length."""
        vocabulary = vocabulary_size(self.training.policy.model.config)
        new = min(NEW, self.window // 2)
        length = min(PROMPT, self.window - new)
        prompt = [(7 * place + 3) % vocabulary for place in range(length)]
        row = self.answer(sampler, prompt, new)
        device = next(self.training.policy.parameters()).device
        batch = MicroBatch.of_rows([(prompt, row.token_ids)], device=device)
        logprobs_N, _ = self.training.forward(batch, 1.0)
        told_N = torch.tensor(row.logprobs, dtype=torch.float32)
        return float((logprobs_N.float().cpu() - told_N).abs().mean())

    def answer(self, sampler: Completer, prompt: list[int], new: int) -> Completion:
        """The greedy completion by this rank's sampler, which one of its ranks asks. Collective."""
        rows: list[Completion] = []
        if self.placement.leads:
            rows = sampler.generate([prompt], Sampling(new, temperature=0.0), [0])
        world = self.training.world
        (row,) = world.gather(rows)[world.rank // self.placement.ranks * self.placement.ranks]
        return row
