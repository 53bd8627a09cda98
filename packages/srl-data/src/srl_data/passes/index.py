"""Keys of records in a table on disk, so that a source of any length needs little memory.

Of each key it knows the group it is in, where it came first, and whether it is held out. The table
is a SQLite file beside the output, made anew by each run and gone at its end.
"""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

from srl_data.command.errors import CommandError
from srl_data.lock import open_held, remove_all_left

CACHE_KIB = 4096
"""Of the table's pages in memory."""
SETTINGS = ("journal_mode = OFF", "synchronous = OFF", f"cache_size = -{CACHE_KIB}")

Entry = tuple[bytes, str, int]
"""A record's key, its group and its position."""


class KeyIndex:
    """The keys of a source's records."""

    def __init__(self, path: Path, table: sqlite3.Connection) -> None:
        self.path = path
        self._table = table

    def add(self, entries: Iterable[Entry]) -> None:
        """Note keys; of one that comes again the first entry stays."""
        with self._table:
            self._table.executemany("INSERT OR IGNORE INTO keys VALUES (?, ?, ?, 0)", entries)

    def groups(self) -> dict[str, int]:
        """How many keys each group has."""
        found = self._table.execute("SELECT part, COUNT(*) FROM keys GROUP BY part ORDER BY part")
        return dict(found.fetchall())

    def hold_out(self, group: str, count: int) -> None:
        """Hold out the `count` smallest keys of a group."""
        with self._table:
            self._table.execute(
                "UPDATE keys SET held = 1 WHERE key IN "
                "(SELECT key FROM keys WHERE part = ? ORDER BY key LIMIT ?)",
                (group, count),
            )

    def is_held_out(self, key: bytes) -> bool:
        """Whether a key that was added is held out."""
        row = self._table.execute("SELECT held FROM keys WHERE key = ?", (key,)).fetchone()
        return bool(row[0])

    def first(self, key: bytes) -> int:
        """The position at which a key that was added came first."""
        row = self._table.execute("SELECT first FROM keys WHERE key = ?", (key,)).fetchone()
        return int(row[0])


@contextmanager
def key_index(output: Path) -> Iterator[KeyIndex]:
    """An empty index beside an output, of this process alone, removed at the end.

    Those that killed runs left are removed too. CommandError where the disk is full.
    """
    final = output.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    remove_all_left(final, "keys")
    path = final.with_name(f".{final.name}.{os.getpid()}.keys")
    with open_held(path):
        try:
            with closing(sqlite3.connect(path)) as table:
                yield new_index(path, table)
        except sqlite3.OperationalError as error:
            msg = f"cannot write the index {path}: {error}; is the disk full?"
            raise CommandError(msg) from error
        finally:
            with suppress(OSError):
                path.unlink()


def new_index(path: Path, table: sqlite3.Connection) -> KeyIndex:
    """An index without keys, in a file that is empty."""
    for setting in SETTINGS:
        table.execute(f"PRAGMA {setting}")
    table.execute(
        "CREATE TABLE keys (key BLOB PRIMARY KEY, part TEXT, first INTEGER, held INTEGER) "
        "WITHOUT ROWID"
    )
    return KeyIndex(path, table)


def open_index(path: Path) -> KeyIndex:
    """An index that another process has filled, to look up keys in."""
    return KeyIndex(path, sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True))
