r"""Numbers as people and LaTeX write them, read exactly: `4.5e33`, `4.5\times10^{33}`, `$1,018`.

Only plain numbers and one division of two; everything else is None and left to a grader of
expressions. Bounded length and linear patterns: no text can stall it.
"""

import re
from fractions import Fraction

_LONGEST = 200
_MAX_EXPONENT = 400
_DROP = re.compile(r"\\[,;:! ]|\\left|\\right|\\displaystyle|\\\$|\$|~|\s")
_THOUSANDS = re.compile(r"(?<=\d)(?:,|\{,\})(?=\d{3}(?!\d))")
_SCIENTIFIC = re.compile(
    r"([+-]?(?:\d+\.?\d*|\.\d+))(?:e([+-]?\d+)|(?:\\times|\\cdot|\*)10\^\{?([+-]?\d+)\}?)?",
    re.ASCII | re.IGNORECASE,
)
_POWER = re.compile(r"([+-]?)10\^\{?([+-]?\d+)\}?", re.ASCII)
_FRACTION = re.compile(r"([+-]?)\\[dt]?frac\{([^{}]*)\}\{([^{}]*)\}")
_UNIT = re.compile(
    r"(?:\\(?:text|mathrm|mbox|textbf|operatorname)\s*\{[^{}]*\}(?:\^\{?-?\d+\}?)?"
    r"|\\?%|\^\{?\\circ\}?|[a-zA-Z])+\.?$"
)


def parse_number(text: str) -> Fraction | None:
    """The exact value of a text that is a number, else None."""
    if len(text) > _LONGEST:
        return None
    text = _THOUSANDS.sub("", _DROP.sub("", text)).rstrip(".")
    fraction = _FRACTION.fullmatch(text)
    if fraction:
        value = _ratio(fraction[2], fraction[3])
        return -value if value is not None and fraction[1] == "-" else value
    top, slash, bottom = text.partition("/")
    return _ratio(top, bottom) if slash else _scientific(text)


def without_unit(text: str) -> str:
    r"""A text without what stands behind its number: `18 dollars`, `5\%`, `3\mathrm{~cm}`."""
    return _UNIT.sub("", text.strip()[-_LONGEST:]).strip() if len(text) <= _LONGEST else text


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
