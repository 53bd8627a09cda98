"""Formats of data files, and their rows: JSON Lines, a JSON array, CSV, Parquet, Arrow.

The name tells the format and, of `.json` and of names that say nothing, the first bytes do: many
`.json` files hold JSON Lines. All of them stream. Left out: what rows mean, and several files.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from srl_data.arrow_rows import count_arrow, count_parquet, read_arrow, read_parquet
from srl_data.command.errors import DataError
from srl_data.compressed import SUFFIXES as COMPRESSED
from srl_data.compressed import plain_bytes
from srl_data.csv_rows import read_csv
from srl_data.json_values import JsonArray
from srl_data.records import (
    MAX_LINE_BYTES,
    OnError,
    Row,
    Skipped,
    bounded_lines,
    numbered_objects,
    parse_object,
)

NumberedRows = Iterator[tuple[int, Row]]
"""Rows with their 0-based position in the source."""
Reader = Callable[[Path, OnError, Skipped], NumberedRows]

FORMATS = (
    "JSON (.json), JSON Lines (.jsonl, .ndjson), CSV (.csv, .tsv), each also compressed (.gz, "
    ".zst, .bz2, .xz), Parquet (.parquet), Arrow (.arrow), a glob of such files, a folder with a "
    "file for each split (train.jsonl, test.parquet) or one saved by `datasets`"
)


def read_jsonl(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON Lines file; positions are lines, blank ones counted."""
    with plain_bytes(path) as file:
        for number, row in numbered_objects(file, path, on_error, skipped):
            yield number - 1, row


def read_json_array(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON array, one after the other."""
    with plain_bytes(path) as file:
        items = enumerate(JsonArray(file))
        while True:
            try:
                index, item = next(items)
            except StopIteration:
                return
            except ValueError as error:
                msg = f"{path}: not JSON: {error}; for one object per line, name the file .jsonl"
                raise DataError(msg) from error
            if isinstance(item, dict):
                yield index, item
                continue
            reason = f"{path}: item {index} is not an object but {type(item).__name__}"
            if on_error == "fail":
                raise DataError(f"{reason}; mend it or pass --on-error skip")
            skipped(reason)


def read_json_object(path: Path, _on_error: OnError, _skipped: Skipped) -> NumberedRows:
    """The one row of a file that holds one object over several lines."""
    with plain_bytes(path) as file:
        try:
            yield 0, parse_object(file.read(MAX_LINE_BYTES + 1))
        except ValueError as error:
            msg = f"{path}: {error}; expected an array of objects, or one object per line"
            raise DataError(msg) from error


def count_lines(path: Path) -> int:
    """Lines of JSON Lines that are not blank."""
    with plain_bytes(path) as file:
        return sum(1 for _ in bounded_lines(file))


@dataclass(frozen=True)
class Format:
    """How files of one kind are read."""

    name: str
    read: Reader
    by_line: bool = False
    """Whether positions are lines of the file."""
    count: Callable[[Path], int] | None = None
    """How many rows there are, where that is cheaper than to read them."""

    def place(self, path: Path, position: int) -> str:
        """Where a row stands, counted from 1."""
        return f"{path}:{position + 1}" if self.by_line else f"{path}, row {position + 1}"

    def rows(self, path: Path) -> int:
        """How many rows a file has; those that a reader refuses may be counted or not."""
        if self.count is not None:
            return self.count(path)
        return sum(1 for _ in self.read(path, "skip", lambda _: None))


LINES = Format("JSON Lines", read_jsonl, by_line=True, count=count_lines)
ARRAY = Format("a JSON array", read_json_array)
OBJECT = Format("a JSON object", read_json_object)
CSV = Format("CSV", read_csv)
PARQUET = Format("Parquet", read_parquet, count=count_parquet)
ARROW = Format("Arrow", read_arrow, count=count_arrow)
BY_SUFFIX = {
    ".jsonl": LINES,
    ".ndjson": LINES,
    ".csv": CSV,
    ".tsv": CSV,
    ".parquet": PARQUET,
    ".arrow": ARROW,
    ".feather": ARROW,
}
"""What a file's name tells alone; of `.json` the content decides."""


def split_name(path: Path) -> tuple[str, str, str]:
    """A file's stem, its format's suffix and that of its compression, the latter two in lower case.

    `train.jsonl.gz` is `train`, `.jsonl`, `.gz`.
    """
    name, packing = path.name, ""
    if path.suffix.lower() in COMPRESSED:
        name, packing = path.stem, path.suffix.lower()
    suffix = Path(name).suffix
    return name.removesuffix(suffix), suffix.lower(), packing


def is_data_name(path: Path | str) -> bool:
    """Whether a name is that of a data file, as far as names tell."""
    _, suffix, packing = split_name(Path(path))
    if packing and suffix in (".parquet", ".arrow", ".feather"):
        return False  # they compress inside
    return suffix == ".json" or suffix in BY_SUFFIX


def format_of(path: Path) -> Format:
    """The format of a file that exists; DataError where neither name nor content tells it."""
    _, suffix, packing = split_name(path)
    found = BY_SUFFIX.get(suffix)
    if packing and found in (PARQUET, ARROW):
        raise DataError(f"{path}: {found.name} inside {packing}; unpack the file first")
    if found is not None or not path.is_file():  # a pipe can't be looked into
        return found or LINES
    found = format_by_content(path)
    if found is None:
        what = "unknown kind of file" if suffix != ".json" else "not JSON, though it is called"
        raise DataError(f"{path}: {what} {suffix!r}; expected {FORMATS}")
    return found


def format_by_content(path: Path) -> Format | None:
    """The format that a file's first bytes tell; None where they tell none."""
    with plain_bytes(path) as file:
        start = file.readline(1 << 20).removeprefix(b"\xef\xbb\xbf").lstrip()
        while not start and (line := file.readline(1 << 20)):
            start = line.lstrip()
        rest = file.read(1)
    if start.startswith(b"["):
        return ARRAY
    if start.startswith(b"PAR1"):
        return PARQUET
    if start.startswith(b"ARROW1"):
        return ARROW
    if not start.startswith(b"{"):
        return None
    return OBJECT if rest and is_part_of_object(start) else LINES


def is_part_of_object(line: bytes) -> bool:
    """Whether a first line begins an object that goes on in the next."""
    try:
        parse_object(line)
    except ValueError:
        # `{`, or `{"a": 1,`: lines of an object that is laid out; else a bad line of JSON Lines.
        return line.rstrip().endswith((b"{", b"[", b",", b":"))
    return False
