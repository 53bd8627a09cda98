"""The sets of tokens that top-k, top-p and min-p left to draw from, place by place.

Recorded while a completion is drawn, so that whoever trains on it renormalises over the very sets
that it was drawn from: computed again from another engine's logits, or from later weights, a set
may lack a token that was drawn. Left out: the filters themselves (`srl_eval.generate.draw`).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True, slots=True)
class KeptTokens:
    """The set that each token of a completion was drawn from, itself among it.

    `counts` are the sets' sizes and `packed` their token ids as int32, set after set: 4 bytes per
    token that was kept.
    """

    counts: tuple[int, ...]
    packed: bytes

    @classmethod
    def of(cls, sets: Sequence[Sequence[int] | NDArray[np.int32]]) -> "KeptTokens":
        """The sets as given, in order."""
        ids = [np.asarray(each, dtype=np.int32) for each in sets]
        return cls(tuple(map(len, ids)), b"".join(each.tobytes() for each in ids))

    @property
    def ids(self) -> NDArray[np.int32]:
        """Token ids of all sets, one set after another."""
        return np.frombuffer(self.packed, dtype=np.int32)

    @property
    def sets(self) -> list[list[int]]:
        """The token ids of each set."""
        ends = np.cumsum(self.counts)[:-1]
        return [part.tolist() for part in np.split(self.ids, ends)] if self.counts else []


class KeptRecorder:
    """Takes in the sets of a chunk's rows, token by token; on the host, since sets may be large."""

    def __init__(self, rows: int) -> None:
        self._rows: list[list[NDArray[np.int32]]] = [[] for _ in range(rows)]

    def add(self, rows_B: NDArray[np.int64], kept_BV: Tensor, order_BV: Tensor) -> None:
        """One step of the rows `rows_B`: `kept_BV` and `order_BV` as `filter_sorted` has them."""
        there_BV = kept_BV > -torch.inf
        ids = order_BV[there_BV].int().cpu().numpy()  # row after row
        ends = there_BV.sum(-1).cumsum(0)[:-1].cpu().numpy()
        for row, part in zip(rows_B.tolist(), np.split(ids, ends), strict=True):
            self._rows[row].append(part)

    def first(self, row: int, count: int) -> KeptTokens:
        """The sets of a row's first `count` tokens; what follows its end is filler."""
        return KeptTokens.of(self._rows[row][:count])
