r"""The text form of an answer by Dr. GRPO's rules: Hendrycks's normal form for MATH, with units.

Two answers are equal where their forms are the same text. Source of the rules: `is_equiv` of
hendrycks/math, and the words of units of MathQA.
"""

import re
from collections.abc import Iterator

_WORDS = """\
east|degree|mph|kmph|ft|m sqaure| m east|sq m|deg|mile|q .|monkey|prime|ratio|profit of rs|rd|o|gm|\
p . m|lb|tile|per|dm|lt|gain|ab|way|west|a .|b .|c .|d .|e .|f .|g .|h .|t|a|h|no change|men|\
soldier|pie|bc|excess|st|inches|noon|percent|by|gal|kmh|c|acre|rise|a . m|th|π r 2|sq|mark|l|toy|\
coin|sq . m|gallon|° f|profit|minw|yr|women|feet|am|pm|hr|cu cm|square|v â € ™|are|rupee|rounds|\
cubic|cc|mtr|s|ohm|number|kmph|day|hour|minute|min|second|man|woman|sec|cube|mt|sq inch|mp|∏ cm ³|\
hectare|more|sec|unit|cu . m|cm 2|rs .|rs|kg|g|month|km|m|cm|mm|apple|liter|loss|yard|pure|year|\
increase|decrease|d|less|Surface|litre|pi sq m|s .|metre|meter|inch"""
UNITS = tuple(_WORDS.split("|"))
"""Words that are dropped where they stand alone, in the order in which they are tried. They are
patterns: the point of `q .` is any character."""

_UNIT = [re.compile(rf"(^|\W){word}{plural}($|\W)") for plural in ("", "s") for word in UNITS]
_WRITTEN_OTHERWISE = (
    ("\n", ""),
    ("\\!", ""),
    ("\\\\", "\\"),
    (re.compile(r"\\begin\{array\}\{.*?\}"), r"\\begin{pmatrix}"),
    (re.compile(r"\\end\{array\}"), r"\\end{pmatrix}"),
    ("bmatrix", "pmatrix"),
    ("tfrac", "frac"),
    ("dfrac", "frac"),
    ("\\neq", "\\ne"),
    ("\\leq", "\\le"),
    ("\\geq", "\\ge"),
    ("\\left", ""),
    ("\\right", ""),
)
_MARKS = ("^{\\circ}", "^\\circ", "\\$")


class UnreadableError(ValueError):
    """The rules give up on a text, which is then compared as it stands."""


def text_form(answer: str) -> str:
    """The normal form of an answer."""
    bare = answer.strip()
    found = re.search(r"^\\text\{(?P<text>.+?)\}$", bare)
    bare = found["text"].strip() if found else bare
    try:
        return _normal(bare)
    except UnreadableError:
        return bare


def _normal(text: str) -> str:
    for before, after in _WRITTEN_OTHERWISE:
        text = text.replace(before, after) if isinstance(before, str) else before.sub(after, text)
    text = _without_units(text)
    for mark in _MARKS:
        text = text.replace(mark, "")
    text = _without_spaced_text(text).replace("\\%", "")
    text = text.replace(" .", " 0.").replace("{.", "{0.")
    if not text:
        return text
    text = f"0{text}" if text.startswith(".") else text
    text = _braced_roots(_right_side(text)).replace(" ", "")
    text = _braced_fractions(text)
    return _slash_as_fraction("\\frac{1}{2}" if text == "0.5" else text)


def _without_units(text: str) -> str:
    r"""Without a `\text{…}` at the end and without units; neither if nothing else would be left."""
    text = re.sub(r"\\text{.*?}$", "", text).strip() or text
    for _ in range(2):
        for unit in _UNIT:
            text = unit.sub(r"\1\2", text) or text
    return text


def _without_spaced_text(text: str) -> str:
    r"""What stands before `\text{ `, with the space; UnreadableError where there are several."""
    before, *rest = text.split("\\text{ ")
    if len(rest) > 1:
        raise UnreadableError
    return before


def _right_side(text: str) -> str:
    """The right side of an equation with at most two characters on its left."""
    sides = text.split("=")
    return sides[1] if len(sides) == 2 and len(sides[0]) <= 2 else text


def _braced_roots(text: str) -> str:
    r"""`\sqrt3` as `\sqrt{3}`; UnreadableError for a root of nothing."""
    before, *rest = text.split("\\sqrt")
    return before + "".join(f"\\sqrt{_braced(part)}" for part in rest)


def _braced(part: str) -> str:
    if not part:
        raise UnreadableError
    return part if part[0] == "{" else f"{{{part[0]}}}{part[1:]}"


def _braced_fractions(text: str) -> str:
    r"""`\frac12` as `\frac{1}{2}`; as it stands where a fraction has one character alone."""
    before, *rest = text.split("\\frac")
    written = list(_fraction_parts(rest))
    return text if None in written else before + "".join(f"\\frac{part}" for part in written)


def _fraction_parts(parts: list[str]) -> Iterator[str | None]:
    r"""What follows each `\frac` in braces; None, and no more, where it is too short."""
    for part in parts:
        if not part:
            raise UnreadableError
        if part[0] == "{":
            yield part
        elif len(part) < 2:
            yield None
            return
        else:
            second = part[1:] if part[1] == "{" else _braced(part[1:])
            yield f"{{{part[0]}}}{second}"


def _slash_as_fraction(text: str) -> str:
    r"""`3/4` as `\frac{3}{4}`, where both are plain integers."""
    sides = text.split("/")
    if len(sides) != 2:
        return text
    try:
        above, below = map(int, sides)
    except ValueError:
        return text
    return f"\\frac{{{above}}}{{{below}}}" if text == f"{above}/{below}" else text
