"""Tokens taken off the front, one by one."""

from collections.abc import Sequence

from srl_reward.expression.tokens import Token
from srl_reward.expression.tree import UnreadableError


class Scanner:
    """A place in a row of tokens; what is expected and is not there raises UnreadableError."""

    def __init__(self, tokens: Sequence[Token]) -> None:
        self._tokens = tokens
        self._place = 0

    def _peek(self) -> Token | None:
        return self._tokens[self._place] if self._place < len(self._tokens) else None

    def _next(self) -> str:
        token = self._peek()
        return "" if token is None else str(token)

    def _take(self) -> Token:
        token = self._peek()
        if token is None:
            raise self._stopped()
        self._place += 1
        return token

    def _expect(self, text: str) -> None:
        if self._next() != text:
            raise self._stopped()
        self._take()

    def _stopped(self) -> UnreadableError:
        return UnreadableError(
            f"stopped before {self._next()!r}" if self._next() else "it ends too soon"
        )

    def _raw_argument(self) -> str:
        """The signs of an argument, as they are."""
        token = self._take()
        if token.text != "{":
            return str(token)
        depth = 1
        found: list[str] = []
        while True:
            token = self._take()
            depth += (token.text == "{") - (token.text == "}")
            if not depth:
                return "".join(found)
            found.append(str(token))
