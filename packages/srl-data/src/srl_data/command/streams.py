"""Standard streams that outlive their readers: long work does not end because nobody looks.

`train | head`, a terminal that was closed, a full disk under a log: what is written to such a
stream is lost, the work continues. For work whose result is the output itself, a broken pipe should
end it: that is `srl_data.command.frame`'s.
"""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO, cast


class LastingStream:
    """A text stream whose writes never fail; everything else is the inner stream's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write `text`; characters that the stream's encoding lacks become `?`."""
        try:
            self._write(text)
        except (OSError, ValueError):  # a closed file raises ValueError
            self._to_nowhere()
        return len(text)

    def writelines(self, lines: list[str]) -> None:
        """Write each of `lines`."""
        for line in lines:
            self.write(line)

    def flush(self) -> None:
        """Flush what was written."""
        try:
            self._stream.flush()
        except (OSError, ValueError):
            self._to_nowhere()

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
        except UnicodeEncodeError:
            encoding = self._stream.encoding or "ascii"
            self._stream.write(text.encode(encoding, "replace").decode(encoding))

    def _to_nowhere(self) -> None:
        """Point the descriptor at nothing, so that what is buffered and what C code says pass."""
        with suppress(OSError, ValueError):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self._stream.fileno())
            os.close(nowhere)


@contextmanager
def lasting_streams() -> Iterator[None]:
    """Within, writing to standard output and standard error never fails."""
    before = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (
        None if stream is None else cast(TextIO, LastingStream(stream)) for stream in before
    )
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def escape_what_has_no_encoding() -> None:
    """Let standard output escape what it cannot encode, such as half a surrogate pair in an id.

    Else it ends a command that has done its work; standard error escapes it anyhow.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def fill_closed_descriptors() -> None:
    """Open /dev/null for standard streams that were closed (`>&-`).

    Else the next file opened would get the number 1 or 2, and whatever C code prints.
    """
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number: this one
