"""One process to a folder or a file: a lock that dies with its holder, whatever ends it.

The lock is flock's: on a folder's file `.lock`, which also tells who holds it, or on the very file
that is written. Between processes of one host it is exact. Between hosts it is what the file system
makes of it: NFS since version 4 (and version 3 with its lock daemon) keeps it, and lets go some
minute after a host is lost; Lustre does where it is mounted with `flock`; where there are no locks
at all, a note says so.
"""

import errno
import fcntl
import glob
import json
import os
import socket
import time
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from srl_data.command.errors import CommandError

NAME = ".lock"
PATIENCE_SECONDS = 60.0
"""How long another writer of a file is waited for."""
UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


def try_lock(handle: int) -> bool | None:
    """Lock an open file, if no other process holds it; None where there are no locks."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in UNSUPPORTED:
            raise
        return None
    return True


def is_file_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that stands at a path."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def open_held(path: Path) -> BinaryIO:
    """A new file, locked as long as it is open: one that a killed process left is not.

    LockedError where another writer holds a file of this name, as one with the same number may in
    another container.
    """
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o666)
        # `remove_left` may have it for a moment, and then it is gone.
        if try_lock(handle) is not False and is_file_at(handle, path):
            os.ftruncate(handle, 0)
            return os.fdopen(handle, "wb")
        os.close(handle)
        if time.monotonic() > until:
            raise LockedError(f"another process is writing {path}; wait for its end, or stop it")
        time.sleep(0.01)


def remove_left(path: Path) -> None:
    """Remove a file that a killed process held; one that is held, or cannot be locked, stays."""
    with suppress(OSError), path.open("rb") as file:
        if try_lock(file.fileno()):
            path.unlink()


def remove_all_left(beside: Path, end: str) -> None:
    """Do so with all files `.NAME.PID.end` beside `NAME`."""
    for path in beside.parent.glob(f".{glob.escape(beside.name)}.*.{end}"):
        if path.name[len(beside.name) + 2 : -len(end) - 1].isdecimal():
            remove_left(path)


class LockedError(CommandError):
    """Another live process works in the folder; the message names it."""


class FolderLock:
    """A lock on a folder, from `take` to `release` or the end of the process.

    A forked child does not inherit it.
    """

    def __init__(self, file: str | None = None) -> None:
        """`file` names a file of the folder for a lock on that alone, not on the whole folder."""
        self._file = file
        self._handle: int | None = None
        self._folder: Path | None = None
        self.note: str | None = None
        """What the user should know of the lock, where the file system keeps none."""
        os.register_at_fork(after_in_child=self._close)

    def take(self, folder: Path) -> None:
        """Lock `folder`, which exists; LockedError naming the holder where one is alive."""
        if self._folder is not None:
            assert self._folder.samefile(folder), "one lock, one folder"
            return
        name = NAME if self._file is None else f".{self._file}{NAME}"
        what = folder if self._file is None else folder / self._file
        handle = os.open(folder / name, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            free = try_lock(handle)
        except OSError:
            os.close(handle)
            raise
        if free is False:
            holder = describe_holder(handle)
            os.close(handle)
            raise LockedError(f"{what} is in use by {holder}; wait for its end, or stop it")
        if free is None:
            os.close(handle)
            self.note = f"{what}: this file system keeps no locks; do not run twice in it"
            self._folder = folder
            return
        self._handle, self._folder = handle, folder
        os.ftruncate(handle, 0)
        os.pwrite(handle, json.dumps(holder_record()).encode() + b"\n", 0)

    def release(self) -> None:
        """Let go of the folder; the file stays, empty."""
        if self._handle is not None:
            with suppress(OSError):
                os.ftruncate(self._handle, 0)
                fcntl.flock(self._handle, fcntl.LOCK_UN)
        self._close()

    def _close(self) -> None:
        if self._handle is not None:
            os.close(self._handle)
        self._handle = self._folder = None


def holder_record() -> dict[str, object]:
    """Who this process is, for whoever finds the folder locked."""
    since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {"host": socket.gethostname(), "pid": os.getpid(), "since": since}


def describe_holder(handle: int) -> str:
    """`process 12 on HOST since TIME`, or that it is not known."""
    try:
        record = json.loads(os.pread(handle, 4096, 0))
        return f"process {record['pid']} on {record['host']} since {record['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"  # between its lock and its line
