"""Rows of a source by the chunk: bounded in number and size, with the rows that were refused.

A chunk is the unit of work: it is handled whole by one process, and its outcome is written whole.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice

from srl_data.listing import Listed
from srl_data.records import OnError, Row
from srl_data.sources import RowSource

ROWS = 256
"""Rows of a chunk at most."""
CHARS = 4 << 20
"""A chunk ends once its texts are this long in all, so that long ones do not pile up."""

NumberedRow = tuple[int, Row]


@dataclass
class Chunk:
    """Rows with their positions, and a line for each row that the reader left out before them."""

    rows: list[NumberedRow] = field(default_factory=list)
    skipped: Listed = field(default_factory=Listed)


def read_chunks(source: RowSource, on_error: OnError, taken: int = 0) -> Iterator[Chunk]:
    """The rows behind the first `taken` ones; the last chunk may hold nothing but skipped lines."""
    chunk = Chunk()

    def skip(line: str) -> None:
        chunk.skipped.add(line)  # of the chunk that is being read by then

    rows = source.read(on_error, skip)
    for _ in islice(rows, taken):
        pass
    chunk.skipped = Listed()
    size = 0
    for position, row in rows:
        chunk.rows.append((position, row))
        size += size_of(row)
        if len(chunk.rows) == ROWS or size >= CHARS:
            yield chunk
            chunk, size = Chunk(), 0
    if chunk.rows or chunk.skipped.count:
        yield chunk


def size_of(value: object) -> int:
    """About how many characters a value takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list) else 8
