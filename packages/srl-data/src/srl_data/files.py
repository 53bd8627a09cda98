"""Files written so that a reader sees the old or the whole new one, never a part.

Temporary name in the same folder, flush, fsync, rename, fsync of the folder.
"""

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from srl_data.command.errors import CommandError
from srl_data.lock import open_held, remove_all_left

CHUNK = 1 << 20


def fsync_path(path: Path) -> None:
    """Bring a file's bytes to the disk, or make a rename inside a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def naming(path: Path | str) -> Iterator[None]:
    """Within, a failure to write that names no file, as that of a full disk, names this one."""
    try:
        yield
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """A binary file that appears at `path`, whole, when the block ends without an error.

    On an error, and on an interrupt, nothing at `path` changes and the temporary file is gone.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        # A rename would put a plain file in the place of a device or pipe.
        raise CommandError(f"{path} is a device or a pipe; give the name of a file")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path), open_held(temporary) as file:
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.replace(path)  # while it is held: what nobody holds may be removed
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
    fsync_path(path.parent)


def is_stream(path: Path) -> bool:
    """Whether a path is that of a device or a pipe, which takes bytes as they come."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def remove_temporaries(path: Path) -> None:
    """Remove what killed processes left of `path` as they wrote it; what is being written stays."""
    remove_all_left(path, "tmp")


@contextmanager
def result_writer(path: Path | None) -> Iterator[BinaryIO]:
    """Where a command's records go: standard output for None, a device or pipe as it is, or a file.

    A file appears whole at the end (`atomic_writer`); a link to one keeps pointing where it did.
    """
    if path is None:
        if sys.stdout is None:
            raise CommandError("standard output is closed; give --output FILE")
        with naming("standard output"):
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
    elif is_stream(path):
        with naming(path), path.open("wb") as file:
            yield file
    else:
        with atomic_writer(path.resolve()) as file:
            yield file


def write_bytes(path: Path, data: bytes) -> None:
    """Atomically replace `path` by `data`."""
    with atomic_writer(path) as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Atomically replace `path` by `text` in UTF-8."""
    write_bytes(path, text.encode("utf-8"))


def write_json(path: Path, content: object) -> None:
    """Atomically replace `path` by JSON that people can read; lone surrogates are escaped."""
    text = json.dumps(content, indent=2, ensure_ascii=False)
    try:
        write_text(path, text + "\n")
    except UnicodeEncodeError:
        write_text(path, json.dumps(content, indent=2) + "\n")


def link_or_copy(source: Path, target: Path) -> None:
    """Make `target` a hard link to a file, or a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        with naming(target):
            shutil.copy2(source, target)


def sha256_file(path: Path) -> str:
    """Hex SHA-256 of a file's bytes, read in chunks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(CHUNK):
            digest.update(block)
    return digest.hexdigest()
