"""Files that grow under temporary names, with a journal of how far their source was read.

A run that was killed leaves drafts and journal behind; the next run of the same command on the same
data continues there. Finished drafts take their names all at once, one rename after the other.
"""

import glob
import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from pydantic import TypeAdapter

from srl_data.command.errors import IncompleteError
from srl_data.files import fsync_path, naming, write_json
from srl_data.listing import Listed
from srl_data.lock import LockedError, is_file_at, remove_left, try_lock
from srl_data.outputs import check_kind
from srl_data.reasons import by_count

COMMIT_SECONDS = 1.0
"""Time between two entries of the journal."""


@dataclass
class Tally:
    """What was found in the rows that were taken so far."""

    taken: int = 0
    """Rows of the source."""
    counts: dict[str, int] = field(default_factory=dict)
    total: float = 0.0
    """A sum that is no count."""
    skipped: Listed = field(default_factory=Listed)
    """A line for each bad row that was left out."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Rows that give nothing, by the reason."""
    named: dict[str, list[str]] = field(default_factory=dict)
    """The first names of those, by the reason."""

    @property
    def reasons(self) -> dict[str, int]:
        """What was left out by reason, the commonest first."""
        return by_count(self.left_out)


@dataclass
class Journal:
    """How far a run came."""

    key: str
    sizes: list[int]
    """Bytes of each draft."""
    tally: Tally


def read_journal(path: Path) -> Journal:
    """What `write_json` made of a journal; ValueError for anything else."""
    return TypeAdapter(Journal).validate_python(json.loads(path.read_bytes()))


class Draft:
    """The outputs of one run, by name, and the tally of what is in them."""

    def __init__(self, paths: Mapping[str, Path], key: str | None) -> None:
        self.paths = {name: path.resolve() for name, path in paths.items()}
        self.key = key
        self.tally = Tally()
        self.resumed = 0
        """Rows that an earlier run had taken."""
        self._files: dict[str, BinaryIO] = {}
        self._last = time.monotonic()

    @property
    def journal(self) -> Path:
        """Where the journal stands."""
        return journal_of(next(iter(self.paths.values())))

    def write(self, name: str, lines: Sequence[bytes]) -> None:
        """Append lines to an output."""
        with naming(self.paths[name]):
            self._files[name].writelines(lines)

    def commit(self) -> None:
        """Note how far the run is, now and then; tally and files must be in step."""
        if self.key is None or time.monotonic() - self._last < COMMIT_SECONDS:
            return
        self._sync()
        sizes = [file.tell() for file in self._files.values()]
        write_json(self.journal, asdict(Journal(self.key, sizes, self.tally)))
        self._last = time.monotonic()  # a slow disk is not given the next entry at once

    def open(self, stack: ExitStack) -> None:
        """Open the drafts: those of an earlier run where it was the same, else new ones."""
        try:
            for name, path in self.paths.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                file: BinaryIO = stack.enter_context(draft_of(path).open("ab"))
                lock(file, path)
                self._files[name] = file
        except BaseException:
            self._remove_empty()
            raise
        earlier = self._earlier()
        self.tally = earlier.tally if earlier else Tally()
        self.resumed = self.tally.taken
        sizes = earlier.sizes if earlier else [0] * len(self._files)
        for file, size in zip(self._files.values(), sizes, strict=True):
            file.truncate(size)
            file.seek(0, os.SEEK_END)
        if earlier is None:
            self._forget()

    def _earlier(self) -> Journal | None:
        """The journal of an earlier run of the same command, whose drafts are all there."""
        try:
            found = read_journal(self.journal)
        except (FileNotFoundError, ValueError):
            return None
        held = [os.fstat(file.fileno()).st_size for file in self._files.values()]
        whole = len(found.sizes) == len(held) and all(map(int.__ge__, held, found.sizes))
        return found if whole and found.key == self.key else None

    def _remove_empty(self) -> None:
        """Remove the drafts that are held and empty; an earlier run's journal allows that."""
        for name, file in self._files.items():
            if os.fstat(file.fileno()).st_size == 0:
                draft_of(self.paths[name]).unlink(missing_ok=True)

    def finish(self) -> None:
        """Give the drafts their names."""
        self._sync()
        for path in self.paths.values():  # while the locks are held
            draft_of(path).replace(path)
            fsync_path(path.parent)
        self._forget()

    def _sync(self) -> None:
        for name, file in self._files.items():
            with naming(self.paths[name]):
                file.flush()
                os.fsync(file.fileno())

    def remove(self) -> None:
        """Leave nothing behind; what could not be written is not tried again."""
        for path in self.paths.values():  # while the locks are held
            with suppress(OSError):
                draft_of(path).unlink()
        self._forget()
        for file in self._files.values():  # closed later, it would hide the failure by its own
            with suppress(OSError):
                file.close()

    def _forget(self) -> None:
        journal = self.journal
        with suppress(OSError):
            journal.unlink()
        # What a run left that was killed as it wrote an entry; the locks say that none does now.
        for left in journal.parent.glob(f".{glob.escape(journal.name)}.*.tmp"):
            left.unlink(missing_ok=True)


def draft_of(path: Path) -> Path:
    """`.NAME.draft` beside `NAME`."""
    return path.with_name(f".{path.name}.draft")


def journal_of(path: Path) -> Path:
    """The journal of a run whose first output is `path`."""
    return path.with_name(f".{path.name}.journal")


def remove_unused(path: Path) -> None:
    """Remove the draft of an output that is not written now, unless a run of its own has it."""
    if not journal_of(path).exists():
        remove_left(draft_of(path))


def lock(file: BinaryIO, path: Path) -> None:
    """LockedError where another process is writing the same output."""
    free = try_lock(file.fileno())
    # Its holder may have ended, and given the draft its name, since it was opened here.
    if free is False or (free and not is_file_at(file.fileno(), draft_of(path))):
        raise LockedError(
            f"another process is writing {path}; wait for its end, or give another --output"
        )


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Hold an output before its draft is opened; LockedError where another process holds it."""
    final = path.resolve()
    final.parent.mkdir(parents=True, exist_ok=True)
    with draft_of(final).open("ab") as file:
        lock(file, final)
        try:
            yield
        finally:
            if os.fstat(file.fileno()).st_size == 0:  # else a killed run left it to be continued
                draft_of(final).unlink(missing_ok=True)


def run_key(*parts: object) -> str:
    """A hash that two runs share if one can continue the other."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@contextmanager
def draft(
    paths: Mapping[str, Path], key: str | None, unused: Iterable[Path] = ()
) -> Iterator[Draft]:
    """Outputs that appear whole when the block ends without an error.

    An error leaves nothing behind, and nothing at the outputs' names changes. A kill, an interrupt
    and an IncompleteError leave drafts that the next run with the same key continues; with `key`
    None there is none such. `unused` are outputs that runs with other options write; what a killed
    one left of them goes. Raises LockedError where another process writes the same output.
    """
    for path in paths.values():
        check_kind(path)
    opened = Draft(paths, key)
    with ExitStack() as stack:
        opened.open(stack)
        for path in unused:
            remove_unused(path.resolve())
        try:
            yield opened
            opened.finish()
        except (IncompleteError, KeyboardInterrupt):
            if key is None:
                opened.remove()
            raise
        except BaseException:
            opened.remove()
            raise
