"""Whether two equations or inequalities say the same."""

from collections.abc import Callable
from fractions import Fraction

from mpmath import mp, mpc

from srl_reward.expression import numeric
from srl_reward.expression.equal import UndecidedError, symbols
from srl_reward.expression.numeric import Reading
from srl_reward.expression.tree import Bracketed, Node, Number, Operation, Relation, Symbol
from srl_reward.expression.walk import renamed

Same = Callable[[Node, Node], bool]
_TURNED = {"~": "~", "<": ">", ">": "<", "<=": ">=", ">=": "<=", "=": "=", "!=": "!="}
_DEPENDENT = frozenset(("y", "f", "g", "h"))


def is_definition(relation: Relation) -> bool:
    """Whether an equation gives a value to a letter or a function: `x = 3`, `f(x) = 2x`."""
    if not set(relation.signs) <= {"=", "~"}:
        return False
    return all(is_name(side) for side in relation.sides[:-1]) and not (
        isinstance(relation.sides[0], Symbol) and is_within(relation)
    )


def is_within(relation: Relation) -> bool:
    """Whether the letter stands on the other side too, so that nothing is defined."""
    first, last = relation.sides[0], relation.sides[-1]
    return isinstance(last, (Operation, Symbol)) and bool(symbols(first) & symbols(last))


def is_name(node: Node) -> bool:
    """Whether a side names what is asked for: `x`, `f(x)`, `AB`, `|AB|`, `(p,q)`, `a/b`."""
    if isinstance(node, Symbol):
        return True
    if isinstance(node, Bracketed):
        return all(map(is_name, node.members))
    if not isinstance(node, Operation):
        return False
    if node.name.startswith("apply "):
        return True
    # `P(x)` is read as a product, and `ABC` and `ab` name what is asked for.
    return node.name in ("multiply", "divide", "abs") and all(map(is_name, node.arguments))


def same_relation(gold: Relation, answer: Relation, same: Same) -> bool:
    """Whether two relations say the same, also turned around or multiplied by a number."""
    if is_definition(gold) and is_definition(answer):
        return _same_definition(gold, answer, same)
    for other in (answer, turned(answer)):
        if gold.signs == other.signs and all(map(same, gold.sides, other.sides)):
            return True
    if len(gold.sides) == 2 == len(answer.sides):
        return _is_multiple(gold, answer)
    return False


def turned(relation: Relation) -> Relation:
    """The same said from right to left."""
    return Relation(
        tuple(_TURNED[sign] for sign in reversed(relation.signs)), tuple(reversed(relation.sides))
    )


def _same_definition(gold: Relation, answer: Relation, same: Same) -> bool:
    left, right = gold.sides[0], answer.sides[0]
    if not (left == right or (_is_function(left) and _is_function(right))):
        return _is_multiple(gold, answer) if len(gold.sides) == len(answer.sides) == 2 else False
    value = answer.sides[-1]
    letters = _variable(left), _variable(right)
    if None not in letters and letters[0] != letters[1]:
        value = renamed(value, str(letters[1]), str(letters[0]))
    return same(gold.sides[-1], value)


def _is_function(node: Node) -> bool:
    """Whether a name is of a function: `y`, `f(x)`, of whatever letter."""
    if isinstance(node, Symbol):
        return node.name == "y"
    return isinstance(node, Operation) and node.name.removeprefix("apply ") in _DEPENDENT


def _variable(node: Node) -> str | None:
    if not isinstance(node, Operation) or not node.name.startswith("apply "):
        return None
    only = node.arguments[0]
    return only.name if isinstance(only, Symbol) else None


def _is_multiple(gold: Relation, answer: Relation) -> bool:
    """Whether left minus right is the same up to a factor, positive where there is a direction."""
    direction = {"<": 1, "<=": 1, ">": -1, ">=": -1, "=": 0, "!=": 0, "~": 0}
    kinds = [relation.signs[0] for relation in (gold, answer)]
    if len({kind.strip("<>") + str(abs(direction[kind])) for kind in kinds}) > 1:
        return False
    letters = symbols_of(gold)
    if not letters or letters != symbols_of(answer):
        return False
    ratios = [_ratio(gold, answer, number) for number in range(4)]
    known = [ratio for ratio in ratios if ratio is not None]
    if len(known) < 2:
        return False
    with mp.workdps(40):
        first = known[0]
        is_constant = all(abs(ratio - first) <= abs(first) * mp.mpf(10) ** -25 for ratio in known)
        product = direction[kinds[0]] * direction[kinds[1]]
        return bool(is_constant and first and (not product or mp.re(first) * product > 0))


def symbols_of(relation: Relation) -> frozenset[str]:
    """The letters of all sides."""
    return frozenset().union(*(symbols(side) for side in relation.sides))


def _ratio(gold: Relation, answer: Relation, number: int) -> mpc | None:
    reading = Reading(numeric.positive_point(number))
    try:
        with mp.workdps(40):
            left, right = (
                numeric.value(_difference(relation), reading) for relation in (gold, answer)
            )
            return left / right if right else None
    except (ArithmeticError, ValueError):
        return None


def _difference(relation: Relation) -> Node:
    left, right = relation.sides
    if not all(isinstance(side, (Number, Symbol, Operation)) for side in relation.sides):
        raise UndecidedError("a side that is no value")
    return Operation("add", (left, Operation("multiply", (Number(Fraction(-1)), right))))
