"""Whole lines that are never cut apart: code fences, tables and block quotations.

One pass over the lines for each kind. What stands within a line is `protected`'s.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass

Span = tuple[int, int]
"""Start and end of a part of a text, in characters."""

INDENT = re.compile(r"[ \t]*")
FENCE = re.compile(r"^[ \t]*(?P<mark>`{3,}|~{3,})(?P<info>[^\n]*)$", re.MULTILINE)
QUOTED = re.compile(r"(?:^[ \t]*>(?!=)[^\n]*(?:\n|\Z))+", re.MULTILINE)
DELIMITER_ROW = re.compile(r"^[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t\r]*$")
PIPED_ROW = re.compile(r"^[ \t]*\|[ \t].*[ \t]\|[ \t\r]*$")
GRID_ROW = re.compile(r"^[ \t]*\+(?:[-=]+\+)+[ \t\r]*$")
TABBED_ROW = re.compile(r"^[^\t\n]*\S[^\t\n]*\t[^\n]*\S[^\n]*$")
HTML_BLOCK = re.compile(
    r"<(?P<name>table|pre|code|blockquote|math)\b[^<>\n]{0,200}>|\[(?P<drawing>asy|code|quote)\]",
    re.IGNORECASE,
)
"""Elements of HTML and of forums, where drawings are `[asy]` code."""


@dataclass(frozen=True)
class Line:
    """A line: where it starts and ends (its line feed excluded), and its text."""

    start: int
    end: int
    text: str


def lines_of(text: str) -> Iterator[Line]:
    """The lines of a text, told by line feeds alone: other separators are characters."""
    start = 0
    for piece in text.split("\n"):
        yield Line(start, start + len(piece), piece)
        start += len(piece) + 1


def block_spans(text: str) -> list[Span]:
    """Fences, tables, block quotations and their HTML kin; they may overlap.

    Each from its first mark on: what it is indented by belongs to nothing, and a step loses it.
    """
    spans = [*fences(text), *html_blocks(text)]
    spans += [match.span() for match in QUOTED.finditer(text)] if ">" in text else []
    spans += tables(text) if any(mark in text for mark in ("|", "\t", "+-", "+=")) else []
    return [(INDENT.match(text, start).end(), end) for start, end in spans]  # type: ignore[union-attr]  # it always matches


def fences(text: str) -> Iterator[Span]:
    """Code between fences; one that is never closed is code to the end."""
    if "```" not in text and "~~~" not in text:
        return
    opened: re.Match[str] | None = None
    for match in FENCE.finditer(text):
        mark, info = match["mark"], match["info"].strip()
        if opened is None:
            # Backticks behind the fence: a code span within one line.
            opened = None if mark[0] == "`" and "`" in info else match
        elif not info and mark[0] == opened["mark"][0] and len(mark) >= len(opened["mark"]):
            yield opened.start(), match.end()
            opened = None
    if opened is not None:
        yield opened.start(), len(text)


def html_blocks(text: str) -> Iterator[Span]:
    """HTML elements whose inside is a table, code or a quotation, if they are closed."""
    closers: dict[str, list[int]] = {}
    lowered = text.lower() if "</" in text or "[/" in text else ""
    for match in HTML_BLOCK.finditer(text) if lowered else ():
        name = (match["name"] or match["drawing"]).lower()
        closer = f"</{name}>" if match["name"] else f"[/{name}]"
        if closer not in closers:
            closers[closer] = [found.start() for found in re.finditer(re.escape(closer), lowered)]
        places = closers[closer]
        place = bisect_left(places, match.end())
        if place < len(places):
            yield match.start(), places[place] + len(closer)


def tables(text: str) -> Iterator[Span]:
    """Tables of pipes, grids and tabs: runs of lines that hold columns."""
    run: list[Line] = []
    for line in lines_of(text):
        if "|" in line.text or "\t" in line.text.strip() or GRID_ROW.match(line.text):
            run.append(line)
            continue
        if is_table(run):
            yield run[0].start, run[-1].end
        run = []
    if is_table(run):
        yield run[0].start, run[-1].end


def is_table(rows: list[Line]) -> bool:
    """Whether neighbouring lines with columns are a table, not a derivation with |x| in it."""
    if len(rows) < 2:
        return False
    texts = [row.text for row in rows]
    delimited = any("|" in text and DELIMITER_ROW.match(text) for text in texts)
    return (
        delimited
        or any(GRID_ROW.match(text) for text in texts)
        or all(PIPED_ROW.match(text) for text in texts)
        or all(TABBED_ROW.match(text) for text in texts)
    )
