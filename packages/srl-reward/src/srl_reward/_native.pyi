"""The native half of `srl_reward`: what it takes, what it gives, what it raises."""

from collections.abc import Sequence

# Sequence matching
#
# A sequence is a `str` (any code points, lone surrogates too), or a list or tuple whose elements
# are all `int` or `bool` of at most 64 bits. For anything else, subclasses included, the answer is
# None: `srl_reward.sequence` numbers such elements first. All release the GIL.

def ratio(a: object, b: object, *, autojunk: bool = True) -> float | None:
    """`2.0 * M / T` of the matching blocks; 1.0 for two empty sequences."""

def ratio_batch(
    a: Sequence[object], b: Sequence[object], *, autojunk: bool = True, threads: int | None = None
) -> list[float] | None:
    """`ratio` of each pair; `threads` is at least 1, or None to let the work decide.

    Raises ValueError for lengths that differ, for `threads` below 1 and for a value of
    SRL_REWARD_THREADS that is no positive integer; KeyboardInterrupt on Ctrl-C.
    """

def blocks(a: object, b: object, autojunk: bool) -> list[tuple[int, int, int]] | None:
    """Return matching blocks (start in a, start in b, length) without the closing one."""

def all_ints(sequence: object) -> bool:
    """Whether this is a list or tuple of nothing but `int` and `bool` of at most 64 bits."""

class JunkIndex:
    """`b` as codes, indexed for matching with junk elements and bounds."""

    def __new__(cls, b: Sequence[int], junk: Sequence[bool], autojunk: bool) -> JunkIndex:
        """Index `b`; `junk[code]` marks junk; every code of `b` is below `len(junk)`."""

    def blocks(self, a: Sequence[int]) -> list[tuple[int, int, int]]:
        """All matching blocks of `a`; a code from `len(junk)` on matches nothing."""

    def longest(
        self, a: Sequence[int], a_bounds: tuple[int, int], b_bounds: tuple[int, int]
    ) -> tuple[int, int, int]:
        """Return difflib's `find_longest_match`; bounds are half open and inside the sequences."""
