r"""Plain notation cut into tokens: numbers, letters, commands, words, signs.

A run of letters is a product (`ab`), a function's name (`sin`) or a word (`eggs`); this is where
that is decided.
"""

import re
from dataclasses import dataclass

from srl_reward.expression.names import FUNCTIONS
from srl_reward.expression.tree import UnreadableError
from srl_reward.notation.numerals import TIME
from srl_reward.notation.units import MULTIPLIERS, OTHER_MEANING, is_noun, known

_OTHER_NAMES = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "sqrt": "sqrt", "pi": "pi",
    "cosec": "csc", "infinity": "infty", "inf": "infty", "oo": "infty", "infty": "infty",
    "abs": "abs",
}  # fmt: skip
_TOKEN = re.compile(
    r"(?P<time>" + TIME.pattern + r"(?:\s*(?:[ap]\.?\s?m\b\.?))?)"
    r"|(?P<number>\d+(?:\.\d*)?|\.\d+)"
    r"|(?P<half>[ap]\.\s?m\b\.?)"
    r"|\\(?P<text>text|mathrm|operatorname\*?)\s*\{(?P<words>[^{}]*)\}"
    r"|\\(?P<command>[a-zA-Z]+)"
    r"|(?P<run>[A-Za-z]+(?:['-][A-Za-z]{2,})*)"
    r"|(?P<sign>\\[{}%$|\\]|\*\*|[-+*/^_(){}\[\]|=<>,;:!%&'.])",
    re.ASCII | re.IGNORECASE,
)


_LETTER_IN_BRACKETS = re.compile(r"\([A-Z]\)")
_SEVERAL = re.compile(r"\d|,|\b(?:and|or)\b")


@dataclass(frozen=True, slots=True)
class Token:
    """A piece of an answer: its kind, its text, and whether a blank stands before it."""

    kind: str
    text: str
    blank: bool = False

    def __str__(self) -> str:
        return f"\\{self.text}" if self.kind == "command" else self.text


def tokens(text: str) -> list[Token]:
    """All tokens; UnreadableError at a character that is none."""
    found: list[Token] = []
    place = 0
    while place < len(text):
        start = place
        while place < len(text) and text[place] == " ":
            place += 1
        if place == len(text):
            break
        match = _TOKEN.match(text, place)
        if match is None:
            raise UnreadableError(f"{text[place : place + 20]!r} is no mathematics")
        found += _pieces(match, found, text, blank=place > start)
        place = match.end()
    return found


def _pieces(match: re.Match[str], before: list[Token], text: str, *, blank: bool) -> list[Token]:
    if match["text"]:
        return _written(match["text"], match["words"], before, blank=blank)
    if match["half"]:
        return [Token("word", match["half"][0].lower() + "m", blank)]
    if match["run"]:
        return _run(match["run"], before, text, match.end(), blank=blank)
    kind = next(kind for kind in ("time", "number", "command", "sign") if match[kind])
    return [Token(kind, "^" if match[kind] == "**" else match[kind], blank)]


def _written(command: str, words: str, before: list[Token], *, blank: bool) -> list[Token]:
    r"""`\text{...}`: words; `\mathrm{e}` and `\mathrm{x}`: letters; `\operatorname{sin}`."""
    bare = words.strip()
    if command != "text" and bare in FUNCTIONS:
        return [Token("command", bare, blank)]
    if len(bare) == 1 and bare.isalpha() and (command == "mathrm" or not before):
        return [Token("roman", bare, blank)]
    if not bare:
        return []
    if command == "text" and re.fullmatch(r"[=+<>*/()-]", bare):
        return [Token("sign", bare, blank)]
    if command == "text" and _LETTER_IN_BRACKETS.fullmatch(bare):
        return [Token("letter", bare[1], blank)]
    if command == "text" and _SEVERAL.search(bare):
        return tokens(bare)
    return [Token("word", bare, True if words[:1] == " " else blank)]


def _run(run: str, before: list[Token], text: str, end: int, *, blank: bool) -> list[Token]:
    """Letters that stand together."""
    lower = run.lower()
    name = _OTHER_NAMES.get(run) or (run if run in FUNCTIONS else None)
    if name is not None and (run != "min" or not _after_number(before, blank=blank)):
        return [Token("command", name, blank)]
    if len(run) == 1:
        return [Token("letter", run, blank)]
    if run in ("or", "and"):
        return [Token("word", run, blank)]
    if _is_word(run, lower, before, text, end, blank=blank):
        return [Token("word", run, blank)]
    return _product(run, blank=blank)


def _product(run: str, *, blank: bool) -> list[Token]:
    """Single letters, with a function's name at the front (`sinx`) or at the end (`xsin`)."""
    if not run:
        return []
    for name in sorted((*FUNCTIONS, "sqrt", "pi"), key=len, reverse=True):
        if run.startswith(name):
            rest = run[len(name) :]
            return [Token("command", name, blank), *_product(rest, blank=False)]
        if run.endswith(name):
            return [*_product(run[: -len(name)], blank=blank), Token("command", name)]
    if not run.isalpha():
        return [Token("word", run, blank)]
    return [Token("letter", letter, blank and place == 0) for place, letter in enumerate(run)]


def _after_number(before: list[Token], *, blank: bool) -> bool:
    return blank and bool(before) and before[-1].kind == "number"


def _is_word(
    run: str, lower: str, before: list[Token], text: str, end: int, *, blank: bool
) -> bool:
    is_apart = (blank or not before or str(before[-1]) in ",;(/") and text[end : end + 1] in (
        "", " ", ",", ";", ")", "/", ".", "^", ":", "!",
    )  # fmt: skip
    if not is_apart:
        return False
    if known(run) or lower in MULTIPLIERS:
        return bool(before) and (blank or str(before[-1]) == "/")
    if lower in OTHER_MEANING or lower in ("per", "pct", "percentage") or is_noun(run):
        return True
    alone = not before or before[-1].text in (",", ";", "or", "and", "(")
    return alone and len(run) > 2 and bool(set(lower) & set("aeiou")) and run.isalpha()
