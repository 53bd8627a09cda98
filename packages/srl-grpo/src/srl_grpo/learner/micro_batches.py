"""The micro-batches that a rank makes of a list of samples: in rows or in trees, decided once.

Left out: which samples go together (`srl_grpo.learner.sharding`, `srl_grpo.learner.prompt_groups`),
and what is computed of them (`srl_grpo.learner.updater`).
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from srl_grpo.learner.batch import MicroBatch, Sample, to_tensors
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.tree_attention import tree_attention_on


@dataclass(frozen=True)
class MicroBatches:
    """One rank's share of samples, cut into passes; their tensors are made one after the other."""

    samples: Sequence[Sample]
    """Those of all ranks."""
    rows: Sequence[Sequence[int]]
    """Of each micro-batch, its indices of `samples`."""
    in_trees: bool
    """Whether common beginnings stand once."""
    packing: bool
    """Several samples to a row of tokens, where they are not in trees."""
    pad_id: int
    device: torch.device
    dtype: torch.dtype
    """Of the constants of tokens."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[MicroBatch]:
        for rows in self.rows:
            yield to_tensors(
                self.samples,
                rows,
                self.pad_id,
                self.device,
                self.packing,
                self.dtype,
                self.in_trees,
            )

    def attention(self, policy: Policy) -> AbstractContextManager[object]:
        """The attention that their passes take, the backward ones too."""
        return tree_attention_on(policy.model) if self.in_trees else nullcontext()
