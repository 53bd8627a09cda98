"""Samples as a micro-batch of tensors: one to a padded row, several to a packed one, or a tree.

A sample is a prompt, a completion and numbers for its tokens. Left out: which samples make a
micro-batch (`srl_grpo.learner.sharding`), what the numbers mean (`srl_grpo.objective.loss`) and
the forward pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from srl_eval.generate import KeptTokens
from srl_grpo.learner.packing import PADDING, Segment, example_row, first_fit, pack
from srl_grpo.learner.tree_attention import Tree
from srl_grpo.learner.trie import trie_of
from srl_grpo.objective.kept import Kept

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
    """What each token counts in the loss of its global batch."""
    share: float = 0.0
    """What it counts in metrics; the shares of a global batch's tokens sum to 1."""
    sampler_logprobs: tuple[float, ...] = ()
    old_logprobs: tuple[float, ...] = ()
    reference_logprobs: tuple[float, ...] = ()
    truncated: bool = False
    """Whether the completion was cut off at the sampler's longest."""
    penalty: float = 0.0
    """What was subtracted from its reward before its advantage; see
    `srl_grpo.rollout.penalties`."""
    kept: KeptTokens | None = None
    """The sets that its tokens were drawn from; None where every token could be drawn."""

    @property
    def length(self) -> int:
        """Tokens of prompt and completion together."""
        return len(self.prompt_ids) + len(self.completion_ids)


@dataclass(frozen=True)
class MicroBatch:
    """B rows of T tokens padded on the right, with their N completion tokens flat, row by row."""

    input_ids_BT: Tensor
    attention_mask_BT: Tensor
    position_ids_BT: Tensor
    predictors_N: Tensor
    """Flat place (row times T, plus column) of the hidden state that predicts each target."""
    targets_N: Tensor
    rows: tuple[int, ...] = ()
    """Index of each sample in the list that the batch was made from."""
    lengths: tuple[int, ...] = ()
    """Completion tokens of each sample."""
    columns: dict[str, Tensor] = field(default_factory=dict)
    """Per-token constants of shape N, float32 or wider; `sequence`, each one's sample, is int64."""
    segments_BT: Tensor | None = None
    """Of packed rows, whose tokens see no more than `srl_grpo.learner.packing.visible` says."""
    sees_BSS: Tensor | None = None
    tree: Tree | None = None
    """Of a single row that holds every common beginning once."""
    texts: tuple[tuple[TokenIds, TokenIds], ...] = ()
    """Of a tree: its prompts and completions."""
    kept: Kept | None = None
    """Within which log-probabilities are renormalised; None for the whole vocabulary."""

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
        mask_BT = torch.zeros_like(ids_BT)
        targets: list[int] = []
        predictors: list[int] = []
        for row, (prompt, completion) in enumerate(rows):
            end = len(prompt) + len(completion)
            ids_BT[row, :end] = torch.tensor([*prompt, *completion])
            mask_BT[row, :end] = 1
            predictors.extend(range(row * width + len(prompt) - 1, row * width + end - 1))
            targets.extend(completion)
        if not rows:
            mask_BT[0, 0] = 1  # attention over nothing would be NaN
        return cls(
            input_ids_BT=ids_BT.to(device),
            attention_mask_BT=mask_BT.to(device),
            position_ids_BT=(mask_BT.cumsum(1) - 1).clamp(min=0).to(device),
            predictors_N=torch.tensor(predictors, dtype=torch.long, device=device),
            targets_N=torch.tensor(targets, dtype=torch.long, device=device),
            lengths=tuple(len(completion) for _, completion in rows),
        )

    @classmethod
    def packed(
        cls,
        rows: Sequence[Sequence[Segment]],
        pad_id: int = 0,
        device: torch.device | str = "cpu",
    ) -> "MicroBatch":
        """A micro-batch of packed rows; its `lengths` are those of the trained segments."""
        found = pack(rows, pad_id)
        return cls(
            input_ids_BT=found.ids_BT.to(device),
            attention_mask_BT=(found.segments_BT != PADDING).long().to(device),
            position_ids_BT=found.positions_BT.to(device),
            predictors_N=found.predictors_N.to(device),
            targets_N=found.targets_N.to(device),
            lengths=tuple(len(part.ids) for row in rows for part in row if part.trained),
            segments_BT=found.segments_BT.to(device),
            sees_BSS=found.sees_BSS.to(device),
        )

    @classmethod
    def of_tree(
        cls, pairs: Sequence[tuple[TokenIds, TokenIds]], device: torch.device | str = "cpu"
    ) -> "MicroBatch":
        """A micro-batch of (prompt ids, completion ids) whose common beginnings stand once."""
        found = trie_of(pairs)

        def tensor(values: Sequence[int]) -> Tensor:
            return torch.tensor(values, dtype=torch.long, device=device)

        ids_1T = tensor(found.ids)[None]
        return cls(
            input_ids_BT=ids_1T,
            attention_mask_BT=torch.ones_like(ids_1T),
            position_ids_BT=tensor(found.positions)[None],
            predictors_N=tensor(found.predictors),
            targets_N=tensor(found.targets),
            lengths=tuple(len(completion) for _, completion in pairs),
            tree=Tree(found.branches),
            texts=tuple(pairs),
        )

    def left_padded(self) -> "MicroBatch":
        """The same rows with one more padding token on the left, as the sampler sees short ones.

        Of a tree its longest texts, as many as make rows of no more tokens than it has.
        """
        if self.tree is not None:
            return self.longest_rows().left_padded()

        def with_column(values_BT: Tensor) -> Tensor:
            return torch.nn.functional.pad(values_BT, (1, 0))

        width = self.input_ids_BT.shape[1]
        segments_BT = self.segments_BT
        return replace(
            self,
            input_ids_BT=with_column(self.input_ids_BT),
            attention_mask_BT=with_column(self.attention_mask_BT),
            position_ids_BT=with_column(self.position_ids_BT),
            # Row r has r + 1 more tokens before its own.
            predictors_N=self.predictors_N + self.predictors_N // width + 1,
            segments_BT=None if segments_BT is None else with_column(segments_BT),
        )

    def longest_rows(self) -> "MicroBatch":
        """The longest texts of a tree as padded rows."""
        texts = sorted(self.texts, key=lambda pair: -len(pair[0]) - len(pair[1]))
        longest = len(texts[0][0]) + len(texts[0][1])
        count = max(1, self.input_ids_BT.shape[1] // longest)
        return MicroBatch.of_rows(texts[:count], device=self.input_ids_BT.device)

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
    return ["advantage", "weight", "share", *there]


def to_tensors(
    samples: Sequence[Sample],
    rows: Sequence[int],
    pad_id: int,
    device: torch.device | str,
    packing: bool = False,
    dtype: torch.dtype = torch.float32,
    sharing: bool = False,
) -> MicroBatch:
    """The micro-batch of `samples[row] for row in rows`; none make an empty one (N = 0).

    With `sharing` all of them make a single row in which common beginnings stand once.

    With `packing` several samples share a row, none wider than the longest of them; their order in
    the batch (its `rows`) is then the one in which they lie.
    """
    chosen = [samples[row] for row in rows]
    if sharing and chosen:
        batch = MicroBatch.of_tree([pair_of(sample) for sample in chosen], device)
    elif packing and chosen:
        widths = [sample.length for sample in chosen]
        places = first_fit(widths, max(widths))
        rows = [rows[place] for line in places for place in line]
        lines = [example_row(pair_of(chosen[place]) for place in line) for line in places]
        chosen = [samples[row] for row in rows]
        batch = MicroBatch.packed(lines, pad_id, device)
    else:
        batch = MicroBatch.of_rows([pair_of(sample) for sample in chosen], pad_id, device)
    columns = {
        name: torch.tensor(spread(chosen, name), dtype=dtype, device=device)
        for name in present_columns(samples)
    }
    lengths = torch.tensor(batch.lengths, dtype=torch.long)
    columns["sequence"] = torch.arange(len(rows)).repeat_interleave(lengths).to(device)
    return replace(batch, rows=tuple(rows), columns=columns, kept=kept_of(chosen))


def kept_of(samples: Sequence[Sample]) -> Kept | None:
    """The sets of all tokens of `samples`, in order; None where there are none."""
    sets = [sample.kept for sample in samples if sample.kept is not None]
    if not sets:
        return None
    if [len(s.kept.counts) if s.kept else 0 for s in samples] != [
        len(sample.completion_ids) for sample in samples
    ]:
        raise ValueError("samples of one batch have the sets of all their tokens, or none has any")
    ids_K = torch.from_numpy(np.concatenate([each.ids for each in sets]))
    return Kept.of(ids_K, torch.tensor([count for each in sets for count in each.counts]))


def pair_of(sample: Sample) -> tuple[TokenIds, TokenIds]:
    """A sample's prompt and completion."""
    return sample.prompt_ids, sample.completion_ids
