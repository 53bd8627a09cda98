"""Pieces of a text that become its steps, and how short ones are joined to their neighbours.

A piece is a range of the text: a marker that the step's own heading replaces, a title, and the
body. Pieces lie one after the other with nothing between them but white space.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from srl_data.stepify.sentences import RELATION

CLOSED = ".!?。！？…؟।۔｡"
"""What ends a sentence."""


@dataclass(frozen=True)
class Piece:
    """`text[start:end]`: a heading up to `body`, with its title in it, then the step's text."""

    start: int
    body: int
    end: int
    title: tuple[int, int] | None = None
    fixed: bool = False
    """Whether its beginning is a boundary that short pieces are not joined over."""
    hidden: tuple[tuple[int, int], ...] = ()
    """Headings within the body that are left out since their step was joined to this one."""

    @property
    def length(self) -> int:
        """Characters of the text behind the heading."""
        return self.end - self.body


def plain_pieces(
    starts: Sequence[int], end: int, fixed: frozenset[int] = frozenset()
) -> list[Piece]:
    """Pieces without headings that begin at `starts` and reach to the next start."""
    ends = [*starts[1:], end]
    return [
        Piece(start, start, stop, fixed=start in fixed)
        for start, stop in zip(starts, ends, strict=True)
    ]


def joined(first: Piece, second: Piece) -> Piece:
    """Two neighbours as one; what the second one's heading hides is left out within."""
    hidden = hidden_of(second)
    return replace(first, end=second.end, hidden=(*first.hidden, *hidden, *second.hidden))


def hidden_of(piece: Piece) -> tuple[tuple[int, int], ...]:
    """The parts of a piece's heading that are not text: all but its title."""
    if piece.title is None:
        return ((piece.start, piece.body),) if piece.body > piece.start else ()
    parts = ((piece.start, piece.title[0]), (piece.title[1], piece.body))
    return tuple(part for part in parts if part[1] > part[0])


def trimmed_range(text: str, piece: Piece) -> tuple[int, int]:
    """A piece's text without outer white space."""
    start, end = piece.body, piece.end
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def stripped_length(text: str, piece: Piece) -> int:
    """Characters of a piece's text, outer white space excluded."""
    start, end = trimmed_range(text, piece)
    return end - start


def is_short(text: str, piece: Piece, least: int) -> bool:
    """Whether a text has fewer characters than asked; a Chinese one counts for three."""
    start, end = trimmed_range(text, piece)
    if end - start >= least:
        return False
    return end - start + 2 * sum("\u2e80" <= char < "\ufb00" for char in text[start:end]) < least


def opens(text: str, piece: Piece) -> bool:
    """Whether a piece leads on to the next: it ends as no sentence does."""
    end = piece.end
    while end > piece.body and text[end - 1].isspace():
        end -= 1
    last = text[end - 1 : end]
    return last not in CLOSED and last not in '$])}|`"”’»」'


def join_short(
    text: str, pieces: Sequence[Piece], least: int, *, equations: bool = False
) -> list[Piece]:
    """Pieces of at least so many characters, as far as boundaries that are fixed allow.

    With `equations` a short piece stands where it holds a relation, as `x = 5` does.

    A short one that leads on goes to the next, any other to the one before it; the first and those
    behind a fixed boundary go to the next.
    """
    result: list[Piece] = []
    pending: Piece | None = None
    for piece in pieces:
        if pending is not None:
            piece, pending = joined(pending, piece), None  # noqa: PLW2901 - it goes to the next
        stands = equations and RELATION.search(text, piece.body, piece.end) is not None
        if stands or not is_short(text, piece, least):
            result.append(piece)
        elif result and not piece.fixed and not opens(text, piece):
            result[-1] = joined(result[-1], piece)
        else:
            pending = piece
    if pending is None:
        return result
    if result and not pending.fixed:
        result[-1] = joined(result[-1], pending)
    else:
        result.append(pending)
    return result


def join_from(pieces: Sequence[Piece], place: int) -> list[Piece]:
    """The pieces from `place` on as one."""
    if place >= len(pieces) - 1:
        return list(pieces)
    last = pieces[place]
    for piece in pieces[place + 1 :]:
        last = replace(last, end=piece.end)
    hidden = [span for piece in pieces[place + 1 :] for span in (*hidden_of(piece), *piece.hidden)]
    return [*pieces[:place], replace(last, hidden=(*last.hidden, *hidden))]
