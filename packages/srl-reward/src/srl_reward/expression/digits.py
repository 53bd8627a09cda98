"""Numbers in digits: `4.50`, and the fractions that stand in a mixed number."""

from collections.abc import Sequence
from fractions import Fraction

from srl_reward.expression.tokens import Token
from srl_reward.expression.tree import Node, Number, Operation


def number(text: str) -> Number:
    """Digits as a number."""
    whole, _, decimals = text.partition(".")
    value = Fraction(text.rstrip(".")) if text != "." else Fraction(0)
    if not decimals:
        return Number(value)
    return Number(value, len((whole + decimals).lstrip("0")), len(decimals))


def negative(node: Node) -> Node:
    """Minus a value."""
    if isinstance(node, Number):
        return Number(-node.value, node.digits, node.places)
    return Operation("negative", (node,))


def mixed(ahead: Sequence[Token]) -> tuple[Number, int] | None:
    r"""The mixed number that begins here (`1\frac{1}{4}`, `1 1/4`), and its number of tokens."""
    texts = [str(token) for token in ahead]
    if not ahead or ahead[0].kind != "number" or not texts[0].isdigit():
        return None
    if texts[1:2] == ["\\frac"]:
        found = _fraction(ahead[2:])
        parts, size = (found[:2], 2 + found[2]) if found else (("0", "0"), 0)
    elif len(ahead) > 3 and ahead[1].kind == "number" == ahead[3].kind and ahead[1].blank:
        is_ratio = texts[2] == "/" and (texts[1] + texts[3]).isdigit()
        parts, size = ((texts[1], texts[3]) if is_ratio else ("0", "0")), 4
    else:
        return None
    top, bottom = map(int, parts)
    return (Number(int(texts[0]) + Fraction(top, bottom)), size) if 0 < top < bottom else None


def _fraction(ahead: Sequence[Token]) -> tuple[str, str, int] | None:
    r"""Top, bottom and number of tokens of a fraction of digits: `{1}{4}`, `14`, `1{4}`."""
    texts = [token.text for token in ahead]
    if ahead and ahead[0].kind == "number" and len(texts[0]) == 2 and texts[0].isdigit():
        return texts[0][0], texts[0][1], 1
    parts, place = [], 0
    for _ in range(2):
        if texts[place : place + 1] == ["{"] and texts[place + 2 : place + 3] == ["}"]:
            parts.append(texts[place + 1])
            place += 3
        elif place < len(texts) and len(texts[place]) == 1:
            parts.append(texts[place])
            place += 1
        else:
            return None
    return (parts[0], parts[1], place) if "".join(parts).isdecimal() else None
