"""Whether two values are equal: exactly where they are exact, by their digits where rounded.

Letters stand for any number: two formulas are equal where they are at several points, chosen by the
letters' names. Roots and logarithms take their letters as positive, floors theirs as whole.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from functools import lru_cache
from itertools import product

from mpmath import mp, mpc

from srl_reward.expression import numeric
from srl_reward.expression.exact import exact, real
from srl_reward.expression.numeric import LostError, Reading, TooLargeError
from srl_reward.expression.tree import Constant, Node, Number, Operation, Symbol

_DIGITS, _MOST_DIGITS = 60, 5_000
_AGREE = 25
"""Digits in which equal values may differ by rounding, of those computed with."""
ROUNDED = 6
"""Significant digits, and decimals, that a number needs to stand for a value that it is not."""
_POSITIVE_ONLY = frozenset(("root", "ln", "log"))
_WHOLE_ONLY = frozenset(("floor", "ceil", "factorial", "binomial"))

Point = Callable[[int], Callable[[str], mpc]]


class UndecidedError(ValueError):
    """It cannot be told whether two values are equal."""


def equal(left: Node, right: Node) -> bool:
    """Whether two values are equal under a reading of both.

    Raises:
        UndecidedError: They cannot be computed.
    """
    if left == right:
        return True
    if isinstance(left, Constant) and isinstance(right, Constant):
        return False
    values = exact(left), exact(right)
    if None not in values:
        return values[0] == values[1] or _is_rounded(left, right)
    if _has_infinity(left) or _has_infinity(right):
        return _ends(left) is not None and _ends(left) == _ends(right)
    return any(_equal_under(left, right, reading) for reading in _readings(left, right)) or (
        _is_rounded(left, right)
    )


def _ends(node: Node) -> int | None:
    """1 for infinity, -1 for minus infinity, None for what is neither."""
    if isinstance(node, Operation) and node.name == "negative":
        inner = _ends(node.arguments[0])
        return None if inner is None else -inner
    return 1 if node == Constant("infinity") else None


def _readings(left: Node, right: Node) -> Iterator[Reading]:
    used = names(left) | names(right)
    bases = ("e", "10") if "log" in used else ("e",)
    units = (False, True) if "degree" in used else (False,)
    roots = (True, False) if used & {"root", "power"} else (True,)
    for base, unit, is_real in product(bases, units, roots):
        yield Reading(numeric.positive_point(0), {}, base, unit, is_real)


def _equal_under(left: Node, right: Node, reading: Reading) -> bool:
    def at(point: Callable[[str], mpc]) -> bool | None:
        return _equal_at(left, right, replace(reading, letters=point))

    letters = symbols(left) | symbols(right)
    if not letters:
        return _needed(at(numeric.positive_point(0)))
    if _is_whole_formula(left, right):  # small numbers all have the same floor
        return _everywhere(at, numeric.whole_point, 24)
    if not _everywhere(at, numeric.positive_point, 4):
        return False
    if _takes_positive(left) and _takes_positive(right):
        return True
    return _everywhere(at, numeric.mixed_point, 4)


def _everywhere(
    at: Callable[[Callable[[str], mpc]], bool | None], point: Point, count: int
) -> bool:
    """Whether the values are equal wherever both are defined, at some point at least."""
    found = []
    for number in range(count):
        found.append(at(point(number)))
        if found[-1] is False:
            return False
    if not any(found):
        raise UndecidedError("defined at none of the points")
    return True


def _needed(found: bool | None) -> bool:
    if found is None:
        raise UndecidedError("it is not defined")
    return found


def _equal_at(left: Node, right: Node, reading: Reading) -> bool | None:
    """Whether the values are equal at a point, None where one is not defined there."""
    digits = _DIGITS
    while digits <= _MOST_DIGITS:
        try:
            with mp.workdps(digits):
                return _near(numeric.value(left, reading), numeric.value(right, reading))
        except LostError as error:
            digits = max(error.digits, 2 * digits)
        except TooLargeError as error:
            raise UndecidedError(str(error)) from error
        except (ArithmeticError, ValueError):
            return None
    raise UndecidedError("a term is too small to be seen")


def _near(left: mpc, right: mpc) -> bool:
    scale = max(abs(left), abs(right))
    return bool(abs(left - right) <= scale * mp.mpf(10) ** (_AGREE - mp.dps))


def _is_rounded(left: Node, right: Node) -> bool:
    """Whether one is the other, rounded or cut to the digits that are written, six at least."""
    return _rounds_to(left, right) or _rounds_to(right, left)


def is_rounding(exact_value: Node, rounded: Node) -> bool:
    r"""Whether `x \approx y` holds, to one part in a hundred."""
    value = real(rounded)
    if value is None or symbols(exact_value):
        return False
    apart = _difference(value, exact_value)
    return apart is not None and apart <= abs(value) / 100


def _rounds_to(rounded: Node, other: Node) -> bool:
    found = decimal(rounded)
    if found is None or symbols(other):
        return False
    value, digits, unit = found
    longer = decimal(other)
    if not _is_long(digits, unit) or (longer is not None and longer[1] <= digits):
        return False
    whole = real(other)
    if longer is None and whole is not None and whole.denominator == 1:
        return False
    difference = _difference(value, other)
    return (
        difference is not None
        and difference < unit
        and (2 * difference <= unit or _is_cut(value, other))
    )


def _is_long(digits: int, unit: Fraction) -> bool:
    return digits > ROUNDED or (digits == ROUNDED and unit <= Fraction(1, 10**ROUNDED))


def _is_cut(value: Fraction, other: Node) -> bool:
    """Whether a value is nearer to 0 than what it stands for."""
    below = _difference(Fraction(0), other)
    return below is not None and abs(value) < below


def _difference(value: Fraction, other: Node) -> Fraction | None:
    """How far a value is from a node's, None where that is not real."""
    found = real(other)
    if found is not None:
        return abs(value - found)
    if exact(other) is not None:
        return None
    try:
        with mp.workdps(_DIGITS):
            number = numeric.value(other, Reading(numeric.positive_point(0)))
            if mp.im(number) or not mp.isfinite(number):
                return None
            apart = abs(mp.re(number) - mp.mpf(value.numerator) / value.denominator)
            return Fraction(mp.nstr(apart, 30))
    except (ArithmeticError, ValueError):
        return None


def decimal(node: Node) -> tuple[Fraction, int, Fraction] | None:
    """Value, significant digits and the last one's unit of a decimal, also times a power of ten."""
    if isinstance(node, Number):
        if node.digits is None:
            return None
        return node.value, node.digits, Fraction(1, 10**node.places)
    if not isinstance(node, Operation):
        return None
    if node.name == "negative":
        inner = decimal(node.arguments[0])
        return None if inner is None else (-inner[0], inner[1], inner[2])
    if node.name == "multiply" and len(node.arguments) == 2:
        inner, factor = decimal(node.arguments[0]), real(node.arguments[1])
        if inner is not None and factor and _is_power_of_ten(factor):
            return inner[0] * factor, inner[1], inner[2] * factor
    return None


def _is_power_of_ten(value: Fraction) -> bool:
    digits = str(value.numerator if value >= 1 else value.denominator)
    return digits.rstrip("0") == "1" and 1 in (value.numerator, value.denominator)


def _is_whole_formula(left: Node, right: Node) -> bool:
    """Whether letters stand for whole numbers: in a floor, or as exponents of a negative base."""
    return any(names(node) & _WHOLE_ONLY or _has_turning(node) for node in (left, right))


def _has_turning(node: Node) -> bool:
    if not isinstance(node, Operation):
        return False
    if node.name == "power":
        base = real(node.arguments[0])
        if base is not None and base < 0 and symbols(node.arguments[1]):
            return True
    return any(map(_has_turning, node.arguments))


def _takes_positive(node: Node) -> bool:
    """Whether a root or a logarithm holds a letter."""
    if not isinstance(node, Operation):
        return False
    holds = node.name in _POSITIVE_ONLY or (
        node.name == "power" and (found := real(node.arguments[1])) is not None
        and found.denominator != 1
    )  # fmt: skip
    return (holds and bool(symbols(node))) or any(map(_takes_positive, node.arguments))


@lru_cache(maxsize=4096)
def symbols(node: Node) -> frozenset[str]:
    """The letters of a value."""
    if isinstance(node, Symbol):
        return frozenset((node.name,))
    if not isinstance(node, Operation):
        return frozenset()
    own = {node.name} if node.name.startswith("apply ") else set()
    return frozenset(own.union(*map(symbols, node.arguments)))


@lru_cache(maxsize=4096)
def names(node: Node) -> frozenset[str]:
    """The operations of a value."""
    if not isinstance(node, Operation):
        return frozenset()
    return frozenset({node.name}.union(*map(names, node.arguments)))


def _has_infinity(node: Node) -> bool:
    if isinstance(node, Operation):
        return any(map(_has_infinity, node.arguments))
    return node == Constant("infinity")
