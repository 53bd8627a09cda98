r"""Numbers as people write them: thousands, repeating decimals, mixed numbers, times of day.

`20,000`, `10{,}000`, `10\,000` and `10,\!000` are numbers, `100,200` and `(2,251,252)` are lists;
`0.\overline{3}` and `0.333\ldots` are a third; `2:30` is a time and no quotient.
"""

import re
from fractions import Fraction

_JOINED = re.compile(
    r"(?<![\d.,])([1-9]\d{0,2})((?:\s?(?:,\\!|\\!|\{,\}|\\[,;: ]|~)\s?\d{3})+)(?!\d)", re.ASCII
)
_THOUSANDS = re.compile(r"(?<![\d.,])[1-9]\d{0,2}(?:,\d{3})+(?!\d|,\d)", re.ASCII)
_SPACED = re.compile(r"(?<![\d.,^_])[1-9]\d{0,2}(?: \d{3})* 0\d\d(?: \d{3})*(?![\d.])", re.ASCII)
_ROUND_PAIR = re.compile(r"[1-9]\d0,[1-9]\d0", re.ASCII)
_BARRED = re.compile(
    r"(?<![\d.])(\d*)\.(\d*)\\(?:overline|bar|dot)\s*\{?(\d+)\}?(?:\s*\\ldots|\.\.\.)?", re.ASCII
)
_DOTTED_ENDS = re.compile(r"(?<![\d.])(\d*)\.(\d*)\\dot\s*\{?(\d)\}?(\d*)\\dot\s*\{?(\d)\}?")
_IN_BRACKETS = re.compile(r"(?<![\d.])(\d+)\.(\d*)\((\d+)\)(?![\d(])", re.ASCII)
_GOING_ON = re.compile(r"(?<![\d.])(\d*)\.(\d+)\s*(?:\\ldots|\.\.\.+)(?!\s*\d)", re.ASCII)
_PERIOD = re.compile(r"(\d*?)(?:(\d)\2{2,}|(\d{2,}?)\3+)", re.ASCII)
_PROGRAM = re.compile(r"(?<![\w.\\])(\d+\.?\d*|\.\d+)[eE]([-+]?\d{1,9})(?!\w)", re.ASCII)
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^?\s*\{?\s*(?:\\(?:text|mathrm)\s*\{\s*(?:st|nd|rd|th)\s*\}|(?<=\d)(?:st|nd|rd|th)\b)"
    r"(?:(?<=\})\s*\})?"
)
_NO_DIGIT = re.compile(r"\D+", re.ASCII)
TIME = re.compile(r"(?<![\d:.])([01]?\d|2[0-3]):([0-5]\d)(?![\d:.])", re.ASCII)
_OPEN, _CLOSE = "([", ")]"


def joined(text: str) -> str:
    r"""Thousands without their marks where these are TeX's own: `10{,}000`, `10\,000`."""
    return _JOINED.sub(lambda match: _NO_DIGIT.sub("", match[0]), text)


def thousands(text: str) -> str:
    """Thousands without commas, but for lists: members of brackets, and pairs such as `100,200`."""
    text = _SPACED.sub(lambda match: match[0].replace(" ", ""), text)
    depths = _depths(text)

    def join(match: re.Match[str]) -> str:
        certain = ",0" in match[0]
        if _ROUND_PAIR.fullmatch(match[0]) or (depths[match.start()] and not certain):
            return match[0]
        return match[0].replace(",", "")

    return _THOUSANDS.sub(join, text)


def _depths(text: str) -> list[int]:
    """For each character, in how many round, square or curly brackets (not groups) it stands."""
    depth, depths, before = 0, [], ""
    for character in text:
        opens = character in _OPEN or (before == "\\" and character == "{")
        closes = character in _CLOSE or (before == "\\" and character == "}")
        depth = max(0, depth + opens - closes)
        depths.append(depth)
        before = character
    return depths


def cardinal(text: str) -> str:
    r"""`7th` and `7^{\text{th}}` as 7."""
    return _ORDINAL.sub("", text)


def exact_decimals(text: str) -> str:
    r"""Repeating decimals as fractions, a program's `4.5e33` as a product with a power of ten."""
    text = _DOTTED_ENDS.sub(lambda m: _repeating(m[1], m[2], m[3] + m[4] + m[5]), text)
    for pattern in (_BARRED, _IN_BRACKETS):
        text = pattern.sub(lambda match: _repeating(match[1], match[2], match[3]), text)
    text = _GOING_ON.sub(_going_on, text)
    return _PROGRAM.sub(lambda match: f"{{{match[1]}\\times 10^{{{match[2]}}}}}", text)


def _going_on(match: re.Match[str]) -> str:
    found = _PERIOD.fullmatch(match[2])
    if found is None:
        return match[0]
    return _repeating(match[1], found[1], found[2] or found[3])


def _repeating(whole: str, first: str, period: str) -> str:
    scale = 10 ** len(first)
    value = Fraction(int(whole + first or "0"), scale)
    value += Fraction(int(period), scale * (10 ** len(period) - 1))
    return f"{{\\frac{{{value.numerator}}}{{{value.denominator}}}}}"
