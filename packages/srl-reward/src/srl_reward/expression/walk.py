r"""Trees changed as a whole: both signs of `\pm` written out, a letter put in another's place."""

from collections.abc import Callable, Iterator
from dataclasses import fields, replace
from fractions import Fraction
from itertools import product

from srl_reward.expression.tree import Node, Number, Sign, Symbol

_MOST_SIGNS = 5


def children(node: Node) -> Iterator[Node]:
    """The nodes that stand directly in a node."""
    for field in fields(node):
        content = getattr(node, field.name)
        for child in content if isinstance(content, tuple) else (content,):
            if isinstance(child, tuple):
                yield from child
            elif hasattr(child, "__dataclass_fields__"):
                yield child


def mapped(node: Node, change: Callable[[Node], Node | None]) -> Node:
    """The tree with each node changed for which `change` gives another."""
    changed = change(node)
    if changed is not None:
        return changed
    contents = {field.name: _mapped(getattr(node, field.name), change) for field in fields(node)}
    return replace(node, **contents)  # type: ignore[arg-type]  # one class of several


def _mapped(content: object, change: Callable[[Node], Node | None]) -> object:
    if isinstance(content, tuple):
        return tuple(_mapped(each, change) for each in content)
    if hasattr(content, "__dataclass_fields__"):
        return mapped(content, change)  # type: ignore[arg-type]  # a union of node classes
    return content


def signs(node: Node) -> frozenset[int]:
    r"""The numbers of the `\pm` in a tree."""
    own = {node.number} if isinstance(node, Sign) else set()
    return frozenset(own.union(*(signs(child) for child in children(node))))


def written_out(node: Node) -> list[list[Node]]:
    r"""The values that a tree with `\pm` stands for, in each of the ways that people read it.

    All signs of one answer go together, or each takes both values.
    """
    found = sorted(signs(node))[:_MOST_SIGNS]
    if not found:
        return [[node]]
    together = [_signed(node, dict.fromkeys(found, sign)) for sign in (1, -1)]
    if len(found) == 1 or _has_opposite(node):
        return [together]
    apart = [
        _signed(node, dict(zip(found, choice, strict=True)))
        for choice in product((1, -1), repeat=len(found))
    ]
    return [apart, together]


def _has_opposite(node: Node) -> bool:
    if isinstance(node, Sign):
        return node.opposite
    return any(map(_has_opposite, children(node)))


def _signed(node: Node, choice: dict[int, int]) -> Node:
    def sign(each: Node) -> Node | None:
        if not isinstance(each, Sign):
            return None
        value = choice.get(each.number, 1)
        return Number(Fraction(-value if each.opposite else value))

    return mapped(node, sign)


def renamed(node: Node, name: str, other: str) -> Node:
    """The tree with one letter for another."""
    return mapped(
        node, lambda each: Symbol(other) if isinstance(each, Symbol) and each.name == name else None
    )
