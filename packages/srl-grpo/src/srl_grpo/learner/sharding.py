"""Which samples make a micro-batch, on which rank; every rank with the same number of them.

Rows are grouped by length, up to a budget of tokens or into so many micro-batches. Left out: the
tensors (`srl_grpo.learner.batch`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from srl_grpo.learner.batch import Sample
from srl_grpo.learner.packing import packed_groups


def longest_first(samples: Sequence[Sample]) -> list[int]:
    """Indices of `samples` by length, then by place."""
    return sorted(range(len(samples)), key=lambda row: (-samples[row].length, row))


def length_groups(samples: Sequence[Sample], token_budget: int) -> list[list[int]]:
    """Indices of `samples`, longest first, cut so that rows times width stays in the budget.

    One row longer than the budget makes a group of its own. The order is deterministic.
    """
    order = longest_first(samples)
    groups: list[list[int]] = []
    width = 0
    for row in order:
        if not groups or (len(groups[-1]) + 1) * width > token_budget:
            groups.append([])
            width = samples[row].length
        groups[-1].append(row)
    return groups


def counted_groups(samples: Sequence[Sample], count: int, packing: bool) -> list[list[int]]:
    """Indices of `samples`, longest first, in `count` groups whose sizes are alike.

    Neighbours in length together, so that little is padded; with `packing` long and short ones
    together, so that they share rows. Fewer groups where there are fewer samples: none is empty.
    """
    order = longest_first(samples)
    count = min(count, len(order))
    if packing:
        return [order[part::count] for part in range(count)]
    bounds = [len(order) * part // count for part in range(count + 1)] if count else [0]
    return [order[start:end] for start, end in pairwise(bounds)]


@dataclass(frozen=True)
class Cutting:
    """Where a micro-batch ends."""

    token_budget: int = 16384
    """Tokens of a forward pass, padding included."""
    micro_batches: int | None = None
    """Forward passes per optimizer step and rank, instead of a token budget."""
    packing: bool = False
    """Several samples to a row."""

    def groups(self, samples: Sequence[Sample]) -> list[list[int]]:
        """Indices of one rank's `samples`, micro-batch by micro-batch."""
        if self.micro_batches is not None:
            return counted_groups(samples, self.micro_batches, self.packing)
        if self.packing:
            return packed_groups([sample.length for sample in samples], self.token_budget)
        return length_groups(samples, self.token_budget)


def shard(
    samples: Sequence[Sample], cutting: Cutting, rank: int, world_size: int
) -> list[list[int]]:
    """This rank's micro-batches, as row indices into the global list of samples.

    Rows are dealt out longest first, so that ranks hold like amounts of work; every rank gets the
    same number of micro-batches (ZeRO-3 gathers parameters collectively), the missing ones empty.
    """
    order = longest_first(samples)
    dealt = [order[part::world_size] for part in range(world_size)]
    groups = []
    for mine in dealt:
        local = cutting.groups([samples[row] for row in mine])
        groups.append([[mine[index] for index in group] for group in local])
    most = max(len(group) for group in groups)
    return groups[rank] + [[] for _ in range(most - len(groups[rank]))]
