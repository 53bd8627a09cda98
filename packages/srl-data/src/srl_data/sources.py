"""Rows that can be read again and again: of one file or several, of standard input but once.

How a file is read is `srl_data.file_formats`'; what a folder or a name on the hub holds is
`srl_data.splits`'; what a row means is its reader's business.
"""

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from srl_data.command.errors import DataError
from srl_data.file_formats import LINES, NumberedRows, format_of, read_jsonl
from srl_data.files import sha256_file
from srl_data.manifest import Source, file_source
from srl_data.records import OnError, R, Row, Skipped, check_depth, short_reason

T = TypeVar("T")

COMMIT = re.compile(r"[0-9a-f]{40}")


@dataclass(frozen=True)
class RowSource:
    """Rows that can be read again and again, and where they come from."""

    origin: Source
    read: Callable[[OnError, Skipped], NumberedRows]
    """Stream the rows; a bad one raises DataError, or is reported where "skip" is asked for."""
    place: Callable[[int], str]
    """Where the row of a position stands, for messages: `data.jsonl:3`, `train.parquet, row 3`."""
    count: Callable[[], int | None] = lambda: None
    """About how many rows there are, for progress; None where nobody knows. Not always for free."""


@lru_cache(maxsize=4096)
def known_sha256(path: Path, _size: int, _modified: int) -> str:
    """Of a file's bytes, read once as long as the file stays as it is."""
    return sha256_file(path)


def open_file(path: Path) -> RowSource:
    """A local data file, its format told by its name or its content."""
    if not path.is_file():
        return open_stream(path)
    found, stat = format_of(path), path.stat()
    digest = known_sha256(path, stat.st_size, stat.st_mtime_ns)
    source = RowSource(
        file_source(path, digest),
        lambda on_error, skipped: found.read(path, on_error, skipped),
        lambda position: found.place(path, position),
        lambda: found.rows(path),
    )
    return source if found.by_line else shallow(source)


def shallow(source: RowSource) -> RowSource:
    """A source whose rows are refused if they are nested too deeply, as those of JSON Lines are."""

    def read(on_error: OnError, skipped: Skipped) -> NumberedRows:
        for position, row in source.read(on_error, skipped):
            try:
                check_depth(row)
            except ValueError as error:
                told = skipped if on_error == "skip" else None
                refuse_row(source, position, str(error), told)
                continue
            yield position, row

    return replace(source, read=read)


def open_stream(path: Path) -> RowSource:
    """JSON Lines of standard input (`-`) or of a pipe, which can be read once."""
    reads = 0

    def read(on_error: OnError, skipped: Skipped) -> NumberedRows:
        nonlocal reads
        reads += 1
        if reads > 1:
            raise DataError(f"{path} can be read only once and is needed again; give a file")
        return read_jsonl(path, on_error, skipped)

    return RowSource(Source(name=str(path)), read, lambda position: LINES.place(path, position))


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

    def count(self) -> int | None:
        """Rows of all files."""
        counts = [source.count() for source in self.sources]
        return sum(count or 0 for count in counts) if None not in counts else None


def open_files(paths: Sequence[Path], name: str) -> RowSource:
    """The rows of several files as one table; `name` is what manifests call it."""
    if len(paths) == 1:
        return open_file(paths[0])
    return joined([open_file(path) for path in paths], name)


def joined(sources: Sequence[RowSource], name: str) -> RowSource:
    """The rows of several sources as one table; its checksum is over theirs, its commit theirs."""
    shards = Shards(sources)
    sums = [str(source.origin.sha256) for source in sources if source.origin.sha256]
    commits = {source.origin.revision for source in sources}
    templates = {source.origin.template for source in sources}
    origin = Source(
        name=name,
        revision=commits.pop() if len(commits) == 1 else None,
        sha256=sha256("".join(sums).encode()).hexdigest() if len(sums) == len(sources) else None,
        decontamination=sources[0].origin.decontamination if are_alike(sources) else {},
        template=templates.pop() if len(templates) == 1 else None,
    )
    return RowSource(origin, shards.read, shards.place, shards.count)


def are_alike(sources: Sequence[RowSource]) -> bool:
    """Whether the manifests of all sources tell the same of overlaps."""
    first = sources[0].origin.decontamination
    return all(source.origin.decontamination == first for source in sources)


def first_of(source: RowSource, limit: int | None) -> RowSource:
    """The first rows of a source, or all of them where there is no limit."""
    if limit is None:
        return source

    def count() -> int | None:
        rows = source.count()
        return None if rows is None else min(rows, limit)

    return replace(
        source,
        read=lambda on_error, skipped: islice(source.read(on_error, skipped), limit),
        count=count,
    )


def each_row(
    source: RowSource, make: Callable[[Row, str], T], on_error: OnError, skipped: Skipped
) -> Iterator[T]:
    """What `make` gives of each row and its default name; a ValueError of it refuses the row."""
    for position, row in source.read(on_error, skipped):
        try:
            made = make(row, f"row-{position:05d}")
        except ValueError as error:
            reason = error if not isinstance(error, ValidationError) else short_reason(error)
            refuse_row(source, position, str(reason), skipped if on_error == "skip" else None)
            continue
        yield made


def records_of(
    source: RowSource, kind: type[R], on_error: OnError = "fail", skipped: Skipped = lambda _: None
) -> Iterator[R]:
    """Stream the rows of `source` as records of a kind; bad ones are as in `each_row`."""
    return each_row(source, lambda row, _: kind.model_validate(row), on_error, skipped)


def refuse_row(source: RowSource, position: int, reason: str, skipped: Skipped | None) -> None:
    """DataError naming a row and what is wrong with it; `skipped`, where there is one, is told."""
    place = f"{source.place(position)}: {reason}"
    if skipped is None:
        raise DataError(f"{place}; mend the row or pass --on-error skip")
    skipped(place)


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
