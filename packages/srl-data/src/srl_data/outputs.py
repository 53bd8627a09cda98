"""Whether a command can write a file where it is asked to, found out before anything is read.

Left out: whether the file is one that the command reads, which is `srl_data.splits`'.
"""

import errno
import os
import stat
from contextlib import suppress
from pathlib import Path

from srl_data.command.errors import ConfigError
from srl_data.command.frame import DISK_ERRORS, PATH_ERRORS

REASONS = PATH_ERRORS | {
    errno.ELOOP: "its symbolic links lead in a circle",
    errno.ENOENT: "its folder cannot be made",
}


def check_writable(path: Path) -> None:
    """ConfigError where no file can be written at `path`; nothing is left behind.

    A full disk raises OSError naming the path, as it does later on.
    """
    try:
        check_kind(path)
        probe(path.resolve())
    except OSError as error:
        if error.errno in DISK_ERRORS:
            error.filename = str(path)
            raise
        reason = REASONS.get(error.errno or 0, error.strerror)
        raise ConfigError(f"cannot write {path}: {reason}; give another path") from error


def check_kind(path: Path) -> None:
    """ConfigError where what stands at `path` is no file; OSError where it cannot be looked at."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return
    if stat.S_ISDIR(mode):
        raise ConfigError(f"{path} is a folder; give the name of a file")
    if not stat.S_ISREG(mode):
        raise ConfigError(f"{path} is a device or a pipe; give the name of a file")


def probe(path: Path) -> None:
    """Make a file in the folder of `path`, or where that is to be made, and remove it.

    Its name is as long as the longest of the temporary ones that a file is written under.
    """
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    trial = folder / f"..{path.name}.journal.{os.getpid()}.tmp"
    try:
        trial.touch()
    finally:
        with suppress(OSError):
            trial.unlink()
