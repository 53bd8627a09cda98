"""Keys and values of a chunk's rows: each prompt's once for all of its rows, each row's own apart.

Prompts of like lengths and like numbers of rows lie together in a block, padded to one shape, so
that one call of the attention serves them all. Left out: the attention (`shared_attention.py`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers.cache_utils import DynamicCache, DynamicLayer

from srl_eval.generate.kv_cache import EXPECTED, GrowingLayer

_PADDED = 1.3  # of a block, computed over needed
_CALL = 1000  # what one more block costs, as products of a query row and a key


@dataclass(frozen=True)
class Block:
    """Prompts that are attended to in one call, and the rows of the batch that do so.

    `prompts` are their numbers and `lengths` their tokens; `places` (U, S) has the rows of each in
    the batch, S being the largest number, with repeated ones as fillers. `rows` are the block's
    without fillers, and `there` where they stand in the flat `places`; `whole` says that the flat
    `places` are the batch as it is.
    """

    prompts: tuple[int, ...]
    lengths: tuple[int, ...]
    places: Tensor
    rows: Tensor
    there: Tensor
    whole: bool

    @classmethod
    def of(cls, prompts: Sequence[int], lengths: Sequence[int], owner_B: Tensor) -> "Block":
        """The block of some prompts; `owner_B` has each row's prompt, one of each at least."""
        found = [(owner_B == prompt).nonzero()[:, 0] for prompt in prompts]
        slots = torch.arange(max(map(len, found)), device=owner_B.device)
        places = torch.stack([rows[slots.clamp(max=len(rows) - 1)] for rows in found])
        filled = torch.stack([slots < len(rows) for rows in found])
        there = filled.flatten().nonzero()[:, 0]
        whole = torch.equal(places.flatten(), torch.arange(len(owner_B), device=owner_B.device))
        rows = places.flatten()[there]
        return cls(tuple(prompts), tuple(lengths), places, rows, there, whole)

    @property
    def longest(self) -> int:
        """Tokens that every prompt is padded to."""
        return max(self.lengths)

    def mask(self, like: Tensor) -> Tensor | None:
        """What is added to scores, shape (U, 1, 1, longest); None where all are as long."""
        if min(self.lengths) == self.longest:
            return None
        lengths = torch.tensor(self.lengths, device=like.device)
        unseen = torch.arange(self.longest, device=like.device) >= lengths[:, None]
        return like.new_zeros(unseen.shape).masked_fill_(unseen, -torch.inf)[:, None, None]


def blocks_of(lengths: Sequence[int], sizes: Sequence[int]) -> list[list[int]]:
    """Prompts of `lengths` tokens and `sizes` rows, parted so that little padding is computed."""
    blocks: list[list[int]] = []
    needed = 0
    for prompt in sorted(range(len(lengths)), key=lambda p: (sizes[p], lengths[p])):
        work = lengths[prompt] * sizes[prompt]
        if blocks:
            all_of = [*blocks[-1], prompt]
            padded = len(all_of) * max(sizes[p] for p in all_of) * max(lengths[p] for p in all_of)
            if padded <= _PADDED * (needed + work) + _CALL:
                blocks[-1].append(prompt)
                needed += work
                continue
        blocks.append([prompt])
        needed = work
    return [sorted(block) for block in blocks]


class SharedLayer(DynamicLayer):
    """A layer's keys and values: first the prompts', pass by pass, then the rows' own."""

    def __init__(self, limit: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.own = GrowingLayer(EXPECTED, limit)
        self.prompts: list[tuple[Tensor, Tensor]] = []
        """Keys and values per block, (U, K, tokens, D); of a pass (1, K, tokens, D) before that."""
        self.decoding = False

    def update(
        self, key_states: Tensor, value_states: Tensor, *_args: object, **_kwargs: object
    ) -> tuple[Tensor, Tensor]:
        """Take in new tokens: those of some prompts laid end to end, later one of every row.

        Returns what its attention is given: the tokens of the pass, later all of the rows' own.
        """
        if self.decoding:
            return self.own.update(key_states, value_states)
        self.prompts.append((key_states, value_states))
        return key_states, value_states

    def get_seq_length(self) -> int:
        """Tokens of a row's own; positions are told to the model."""
        return self.own.get_seq_length()

    def begin(self, spans: Sequence[slice], blocks: Sequence[Block]) -> None:
        """Lay the prompts, which stand at `spans` of all passes, into blocks."""
        passes, self.decoding = self.prompts, True
        keys, values = (torch.cat(parts, dim=2)[0] for parts in zip(*passes, strict=True))
        self.prompts = [
            (_laid(keys, spans, block), _laid(values, spans, block)) for block in blocks
        ]

    def select(self, keep: Tensor, kept: Sequence[tuple[int, Tensor | None, int]]) -> None:
        """Keep the rows at `keep`, and of some blocks (by number) these prompts, so many tokens.

        None is for all of a block's prompts, which stay as they are.
        """
        if self.own.is_initialized:
            self.own.batch_select_indices(keep)
        self.prompts = [
            self.prompts[block] if prompts is None else _part(self.prompts[block], prompts, longest)
            for block, prompts, longest in kept
        ]


def _part(states: tuple[Tensor, Tensor], prompts: Tensor, longest: int) -> tuple[Tensor, Tensor]:
    """Keys and values of some of a block's prompts, so many tokens of each."""
    keys, values = (part[:, :, :longest][prompts] for part in states)
    return keys, values


def _laid(states_KTD: Tensor, spans: Sequence[slice], block: Block) -> Tensor:
    """The prompts of a block, padded on the right with zeros, whose values count for nothing."""
    heads, _, size = states_KTD.shape
    laid = states_KTD.new_zeros(len(block.prompts), heads, block.longest, size)
    for place, (prompt, length) in enumerate(zip(block.prompts, block.lengths, strict=True)):
        laid[place, :, :length] = states_KTD[:, spans[prompt]]
    return laid


class SharedCache(DynamicCache):
    """The layers, and which rows of the batch see which prompts."""

    def __init__(self, layers: int, limit: int) -> None:
        super().__init__()
        self.shared = [SharedLayer(limit) for _ in range(layers)]
        self.layers = list(self.shared)
        self.blocks: list[Block] = []
        self.masks: list[Tensor | None] = []

    def begin(self, lengths: Sequence[int], owner_B: Tensor) -> None:
        """After the prompts' passes, in order: the rows, each with its prompt's number."""
        sizes = torch.bincount(owner_B, minlength=len(lengths)).tolist()
        self.blocks = [
            Block.of(prompts, [lengths[p] for p in prompts], owner_B)
            for prompts in blocks_of(lengths, sizes)
        ]
        ends = torch.tensor(lengths).cumsum(0).tolist()
        spans = [slice(end - length, end) for end, length in zip(ends, lengths, strict=True)]
        for layer in self.shared:
            layer.begin(spans, self.blocks)
        self._mask()

    def select(self, keep: Tensor, owner_B: Tensor) -> None:
        """Keep the rows at `keep`; `owner_B` has the prompts of those that stay."""
        alive = set(owner_B.tolist())
        kept, blocks = [], []
        for number, block in enumerate(self.blocks):
            stay = [place for place, prompt in enumerate(block.prompts) if prompt in alive]
            if stay:
                prompts, lengths = (
                    [block.prompts[s] for s in stay],
                    [block.lengths[s] for s in stay],
                )
                blocks.append(Block.of(prompts, lengths, owner_B))
                all_stay = len(stay) == len(block.prompts)
                places = None if all_stay else torch.tensor(stay, device=keep.device)
                kept.append((number, places, max(lengths)))
        for layer in self.shared:
            layer.select(keep, kept)
        self.blocks = blocks
        self._mask()

    def _mask(self) -> None:
        """Masks in the keys' type, one for all layers."""
        keys = [keys for keys, _ in self.shared[0].prompts]
        self.masks = [block.mask(k) for block, k in zip(self.blocks, keys, strict=True)]
