"""Several examples to a row of tokens, kept apart by what each token may see.

A row is a list of segments. A segment continues another one of its row, its parent, or begins a
text of its own: a prompt and its completion are a chain of two, several completions of one prompt
are branches of it. A token sees its own segment and those that it continues, up to itself; its
position counts from the beginning of its text. Left out: which attention takes such a row
(`srl_grpo.learner.attention`), and what a token weighs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

PADDING = 0
"""The number of a row's padding among its segments; padding sees padding alone."""


@dataclass(frozen=True)
class Segment:
    """A run of tokens that all belong to the same texts."""

    ids: tuple[int, ...]
    parent: int | None = None
    """Place, in the same row and before this one, of the segment that it continues."""
    trained: bool = False
    """Whether its tokens are targets; the first one is predicted by the parent's last token."""


@dataclass(frozen=True)
class PackedRows:
    """B rows of T tokens, of S segments each at most, with N targets."""

    ids_BT: Tensor
    positions_BT: Tensor
    segments_BT: Tensor
    """Number of each token's segment in its row, from 1; `PADDING` where there is none."""
    sees_BSS: Tensor
    """Whether tokens of the first segment see those of the second: itself and its ancestors."""
    predictors_N: Tensor
    """Flat place (row times T, plus column) of the token that predicts each target."""
    targets_N: Tensor


def example_row(pairs: Iterable[tuple[Sequence[int], Sequence[int]]]) -> list[Segment]:
    """The row of (prompt ids, completion ids) side by side, completions as targets."""
    row: list[Segment] = []
    for prompt, completion in pairs:
        row.append(Segment(tuple(prompt)))
        row.append(Segment(tuple(completion), parent=len(row) - 1, trained=True))
    return row


def pack(rows: Sequence[Sequence[Segment]], pad_id: int) -> PackedRows:
    """Tensors of the rows, padded on the right to the longest; targets row by row, in order.

    A trained segment without a parent, or one that continues an empty one, has nothing to be
    predicted by: both are our own mistakes.
    """
    width = max(sum(len(segment.ids) for segment in row) for row in rows)
    most = 1 + max(len(row) for row in rows)
    # Arrays: of tensors each assignment to a slice would take some microseconds.
    ids_BT = np.full((len(rows), width), pad_id, dtype=np.int64)
    positions_BT, segments_BT = np.zeros_like(ids_BT), np.full_like(ids_BT, PADDING)
    sees_BSS = np.tile(np.eye(most, dtype=np.bool_), (len(rows), 1, 1))
    predictors: list[int] = []
    targets: list[int] = []
    for number, row in enumerate(rows):
        ends: list[tuple[int, int]] = []  # of each segment: column behind it, next position
        column = 0
        for place, segment in enumerate(row, start=1):
            behind, first = (0, 0) if segment.parent is None else ends[segment.parent]
            if segment.parent is not None:
                sees_BSS[number, place] |= sees_BSS[number, segment.parent + 1]
            end = column + len(segment.ids)
            ids_BT[number, column:end] = segment.ids
            positions_BT[number, column:end] = range(first, first + len(segment.ids))
            segments_BT[number, column:end] = place
            if segment.trained and segment.ids:
                assert behind, "a trained segment needs a token that predicts its first"
                before = [behind - 1, *range(column, end - 1)]
                predictors.extend(number * width + token for token in before)
                targets.extend(segment.ids)
            ends.append((end, first + len(segment.ids)) if segment.ids else (behind, first))
            column = end
    return PackedRows(
        torch.from_numpy(ids_BT),
        torch.from_numpy(positions_BT),
        torch.from_numpy(segments_BT),
        torch.from_numpy(sees_BSS),
        torch.tensor(predictors, dtype=torch.long),
        torch.tensor(targets, dtype=torch.long),
    )


def visible(
    segments_BT: Tensor, sees_BSS: Tensor, positions_BT: Tensor, window: int | None = None
) -> Tensor:
    """Which token (first T) sees which (second T): boolean, shape B x T x T.

    `window` is the number of tokens that a sliding layer sees back, itself included.
    """
    count = segments_BT.shape[1]
    rows_BT = torch.arange(len(segments_BT), device=segments_BT.device)[:, None]
    sees_BTS = sees_BSS[rows_BT, segments_BT]
    seen_BTT = sees_BTS.gather(2, segments_BT[:, None].expand(-1, count, -1))
    seen_BTT = seen_BTT.tril_()
    if window is not None:
        seen_BTT &= positions_BT[:, :, None] - positions_BT[:, None, :] < window
    return seen_BTT


def first_fit(lengths: Sequence[int], width: int, rows: int | None = None) -> list[list[int]]:
    """Indices of `lengths` in rows of at most `width`, each in the first row that has room for it.

    The longest are placed first. At most `rows` rows: what fits in none of them is left out. One
    that is longer than `width` has a row of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    filled: list[list[int]] = []
    room: list[int] = []
    for index in order:
        length = lengths[index]
        place = next((row for row, left in enumerate(room) if left >= length), None)
        if place is None and rows is not None and len(filled) >= rows:
            continue
        if place is None:
            place = len(filled)
            filled.append([])
            room.append(width)
        filled[place].append(index)
        room[place] -= length
    return filled


def packed_groups(lengths: Sequence[int], token_budget: int) -> list[list[int]]:
    """Indices of `lengths` in micro-batches whose packed rows times width stay in the budget.

    Rows are as wide as the micro-batch's longest example; holes are filled from all the rest. One
    longer than the budget makes a micro-batch of its own.
    """
    rest = sorted(range(len(lengths)), key=lambda index: (-lengths[index], index))
    groups: list[list[int]] = []
    while rest:
        width = lengths[rest[0]]
        own = [lengths[index] for index in rest]
        chosen = {
            place
            for row in first_fit(own, width, max(1, token_budget // max(1, width)))
            for place in row
        }
        groups.append([rest[place] for place in sorted(chosen)])
        rest = [index for place, index in enumerate(rest) if place not in chosen]
    return groups
