"""The first of two passes: the keys of all records into an index on disk."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from unicodedata import normalize

from srl_data.columns import ABSENT, columns_shown, described, value_with_meta
from srl_data.command.progress import meter
from srl_data.held_out import PLACE_BYTES, question_place
from srl_data.passes.chunks import NumberedRow, read_chunks
from srl_data.passes.index import Entry, KeyIndex
from srl_data.passes.workers import Opened, outcomes
from srl_data.records import OnError, Row, encode_object, is_unicode
from srl_data.sources import RowSource, refuse_row

KEY_BYTES = 16


@dataclass
class Keys:
    """The keys of a chunk's rows."""

    entries: list[Entry] = field(default_factory=list)
    refused: list[tuple[int, str]] = field(default_factory=list)
    """Positions of rows without a key, each with the reason."""
    marked: int = 0
    """Rows that say whether they are correct."""


def column_text(row: Row, name: str) -> str:
    """A column's value as text; ValueError where there is none."""
    value = value_with_meta(row, name)
    if value is ABSENT:
        raise ValueError(f"no column {name!r}; its columns: {columns_shown(row)}")
    if value is None:
        raise ValueError(f"column {name!r} holds nothing (null), expected a value")
    return value if isinstance(value, str) else encode_object({name: value}).decode()


def record_key(row: Row, columns: Sequence[str]) -> bytes:
    """A hash of a row's columns, white space and the form of Unicode aside; raises as above."""
    digest = sha256()
    for name in columns:
        plain = " ".join(normalize("NFC", column_text(row, name)).split())
        digest.update(f"{plain}\n".encode("utf-8", "surrogatepass"))
    return digest.digest()[:KEY_BYTES]


def question_key(row: Row, column: str, seed: int) -> bytes:
    """The place of the question in a row's column, in bytes; raises as above."""
    return question_place(column_text(row, column), seed).to_bytes(PLACE_BYTES, "big")


def fill_index(
    index: KeyIndex, source: RowSource, on_error: OnError, workers: int, opened: Opened[Keys]
) -> int:
    """Note every record's key; returns how many records say whether they are correct.

    Raises DataError at the first row without one; with `on_error` "skip" such rows are passed over,
    for the second pass to list.
    """
    marked = 0
    chunks = read_chunks(source, on_error)
    with (
        meter("keys", source.count(), "rows") as progress,
        closing(outcomes(chunks, opened, workers)) as found,
    ):
        for chunk, keys in found:
            if on_error == "fail":
                for position, reason in keys.refused:
                    refuse_row(source, position, reason, None)
            index.add(keys.entries)
            marked += keys.marked
            progress.advance(len(chunk.rows))
    return marked


def keys_of(
    rows: Sequence[NumberedRow], key: Callable[[Row], bytes], group: str | None = None
) -> Keys:
    """The keys of some rows; `group` names the column whose value is a row's group."""
    keys = Keys()
    for position, row in rows:
        try:
            part = "" if group is None else group_of(row, group)
            keys.entries.append((key(row), part, position))
        except ValueError as error:
            keys.refused.append((position, str(error)))
            continue
        keys.marked += isinstance(value_with_meta(row, "exact"), bool)
    return keys


def group_of(row: Row, column: str) -> str:
    """The value of a row's group as text; ValueError where it has none."""
    value = value_with_meta(row, column)
    if value is ABSENT:
        raise ValueError(f"no column {column!r} (--stratify); its columns: {columns_shown(row)}")
    if isinstance(value, dict | list):
        raise ValueError(f"column {column!r} (--stratify) holds {described(value)}, expected one")
    text = str(value)
    if not is_unicode(text):
        raise ValueError(f"column {column!r} (--stratify) holds half of a surrogate pair")
    return text
