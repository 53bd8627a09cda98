"""Which samples make a tree, on which rank, in which optimizer step: those of a prompt together.

A prompt is computed once per micro-batch that it stands in, so its samples are kept together
wherever they are dealt out, and parted only where they would be too many tokens for one pass or
leave a rank without work. Left out: the tree itself (`srl_grpo.learner.trie`).
"""

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from srl_grpo.learner.batch import Sample
from srl_grpo.learner.trie import TokenIds, common

REPEATED = 0.05
"""Share of its tokens that a tree above the comfortable size may repeat by being cut in parts."""
WORTH = 0.25
"""Share of a prompt's tokens that has to stand in a tree already for it to grow beyond that."""
GAIN = 0.05
"""Share of the longest rank's work that cutting a group has to save."""


@dataclass(frozen=True)
class Work:
    """What a pass over a tree takes, in tokens: those of matrix products alone count 1 each."""

    per_pair: float = 0.0
    """Of a query and a key that it sees."""
    per_target: float = 0.0
    """Of a token's distribution over the vocabulary."""

    @classmethod
    def of_model(cls, hidden: int, layers: int, vocabulary: int) -> "Work":
        """By a decoder whose layers have 12 times the square of their width in parameters."""
        return cls(1 / (6 * hidden), vocabulary / (12 * hidden * layers))


@dataclass(frozen=True)
class Group:
    """Samples that are computed together, in the order in which they share most."""

    rows: tuple[int, ...]
    """Their indices in the list that the group was made from."""
    added: tuple[tuple[int, int], ...]
    """Of each: tokens in all, and how many of them the one before has, too."""

    @classmethod
    def of(cls, samples: Sequence[Sample], rows: Sequence[int]) -> "Group":
        """The group of `samples[row] for row in rows`."""
        texts = {row: text_of(samples[row]) for row in rows}
        order = sorted(rows, key=lambda row: (texts[row], row))
        before: TokenIds = ()
        added: list[tuple[int, int]] = []
        for row in order:
            added.append((len(texts[row]), common(before, texts[row])))
            before = texts[row]
        return cls(tuple(order), tuple(added))

    @property
    def tokens(self) -> int:
        """Tokens of the tree."""
        return sum(length - shared for length, shared in self.added)

    @property
    def pairs(self) -> int:
        """Pairs of a token and one that it sees, itself included."""
        return sum((n * (n + 1) - shared * (shared + 1)) // 2 for n, shared in self.added)


def text_of(sample: Sample) -> TokenIds:
    """A sample's prompt and completion in one."""
    return (*sample.prompt_ids, *sample.completion_ids)


@dataclass(frozen=True)
class Sharing:
    """How samples are put into trees."""

    comfortable: int | None = None
    """Tokens up to which trees are put together, and beyond which they are cut where that repeats
    little: on a CPU larger passes take more memory and are no faster. None for the budget."""
    longest: int | None = None
    """Longest text that may be in a tree, in tokens; None for any."""
    work: Work = field(default_factory=Work)
    worth: float = 0.0
    """Share of the tokens that prompts computed once have to save; else rows are padded."""

    def takes(self, samples: Sequence[Sample]) -> bool:
        """Whether all of them may be in a tree, and it saves enough."""
        longest = max((sample.length for sample in samples), default=0)
        if self.longest is not None and longest > self.longest:
            return False
        return not self.worth or saved(samples) >= self.worth

    def cost(self, samples: Sequence[Sample], group: Group) -> float:
        """What a pass over a group takes, in tokens."""
        targets = sum(len(samples[row].completion_ids) for row in group.rows)
        return group.tokens + self.work.per_pair * group.pairs + self.work.per_target * targets

    def shard(
        self,
        samples: Sequence[Sample],
        budget: int,
        count: int | None,
        rank: int,
        world_size: int,
    ) -> list[list[int]]:
        """This rank's micro-batches; as `srl_grpo.learner.sharding.shard`.

        Of at most `budget` tokens each but for a longer sample, or `count` of them per rank.
        """
        groups = [Group.of(samples, rows) for rows in by_prompt(samples)]
        if count is None:
            groups = [part for group in groups for part in self.cut(samples, group, budget)]
        least = world_size * (count or 1)
        dealt = self.dealt(samples, self.spread(samples, groups, least), world_size)
        shards = [self.micro_batches(samples, mine, budget, count) for mine in dealt]
        most = max(len(mine) for mine in shards)
        return shards[rank] + [[] for _ in range(most - len(shards[rank]))]

    def cut(self, samples: Sequence[Sample], group: Group, budget: int) -> list[Group]:
        """A group in as many parts as the budget asks for, or in comfortable ones at little cost.

        Each part repeats the prompt.
        """
        limit = budget
        prompt = len(samples[group.rows[0]].prompt_ids)
        cheap = 1 + int(REPEATED * group.tokens / max(1, prompt))
        comfortable = self.comfortable or budget
        if comfortable < min(budget, group.tokens) and cheap > 1:
            wanted = min(cheap, math.ceil(group.tokens / comfortable))
            limit = min(budget, prompt + math.ceil((group.tokens - prompt) / wanted))
        found: list[list[int]] = []
        tokens = 0
        for row, (length, shared) in zip(group.rows, group.added, strict=True):
            if not found or tokens + length - shared > limit:
                found.append([row])
                tokens = length
            else:
                found[-1].append(row)
                tokens += length - shared
        return [group] if len(found) == 1 else [Group.of(samples, rows) for rows in found]

    def spread(self, samples: Sequence[Sample], groups: list[Group], parts: int) -> list[Group]:
        """Groups of which the largest are halved where `parts` share the work more evenly then."""
        costs = [self.cost(samples, group) for group in groups]
        best, least = groups, longest_load(costs, parts)
        for _ in range(2 * parts if parts > 1 else 0):
            whole = [place for place, group in enumerate(groups) if len(group.rows) > 1]
            if not whole:
                break
            place = max(whole, key=lambda place: (costs[place], -place))
            halves = [Group.of(samples, rows) for rows in halved(groups[place].rows)]
            groups = [*groups[:place], *halves, *groups[place + 1 :]]
            costs[place : place + 1] = [self.cost(samples, half) for half in halves]
            longest = longest_load(costs, parts)
            if longest < (1 - GAIN) * least:
                best, least = groups, longest
        return best

    def dealt(
        self, samples: Sequence[Sample], groups: Sequence[Group], world_size: int
    ) -> list[list[Group]]:
        """Each rank's groups, so that their work is alike."""
        costs = [self.cost(samples, group) for group in groups]
        return [[groups[place] for place in load] for load in balanced(costs, world_size)]

    def micro_batches(
        self, samples: Sequence[Sample], groups: Sequence[Group], budget: int, count: int | None
    ) -> list[list[int]]:
        """A rank's groups as lists of rows, the most work first."""
        if count is None:
            joined = self.joined(samples, groups, budget)
        else:
            costs = [self.cost(samples, group) for group in groups]
            loads = [load for load in balanced(costs, count) if load]
            joined = [merged([groups[place] for place in load]) for load in loads]
        found = [Group.of(samples, rows) for rows in joined]
        found.sort(key=lambda group: (-self.cost(samples, group), group.rows))
        return [list(group.rows) for group in found]

    def joined(
        self, samples: Sequence[Sample], groups: Sequence[Group], budget: int
    ) -> list[list[int]]:
        """Rows of neighbouring groups together, up to a comfortable size or while they share."""
        order = sorted(groups, key=lambda group: (text_of(samples[group.rows[0]]), group.rows))
        found: list[list[int]] = []
        tokens = 0
        for group in order:
            first = text_of(samples[group.rows[0]])
            shared = common(text_of(samples[found[-1][-1]]), first) if found else 0
            size = tokens + group.tokens - shared
            same = shared >= WORTH * group.tokens
            if found and size <= (budget if same else min(budget, self.comfortable or budget)):
                found[-1].extend(group.rows)
                tokens = size
            else:
                found.append(list(group.rows))
                tokens = group.tokens
        return found


def saved(samples: Sequence[Sample]) -> float:
    """Share of all tokens that is left out where each prompt is computed once."""
    prompts = {sample.prompt_ids for sample in samples}
    each = sum(len(sample.prompt_ids) for sample in samples)
    once = sum(len(prompt) for prompt in prompts)
    return (each - once) / max(1, sum(sample.length for sample in samples))


def by_prompt(samples: Sequence[Sample]) -> list[list[int]]:
    """Indices of `samples` by their prompt, in the order in which prompts come."""
    found: dict[TokenIds, list[int]] = {}
    for row, sample in enumerate(samples):
        found.setdefault(sample.prompt_ids, []).append(row)
    return list(found.values())


def halved(rows: Sequence[int]) -> list[Sequence[int]]:
    """Two halves of more than one row."""
    middle = (len(rows) + 1) // 2
    return [rows[:middle], rows[middle:]]


def merged(groups: Sequence[Group]) -> list[int]:
    """The rows of all of them."""
    return [row for group in groups for row in group.rows]


def balanced(costs: Sequence[float], parts: int) -> list[list[int]]:
    """Indices of `costs` in `parts` lists whose sums are alike: the largest first, to the least."""
    loads = [(0.0, part) for part in range(parts)]
    found: list[list[int]] = [[] for _ in loads]
    for place in sorted(range(len(costs)), key=lambda place: (-costs[place], place)):
        load, part = loads[0]
        found[part].append(place)
        heapq.heapreplace(loads, (load + costs[place], part))
    return found


def longest_load(costs: Sequence[float], parts: int) -> float:
    """The largest sum of `balanced`."""
    return max(sum(costs[place] for place in load) for load in balanced(costs, parts))


def whole_groups(
    samples: Sequence[Sample], size: int, generator: np.random.Generator
) -> list[list[Sample]]:
    """Samples in shuffled steps of at most `size`, as few as that allows, cut between prompts.

    A step ends where a prompt's samples do if that leaves it at least half of an even share, and at
    most one and a half; else in their midst.
    """
    groups = by_prompt(samples)
    rows: list[int] = []
    ends: list[int] = []
    for place in generator.permutation(len(groups)).tolist():
        rows.extend(groups[place])
        ends.append(len(rows))
    parts = math.ceil(len(rows) / size)
    bounds = [0]
    for left in range(parts - 1, -1, -1):
        bounds.append(boundary(bounds[-1], len(rows), left, size, ends))
    return [[samples[row] for row in rows[start:end]] for start, end in pairwise(bounds)]


def boundary(start: int, total: int, left: int, size: int, ends: Sequence[int]) -> int:
    """Where the step that begins at `start` ends, with `left` more behind it."""
    even = (total - start) / (left + 1)
    low = max(start + 1, total - left * size, math.ceil(start + even / 2))
    high = min(start + size, total - left, math.floor(start + 1.5 * even))
    fitting = [end for end in ends if low <= end <= high]
    if fitting:
        return min(fitting, key=lambda end: (abs(end - start - even), end))
    return start + math.ceil(even)
