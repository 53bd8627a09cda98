"""How far a run over a file is: a bar on a terminal, a plain line every ten seconds elsewhere.

Everything goes to standard error, so that standard output stays the result.
"""

import sys
import time
from typing import TextIO

BAR_EVERY_SECONDS = 0.1
PLAIN_EVERY_SECONDS = 10.0
WIDTH = 24


class Progress:
    """Counts pairs and bytes; shows the share of `total` bytes where that is known.

    Nothing is drawn on a terminal that takes the records themselves.
    """

    def __init__(self, total: int | None, *, records_on_stdout: bool) -> None:
        self._stream: TextIO | None = sys.stderr
        self._bar = _is_terminal(sys.stderr)
        if self._bar and records_on_stdout and _is_terminal(sys.stdout):
            self._stream = None
        self._every = BAR_EVERY_SECONDS if self._bar else PLAIN_EVERY_SECONDS
        self._start = self._last = time.monotonic()
        self._total, self._pairs, self._bytes = total, 0, 0
        self._shown = 0

    def add(self, pairs: int, size: int) -> None:
        """Record that so many pairs are done, read from so many bytes."""
        self._pairs += pairs
        self._bytes += size
        if time.monotonic() - self._last >= self._every:
            self._show()

    def close(self) -> None:
        """Leave a last line that is up to date, where any was shown or a terminal looks on."""
        if self._bar or 0 < self._shown < self._pairs:
            self._show()
        if self._stream is not None and self._bar:
            self._stream.write("\n")

    def _show(self) -> None:
        self._last = time.monotonic()
        self._shown = self._pairs
        if self._stream is not None:
            self._stream.write(f"\r{self._text()}\x1b[K" if self._bar else f"{self._text()}\n")
            self._stream.flush()

    def _text(self) -> str:
        rate = self._pairs / max(time.monotonic() - self._start, 1e-9)
        counts = f"{self._pairs:,} pairs, {rate:,.0f} pairs/s"
        if not self._total:
            return counts
        share = min(1.0, self._bytes / self._total)
        if not self._bar:
            return f"{share:.0%}, {counts}"
        full = round(share * WIDTH)
        return f"{'━' * full}{'╌' * (WIDTH - full)} {share:4.0%}  {counts}"


def _is_terminal(stream: TextIO | None) -> bool:
    return stream is not None and stream.isatty()
