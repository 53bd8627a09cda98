"""The native half of `srl_reward`: what it takes, what it gives, what it raises."""

from collections.abc import Hashable, Sequence
from typing import final

__all__ = [
    "JunkIndex",
    "Step",
    "all_ints",
    "blocks",
    "extract_aime_answer",
    "extract_boxed",
    "extract_gsm8k_answer",
    "is_think_prefilled",
    "known_ratio",
    "leading_number",
    "parse_solution",
    "parse_step_output",
    "parse_think",
    "ratio",
    "ratio_batch",
    "split_steps",
    "strip_step_number",
]

# Sequence matching
#
# A sequence is a `str` (any code points, lone surrogates too), or a list or tuple whose elements
# are all `int` or `bool` of at most 64 bits. For anything else, subclasses included, the answer is
# None: `srl_reward.sequence` numbers such elements first. The GIL is released, except for pairs of
# fewer than 128 elements, which take less time than handing it over.

def ratio(a: Sequence[Hashable], b: Sequence[Hashable], *, autojunk: bool = True) -> float:
    """Similarity in [0, 1]: `difflib.SequenceMatcher(None, a, b, autojunk).ratio()`, exactly.

    The order of the arguments matters, as it does for difflib. Of any sequences of hashable
    elements; raises TypeError for an element that is not.
    """

def known_ratio(a: object, b: object, autojunk: bool) -> float | None:
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

@final
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

# Text
#
# The parsers behind `srl_reward.steps`, `.output` and `.answer`, which give their results names.
# All take any `str`, lone surrogates included, run in linear time, return slices of the text they
# were given, and release the GIL on long texts.

@final
class Step:
    """One step; `text` is as its author wrote it, heading included: `source[start:end]`.

    Immutable; equal, hashed, pickled and matched by its five fields. A step that was cut from a
    text keeps that text alive.
    """

    __match_args__ = ("number", "title", "text", "start", "end")

    def __new__(cls, number: int, title: str | None, text: str, start: int, end: int) -> Step: ...
    @property
    def number(self) -> int:
        """The number in its heading."""

    @property
    def title(self) -> str | None:
        """Its title, without bold and final colon; None where it has none."""

    @property
    def text(self) -> str:
        """Its own text, without outer white space."""

    @property
    def start(self) -> int:
        """The code point of the source that it starts at."""

    @property
    def end(self) -> int:
        """The code point of the source that it ends before."""

    def __eq__(self, other: object, /) -> bool: ...
    def __hash__(self) -> int: ...
    def __getnewargs__(self) -> tuple[int, str | None, str, int, int]: ...

def split_steps(text: str, keep_preamble: bool) -> list[Step]:
    """Return the steps of a text."""

def parse_solution(
    text: str, keep_preamble: bool
) -> tuple[list[Step], tuple[str, int | None, int | None] | None]:
    """Return the steps and None, or no steps and (reason, expected number, found number)."""

def leading_number(text: str) -> int | None:
    """Return the step number the text leads with."""

def strip_step_number(text: str) -> str:
    """Return the text without outer white space and leading step number."""

def parse_step_output(
    text: str, think_prefilled: bool, truncated: bool
) -> tuple[tuple[str, str, int | None], None] | tuple[None, str]:
    """Return (thinking, action, number) and None, or None and the reason."""

def parse_think(
    text: str, think_prefilled: bool
) -> tuple[tuple[str, str], None] | tuple[None, str]:
    """Return (thinking, what follows) and None, or None and what is wrong with the tags."""

def is_think_prefilled(prompt: str) -> bool:
    """Say whether the prompt ends with `<think>`, white space aside."""

def extract_boxed(text: str) -> str | None:
    """Return the content of the last complete box."""

def extract_aime_answer(text: str) -> int | None:
    """Return the AIME answer in the last complete box."""

def extract_gsm8k_answer(text: str) -> str | None:
    """Return the number after the last `####`."""
