r"""An answer in plain notation, read: lists, relations, sets, quantities, words.

`read` gives the tree, or raises UnreadableError with what it stopped at.
"""

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise

from srl_reward.expression.digits import negative
from srl_reward.expression.exact import real
from srl_reward.expression.formula import Formula
from srl_reward.expression.tokens import Token, tokens
from srl_reward.expression.tree import (
    Bracketed,
    Constant,
    Listing,
    Node,
    Number,
    Operation,
    Quantity,
    Relation,
    Symbol,
    Union,
    UnreadableError,
    Words,
)
from srl_reward.notation.units import MULTIPLIERS, UNITS, plain_unit
from srl_reward.notation.words import CHOICE, plain_words

_RELATIONS = {
    "=": "=",
    "<": "<",
    ">": ">",
    "\\le": "<=",
    "\\ge": ">=",
    "\\ne": "!=",
    "\\approx": "~",
}
_MEMBER = "\\in"
_CURRENCY = {"\\$": "usd^1", "\\pounds": "gbp^1", "\\euro": "eur^1", "\\yen": "yen^1"}
_OPEN, _CLOSE = frozenset(("(", "[", "\\{", "{")), frozenset((")", "]", "\\}", "}"))
_OUTWARD = re.compile(r"([\]\[])([^\[\]()]*,[^\[\]()]*)([\]\[])")
_LABELLED = re.compile(r"\\text\s*\{\s*\(([A-Z])\)[.:]?\s*\}\s*(?=\S)")
_CONDITION = re.compile(
    r"\\\{\s*[a-zA-Z]\s*(?:\\in\s*\\mathbb\s*\{?R\}?\s*)?(?:\||\\mid|:)([^|{}]*)\\\}"
)
"""`\\{x | x > 2\\}`, which says what `x > 2` does."""
_TRAILING = frozenset(("/", "^", "(", ")", "{", "}", "-", "*", "\\cdot", "\\circ", "."))


def read(text: str) -> Node:
    """The tree of an answer in plain notation; UnreadableError where it is none."""
    choice = CHOICE.fullmatch(text)
    if choice:
        return Symbol(choice[1])
    text = _CONDITION.sub(r"\1", text)
    text = _LABELLED.sub("", text, count=1)
    try:
        return _listing(tokens(_OUTWARD.sub(_turned, text)), text)
    except RecursionError as error:
        raise UnreadableError("it is nested too deeply") from error


def _turned(match: re.Match[str]) -> str:
    """`]a,b[` as `(a,b)`, as French schools write it."""
    left, right = match[1], match[3]
    if left == "[" and right == "]":
        return match[0]
    return f"{'(' if left == ']' else '['}{match[2]}{')' if right == '[' else ']'}"


def _listing(found: Sequence[Token], text: str) -> Node:
    found = _without_braces(found)
    parts = _split(found, (",", ";"), ("or", "and"))
    if len(parts) == 1:
        return _item(found, text)
    if not all(parts):
        parts = [part for part in parts if part]
    try:
        members = tuple(_item(part, "") for part in parts)
    except UnreadableError:
        if any(token.kind == "word" for token in found):
            return Words(plain_words(text))
        raise
    if all(isinstance(member, Words) for member in members) and not _has_comma(found):
        return Words(plain_words(text))
    return Listing(members)


def _has_comma(found: Sequence[Token]) -> bool:
    return any(token.text == "," for token in found)


def _without_braces(found: Sequence[Token]) -> Sequence[Token]:
    """Tokens without a pair of braces around all of them."""
    while len(found) > 1 and found[0].text == "{" and found[-1].text == "}":
        depth = 0
        for place, token in enumerate(found):
            depth += (token.text == "{") - (token.text == "}")
            if not depth and place < len(found) - 1:
                return found
        found = found[1:-1]
    return found


def _split(
    found: Sequence[Token], marks: Sequence[str], words: Sequence[str] = ()
) -> list[Sequence[Token]]:
    """Parts between marks that stand outside all brackets."""
    parts: list[list[Token]] = [[]]
    depth = 0
    for token in found:
        text = str(token)
        depth += (text in _OPEN) - (text in _CLOSE)
        is_word = token.kind == "word" and token.text.lower().strip(" ,") in words
        if not depth and (text in marks or is_word):
            parts.append([])
        else:
            parts[-1].append(token)
    return list(parts)


def _item(found: Sequence[Token], text: str) -> Node:
    """One answer: a relation, a union, or a value."""
    found = _without_braces(found)
    if not found:
        raise UnreadableError("it is empty")
    signs = [_RELATIONS[str(token)] for token in _outside(found) if str(token) in _RELATIONS]
    if signs:
        sides = _split(found, tuple(_RELATIONS))
        if len(signs) == 1 and not sides[0] and signs[0] in ("=", "~"):
            return _union(sides[1])
        if all(sides):
            return Relation(
                tuple(signs),
                tuple(
                    _name(side) if place < len(sides) - 1 else _union(side)
                    for place, side in enumerate(sides)
                ),
            )
    members = _split(found, (_MEMBER,))
    if len(members) == 2 and all(members):
        return _union(members[1])
    return _union(found, text)


def _outside(found: Sequence[Token]) -> list[Token]:
    depth, outside = 0, []
    for token in found:
        text = str(token)
        depth += (text in _OPEN) - (text in _CLOSE)
        if not depth:
            outside.append(token)
    return outside


def _name(found: Sequence[Token]) -> Node:
    r"""A side that need not be a value: `\text{Area} = 5`."""
    if all(token.kind == "word" for token in found):
        return Symbol(plain_words(" ".join(token.text for token in found)))
    return _value(found, "")


def _union(found: Sequence[Token], text: str = "") -> Node:
    if (without := _split(found, ("\\setminus",)))[1:]:
        return _real_without(without)
    parts = _split(found, ("\\cup",))
    if len(parts) == 1:
        return _value(found, text)
    return Union(tuple(_value(part, "") for part in parts))


def _real_without(parts: Sequence[Sequence[Token]]) -> Node:
    r"""`\mathbb{R} \setminus \{1, 2\}`, as the intervals between the numbers left out."""
    whole, out = (_value(part, "") for part in parts[:2])
    points = out.members if isinstance(out, Bracketed) and out.brackets == "{}" else ()
    values = [value for point in points if (value := real(point)) is not None]
    if len(parts) > 2 or whole != Symbol("\\mathbb{R}") or not points or len(values) < len(points):
        raise UnreadableError("a difference of sets that is not read")
    infinity = Constant("infinity")
    ends = [negative(infinity), *(Number(value) for value in sorted(set(values))), infinity]
    return Union(tuple(Bracketed("()", pair) for pair in pairwise(ends)))


def _value(found: Sequence[Token], text: str) -> Node:
    """A formula with its currency and unit, or words."""
    found = _without_braces(found)
    if not found:
        raise UnreadableError("it is empty")
    if len(found) == 1 and str(found[0]) == "\\emptyset":
        return Words("no solution")
    currency, found = _currency(found)
    if found and found[0].kind == "time":
        return Words(_time(found))
    value, behind = _apart(found)
    has_words = any(token.kind == "word" for token in _outside(value))
    try:
        if not has_words:
            return _measured(Formula(value).whole(), behind, currency, found)
    except UnreadableError:
        if all(token.kind != "word" for token in found):
            raise
    return Words(plain_words(text or " ".join(str(token) for token in found)))


def _currency(found: Sequence[Token]) -> tuple[str, Sequence[Token]]:
    """The currency before a number (or its sign), and the rest."""
    for place in (0, 1):
        if len(found) > place + 1 and str(found[place]) in _CURRENCY:
            if place and found[0].text != "-":
                break
            return _CURRENCY[str(found[place])], [*found[:place], *found[place + 1 :]]
    return "", found


def _time(found: Sequence[Token]) -> str:
    text = " ".join(token.text for token in found).lower().replace(".", "").replace(" ", "")
    return text.removeprefix("0")


def _apart(found: Sequence[Token]) -> tuple[Sequence[Token], Sequence[Token]]:
    """The formula of a quantity, and the unit behind it."""
    depth = 0
    for place, token in enumerate(found):
        text = str(token)
        depth += (text in _OPEN) - (text in _CLOSE)
        is_apart = not depth or (depth == 1 and _opens_unit(found[:place]))
        if place and is_apart and _starts_unit(token, found[:place], found[place:]):
            return _without_opening(found[:place], found[place:])
    return found, ()


def _opens_unit(before: Sequence[Token]) -> bool:
    r"""Whether a brace just opened that is no index and no argument: `5{\text{ cm}}`."""
    return (
        len(before) > 1
        and before[-1].text == "{"
        and (before[-2].kind == "number" or before[-2].text in ("}", ")", "/"))
    )


def _without_opening(
    value: Sequence[Token], unit: Sequence[Token]
) -> tuple[Sequence[Token], Sequence[Token]]:
    r"""A brace or a stroke before the unit belongs to it: `{\text{cm}}`, `3 / \text{day}`."""
    while value and str(value[-1]) in ("{", "/", "\\cdot", "\\mu"):
        value, unit = value[:-1], [value[-1], *unit]
    return value, unit


def _starts_unit(token: Token, before: Sequence[Token], rest: Sequence[Token]) -> bool:
    if any(each.kind == "word" for each in before):
        return False
    is_unit = token.kind == "word" or (
        token.kind == "roman"
        and token.text in UNITS.keys() | {"N", "J", "W", "V", "A", "K", "C", "F", "L", "M"}
        and token.text not in "eid"
        and all(each.kind in ("number", "sign", "command") for each in before)
    )
    return is_unit and all(
        each.kind in ("word", "roman", "number") or str(each) in _TRAILING for each in rest
    )


def _measured(node: Node, behind: Sequence[Token], currency: str, found: Sequence[Token]) -> Node:
    text = " ".join(str(token) for token in behind)
    node, text = _multiplied(node, text)
    if text.strip(" {}()."):
        unit = plain_unit(text)
        if unit is None:
            return Words(plain_words(" ".join(str(token) for token in found)))
        return Quantity(node, unit or currency)
    if currency:
        return Quantity(node, currency)
    if isinstance(node, Operation) and node.name == "percent":
        return Quantity(node.arguments[0], "%")
    return node


def _multiplied(node: Node, text: str) -> tuple[Node, str]:
    """A value times `million`, `dozen` and so on, and what of the words is left; `percent` is %."""
    for word, factor in MULTIPLIERS.items():
        match = re.match(rf"[\s{{(]*{word}s?\b[\s}})]*", text, re.IGNORECASE)
        if match:
            node = Operation("multiply", (node, Number(Fraction(factor))))
            return _multiplied(node, text[match.end() :])
    if re.fullmatch(r"[\s{(]*(?:per\s?cent(?:age)?|pct)[\s})]*", text, re.IGNORECASE):
        return Operation("percent", (node,)), ""
    if re.fullmatch(r"[\s{(]*degrees?[\s})]*", text, re.IGNORECASE):
        return Operation("degree", (node,)), ""
    return node, text
