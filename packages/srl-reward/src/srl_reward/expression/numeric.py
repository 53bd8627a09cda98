"""Values to as many digits as it takes to tell them apart, with letters at chosen points.

mpmath computes; here is what bounds it. `Lost` says that a sum dropped a term too small for the
digits at hand, so that more of them are needed; `TooLarge` that no number of digits will do. Needs
the extra `[math]`, and stands in the killable process.
"""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

from mpmath import mp, mpc

from srl_reward.expression.exact import exact, real
from srl_reward.expression.tree import Constant, Node, Operation, Sign, Symbol

_LARGEST_EXPONENT = 10**6
"""Of e, in a result; `10^{10^{10}}` is past it."""
_SPARE = 15


class TooLargeError(ArithmeticError):
    """A value or a precision that is not computed."""


class LostError(ArithmeticError):
    """A term was too small for the digits at hand."""

    def __init__(self, digits: int) -> None:
        super().__init__(digits)
        self.digits = digits


@dataclass(frozen=True)
class Reading:
    """How a text is read where people read it differently, and where its letters stand."""

    letters: Callable[[str], mpc]
    signs: Mapping[int, int] = field(default_factory=dict)
    log_base: str = "e"
    is_degree_unit: bool = False
    """Whether a degree outside of a function is 1, as where an angle is asked for in degrees."""
    has_real_roots: bool = True
    """Whether an odd root of a negative number is the real one."""


def positive_point(number: int) -> Callable[[str], mpc]:
    """Letters at positive places, the same ones for the same number."""
    return lambda name: mp.mpf(3) / 10 + 2 * _fraction(name, number)


def mixed_point(number: int) -> Callable[[str], mpc]:
    """Letters at places of either sign."""
    return lambda name: 4 * _fraction(name, number) - 2


def whole_point(number: int) -> Callable[[str], mpc]:
    """Letters at whole places from 1 to 40."""
    return lambda name: mp.mpf(1 + int(40 * _fraction(name, number)))


def _fraction(name: str, number: int) -> mpc:
    digest = hashlib.sha256(f"{number}:{name}".encode(errors="replace")).digest()
    return mp.mpf(int.from_bytes(digest[:12], "big")) / (1 << 96)


def value(node: Node, reading: Reading, *, inside: bool = False) -> mpc:
    """The value at the current precision.

    Raises:
        LostError: More digits are needed.
        TooLargeError: It cannot be computed here.
        ArithmeticError: It is not defined at this point.
    """
    found = exact(node)
    if found is not None:
        return mp.mpc(_ratio(found[0]), _ratio(found[1]))
    if isinstance(node, Constant):
        return _CONSTANTS[node.name]()
    if isinstance(node, Symbol):
        return mp.mpc(reading.letters(node.name))
    if isinstance(node, Sign):
        sign = reading.signs.get(node.number, 1)
        return mp.mpc(-sign if node.opposite else sign)
    if not isinstance(node, Operation):
        raise TooLargeError(f"{type(node).__name__} is no number")
    return _operation(node, reading, inside=inside)


def _ratio(number: Fraction) -> mpc:
    return mp.mpf(number.numerator) / number.denominator


def _operation(node: Operation, reading: Reading, *, inside: bool) -> mpc:
    name = node.name
    inside = inside or name not in ("add", "multiply", "divide", "negative", "degree")
    arguments = [value(each, reading, inside=inside) for each in node.arguments]
    if name in ("root", "power") and reading.has_real_roots:
        found = _odd_root(node, arguments)
        if found is not None:
            return found
    if name == "degree":
        unit = 1 if reading.is_degree_unit and not inside else mp.pi / 180
        return arguments[0] * unit
    if name == "log" and len(arguments) == 1:
        arguments.append(mp.mpf(10) if reading.log_base == "10" else mp.e)
    if name.startswith("apply "):
        return _applied(name, arguments, reading)
    if name not in _FUNCTIONS:
        raise TooLargeError(f"{name} is not computed")
    for argument in arguments:
        if abs(argument) > mp.mpf(10) ** 400 and name not in _ANY_SIZE:
            raise TooLargeError(f"{name} of a large number")
    result = _FUNCTIONS[name](*arguments)
    if not mp.isfinite(result):
        raise ZeroDivisionError(name)
    return _snapped(result, arguments) if name in _PERIODIC else result


def _applied(name: str, arguments: list[mpc], reading: Reading) -> mpc:
    """A function without a definition: a smooth one that has no special property."""
    scale = mp.mpc(reading.letters(f"{name} scale"))
    total = mp.mpc(reading.letters(name))
    for place, argument in enumerate(arguments):
        total += mp.sin(scale * argument + mp.mpf(place + 1) / 7) * (place + 2)
    return total


def _add(*terms: mpc) -> mpc:
    total = mp.fsum(terms)
    sizes = [abs(term) for term in terms if term]
    if not sizes:
        return total
    lost = int(mp.log10(max(sizes)) - mp.log10(min(sizes)))
    if lost + _SPARE > mp.dps // 2:
        raise LostError(2 * (lost + _SPARE) + 10)
    return mp.mpc(0) if abs(total) < max(sizes) * mp.mpf(10) ** (_SPARE - mp.dps) else total


def _snapped(result: mpc, arguments: list[mpc]) -> mpc:
    """A sine that is nothing but rounding is 0."""
    is_rounding = abs(result) < mp.mpf(10) ** (_SPARE - mp.dps)
    if is_rounding and abs(arguments[0]) > 0.1:
        return mp.mpc(0)
    return result


def _power(base: mpc, exponent: mpc) -> mpc:
    if not base:
        if mp.re(exponent) > 0:
            return mp.mpc(0)
        raise ZeroDivisionError("0 to a power that is not positive")
    size = abs(exponent * mp.log(base))
    if size > _LARGEST_EXPONENT:
        raise TooLargeError("a power")
    _near_one(size)
    return mp.power(base, exponent)


def _exp(argument: mpc) -> mpc:
    return _power(mp.mpc(mp.e), argument)


def _near_one(size: mpc) -> None:
    """A function that is near 1 by less than can be seen needs more digits."""
    if size and size < mp.mpf(10) ** (-mp.dps // 4):
        raise LostError(int(-4 * mp.log10(size)) + 40)


def _even(function: Callable[[mpc], mpc]) -> Callable[[mpc], mpc]:
    def near(argument: mpc) -> mpc:
        _near_one(abs(argument))
        return function(argument)

    return near


def _flat(function: Callable[[mpc], mpc]) -> Callable[[mpc], mpc]:
    """A function that is flat far out, such as arctan."""

    def far(argument: mpc) -> mpc:
        if argument:
            _near_one(1 / abs(argument))
        return function(argument)

    return far


def _gamma(argument: mpc) -> mpc:
    if abs(argument) > 10**5:
        raise TooLargeError("a factorial")
    return mp.gamma(argument + 1)


def _binomial(top: mpc, bottom: mpc) -> mpc:
    if max(abs(top), abs(bottom)) > 10**5:
        raise TooLargeError("a binomial coefficient")
    return mp.binomial(top, bottom)


def _odd_root(node: Operation, arguments: list[mpc]) -> mpc | None:
    """A negative number to a fraction with an odd bottom, taken as a real one; None elsewhere."""
    base = arguments[0]
    second = real(node.arguments[1])
    if not second or mp.im(base) or mp.re(base) >= 0:
        return None
    exponent = 1 / second if node.name == "root" else second
    if exponent.denominator % 2 == 0 or exponent.denominator == 1:
        return None
    size = mp.power(-base, _ratio(exponent))
    return -size if exponent.numerator % 2 else size


def _root(radicand: mpc, index: mpc) -> mpc:
    if not radicand:
        return mp.mpc(0)
    return mp.power(radicand, 1 / index)


def _whole(function: Callable[[mpc], mpc]) -> Callable[[mpc], mpc]:
    def rounded(argument: mpc) -> mpc:
        place = mp.re(argument)
        near = mp.nint(place)
        is_near = abs(place - near) < mp.mpf(10) ** (_SPARE - mp.dps)
        return mp.mpc(near if is_near else function(place))

    return rounded


def _infinite() -> mpc:
    raise TooLargeError("infinity")


def _product(*factors: mpc) -> mpc:
    return mp.fprod(factors)


_CONSTANTS: dict[str, Callable[[], mpc]] = {
    "pi": lambda: mp.mpc(mp.pi),
    "e": lambda: mp.mpc(mp.e),
    "i": lambda: mp.mpc(0, 1),
    "infinity": _infinite,
}
_FUNCTIONS: dict[str, Callable[..., mpc]] = {
    "add": _add,
    "multiply": _product,
    "divide": lambda top, bottom: top / bottom,
    "negative": lambda argument: -argument,
    "percent": lambda argument: argument / 100,
    "power": _power,
    "root": _root,
    "factorial": _gamma,
    "binomial": _binomial,
    "abs": lambda argument: mp.mpc(abs(argument)),
    "sgn": lambda argument: mp.mpc(mp.sign(mp.re(argument))),
    "floor": _whole(mp.floor),
    "ceil": _whole(mp.ceil),
    "exp": _exp,
    "ln": mp.log,
    "log": lambda argument, base: mp.log(argument) / mp.log(base),
    "max": lambda *arguments: mp.mpc(max(mp.re(each) for each in arguments)),
    "min": lambda *arguments: mp.mpc(min(mp.re(each) for each in arguments)),
    **{name: getattr(mp, name) for name in ("sin", "tan", "sinh", "cot", "csc")},
    **{name: _even(getattr(mp, name)) for name in ("cos", "cosh", "sec")},
    **{name: _flat(getattr(mp, name)) for name in ("tanh", "coth")},
    "arcsin": mp.asin,
    "arccos": mp.acos,
    "arctan": _flat(mp.atan),
    "arccot": _flat(mp.acot),
    "arcsec": _flat(mp.asec),
    "arccsc": mp.acsc,
    "arcsinh": mp.asinh,
    "arccosh": mp.acosh,
    "arctanh": mp.atanh,
}
_PERIODIC = frozenset(("sin", "cos", "tan", "cot"))
_ANY_SIZE = frozenset(
    ("add", "multiply", "divide", "negative", "percent", "power", "root", "abs", "ln", "log")
)
