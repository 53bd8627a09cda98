"""Rows of Parquet and Arrow files, a batch at a time, in values that JSON has.

An `.arrow` file is a file of the IPC format or a stream of it, as `datasets` keeps them.
"""

import base64
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Protocol, cast

from srl_data.command.errors import DataError
from srl_data.records import OnError, Row, Skipped

BATCH = 256


class Batch(Protocol):
    """What is read of pyarrow's `RecordBatch`."""

    num_rows: int

    def slice(self, offset: int, length: int) -> "Batch":
        """Some of its rows."""

    def to_pylist(self) -> list[Row]:
        """Its rows."""


@contextmanager
def readable(path: Path, kind: str) -> Iterator[None]:
    """DataError where pyarrow cannot read the file within the block."""
    import pyarrow as pa  # type: ignore[import-untyped]  # it has no types

    try:
        yield
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{path}: not {kind} that can be read: {error}") from error


def read_parquet(path: Path, _on_error: OnError, _skipped: Skipped) -> Iterator[tuple[int, Row]]:
    """Rows of a Parquet file."""
    import pyarrow.parquet  # type: ignore[import-untyped]  # as above

    with readable(path, "a Parquet file"), pyarrow.parquet.ParquetFile(path) as file:
        yield from enumerate(rows_of(file.iter_batches(batch_size=BATCH)))


def count_parquet(path: Path) -> int:
    """Rows of a Parquet file, from its footer."""
    import pyarrow.parquet

    with readable(path, "a Parquet file"), pyarrow.parquet.ParquetFile(path) as file:
        return int(file.metadata.num_rows)


def read_arrow(path: Path, _on_error: OnError, _skipped: Skipped) -> Iterator[tuple[int, Row]]:
    """Rows of an Arrow file or stream."""
    with readable(path, "an Arrow file"):
        yield from enumerate(rows_of(arrow_batches(path)))


def count_arrow(path: Path) -> int:
    """Rows of an Arrow file or stream, whose values are not read."""
    with readable(path, "an Arrow file"):
        return sum(batch.num_rows for batch in arrow_batches(path))


def arrow_batches(path: Path) -> Iterator[Batch]:
    """The batches of an Arrow file, or of a stream."""
    import pyarrow as pa

    with pa.memory_map(str(path)) as mapped:
        is_file = mapped.read(6) == b"ARROW1"
        mapped.seek(0)
        if is_file:
            reader = pa.ipc.open_file(mapped)
            yield from (reader.get_batch(index) for index in range(reader.num_record_batches))
        else:
            yield from pa.ipc.open_stream(mapped)


def rows_of(batches: Iterator[Batch]) -> Iterator[Row]:
    """The rows of all batches, a few of them in memory."""
    for batch in batches:
        for start in range(0, batch.num_rows, BATCH):
            for row in batch.slice(start, BATCH).to_pylist():
                yield cast(Row, plain_value(row))


def plain_value(value: object) -> object:
    """A value that JSON has: times as ISO text, decimals as numbers, bytes as text or base64."""
    if value is None or isinstance(value, str | int | float):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain_value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_value(item) for item in value]
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return text_of(value) if isinstance(value, bytes) else str(value)


def text_of(value: bytes) -> str:
    """Bytes as UTF-8, which many columns of bytes hold, else as base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
