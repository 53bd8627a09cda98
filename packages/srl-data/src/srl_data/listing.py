"""Lists that a run may fill without end: how many entries there were, and the first of them.

Bad rows, and rows that give nothing, are all counted, and the first of them named, so that neither
the memory nor the journal of a long run grows with their number.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

MOST = 1000
"""Entries that are kept; all others are counted."""


@dataclass
class Listed:
    """The first of many lines, and their number."""

    count: int = 0
    first: list[str] = field(default_factory=list)

    def add(self, line: str) -> None:
        """Count a line, and keep it if it is one of the first."""
        self.count += 1
        if len(self.first) < MOST:
            self.first.append(line)

    def join(self, other: "Listed") -> None:
        """Count the lines of another list, which come behind these."""
        self.count += other.count
        keep_first(self.first, other.first)

    def shown(self, most: int = MOST) -> Iterator[str]:
        """The first lines, and how many there are beyond."""
        lines = self.first[:most]
        yield from lines
        if self.count > len(lines):
            yield f"… and {self.count - len(lines)} more"


def keep_first(kept: list[str], more: list[str]) -> None:
    """Add entries to a list as far as there is room in it."""
    kept += more[: MOST - len(kept)]
