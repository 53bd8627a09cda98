"""Which questions are held out or drawn: those whose places, seeded hashes, are smallest.

So a question's place does not depend on the rows around it, and equal ones go the same way.
"""

import heapq
from dataclasses import dataclass, field
from hashlib import sha256

from srl_data.overlap import whole_text

PLACE_BYTES = 16


def question_place(problem: str, seed: int) -> int:
    """The place of a question in the order in which questions are chosen.

    Two texts are the same question, and have one place, where `whole_text` gives the same of them.
    """
    hashed = sha256(f"{seed}\n{whole_text(problem)}".encode("utf-8", "surrogatepass"))
    return int.from_bytes(hashed.digest()[:PLACE_BYTES], "big")


@dataclass
class Smallest:
    """The so many smallest of the distinct numbers that were added."""

    size: int
    _heap: list[int] = field(default_factory=list)
    _held: set[int] = field(default_factory=set)

    def add(self, number: int) -> None:
        """Add a number."""
        if not self.size or number in self._held:
            return
        if len(self._heap) == self.size and number >= -self._heap[0]:
            return
        self._held.add(number)
        if len(self._heap) < self.size:
            heapq.heappush(self._heap, -number)
        else:
            self._held.discard(-heapq.heapreplace(self._heap, -number))

    def ordered(self) -> list[int]:
        """The numbers, the smallest first."""
        return sorted(self._held)
