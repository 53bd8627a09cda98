"""JSON Lines for the command: records in by batches of bounded size, records out.

A bad line is refused with file, line and reason. NaN and Infinity, which Python's json writes, come
back as they are. Left out: what a record must hold.
"""

import errno
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TextIO

BATCH = 256
BATCH_BYTES = 16 << 20
"""A batch ends once its lines are this long in all, so that long ones don't pile up."""
LINE_BYTES = 1 << 30
"""A longer line is refused: it is no record but a file of another kind."""
STREAM = "-"
"""The name of standard input and output."""


class DataError(Exception):
    """Bad or missing input, with file, line and reason."""


@dataclass
class Line:
    """A record, where it stands, and the bytes it took."""

    place: str
    record: dict[str, object]
    size: int


@contextmanager
def open_source(name: str) -> Iterator[BinaryIO]:
    """Open a file, or standard input for `-`."""
    if name == STREAM:
        if sys.stdin is None:
            raise DataError("standard input is closed; give a file or pipe one in")
        yield sys.stdin.buffer
        return
    path = Path(name)
    if path.is_dir():
        raise DataError(f"expected a JSON Lines file, found a folder: {name}")
    if not path.exists():
        raise DataError(f"no such data file: {name}")
    with path.open("rb") as file:
        yield file


def read_batches(source: BinaryIO, name: str) -> Iterator[list[Line]]:
    """Read records by the batch, in order; raises DataError at the first bad line."""
    label = "standard input" if name == STREAM else name
    batch: list[Line] = []
    size, found = 0, False
    for line in _lines(source, label):
        found = True
        batch.append(line)
        size += line.size
        if len(batch) == BATCH or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
    if not found:
        raise DataError(f"{label} holds no records; expected one JSON object a line")


def _lines(source: BinaryIO, label: str) -> Iterator[Line]:
    chunks = iter(lambda: source.readline(LINE_BYTES + 1), b"")
    for number, line in enumerate(chunks, start=1):
        place = f"{label}:{number}"
        if len(line) > LINE_BYTES:
            raise DataError(f"{place}: longer than {LINE_BYTES:,} bytes, is this JSON Lines?")
        if line.strip():
            yield Line(place, _parse(line, place), len(line))


def _parse(line: bytes, place: str) -> dict[str, object]:
    try:
        # A byte order mark is only ever one at the start of a file; joined files have it inside.
        record = json.loads(line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8: {error}") from error
    except ValueError as error:
        raise DataError(f"{place}: not JSON: {error}") from error
    except RecursionError as error:
        raise DataError(f"{place}: JSON nested too deeply") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: {type(record).__name__}, expected an object")
    return record


def render(line: Line) -> str:
    """Write a record as JSON; lone surrogates are escaped, since UTF-8 has none."""
    try:
        text = json.dumps(line.record, ensure_ascii=False)
        if not text.isascii():
            text.encode()
    except UnicodeEncodeError:
        text = json.dumps(line.record)
    except RecursionError as error:
        raise DataError(f"{line.place}: JSON nested too deeply") from error
    return text + "\n"


def write_lines(sink: TextIO, lines: Iterable[Line]) -> None:
    """Write records one by one, and out of our hands before more are read."""
    sink.writelines(render(line) for line in lines)
    sink.flush()


@contextmanager
def open_sink(name: str) -> Iterator[TextIO]:
    """Open `-`, a pipe or a device as it is; a file as one that takes its name once complete."""
    if name == STREAM:
        if sys.stdout is None:
            raise OSError("standard output is closed; give --output FILE")
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")
        yield sys.stdout
        return
    path = Path(name).resolve()  # a link keeps pointing where it did
    if path.exists() and not stat.S_ISREG(path.stat().st_mode):
        with path.open("w", encoding="utf-8", newline="\n") as file:
            yield file
        return
    if not path.parent.is_dir():
        raise FileNotFoundError(errno.ENOENT, "no such folder", str(path.parent))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
