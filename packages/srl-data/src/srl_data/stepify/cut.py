"""One solution to steps by rule: its headings, else paragraphs, lines, sentences.

The author's own headings decide where there are any. Else the coarsest boundaries that give enough
steps are taken; a piece that is longer than asked is cut at the next finer ones, one that is
shorter is joined to its neighbour. What holds the last box is the last step. The work is linear in
the text; what it gives is checked in `render`.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Literal

from srl_data.stepify import sentences as units
from srl_data.stepify.heading_line import BULLET, LETTER, PART, headings_at
from srl_data.stepify.headings import (
    MOST_CANDIDATES,
    Family,
    candidates,
    chosen_family,
    with_siblings,
)
from srl_data.stepify.pieces import (
    Piece,
    join_from,
    join_short,
    joined,
    plain_pieces,
    stripped_length,
)
from srl_data.stepify.protected import Protected, protected_spans
from srl_data.stepify.render import Refused, Rendered, rendered
from srl_reward import NonConforming, parse_solution, strip_step_number

By = Literal["auto", "headings", "paragraphs", "lines", "sentences"]
PROSE_LEAST, PROSE_MOST = 12, 1200
"""Characters of a step that is no author's own, by default."""
ENOUGH = 3
"""Steps from which no finer boundaries are looked for in text without headings."""
PART_TEXT = 300
"""Characters of a part's heading and what follows it that belong to the part's first step."""
OWN_NUMBER = re.compile(r"^1\.\s", re.MULTILINE)
"""How the first step of a text begins that needs no other numbers."""


@dataclass(frozen=True)
class CutOptions:
    """How solutions are cut; None leaves an author's own steps at their length."""

    by: By = "auto"
    min_chars: int | None = None
    max_chars: int | None = None
    min_steps: int = 2
    max_steps: int = 100
    corrections: bool = False
    """Whether self-corrections are boundaries."""
    rows: bool = False
    """Whether rows of aligned blocks may be steps, although they lie inside LaTeX."""


@dataclass(frozen=True)
class Cut:
    """A text cut into steps: by which boundaries, and its steps as they are to be written."""

    rule: str
    rendered: Rendered


Finder = Callable[[str, Protected], list[int]]
LEVELS: dict[str, Finder] = {
    "paragraphs": units.paragraphs,
    "lines": units.lines,
    "sentences": units.sentences,
}
"""Boundaries of texts without headings, from coarse to fine."""


class Text:
    """A text with its protected parts and boundaries, each found once."""

    def __init__(self, text: str, options: CutOptions) -> None:
        self.text = text
        self.options = options
        self.protected = Protected(protected_spans(text))
        self._found: dict[str, list[int]] = {}

    def places(self, level: str) -> list[int]:
        """The boundaries of a level and all coarser ones, in order."""
        if level not in self._found:
            names = list(LEVELS)
            places = set(LEVELS[level](self.text, self.protected))
            if names.index(level):
                places.update(self.places(names[names.index(level) - 1]))
            if level == "lines" and self.options.rows:
                places.update(units.rows(self.text, self.protected))
            self._found[level] = sorted(places)
        return self._found[level]

    def within(self, level: str, start: int, end: int) -> list[int]:
        """The boundaries of a level inside a range."""
        places = self.places(level)
        return places[bisect_right(places, start) : bisect_left(places, end)]


def cut_solution(text: str, options: CutOptions = CutOptions()) -> Cut | Refused:
    """A solution's steps, or why it has none: a key of `reasons.REASONS`."""
    if not text.strip():
        return Refused("too_few_steps")
    source = Text(text, options)
    own = own_steps(source) if options.by in ("auto", "headings") else None
    if own is None and options.by == "headings":
        return Refused("no_headings")
    rule, pieces = own or prose_steps(source)
    if len(pieces) > options.max_steps:
        return Refused("too_many_steps")
    ended = end_with_box(text, pieces)
    if len(ended) < options.min_steps:
        enough = len(pieces) >= options.min_steps
        return Refused("answer_first" if enough else "too_few_steps")
    result = rendered(text, ended)
    return result if isinstance(result, Refused) else Cut(rule, as_it_stands(text, result))


def as_it_stands(text: str, result: Rendered) -> Rendered:
    """The text itself, where its own numbers give the steps that are to be written."""
    first = OWN_NUMBER.search(text)
    parsed = parse_solution(text)
    if first is None or isinstance(parsed, NonConforming):
        return result
    own = tuple(step.text for step in parsed.steps)
    lead = own[0][: own[0].find(first.group())] if first.group() in own[0] else own[0]
    same = [strip_step_number(step) for step in result.steps]
    found = [strip_step_number(step.removeprefix(lead)) for step in own]
    return replace(result, text=text.strip(), steps=own, style="own") if same == found else result


def own_steps(source: Text) -> tuple[str, list[Piece]] | None:
    """The steps that the author set, by headings or by words that lead on."""
    family = numbered_family(source) or chosen_family(source.text, source.protected)
    if family is not None:
        weak = family.strength in (PART, LETTER, BULLET)
        return "headings", fitted(source, heading_pieces(source, family), weak=weak)
    starts = ordinal_starts(source)
    if starts is None:
        return None
    return "ordinals", fitted(source, plain_pieces(starts, len(source.text)), weak=True)


def numbered_family(source: Text) -> Family | None:
    """The headings that the product's parser reads in a text that it takes as it is."""
    text = source.text
    parsed = parse_solution(text, preamble="drop")
    if isinstance(parsed, NonConforming) or len(parsed.steps) > MOST_CANDIDATES:
        return None
    found = [headings_at(text, step.start) for step in parsed.steps]
    if not all(found):
        return None
    places = islice(candidates(text, source.protected), MOST_CANDIDATES)
    return with_siblings(text, Family([readings[0] for readings in found]), places)


def heading_pieces(source: Text, family: Family) -> list[Piece]:
    """A piece for each heading; what stands before the first belongs to it, unless it is long."""
    ends = [heading.start for heading in family.headings[1:]] + [len(source.text)]
    pieces = [
        # A heading's title may read on into the next heading: such a step says nothing.
        Piece(heading.start, heading.body, end, heading.title)
        if heading.body <= end
        else Piece(heading.start, end, end)
        for heading, end in zip(family.headings, ends, strict=True)
    ]
    if family.parts:
        pieces = parts_joined(source.text, pieces, family)
    most, start = source.options.max_chars or PROSE_MOST, beginning(source.text)
    if pieces[0].start - start > most:
        return [*cut_long(source, Piece(start, start, pieces[0].start), most), *pieces]
    return pieces


def parts_joined(text: str, pieces: Sequence[Piece], family: Family) -> list[Piece]:
    """The pieces, those of a part's heading and little more joined to the part's first step."""
    result: list[Piece] = []
    pending: Piece | None = None
    for piece, heading in zip(pieces, family.headings, strict=True):
        whole = joined(pending, piece) if pending is not None else piece
        is_part = heading.body == heading.start and heading.title is None
        if is_part and stripped_length(text, whole) <= PART_TEXT and piece is not pieces[-1]:
            pending = whole
        else:
            result.append(whole)
            pending = None
    return result


def ordinal_starts(source: Text) -> list[int] | None:
    """Where `First, … Next, … Finally, …` begin; None where a text isn't told by such words."""
    text, start = source.text, beginning(source.text)
    places = [start, *source.places("sentences")]
    first = next(units.openings(text, places, units.STARTS_FIRST), None)
    if first is None:
        return None
    behind = places[bisect_right(places, first) :]
    later = list(units.openings(text, behind, units.STARTS_LATER))
    parts = len(source.places("paragraphs")) + 1
    ordered = any(True for _ in units.openings(text, later, units.STARTS_ORDERED))
    if not ordered or 2 * (len(later) + 1) < parts:
        return None
    return [start, *later]


def prose_steps(source: Text) -> tuple[str, list[Piece]]:
    """The steps of a text without headings: by the coarsest boundaries that give enough."""
    options, by = source.options, source.options.by
    if by not in ("auto", "headings"):
        return by, pieces_at(source, by, shorter=True)
    found: dict[str, list[Piece]] = {}
    for enough in (max(options.min_steps, ENOUGH), options.min_steps):
        for level in LEVELS:
            if level not in found:
                found[level] = pieces_at(source, level)
            if len(end_with_box(source.text, found[level])) >= enough:
                return level, found[level]
    return level, pieces_at(source, level, shorter=True)


def pieces_at(source: Text, level: str, *, shorter: bool = False) -> list[Piece]:
    """Pieces by the boundaries of a level, fitted to the lengths asked for.

    With `shorter` the usual least length gives way where it leaves too few steps.
    """
    text, options, start = source.text, source.options, beginning(source.text)
    places = source.within(level, start, len(text))
    fixed: frozenset[int] = frozenset()
    if options.corrections:
        sentences = source.places("sentences")
        fixed = frozenset(units.openings(text, sentences, units.STARTS_CORRECTION)) - {start}
        places = sorted(fixed.union(places))
    pieces = plain_pieces([start, *places], len(text), fixed)
    most = options.max_chars or PROSE_MOST
    parts = [part for piece in pieces for part in cut_long(source, piece, most)]
    if options.min_chars is not None:
        return join_short(text, parts, options.min_chars)
    least, pieces = PROSE_LEAST, join_short(text, parts, PROSE_LEAST, equations=True)
    while shorter and least and len(pieces) < min(options.min_steps, len(parts)):
        least //= 2  # a short solution of short steps
        pieces = join_short(text, parts, least, equations=True)
    return pieces


def fitted(source: Text, pieces: list[Piece], *, weak: bool = False) -> list[Piece]:
    """An author's own steps, held to lengths where these are asked for; weak ones are cut on."""
    options = source.options
    most = options.max_chars or (PROSE_MOST if weak else None)
    if most is not None:
        pieces = [part for piece in pieces for part in cut_long(source, piece, most)]
    return join_short(source.text, pieces, options.min_chars) if options.min_chars else pieces


def cut_long(
    source: Text, piece: Piece, most: int, levels: Sequence[str] = tuple(LEVELS)
) -> list[Piece]:
    """A piece in parts of at most so many characters, as far as its boundaries allow."""
    if piece.length <= most or not levels:
        return [piece]
    starts = packed(piece, source.within(levels[0], piece.body, piece.end), most)
    ends = [*starts, piece.end]
    parts = [replace(piece, end=ends[0])]
    parts += [Piece(start, start, end) for start, end in zip(starts, ends[1:], strict=True)]
    return [cut for part in parts for cut in cut_long(source, part, most, levels[1:])]


def packed(piece: Piece, places: Sequence[int], most: int) -> list[int]:
    """Of the places those that part a piece evenly, none longer than `most` if they allow it."""
    target = piece.length / -(-piece.length // most)
    starts: list[int] = []
    start = piece.body
    while piece.end - start > most:
        within = bisect_right(places, start + most)
        nearest = bisect_left(places, start + target)
        if nearest >= within:
            nearest = within - 1
        if nearest < 0 or places[nearest] <= start:
            nearest = bisect_right(places, start)
        if nearest >= len(places):
            break
        start = places[nearest]
        starts.append(start)
    return starts


def end_with_box(text: str, pieces: list[Piece]) -> list[Piece]:
    """The pieces, those behind the last box joined to the one that holds it."""
    at = max(text.rfind("\\boxed"), text.rfind("\\fbox"))
    if at < 0:
        return pieces
    place = bisect_right([piece.start for piece in pieces], at) - 1
    return join_from(pieces, max(place, 0))


def beginning(text: str) -> int:
    """The first place of a text that is not white space."""
    return len(text) - len(text.lstrip())
