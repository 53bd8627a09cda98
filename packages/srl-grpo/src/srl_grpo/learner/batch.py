"""Samples packed into padded micro-batches of tensors, every rank with the same number of them.

A sample is a prompt, a completion and numbers for its tokens. Rows are grouped by length, up to a
budget of padded tokens. Left out: what the numbers mean (`srl_grpo.objective.loss`) and the
forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise

import torch
from torch import Tensor

TokenIds = Sequence[int]


@dataclass(frozen=True)
class Sample:
    """One completion to train on, and the constants of its tokens."""

    prompt_ids: tuple[int, ...]
    completion_ids: tuple[int, ...]
    """The sampled ids themselves, the end token included; never re-tokenised text."""
    group: int = 0
    """Which samples have this one's prompt, by a number of their batch."""
    weights_version: int = 0
    """Which weights it was sampled from: updates of the sampler's weights before it."""
    advantage: float = 0.0
    weight: float = 0.0
    """Each token's share of the global batch."""
    sampler_logprobs: tuple[float, ...] = ()
    old_logprobs: tuple[float, ...] = ()
    reference_logprobs: tuple[float, ...] = ()

    @property
    def length(self) -> int:
        """Tokens of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True)
class MicroBatch:
    """B rows padded on the right to T tokens, with their N completion tokens flat, row by row."""

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    position_ids_BT: Tensor
    predicts_BT: Tensor
    """True where the hidden state predicts a completion token; N of them."""
    targets_N: Tensor
    rows: tuple[int, ...] = ()
    """Index of each row in the list of samples the batch was made from."""
    lengths: tuple[int, ...] = ()
    """Completion tokens of each row."""
    columns: dict[str, Tensor] = field(default_factory=dict)
    """Per-token constants of shape N, float32; `sequence`, the row of each token, is int64."""

    @classmethod
    def of_rows(
        cls,
        rows: Sequence[tuple[TokenIds, TokenIds]],
        pad_id: int = 0,
        device: torch.device | str = "cpu",
    ) -> "MicroBatch":
        """A micro-batch of (prompt ids, completion ids); no rows make one masked padding row."""
        width = max((len(prompt) + len(completion) for prompt, completion in rows), default=1)
        ids_BT = torch.full((max(1, len(rows)), width), pad_id, dtype=torch.long)
        mask_BT, predicts_BT = torch.zeros_like(ids_BT), torch.zeros_like(ids_BT)
        targets: list[int] = []
        for row, (prompt, completion) in enumerate(rows):
            end = len(prompt) + len(completion)
            ids_BT[row, :end] = torch.tensor([*prompt, *completion])
            mask_BT[row, :end] = 1
            predicts_BT[row, len(prompt) - 1 : end - 1] = 1
            targets.extend(completion)
        if not rows:
            mask_BT[0, 0] = 1  # attention over nothing would be NaN
        return cls(
            input_ids_BT=ids_BT.to(device),
            attention_mask_BT=mask_BT.to(device),
            position_ids_BT=(mask_BT.cumsum(1) - 1).clamp(min=0).to(device),
            predicts_BT=predicts_BT.bool().to(device),
            targets_N=torch.tensor(targets, dtype=torch.long, device=device),
            lengths=tuple(len(completion) for _, completion in rows),
        )

    def left_padded(self) -> "MicroBatch":
        """The same rows with one more padding token on the left, as the sampler sees short ones."""

        def with_column(values_BT: Tensor) -> Tensor:
            return torch.nn.functional.pad(values_BT, (1, 0))

        return replace(
            self,
            input_ids_BT=with_column(self.input_ids_BT),
            attention_mask_BT=with_column(self.attention_mask_BT),
            position_ids_BT=with_column(self.position_ids_BT),
            predicts_BT=with_column(self.predicts_BT),
        )

    def split(self, values_N: Tensor) -> list[tuple[float, ...]]:
        """Per-token values cut back into one tuple per row."""
        parts = values_N.detach().float().cpu().split(list(self.lengths)) if self.lengths else ()
        return [tuple(part.tolist()) for part in parts]


def spread(samples: Sequence[Sample], name: str) -> list[float]:
    """A column's values, flat over the completion tokens of `samples`."""
    values: list[float] = []
    for sample in samples:
        value = getattr(sample, name)
        if isinstance(value, tuple):
            values.extend(value)
        else:
            values.extend([value] * len(sample.completion_ids))
    return values


def present_columns(samples: Sequence[Sample]) -> list[str]:
    """Columns that every sample has: the scalars always, log-probabilities where they are set."""
    optional = ("sampler_logprobs", "old_logprobs", "reference_logprobs")
    there = [
        name
        for name in optional
        if samples and all(len(getattr(s, name)) == len(s.completion_ids) for s in samples)
    ]
    return ["advantage", "weight", *there]


def to_tensors(
    samples: Sequence[Sample], rows: Sequence[int], pad_id: int, device: torch.device | str
) -> MicroBatch:
    """The micro-batch of `samples[row] for row in rows`; none make an empty one (N = 0)."""
    chosen = [samples[row] for row in rows]
    batch = MicroBatch.of_rows(
        [(sample.prompt_ids, sample.completion_ids) for sample in chosen], pad_id, device
    )
    columns = {
        name: torch.tensor(spread(chosen, name), dtype=torch.float32, device=device)
        for name in present_columns(samples)
    }
    lengths = torch.tensor(batch.lengths, dtype=torch.long)
    columns["sequence"] = torch.arange(len(rows)).repeat_interleave(lengths).to(device)
    return replace(batch, rows=tuple(rows), columns=columns)


def length_groups(samples: Sequence[Sample], token_budget: int) -> list[list[int]]:
    """Indices of `samples`, longest first, cut so that rows times width stays in the budget.

    One row longer than the budget makes a group of its own. The order is deterministic.
    """
    order = sorted(range(len(samples)), key=lambda row: (-samples[row].length, row))
    groups: list[list[int]] = []
    width = 0
    for row in order:
        if not groups or (len(groups[-1]) + 1) * width > token_budget:
            groups.append([])
            width = samples[row].length
        groups[-1].append(row)
    return groups


def counted_groups(samples: Sequence[Sample], count: int) -> list[list[int]]:
    """Indices of `samples`, longest first, cut into `count` groups whose sizes are alike.

    Fewer groups where there are fewer samples: none is empty.
    """
    order = sorted(range(len(samples)), key=lambda row: (-samples[row].length, row))
    count = min(count, len(order))
    bounds = [len(order) * part // count for part in range(count + 1)] if count else [0]
    return [order[start:end] for start, end in pairwise(bounds)]


def shard(
    samples: Sequence[Sample],
    token_budget: int,
    rank: int,
    world_size: int,
    micro_batches: int | None = None,
) -> list[list[int]]:
    """This rank's micro-batches, as row indices into the global list of samples.

    Cut by the budget of padded tokens or, where `micro_batches` is given, into so many. Rows are
    dealt out longest first, so that ranks hold like amounts of work; every rank gets the same
    number of micro-batches (ZeRO-3 gathers parameters collectively), the missing ones empty.
    """
    order = sorted(range(len(samples)), key=lambda row: (-samples[row].length, row))
    dealt = [order[part::world_size] for part in range(world_size)]
    groups = []
    for mine in dealt:
        own = [samples[row] for row in mine]
        local = counted_groups(own, micro_batches) if micro_batches else None
        local = length_groups(own, token_budget) if local is None else local
        groups.append([[mine[index] for index in group] for group in local])
    most = max(len(group) for group in groups)
    return groups[rank] + [[] for _ in range(most - len(groups[rank]))]
