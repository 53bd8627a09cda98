"""Steps in spellings that are not read as headings, so that a refusal can name what was found.

Lines numbered 1 and 2 in one spelling are steps that a person meant; a single one may be a word of
the text. Left out: making steps of them.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

_MARKUP = r"[\s>*_~`#=$|\-–—•·+]*(?:\\[a-z]+\*?\s*\{\s*)?[*_]*"
"""What may stand before a heading on its line: indents, quotes, bullets, bold, LaTeX."""

_WORD = (
    "step|stage|part|phase|case|schritt|[eé]tape|paso|passo|passaggio|stap|krok|шаг|bước|langkah|"
    "adım|خطوة|चरण|कदम|ขั้นตอนที่|ステップ|手順|步骤|步驟|단계"
)
_DIGITS = r"\d{1,3}"  # of any script
_CHINESE = "一二三四五六七八九十"
_CIRCLED = "①②③④⑤⑥⑦⑧⑨⑩"
_LETTERS = "abcdefgh"
_ROMAN = ("i", "ii", "iii", "iv", "v", "vi", "vii", "viii", "ix", "x")
_CARDINALS = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
_ORDINALS = ("first", "second", "third", "fourth", "fifth")
_ADVERBS = ("firstly", "secondly", "thirdly", "fourthly", "fifthly")
_SEQUENCES: tuple[Sequence[str], ...] = (
    *(_CHINESE, _CIRCLED, _ROMAN, _CARDINALS, _ORDINALS, _ADVERBS, _LETTERS),
)
_END = r"[.):,、。।\uff0e\uff09\uff1a\uff0c\uff61]"  # the last ones are full-width


def _one_of(names: Sequence[str]) -> str:
    """A pattern for the names, the longest first."""
    return f"(?:{'|'.join(sorted(names, key=len, reverse=True))})"


_ANY = rf"{_DIGITS}|{_one_of(_CHINESE)}|(?:{_one_of(_CARDINALS)}|{_one_of(_ROMAN)})\b"

NUMBERED = tuple(
    re.compile(rf"({_MARKUP})(?:{spelling})", re.IGNORECASE)
    for spelling in (
        rf"(?:{_WORD})\s*[#№(\[:\uff08]*\s*(?P<n>{_ANY})",
        rf"第\s*(?P<n>{_DIGITS}|{_one_of(_CHINESE)})\s*(?:步|阶段|階段|部分)",
        rf"(?P<n>{_DIGITS})\s*(?:단계|步)",
        rf"[(\[\uff08\uff3b【〔]\s*(?P<n>{_ANY}|[a-h])\s*[)\]\uff09\uff3d】〕]",
        rf"(?P<n>[{_CIRCLED}])",
        rf"<\s*step\D{{0,12}}(?P<n>{_DIGITS})[^>]{{0,4}}>",
        rf"#\s*(?P<n>{_DIGITS})\b",
        r"\d{1,2}\.(?P<n>\d{1,2})\b",
        rf"(?P<n>{_DIGITS})\s*(?:{_END}|[-–—]\s|\*\*)",
        rf"(?P<n>{_one_of(_ROMAN)})\s*{_END}",
        rf"(?P<n>{_one_of(_CHINESE)})\s*{_END}",
        rf"(?P<n>[{_LETTERS}])\s*{_END}",
        rf"(?P<n>{_one_of(_ADVERBS)})\b",
        rf"(?:the\s+)?(?P<n>{_one_of(_ORDINALS)})\b",
    )
)
"""Spellings of numbered steps; group 1 is what stands before, `n` the number."""

UNNUMBERED = tuple(
    re.compile(spelling, re.IGNORECASE)
    for spelling in (r"\s*<step>", r"\s*\\item\b", r"#{1,6}(?=\s)", r"[-*•+](?=\s)")
)
"""Lists without numbers."""

INLINE = (
    re.compile(rf"\b(?:{_WORD})\s*(?P<n>\d{{1,3}})\b", re.IGNORECASE),
    re.compile(r"(?:^|(?<=\s))(?P<n>\d{1,3})[.)](?=\s)"),
)
"""Headings that stand in one line."""


@dataclass(frozen=True)
class _Found:
    number: int
    markup: str
    text: str


def other_heading(text: str) -> str | None:
    """How a text without headings spells its steps, as it stands there; None for plain prose."""
    lines = text.splitlines()
    for spelling in NUMBERED:
        found = list(_found(spelling.match, lines))
        first = next((item for item in found if item.number == 1), None)
        if first and any(item.number == 2 for item in found):
            return first.text
    for spelling in UNNUMBERED:
        marks = [match.group().strip() for line in lines if (match := spelling.match(line))]
        if len(marks) > 1:
            return marks[0]
    return None


def second_heading(text: str) -> str | None:
    """The second step of a text with one heading, where it stands as no heading can; None if none.

    That is indented like the first, or in the first one's line; a list within the step is not.
    """
    lines = text.splitlines()
    for spelling in NUMBERED:
        found = list(_found(spelling.match, lines))
        first = next((item for item in found if item.number == 1), None)
        for item in found:
            if first and item.number == 2 and item.markup == first.markup:
                return item.text
    for spelling in INLINE:
        for line in lines:
            numbers = {int(match["n"]): match.group() for match in spelling.finditer(line)}
            if 1 in numbers and 2 in numbers:
                return numbers[2]
    return None


def _found(match: Callable[[str], re.Match[str] | None], lines: Sequence[str]) -> Iterator[_Found]:
    for line in lines:
        found = match(line)
        if found is not None:
            yield _Found(_value(found["n"]), found[1], found.group().rstrip())


def _value(number: str) -> int:
    """The value of a number in digits of any script, or its 1-based place in a sequence; else 0."""
    if number.isdecimal():
        return int(number)
    for names in _SEQUENCES:
        if number.lower() in names:
            return [*names].index(number.lower()) + 1
    return 0
