"""difflib's sequence matching, bit for bit, at native speed.

`ratio`, `ratio_batch` and `matching_blocks` answer the common questions; `SequenceMatcher` is a
drop-in for `difflib.SequenceMatcher`. Strings and lists or tuples of `int` go to the native core
as they are; other hashable elements are numbered first. `difflib.SequenceMatcher = SequenceMatcher`
speeds up a library that cannot be edited, and difflib's own tools with it. Left out: those tools
(`get_close_matches`, `unified_diff`, `Differ`, `HtmlDiff`), which are difflib's.
"""

import difflib
from collections.abc import Callable, Hashable, Sequence
from difflib import Match
from typing import Generic, TypeVar

from srl_reward import _native
from srl_reward._native import ratio

__all__ = ["Match", "SequenceMatcher", "matching_blocks", "ratio", "ratio_batch"]

T = TypeVar("T", bound=Hashable)

# By this name and not difflib's: whoever puts our class in its place there must not find it here.
_Plain = difflib.SequenceMatcher

_LAZY = ("b2j", "bjunk", "bpopular")
_CHAIN = "_SequenceMatcher__chain_b"


def ratio_batch(
    a: Sequence[Sequence[Hashable]],
    b: Sequence[Sequence[Hashable]],
    *,
    autojunk: bool = True,
    threads: int | None = None,
) -> list[float]:
    """`ratio` of each `a[i]` with `b[i]`, the pairs shared out over `threads` threads.

    Without `threads`, the environment variable SRL_REWARD_THREADS limits them, and else the
    processors that this process may use; a small batch is done on one. Raises ValueError when `a`
    and `b` differ in length or `threads` is below 1.
    """
    values = _native.ratio_batch(a, b, autojunk=autojunk, threads=threads)
    if values is None:
        return [ratio(x, y, autojunk=autojunk) for x, y in zip(a, b, strict=True)]
    return values


def matching_blocks(
    a: Sequence[Hashable], b: Sequence[Hashable], *, autojunk: bool = True
) -> list[Match]:
    """Return the blocks of `difflib.SequenceMatcher(None, a, b, autojunk).get_matching_blocks()`.

    The last is `Match(len(a), len(b), 0)`, as there.
    """
    return SequenceMatcher(None, a, b, autojunk).get_matching_blocks()


class SequenceMatcher(difflib.SequenceMatcher[T], Generic[T]):
    """A drop-in for `difflib.SequenceMatcher`, with the same results, errors and caching.

    It is a subclass, so what is not computed here is the running CPython's own. `b2j`, `bjunk`
    and `bpopular` are made when they are first read, unless `isjunk` is given. A subclass that
    replaces `find_longest_match`, or the method in which difflib makes `b2j`, gets difflib's loop.

    Three things differ on purpose: `b2j`, `bjunk` and `bpopular` are for reading, editing them
    changes no result; a list edited after it was set may be seen as it was or as it is (with
    difflib: half of each); and `ratio()` leaves the attribute `matching_blocks` as it was, since
    it needs no blocks.
    """

    a: Sequence[T]
    b: Sequence[T]
    isjunk: Callable[[T], bool] | None
    autojunk: bool
    b2j: dict[T, list[int]]
    bjunk: set[T]
    bpopular: set[T]
    fullbcount: dict[T, int] | None
    matching_blocks: list[Match] | None
    opcodes: list[tuple[str, int, int, int, int]] | None
    _coded: "_CodedSequence[T] | None"

    def __init__(
        self,
        isjunk: Callable[[T], bool] | None = None,
        a: Sequence[T] = "",  # type: ignore[assignment]  # difflib's own default
        b: Sequence[T] = "",  # type: ignore[assignment]
        autojunk: bool = True,
    ) -> None:
        super().__init__(isjunk, a, b, autojunk)

    def set_seq2(self, b: Sequence[T]) -> None:
        """Set the second sequence; what is known of the one before is dropped."""
        if b is self.b:
            return
        self._coded = None
        lazy = type(b) is str or _native.all_ints(b)
        if self.isjunk or not lazy or self._chains_otherwise():
            super().set_seq2(b)
            return
        self.b = b
        self.matching_blocks = self.opcodes = None
        self.fullbcount = None
        for name in _LAZY:
            self.__dict__.pop(name, None)

    def __getattr__(self, name: str) -> object:
        if name not in _LAZY:
            message = f"{type(self).__name__!r} object has no attribute {name!r}"
            raise AttributeError(message, name=name, obj=self)
        plain = _Plain[T](None, (), self.b, self.autojunk)
        for lazy in _LAZY:
            self.__dict__[lazy] = getattr(plain, lazy)
        return self.__dict__[name]

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_coded": None}

    def find_longest_match(
        self, alo: int = 0, ahi: int | None = None, blo: int = 0, bhi: int | None = None
    ) -> Match:
        """Longest block of `a[alo:ahi]` and `b[blo:bhi]`, earliest in `a`, then in `b`."""
        a_bounds = (alo, len(self.a) if ahi is None else ahi)
        b_bounds = (blo, len(self.b) if bhi is None else bhi)
        coded = None
        inside = _within(a_bounds, self.a) and _within(b_bounds, self.b)
        if inside and not self._chains_otherwise():
            coded = self._code()
        if coded is None:
            return super().find_longest_match(alo, ahi, blo, bhi)
        b_coded, codes = coded
        return Match(*b_coded.index.longest(codes, a_bounds, b_bounds))

    def get_matching_blocks(self) -> list[Match]:
        """All blocks in order, ending with `Match(len(a), len(b), 0)`; computed once."""
        if self.matching_blocks is None:
            found = self._find_blocks()
            if found is None:
                return super().get_matching_blocks()
            self.matching_blocks = [Match(*block) for block in found]
            self.matching_blocks.append(Match(len(self.a), len(self.b), 0))
        return self.matching_blocks

    def ratio(self) -> float:
        """`2.0 * M / T`: M elements in matching blocks, T in both sequences; 1.0 for nothing."""
        value = None
        if type(self) is SequenceMatcher and self.matching_blocks is None and not self.isjunk:
            value = _native.known_ratio(self.a, self.b, bool(self.autojunk))
        return super().ratio() if value is None else value

    def _find_blocks(self) -> list[tuple[int, int, int]] | None:
        """Return the native core's blocks, or None where difflib's own loop must run."""
        own = SequenceMatcher.find_longest_match
        if getattr(self.find_longest_match, "__func__", None) is not own:
            return None
        if self._chains_otherwise():
            return None
        autojunk = bool(self.autojunk)
        found = None if self.isjunk else _native.blocks(self.a, self.b, autojunk=autojunk)
        if found is not None:
            return found
        coded = self._code()
        if coded is None:
            return None
        b_coded, codes = coded
        if self.isjunk:
            return b_coded.index.blocks(codes)
        return _native.blocks(codes, b_coded.codes, autojunk=autojunk)

    def _chains_otherwise(self) -> bool:
        """Whether a subclass makes `b2j` in its own way, by the method that difflib has for it."""
        return getattr(type(self), _CHAIN, None) is not getattr(_Plain, _CHAIN, None)

    def _code(self) -> "tuple[_CodedSequence[T], list[int]] | None":
        """Number the elements of both; None where difflib's own loop must run.

        That is so where an element of either isn't hashable: difflib may never come to it, or
        raises at another place.
        """
        try:
            if self._coded is None:
                self._coded = _CodedSequence(self.b, self.bjunk, bool(self.autojunk))
            return (self._coded, self._coded.encode(self.a)) if self._coded.is_exact else None
        except TypeError:
            return None


class _CodedSequence(Generic[T]):
    """`b` with its distinct elements numbered, equal by dict's rules: `1`, `1.0`, `True` are one.

    `is_exact` is False where difflib's `==` and its dict disagree (NaN, which a dict finds again
    by identity and `==` never does): only difflib's own loop is right there.
    """

    def __init__(self, b: Sequence[T], junk: set[T], autojunk: bool) -> None:
        numbers: dict[T, int] = {}
        self.codes = [numbers.setdefault(element, len(numbers)) for element in b]
        self.is_exact = all(element == element for element in numbers)
        self.index = _native.JunkIndex(
            self.codes, [element in junk for element in numbers], autojunk
        )
        self._numbers = numbers

    def encode(self, a: Sequence[T]) -> list[int]:
        unknown = len(self._numbers)
        return [self._numbers.get(element, unknown) for element in a]


def _within(bounds: tuple[int, int], sequence: Sequence[T]) -> bool:
    """Whether these are ints, in order and inside; difflib raises at what is not, in its way."""
    return all(type(bound) is int for bound in bounds) and 0 <= bounds[0] <= bounds[1] <= len(
        sequence
    )
