"""Texts as a tree of tokens in which every common beginning stands once.

The tokens lie in one row, depth first: behind a branch lies all that continues it, so what sees its
tokens is a range. A position counts from the beginning of a text. Left out: the attention that
such a row takes (`srl_grpo.learner.tree_attention`), and which texts make a tree
(`srl_grpo.learner.prompt_groups`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

TokenIds = Sequence[int]


@dataclass(frozen=True)
class Branch:
    """A run of tokens that no text leaves before its end."""

    start: int
    """Place of its first token in the row."""
    end: int
    """Place behind its last one."""
    stop: int
    """Place behind all that continues it; what lies from `end` to there sees all its tokens."""
    depth: int
    """Position of its first token, counted from the beginning of a text."""


@dataclass(frozen=True)
class Trie:
    """A row of T tokens, the branches that it is made of, and the N targets of its texts."""

    ids: list[int]
    positions: list[int]
    branches: tuple[Branch, ...]
    """In the order of the row; they cover it."""
    predictors: list[int]
    """Place of the token that predicts each target, text by text as they were given."""
    targets: list[int]


def common(one: TokenIds, other: TokenIds) -> int:
    """Tokens with which both begin."""
    length = min(len(one), len(other))
    if one[:length] == other[:length]:
        return length
    unlike = np.flatnonzero(np.array(one[:length]) != np.array(other[:length]))
    return int(unlike[0])


def trie_of(pairs: Sequence[tuple[TokenIds, TokenIds]]) -> Trie:
    """The tree of (prompt ids, completion ids), whose completions are targets."""
    texts = [(*prompt, *completion) for prompt, completion in pairs]
    order = sorted(range(len(texts)), key=lambda text: texts[text])
    ids: list[int] = []
    positions: list[int] = []
    runs: list[tuple[int, int]] = []  # of what each text adds: first position, place of that
    places: list[list[int]] = [[] for _ in texts]  # of each text's tokens in the row
    before: int | None = None
    for text in order:
        shared = 0 if before is None else common(texts[before], texts[text])
        known = [] if before is None else places[before][:shared]
        runs.append((shared, len(ids)))
        places[text] = [*known, *range(len(ids), len(ids) + len(texts[text]) - shared)]
        ids.extend(texts[text][shared:])
        positions.extend(range(shared, len(texts[text])))
        before = text
    predictors: list[int] = []
    targets: list[int] = []
    for (prompt, completion), own in zip(pairs, places, strict=True):
        assert prompt or not completion, "a completion needs a token that predicts its first"
        if completion:
            predictors.extend(own[len(prompt) - 1 : -1])
            targets.extend(completion)
    return Trie(ids, positions, branches_of(runs, len(ids)), predictors, targets)


def branches_of(runs: Sequence[tuple[int, int]], total: int) -> tuple[Branch, ...]:
    """The branches of a row that is made of runs, each cut where a later one leaves it.

    `runs` holds, for each text in order, how many tokens it shares with the one before and the
    place of the first one that it adds.
    """
    starts = [start for _, start in runs] + [total]
    cuts: list[set[int]] = [set() for _ in runs]
    path: list[int] = []  # the runs that the present text is made of
    for run, (shared, start) in enumerate(runs):
        while path and runs[path[-1]][0] >= shared:
            path.pop()
        if path:
            cuts[path[-1]].add(shared)
        if starts[run + 1] > start:
            path.append(run)
    pieces: list[tuple[int, int, int]] = []  # of each branch: place, place behind it, depth
    for run, (shared, start) in enumerate(runs):
        length = starts[run + 1] - start
        inner = {cut for cut in cuts[run] if shared < cut < shared + length}
        bounds = sorted({shared, shared + length} | inner)
        for low, high in pairwise(bounds):
            pieces.append((start + low - shared, start + high - shared, low))
    return closed(pieces, total)


def closed(pieces: Sequence[tuple[int, int, int]], total: int) -> tuple[Branch, ...]:
    """Branches of (start, end, depth) in order, with the places where what continues them ends."""
    stops = [total] * len(pieces)
    still_open: list[int] = []
    for number, (start, _, depth) in enumerate(pieces):
        while still_open and end_depth(pieces[still_open[-1]]) > depth:
            stops[still_open.pop()] = start
        still_open.append(number)
    return tuple(
        Branch(start, end, stop, depth)
        for (start, end, depth), stop in zip(pieces, stops, strict=True)
    )


def end_depth(piece: tuple[int, int, int]) -> int:
    """The position behind a piece's last token."""
    start, end, depth = piece
    return depth + end - start
