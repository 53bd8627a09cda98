"""Stop strings: where the text of a completion first holds one, token by token.

A string may span tokens and stand within one. The row ends with the token that completes it; of
several that the same token completes, the one that begins first in the text ends it. It is looked
for in everything that is generated, thinking included, as other tools do.
"""

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from srl_eval.generate.sampling import Sampling
from srl_eval.generate.text import Decoder, decoded

_MARGIN = 8
"""Tokens decoded beyond a string's bytes: decoders may treat the first ones of a text otherwise."""


class StopScan:
    """One row's tokens as they come, until the text holds a stop string or a stop token is drawn.

    `length` is the number of tokens up to the one that ended it, None while it runs; `text` the
    string that ended it, None for a token.
    """

    def __init__(self, sampling: Sampling, decoder: Decoder) -> None:
        self._stop, self._stop_ids = sampling.stop, frozenset(sampling.stop_token_ids)
        self._decoder = decoder
        # A token adds a byte at least.
        self._window = max(len(text.encode()) for text in sampling.stop) + _MARGIN
        self._ids: list[int] = []
        self.length: int | None = None
        self.text: str | None = None

    def feed(self, tokens: Iterable[int]) -> None:
        """Take further tokens; those after the end are ignored."""
        for token in tokens:
            if self.length is not None:
                return
            self._ids.append(token)
            self.text = None if token in self._stop_ids else self._completed()
            if self.text is not None or token in self._stop_ids:
                self.length = len(self._ids)

    def _completed(self) -> str | None:
        """The stop string that the last token completed."""
        tail = decoded(self._ids[-self._window :], self._decoder)
        if not any(text in tail for text in self._stop):
            return None
        whole = decoded(self._ids, self._decoder)
        places = [(whole.find(text), text) for text in self._stop if text in whole]
        return min(places)[1] if places else None


def ended(
    tokens: Sequence[int], sampling: Sampling, decoder: Decoder | None
) -> tuple[int | None, str | None]:
    """How many tokens there are up to the first end, and the stop string if it is one."""
    if sampling.stop:
        assert decoder is not None, "`check` asks for it"
        row = StopScan(sampling, decoder)
        row.feed(tokens)
        return row.length, row.text
    stops = set(sampling.stop_token_ids)
    return next((place for place, token in enumerate(tokens, 1) if token in stops), None), None


class StopWatch:
    """The rows of a chunk, watched for stop strings."""

    def __init__(self, rows: int, sampling: Sampling, decoder: Decoder) -> None:
        self.rows = [StopScan(sampling, decoder) for _ in range(rows)]

    def feed(self, rows_B: NDArray[np.int64], token_TB: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Take T tokens of the rows `rows_B`; which of them have ended, shape (B,)."""
        for place, row in enumerate(rows_B.tolist()):
            self.rows[row].feed(token_TB[:, place].tolist())
        return np.array([self.rows[row].length is not None for row in rows_B.tolist()], dtype=bool)
