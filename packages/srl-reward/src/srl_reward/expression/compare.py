r"""Whether two answers are the same: lists, points, intervals, relations, quantities, words.

The first is the gold one; it matters only for an equation whose right side is what is asked for.
Values are `equal`'s.
"""

from collections.abc import Sequence
from fractions import Fraction
from itertools import product

from srl_reward.expression.equal import UndecidedError, equal, is_rounding, symbols
from srl_reward.expression.inequalities import as_sets
from srl_reward.expression.relations import is_definition, is_name, is_within, same_relation
from srl_reward.expression.tree import (
    Bracketed,
    Constant,
    Listing,
    Matrix,
    Node,
    Number,
    Operation,
    Quantity,
    Relation,
    Sign,
    Symbol,
    Union,
    Words,
)
from srl_reward.expression.walk import signs, written_out
from srl_reward.notation.words import NUMBER_WORDS

_VALUES = (Number, Symbol, Constant, Operation, Sign)
_MOST_MEMBERS = 64
_MOST_WAYS = 8
_FEWEST_IN_SQUARE = 3
"""Members that square brackets need to be a list; two are an interval."""


def same(gold: Node, answer: Node) -> bool:
    """Whether an answer is the gold one.

    Raises:
        UndecidedError: It cannot be told.
    """
    if signs(gold) or signs(answer):
        return _same_with_signs(gold, answer)
    return _same(gold, answer)


def _same_with_signs(gold: Node, answer: Node) -> bool:
    return any(
        _same_members(left, right)
        for left in _alternatives(gold)
        for right in _alternatives(answer)
    )


def _alternatives(node: Node) -> Sequence[Sequence[Node]]:
    r"""The lists of values that an answer with `\pm` may be."""
    if isinstance(node, Relation) and len(node.sides) == 2 and isinstance(node.sides[0], Symbol):
        return [
            [Relation(node.signs, (node.sides[0], side)) for side in sides]
            for sides in _alternatives(node.sides[1])
        ]
    is_set = isinstance(node, Bracketed) and node.brackets == "{}"
    if not (isinstance(node, Listing) or is_set):
        return written_out(node)
    found: list[list[Node]] = [[]]
    for member in node.members:  # type: ignore[union-attr]  # its kind was checked
        ways = _alternatives(member)
        found = [[*before, *way] for before in found for way in ways][:_MOST_WAYS]
    return found


def _same(gold: Node, answer: Node) -> bool:
    if gold == answer:
        return True
    gold, answer = _counted(gold), _counted(answer)
    if isinstance(gold, Words) or isinstance(answer, Words):
        return gold == answer
    if isinstance(gold, Relation) or isinstance(answer, Relation):
        return _same_relation(gold, answer)
    if isinstance(gold, Listing) or isinstance(answer, Listing):
        return _same_list(gold, answer)
    if isinstance(gold, Quantity) or isinstance(answer, Quantity):
        return _same_quantity(gold, answer)
    if isinstance(gold, Union) or isinstance(answer, Union):
        return _both(gold, answer, Union) and _same_members(gold.members, answer.members)  # type: ignore[union-attr]  # `_both` checked
    if isinstance(gold, Bracketed) and isinstance(answer, Bracketed):
        return _same_bracketed(gold, answer)
    if isinstance(gold, Matrix) and isinstance(answer, Matrix):
        return _same_matrix(gold, answer)
    if isinstance(gold, _VALUES) and isinstance(answer, _VALUES):
        return equal(gold, answer)
    return _is_single(gold, answer) or _is_single(answer, gold) or _is_same_union(gold, answer)


def _both(gold: Node, answer: Node, kind: type) -> bool:
    return isinstance(gold, kind) and isinstance(answer, kind)


def _counted(node: Node) -> Node:
    """`four` as 4."""
    if isinstance(node, Words) and node.text in NUMBER_WORDS:
        return Number(Fraction(NUMBER_WORDS.index(node.text)))
    return node


def _is_single(several: Node, one: Node) -> bool:
    """A set of one member, against that member."""
    return (
        isinstance(several, Bracketed)
        and several.brackets == "{}"
        and len(several.members) == 1
        and _same(several.members[0], one)
    )


def _same_list(gold: Node, answer: Node) -> bool:
    left, right = _members(gold, answer), _members(answer, gold)
    if left is None or right is None:
        return False
    ordered = any(isinstance(node, Bracketed) and node.brackets == "()" for node in (gold, answer))
    # Words may be ranked.
    if ordered or all(isinstance(each, Words) for each in (*left, *right)):
        return _same_sequence(left, right)
    return _same_members(left, right) or _is_same_union(gold, answer)


def _members(node: Node, other: Node) -> Sequence[Node] | None:
    """What stands side by side; brackets that say nothing about order or ends are left out."""
    if isinstance(node, Listing):
        # `x = 1, y = 2` against a point
        if isinstance(other, Bracketed) and other.brackets == "()" and _are_definitions(node):
            return [member.sides[1] for member in node.members]  # type: ignore[union-attr]  # its kind was checked
        return node.members
    if isinstance(node, Bracketed):
        is_list = node.brackets in ("{}", "()") or (
            node.brackets == "[]" and len(node.members) >= _FEWEST_IN_SQUARE
        )
        return node.members if is_list else [node]
    return [node]


def _are_definitions(node: Listing) -> bool:
    """Whether each member gives a value to a letter, the letters in their order."""
    found = [
        member.sides[0].name
        for member in node.members
        if isinstance(member, Relation) and is_definition(member)
        and isinstance(member.sides[0], Symbol)
    ]  # fmt: skip
    return len(found) == len(node.members) and found == sorted(set(found))


def _is_same_union(gold: Node, answer: Node) -> bool:
    """`x < 1 or x > 3` against a union of intervals."""
    left, right = as_sets(gold), as_sets(answer)
    return left is not None and right is not None and _same_members(left, right)


def _same_members(left: Sequence[Node], right: Sequence[Node]) -> bool:
    """The same members in any order, said once or twice."""
    if max(len(left), len(right)) > _MOST_MEMBERS:
        return list(left) == list(right)
    return _each_in(left, right) and _each_in(right, left, swapped=True)


def _each_in(left: Sequence[Node], right: Sequence[Node], *, swapped: bool = False) -> bool:
    return all(
        any(_same(other, each) if swapped else _same(each, other) for other in right)
        for each in left
    )


def _same_sequence(left: Sequence[Node], right: Sequence[Node]) -> bool:
    return len(left) == len(right) and all(map(_same, left, right))


def _same_bracketed(gold: Bracketed, answer: Bracketed) -> bool:
    kinds = {gold.brackets, answer.brackets}
    if kinds == {"{}"}:
        return _same_members(gold.members, answer.members)
    return len(kinds) == 1 and _same_sequence(gold.members, answer.members)


def _same_matrix(gold: Matrix, answer: Matrix) -> bool:
    return len(gold.rows) == len(answer.rows) and all(map(_same_sequence, gold.rows, answer.rows))


def _same_quantity(gold: Node, answer: Node) -> bool:
    """Equal values, and equal units where both are written; `%` is a unit or a hundredth."""
    units = [node.unit if isinstance(node, Quantity) else "" for node in (gold, answer)]
    left, right = (node.value if isinstance(node, Quantity) else node for node in (gold, answer))
    if not (isinstance(left, _VALUES) and isinstance(right, _VALUES)):
        return units[0] == units[1] and _same(left, right)
    if "%" in units and units[0] != units[1]:
        hundredths = [
            _hundredth(value) if unit == "%" else value
            for value, unit in zip((left, right), units, strict=True)
        ]
        is_alone = not all(units)
        return equal(*hundredths) or (is_alone and equal(left, right))
    is_angle = any(isinstance(side, Operation) and side.name == "degree" for side in (left, right))
    if (all(units) and units[0] != units[1]) or (any(units) and is_angle):
        return False
    return equal(left, right)


def _hundredth(value: Node) -> Node:
    return Operation("divide", (value, Number(Fraction(100))))


def _same_relation(gold: Node, answer: Node) -> bool:
    if isinstance(gold, Relation) and isinstance(answer, Relation):
        if same_relation(gold, answer, _same):
            return True
        values = [_given(relation) for relation in (gold, answer)]
        has_value = any(_same(*pair) for pair in product(*values)) and _names_agree(gold, answer)
        return has_value or _is_same_union(gold, answer)
    if isinstance(gold, Relation):
        return any(_same(value, answer) for value in _given(gold)) or _is_same_union(gold, answer)
    assert isinstance(answer, Relation)
    values = [_given(answer) or _summed(answer)]
    return any(_same(gold, value) for value in values[0]) or _is_same_union(gold, answer)


def _names_agree(gold: Relation, answer: Relation) -> bool:
    """Whether one side names nothing, or both the same."""
    left, right = (relation.sides[0] for relation in (gold, answer))
    return left == right or not (is_name(left) and is_name(right))


def _given(relation: Relation) -> list[Node]:
    r"""The value that an equation gives to its left side; two for `1/3 \approx 0.333`."""
    if set(relation.signs) - {"=", "~"}:
        return []
    last = relation.sides[-1]
    if relation.signs[-1] == "~" and not is_name(relation.sides[-2]):
        exact = relation.sides[-2]
        if not is_rounding(exact, last):
            return []
        before = Relation(relation.signs[:-1], relation.sides[:-1])
        values = _given(before) if len(before.sides) > 1 else [exact]
        return [*values, last] if values else []
    if is_definition(relation):
        return [last]
    is_true = all(is_name(side) or _is_true(side, last) for side in relation.sides[:-1])
    return [last] if is_true and not is_within(relation) else []


def _is_true(left: Node, right: Node) -> bool:
    if not (isinstance(left, _VALUES) and isinstance(right, _VALUES)):
        return False
    try:
        return equal(left, right)
    except UndecidedError:
        return False


def _summed(answer: Relation) -> list[Node]:
    """33 of `m + n = 33`: the value of several letters together, as an answer."""
    if answer.signs != ("=",) or not isinstance(answer.sides[0], Operation):
        return []
    left, right = answer.sides
    is_asked = len(symbols(left)) > 1 and isinstance(right, _VALUES) and not symbols(right)
    return [right] if is_asked and _is_total(left) and right != Number(Fraction(0)) else []


def _is_total(node: Node) -> bool:
    """Whether a side is letters put together, such as `m + n`, and no equation's left side."""
    if isinstance(node, Operation) and node.name in ("add", "negative", "multiply", "divide"):
        return all(map(_is_total, node.arguments))
    return isinstance(node, Symbol)
