"""Inequalities of one letter as intervals: `x < 2` is everything below 2."""

from srl_reward.expression.digits import negative
from srl_reward.expression.equal import symbols
from srl_reward.expression.relations import is_name, turned
from srl_reward.expression.tree import Bracketed, Constant, Listing, Node, Relation, Symbol, Union

_INFINITY = Constant("infinity")


def as_sets(node: Node) -> tuple[Node, ...] | None:
    """The intervals that an answer is a union of, None where it is none."""
    if isinstance(node, Bracketed) and len(node.members) == 2 and node.brackets != "{}":
        return (node,)
    if isinstance(node, Union):
        return node.members
    if node == Symbol("\\mathbb{R}"):
        return (Bracketed("()", (negative(_INFINITY), _INFINITY)),)
    if isinstance(node, Relation):
        return _of_relation(node)
    if isinstance(node, Listing):
        found = [
            _of_relation(each) if isinstance(each, Relation) else None for each in node.members
        ]
        if len({_letter(each) for each in node.members}) > 1:
            return None
        return None if None in found else tuple(each for group in found for each in group or ())
    return None


def _letter(node: Node) -> str:
    if not isinstance(node, Relation):
        return ""
    return next((side.name for side in node.sides if isinstance(side, Symbol)), "")


def _of_relation(relation: Relation) -> tuple[Node, ...] | None:
    if len(relation.sides) == 2:
        return _half_line(relation)
    if len(relation.sides) != 3 or not is_name(relation.sides[1]):
        return None
    if relation.signs[0][0] == ">":
        relation = turned(relation)
    if any(sign[0] != "<" for sign in relation.signs) or any(
        symbols(relation.sides[place]) for place in (0, 2)
    ):
        return None
    low, _, high = relation.sides
    opening = "[" if relation.signs[0] == "<=" else "("
    closing = "]" if relation.signs[1] == "<=" else ")"
    return (Bracketed(opening + closing, (low, high)),)


def _half_line(relation: Relation) -> tuple[Node, ...] | None:
    if not isinstance(relation.sides[0], Symbol):
        relation = turned(relation)
    letter, bound = relation.sides
    if not isinstance(letter, Symbol) or symbols(bound):
        return None
    low, high = (negative(_INFINITY), bound), (bound, _INFINITY)
    return {
        "<": (Bracketed("()", low),),
        "<=": (Bracketed("(]", low),),
        ">": (Bracketed("()", high),),
        ">=": (Bracketed("[)", high),),
        "!=": (Bracketed("()", low), Bracketed("()", high)),
    }.get(relation.signs[0])
