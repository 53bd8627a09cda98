"""Rows of data files as they are: JSON Lines, a JSON array, Parquet, one file or several.

What a folder or a name on the hub holds is `srl_data.splits`'; what a row means is its reader's
business.
"""

import json
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from srl_data.command.errors import DataError
from srl_data.files import sha256_file
from srl_data.manifest import Source
from srl_data.records import OnError, Skipped, open_data, read_objects, short_reason

T = TypeVar("T")

Row = dict[str, object]
NumberedRows = Iterator[tuple[int, Row]]
"""Rows with their 0-based position in the source."""

COMMIT = re.compile(r"[0-9a-f]{40}")
FORMATS = (
    "a JSON array (.json), JSON Lines (.jsonl), Parquet (.parquet), a folder with a file for each "
    "split (train.jsonl, test.parquet) or one saved by `datasets`"
)


@dataclass(frozen=True)
class RowSource:
    """Rows that can be read again and again, and where they come from."""

    origin: Source
    read: Callable[[OnError, Skipped], NumberedRows]
    """Stream the rows; a bad one raises DataError, or is reported where "skip" is asked for."""
    place: Callable[[int], str]
    """Where the row of a position stands, for messages: `data.jsonl:3`, `train.parquet, row 3`."""


def read_jsonl(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON Lines file."""
    for number, row in read_objects(path, on_error, skipped):
        yield number - 1, row


def read_json_array(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON array; the array is held in memory as a whole."""
    with open_data(path) as file:
        try:
            items = json.load(file)
        except (ValueError, RecursionError) as error:
            msg = f"{path}: not JSON: {error}; for one object per line, name the file .jsonl"
            raise DataError(msg) from error
    if not isinstance(items, list):
        msg = f"{path}: expected an array of objects at the top, found {type(items).__name__}"
        raise DataError(msg)
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield index, item
            continue
        reason = f"{path}: item {index} is not an object but {type(item).__name__}"
        if on_error == "fail":
            raise DataError(f"{reason}; mend it or pass --on-error skip")
        skipped(reason)


def read_parquet(path: Path, _on_error: OnError, _skipped: Skipped) -> NumberedRows:
    """Rows of a Parquet file, a batch at a time."""
    import pyarrow.parquet  # type: ignore[import-untyped]

    index = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield index, row
                    index += 1
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from error


READERS: dict[str, Callable[[Path, OnError, Skipped], NumberedRows]] = {
    ".json": read_json_array,
    ".jsonl": read_jsonl,
    ".parquet": read_parquet,
}
"""How a file is read, by its suffix."""


def place_in(path: Path, position: int) -> str:
    """Where a row stands: the line of JSON Lines, the number of a row elsewhere, both from 1."""
    if path.suffix.lower() == ".jsonl":
        return f"{path}:{position + 1}"
    return f"{path}, row {position + 1}"


def check_format(path: Path) -> None:
    """DataError for a file of an unknown format, which its suffix tells."""
    if path.suffix.lower() not in READERS:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; expected {FORMATS}")


@lru_cache(maxsize=4096)
def known_sha256(path: Path, _size: int, _modified: int) -> str:
    """Of a file's bytes, read once as long as the file stays as it is."""
    return sha256_file(path)


def open_file(path: Path) -> RowSource:
    """A local data file, its format told by its suffix."""
    check_format(path)
    reader, stat = READERS[path.suffix.lower()], path.stat()
    return RowSource(
        Source(name=path.name, sha256=known_sha256(path, stat.st_size, stat.st_mtime_ns)),
        lambda on_error, skipped: reader(path, on_error, skipped),
        lambda position: place_in(path, position),
    )


@dataclass
class Shards:
    """Files that hold the parts of one table, read one after the other."""

    sources: Sequence[RowSource]
    starts: list[int] = field(default_factory=list)
    """The position of each file's first row, as far as they were read."""

    def read(self, on_error: OnError, skipped: Skipped) -> NumberedRows:
        """The rows of all files, their positions counted on."""
        start, self.starts = 0, []
        for source in self.sources:
            self.starts.append(start)
            position = -1
            for position, row in source.read(on_error, skipped):
                yield start + position, row
            start += position + 1

    def place(self, position: int) -> str:
        """Where a row that was read stands."""
        which = bisect_right(self.starts, position) - 1
        return self.sources[which].place(position - self.starts[which])


def open_files(paths: Sequence[Path], name: str) -> RowSource:
    """The rows of several files as one table; `name` is what manifests call it."""
    if len(paths) == 1:
        return open_file(paths[0])
    shards = Shards([open_file(path) for path in paths])
    digest = sha256("".join(str(shard.origin.sha256) for shard in shards.sources).encode())
    origin = Source(name=name, sha256=digest.hexdigest())
    return RowSource(origin, shards.read, shards.place)


def each_row(
    source: RowSource, make: Callable[[Row, str], T], on_error: OnError, skipped: Skipped
) -> Iterator[T]:
    """What `make` gives of each row and its default name; a ValueError of it refuses the row."""
    for position, row in source.read(on_error, skipped):
        try:
            made = make(row, f"row-{position:05d}")
        except ValueError as error:
            reason = error if not isinstance(error, ValidationError) else short_reason(error)
            place = f"{source.place(position)}: {reason}"
            if on_error == "fail":
                raise DataError(f"{place}; mend the row or pass --on-error skip") from error
            skipped(place)
            continue
        yield made


def hub_failure(name: str, revision: str | None, error: Exception) -> DataError:
    """The error for a data set that the hub did not give."""
    reason = " ".join(str(error).split()) or type(error).__name__
    at = f" at revision {revision!r}" if revision else ""
    return DataError(
        f"cannot load {name!r}{at} from the hub ({reason}); check the name and the network, "
        "or give a local copy of it instead"
    )


def resolve_commit(name: str, revision: str | None) -> str:
    """The commit behind a branch or tag of a hub data set; a full commit needs no network."""
    if revision and COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        sha = HfApi().dataset_info(name, revision=revision, timeout=30).sha
    except Exception as error:  # the client's errors share no base class
        raise hub_failure(name, revision, error) from error
    if sha is None:
        raise hub_failure(name, revision, ValueError("the hub names no commit"))
    return sha
