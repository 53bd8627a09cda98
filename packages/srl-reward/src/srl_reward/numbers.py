r"""Numbers as people and LaTeX write them, read exactly: `4.5e33`, `4.5\times10^{33}`, `$1,018`.

Only plain numbers and one division of two; everything else is None and left to a grader of
expressions. Bounded length and linear patterns: no text can stall it.
"""

import re
from fractions import Fraction

from srl_reward.expression.exact import real
from srl_reward.expression.reader import read
from srl_reward.expression.tree import Quantity, Relation, Symbol, UnreadableError
from srl_reward.notation import plain
from srl_reward.notation.units import MULTIPLIERS

_LONGEST = 200
_LONGEST_INTEGER = 1000
_MAX_EXPONENT = 400
_DROP = re.compile(r"\\[,;:! ]|\\left|\\right|\\displaystyle|\\\$|[$€£¥]|~|\s")
_THOUSANDS = re.compile(
    r"(?<![\d.,])[1-9]\d{0,2}(?:(?:,\\!|\{,\}|\\[,;:! ]|[,~ ])\d{3})+(?!\d)", re.ASCII
)
_INTEGER = re.compile(r"([+-]?\d+)(?:\.0*)?", re.ASCII)
_NO_DIGIT = re.compile(r"\D+", re.ASCII)
_APART = re.compile(r"\d(?:\\[,;:! ]|~|\s)+\d", re.ASCII)
_SCIENTIFIC = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:e([+-]?\d+)|(?:\\times|\\cdot|\*)10\^\{?([+-]?\d+)\}?)?",
    re.ASCII | re.IGNORECASE,
)
_POWER = re.compile(r"([+-]?)10\^\{?([+-]?\d+)\}?", re.ASCII)
_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_UNIT = re.compile(
    r"(?:\\(?:text|mathrm|mbox|textbf|operatorname)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?"
    r"|\\?%|\^\{?\\circ\}?|°|\\(?:degree|pounds|euro)(?![a-zA-Z]))+\.?$"
)
# Not any letters: 2x, 2n, 2i and 2e are other numbers than 2.
_PLAIN_UNIT = re.compile(
    r"(?:(?<=[a-zA-Z])/)?(?<![a-zA-Z\\])(?:[a-zA-Z]{3,}|[kcmnp]?[mg]|[mn]?s|hr?|[kM]?[JNWV]|[km]?[ACK]"
    r"|[kMG]?Hz|k?Pa|[kM]?eV|m?[lL]|pc|AU|ft|in|lb|oz|mi|yd|am|pm|of|a)(?:\^\{?-?\d\}?)?\.?$",
    re.ASCII,
)
_LETTERS = re.compile(r"[a-zA-Z]+")
_RELATION = re.compile(
    r"[<>!,≤≥≠]|\\(?:neq?|not|n?[lg]eq?(?:slant)?|lt|gt|ll|gg|equiv|sim|propto|in)(?![a-zA-Z])"
)
_CHOICE = re.compile(r"\\(?:text|textbf|mathrm|mathbf)\s*\{\s*\(?[A-E]\)?:?\s*\}\s*(?=.*\d)")
_WRAP = re.compile(
    r"\\(?:text|textbf|textrm|mathrm|mathbf|boldsymbol|mbox)\s*\{([^{}]*)\}|\{([^{}]*)\}"
)


def join_thousands(text: str) -> str:
    r"""A text with its thousands unparted: `1,406`, `1{,}406`, `1\,406`; never `14,06`."""
    return _THOUSANDS.sub(lambda match: _NO_DIGIT.sub("", match[0]), text)


def plain_integer(text: str) -> str | None:
    r"""The integer that a text is, in plain digits: `1{,}406`, `+7.0`, `$12$`; not `1/2`."""
    if len(text) > _LONGEST_INTEGER:
        return None
    match = _INTEGER.fullmatch(join_thousands(text.strip().strip("$").strip()))
    return str(int(match[1])) if match else None


def read_integer(text: str) -> str | None:
    r"""`plain_integer` of a model's answer, in whatever dress: `x = 18`, `18 \text{ eggs}`."""
    value = parse_quantity(text)
    whole = value is not None and value.denominator == 1
    return plain_integer(text) or (str(value) if whole else None)


def parse_quantity(text: str, *, is_bare_unit: bool = True) -> Fraction | None:
    r"""The value of a number in the dress of an answer: `x = 18`, `\textbf{(C) } 18`, `18 eggs`.

    A unit in letters alone (`18 m`) is one only where `is_bare_unit`: it may be a variable. What
    multiplies (`18 million`, `2\text{ dozen}`) does so.
    """
    if len(text) > _LONGEST:
        return None
    dressed = text
    text = _unwrapped(_right_side(_CHOICE.sub("", _unwrapped(text), count=1)))
    value, factor = parse_number(text), 1
    while value is None:
        bare = without_unit(text, is_bare_unit=is_bare_unit)
        if bare == text:
            return _read_value(dressed)
        factor *= _multiplier(text[len(bare) :])
        text, value = bare, parse_number(bare)
    return value * factor


def _multiplier(unit: str) -> int:
    word = _LETTERS.search(unit.replace("\\text", "").replace("\\mathrm", ""))
    return MULTIPLIERS.get(word[0].lower().removesuffix("s"), 1) if word else 1


def _read_value(text: str) -> Fraction | None:
    r"""The value of an answer in other notation: `1 1/4`, `2\frac12`, `0.\overline{3}`, `½`."""
    try:
        node = read(plain(text))
    except UnreadableError:
        return None
    if isinstance(node, Relation):
        is_named = set(node.signs) == {"="} and all(
            isinstance(side, Symbol) for side in node.sides[:-1]
        )
        node = node.sides[-1] if is_named else node
    if isinstance(node, Quantity):
        node = node.value
    return real(node)


def _right_side(text: str) -> str:
    r"""What stands right of the last sign of equality, unless the text is of another relation.

    A denial (`x \not= 33`) is one, and so is a bound before the sign (`x < y = 33`).
    """
    left, _, right = text.replace("\\approx", "=").replace("≈", "=").rpartition("=")
    return text if _RELATION.search(left) else right


def _unwrapped(text: str) -> str:
    text = text.strip().strip("$").strip()
    inner = _WRAP.fullmatch(text)
    return (inner[1] or inner[2] or "") if inner else text


def parse_number(text: str) -> Fraction | None:
    """The exact value of a text that is a number, else None."""
    if len(text) > _LONGEST:
        return None
    text = join_thousands(text)
    if _APART.search(text):  # `3 4` is not 34
        return None
    text = _DROP.sub("", text).rstrip(".")
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        value = _ratio(fraction[2], fraction[3])
        return -value if value is not None and fraction[1] == "-" else value
    top, slash, bottom = text.partition("/")
    return _ratio(top, bottom) if slash else _scientific(text)


def without_unit(text: str, *, is_bare_unit: bool = True) -> str:
    r"""A text without what stands behind its number: `18 dollars`, `5\%`, `3\mathrm{~cm}`."""
    if len(text) > _LONGEST:
        return text
    text = text.strip().rstrip("~").rstrip()
    bare = _UNIT.sub("", text).strip()
    return _PLAIN_UNIT.sub("", bare).strip() if is_bare_unit and bare == text else bare


def _ratio(top: str, bottom: str) -> Fraction | None:
    numerator, denominator = _scientific(top), _scientific(bottom)
    if numerator is None or not denominator:
        return None
    return numerator / denominator


def _scientific(text: str) -> Fraction | None:
    power = _POWER.fullmatch(text)
    if power:
        value = _scaled("1", power[2])
        return -value if value is not None and power[1] == "-" else value
    match = _SCIENTIFIC.fullmatch(text)
    return _scaled(match[1], match[2] or match[3] or "0") if match else None


def _scaled(mantissa: str, exponent: str) -> Fraction | None:
    power = int(exponent) if len(exponent) < 6 else _MAX_EXPONENT + 1
    if abs(power) > _MAX_EXPONENT:
        return None
    return Fraction(mantissa.rstrip(".") or "0") * Fraction(10) ** power


def close(left: Fraction, right: Fraction, *, relative: float = 0.0, absolute: float = 0.0) -> bool:
    """Whether two numbers differ by at most a share of the second, or an amount."""
    allowed = max(abs(right) * Fraction(relative), Fraction(absolute))
    return abs(left - right) <= allowed
