"""Rows of CSV files: a header, then a record per row, every value a text.

Quotes are held to: one that never closes is an error, never the rest of the file in one cell. Left
out: guessing types, which is the reader's business.
"""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from srl_data.command.errors import DataError
from srl_data.compressed import plain_bytes
from srl_data.records import MAX_LINE_BYTES, OnError, Row, Skipped

DELIMITERS = ",;\t|"


class CsvReader(Protocol):
    """What `csv.reader` gives."""

    @property
    def line_num(self) -> int:
        """Lines read so far."""

    def __next__(self) -> list[str]:
        """The next record."""


def text_lines(file: BinaryIO, path: Path) -> Iterator[str]:
    """Lines of UTF-8, their ends kept, without a byte order mark; DataError naming a bad one."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise DataError(f"{path}:{number}: line longer than {MAX_LINE_BYTES} bytes")
        try:
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            raise DataError(f"{path}:{number}: not UTF-8; save the file as UTF-8") from error


def delimiter_of(header: str, path: Path) -> str:
    """What stands between the columns: a tab in .tsv, else what the header has most of."""
    if ".tsv" in path.suffixes:
        return "\t"
    return max(DELIMITERS, key=header.count)


def check_header(names: list[str], path: Path) -> None:
    """DataError for a header whose columns cannot be told apart."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path}: the header names the column {twice[0]!r} twice; rename one")
    if "" in names[1:] or not any(names):
        raise DataError(f"{path}: the header has a column without a name; name each column")


def read_csv(path: Path, on_error: OnError, skipped: Skipped) -> Iterator[tuple[int, Row]]:
    """Rows of a CSV file; a first column without a name, as pandas writes its index, is left out.

    Raises DataError at a row that is not in the header's form, or reports it for "skip".
    """
    csv.field_size_limit(MAX_LINE_BYTES)
    with plain_bytes(path) as file:
        lines = text_lines(file, path)
        first = next(lines, "")
        if not first.strip():
            raise DataError(f"{path}: the first line is blank, expected the names of the columns")
        delimiter = delimiter_of(first, path)
        reader = csv.reader(joined(first, lines), delimiter=delimiter, strict=True)
        try:
            names = next(reader)
        except csv.Error as error:
            raise DataError(f"{path}: the names of the columns cannot be read: {error}") from error
        check_header(names, path)
        for index, row in enumerate(checked_rows(reader, names, path, on_error, skipped)):
            if row is not None:
                yield index, row


def joined(first: str, lines: Iterator[str]) -> Iterator[str]:
    """The first line, which was looked at, and the others."""
    yield first
    yield from lines


def checked_rows(
    reader: "CsvReader", names: list[str], path: Path, on_error: OnError, skipped: Skipped
) -> Iterator[Row | None]:
    """Each row as an object; None for one that is skipped."""
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            reason = str(error)
        else:
            if not cells:
                continue
            if len(cells) == len(names):
                yield {name: cell for name, cell in zip(names, cells, strict=True) if name}
                continue
            reason = f"{len(cells)} columns, and the header has {len(names)}"
        if on_error == "fail":
            raise DataError(f"{path}:{line}: {reason}; mend the row or pass --on-error skip")
        skipped(f"{path}:{line}: {reason}")
        yield None
