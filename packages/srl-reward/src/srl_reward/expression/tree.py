"""What an answer means, as a tree: values, units, lists, sets, intervals, relations, words.

Only data; the reader builds it and the comparison walks it.
"""

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True, slots=True)
class Number:
    """A number in digits, exact; `digits` are the significant ones where it has a decimal point."""

    value: Fraction
    digits: int | None = None
    places: int = 0


@dataclass(frozen=True, slots=True)
class Symbol:
    """A letter with its index and primes, or what is kept as one: `x_1`, `y'`, `52_8`."""

    name: str


@dataclass(frozen=True, slots=True)
class Constant:
    """`pi`, `e`, `i` or `infinity`."""

    name: str


@dataclass(frozen=True, slots=True)
class Sign:
    r"""Either sign, of `\pm` or (opposite) `\mp`; `number` tells several in one answer apart."""

    number: int
    opposite: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """A function of expressions: `add`, `multiply`, `divide`, `power`, `root`, `sin`, ..."""

    name: str
    arguments: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A value with its unit, or with `%`."""

    value: "Node"
    unit: str


@dataclass(frozen=True, slots=True)
class Words:
    """An answer in words, in plain spelling."""

    text: str


@dataclass(frozen=True, slots=True)
class Bracketed:
    """Members in brackets: a point, an interval (two members) or a set, by the brackets."""

    brackets: str
    members: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Listing:
    """Several answers side by side, in no order."""

    members: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Union:
    """A union of sets and intervals."""

    members: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Relation:
    """Sides with the relations between them: `a < x <= b`, `y = 2x`."""

    signs: tuple[str, ...]
    sides: "tuple[Node, ...]"


@dataclass(frozen=True, slots=True)
class Matrix:
    """Rows of equal length."""

    rows: "tuple[tuple[Node, ...], ...]"


Node = (
    Number
    | Symbol
    | Constant
    | Sign
    | Operation
    | Quantity
    | Words
    | Bracketed
    | Listing
    | Union
    | Relation
    | Matrix
)
Value = Number | Symbol | Constant | Sign | Operation


class UnreadableError(ValueError):
    """A text that this package does not read; the message says at what it stopped."""
