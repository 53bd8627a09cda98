"""Values that are rational, real or complex, in exact arithmetic of bounded size."""

from collections.abc import Callable
from fractions import Fraction
from math import comb, factorial, gcd, lcm

from srl_reward.expression.tree import Constant, Node, Number, Operation

Rational = tuple[Fraction, Fraction]
"""Real and imaginary part."""
MOST_BITS = 1 << 14
_ZERO = Fraction(0)


def exact(node: Node) -> Rational | None:
    """The value of a node, None where it is not known to be rational, or too long."""
    if isinstance(node, Number):
        return node.value, _ZERO
    if isinstance(node, Constant) and node.name == "i":
        return _ZERO, Fraction(1)
    if not isinstance(node, Operation) or node.name not in _RULES:
        return None
    found = [exact(argument) for argument in node.arguments]
    values = [value for value in found if value is not None]
    if len(values) < len(found):
        return None
    value = _RULES[node.name](values)
    return value if value is not None and _size(value) <= MOST_BITS else None


def real(node: Node) -> Fraction | None:
    """The value of a node that is a real rational."""
    value = exact(node)
    return value[0] if value is not None and not value[1] else None


def _size(value: Rational) -> int:
    return max(
        number.bit_length() for part in value for number in (part.numerator, part.denominator)
    )


def _add(values: list[Rational]) -> Rational:
    return sum((value[0] for value in values), _ZERO), sum((value[1] for value in values), _ZERO)


def _times(left: Rational, right: Rational) -> Rational:
    return (
        left[0] * right[0] - left[1] * right[1],
        left[0] * right[1] + left[1] * right[0],
    )


def _multiply(values: list[Rational]) -> Rational:
    product: Rational = (Fraction(1), _ZERO)
    for value in values:
        product = _times(product, value)
    return product


def _inverse(value: Rational) -> Rational | None:
    norm = value[0] ** 2 + value[1] ** 2
    return (value[0] / norm, -value[1] / norm) if norm else None


def _divide(values: list[Rational]) -> Rational | None:
    inverse = _inverse(values[1])
    return None if inverse is None else _times(values[0], inverse)


def _power(values: list[Rational]) -> Rational | None:
    base, (exponent, rest) = values
    if rest or exponent.denominator != 1 or abs(exponent) * _size(base) > MOST_BITS:
        return None
    if not exponent:
        return (Fraction(1), _ZERO) if any(base) else None
    start = base if exponent > 0 else _inverse(base)
    if start is None:
        return None
    product, count = (Fraction(1), _ZERO), abs(int(exponent))
    while count:
        product = _times(product, start) if count % 2 else product
        start, count = _times(start, start), count // 2
    return product


def _root(values: list[Rational]) -> Rational | None:
    (value, imaginary), (index, rest) = values
    if imaginary or rest or value < 0 or index.denominator != 1 or not 2 <= index <= 64:
        return None
    roots = [_whole_root(part, int(index)) for part in (value.numerator, value.denominator)]
    if roots[0] is None or not roots[1]:
        return None
    return Fraction(roots[0], roots[1]), _ZERO


def _whole_root(value: int, index: int) -> int | None:
    """The integer whose power is the value."""
    low, high = 0, 1 << (value.bit_length() // index + 1)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if middle**index <= value else (low, middle - 1)
    return low if low**index == value else None


def _natural(values: list[Rational], most: int = 2_000) -> list[int] | None:
    if any(part or value.denominator != 1 or not 0 <= value <= most for value, part in values):
        return None
    return [int(value) for value, _ in values]


def _factorial(values: list[Rational]) -> Rational | None:
    found = _natural(values)
    return (Fraction(factorial(found[0])), _ZERO) if found else None


def _binomial(values: list[Rational]) -> Rational | None:
    found = _natural(values)
    return (Fraction(comb(*found)), _ZERO) if found else None


def _rounded(values: list[Rational], up: bool) -> Rational | None:
    value, imaginary = values[0]
    return None if imaginary else (Fraction(-(-value // 1) if up else value // 1), _ZERO)


def _absolute(values: list[Rational]) -> Rational | None:
    return None if values[0][1] else (abs(values[0][0]), _ZERO)


def _choose(values: list[Rational], largest: bool) -> Rational | None:
    if any(imaginary for _, imaginary in values):
        return None
    parts = [value for value, _ in values]
    return (max(parts) if largest else min(parts)), _ZERO


def _common(values: list[Rational], least: bool) -> Rational | None:
    found = _natural(values, 10**30)
    if not found:
        return None
    return Fraction(lcm(*found) if least else gcd(*found)), _ZERO


_RULES: dict[str, Callable[[list[Rational]], Rational | None]] = {
    "add": _add,
    "multiply": _multiply,
    "divide": _divide,
    "power": _power,
    "root": _root,
    "negative": lambda values: (-values[0][0], -values[0][1]),
    "percent": lambda values: (values[0][0] / 100, values[0][1] / 100),
    "factorial": _factorial,
    "binomial": _binomial,
    "floor": lambda values: _rounded(values, up=False),
    "ceil": lambda values: _rounded(values, up=True),
    "abs": _absolute,
    "max": lambda values: _choose(values, largest=True),
    "min": lambda values: _choose(values, largest=False),
    "gcd": lambda values: _common(values, least=False),
    "lcm": lambda values: _common(values, least=True),
}
