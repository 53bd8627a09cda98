"""What stands in brackets: groups, points, intervals, sets, absolute values, matrices."""

from abc import abstractmethod
from collections.abc import Sequence

from srl_reward.expression.names import MATRICES
from srl_reward.expression.scanner import Scanner
from srl_reward.expression.tokens import Token
from srl_reward.expression.tree import Bracketed, Matrix, Node, Operation, UnreadableError

_CLOSING = {"(": ")", "[": "]", "\\{": "\\}", "{": "}"}


class Brackets(Scanner):
    """A reading of brackets over a reading of what is in them."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        super().__init__(tokens)
        self._bars = 0

    @abstractmethod
    def sum(self) -> Node:
        """Terms with plus and minus signs."""

    def _group(self, opening: str = "{") -> Node:
        self._expect(opening)
        bars, self._bars = self._bars, 0
        node = self.sum()
        self._bars = bars
        self._expect(_CLOSING[opening])
        return node

    def _brackets(self) -> Node:
        """Brackets around one expression, a point, an interval or a set."""
        opening = self._take().text
        bars, self._bars = self._bars, 0
        members: list[Node] = []
        if self._next() != "\\}":
            members.append(self.sum())
        while self._next() in (",", ";"):
            self._take()
            members.append(self.sum())
        self._bars = bars
        closing = self._take().text
        if closing not in (")", "]", "\\}") or (opening == "\\{") != (closing == "\\}"):
            raise UnreadableError(f"{opening!r} is closed by {closing!r}")
        single = opening in "([" and _CLOSING[opening] == closing
        if len(members) == 1 and single:
            return members[0]
        return Bracketed(opening.strip("\\") + closing.strip("\\"), tuple(members))

    def _absolute(self) -> Node:
        self._take()
        self._bars += 1
        node = self.sum()
        self._bars -= 1
        self._expect("|")
        return Operation("abs", (node,))

    def _matrix(self) -> Node:
        name = self._raw_argument()
        if name not in MATRICES:
            raise UnreadableError(f"the environment {name} is not read")
        if name == "array":
            self._raw_argument()
        rows: list[list[Node]] = [[]]
        while self._next() != "\\end":
            if self._next() == "\\\\":
                self._take()
                if self._next() != "\\end":
                    rows.append([])
                continue
            if self._next() == "&":
                self._take()
            rows[-1].append(self.sum())
        self._take()
        self._raw_argument()
        if not rows[0] or len({len(row) for row in rows}) != 1:
            raise UnreadableError("a matrix with rows of different lengths")
        return Matrix(tuple(map(tuple, rows)))
