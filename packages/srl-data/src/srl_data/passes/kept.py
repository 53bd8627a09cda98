"""Passes that are not a command's last: what they wrote stays until the command is through.

A run that was killed later on takes their outputs as they are and begins with the next pass.
"""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import rich_click as click

from srl_data.command.errors import IncompleteError, InterruptedRunError
from srl_data.files import write_json
from srl_data.lock import FolderLock
from srl_data.passes.draft import Journal, Tally, read_journal
from srl_data.passes.run import Pass, run_pass
from srl_data.passes.workers import Opened, Outcome


@contextmanager
def work_folder(output: Path) -> Iterator[Path]:
    """A folder beside an output, `.NAME.building`, for what is between the passes.

    It is gone at the end and after an error. A kill and an interrupt leave it for the next run.
    """
    folder = output.resolve().with_name(f".{output.name}.building")
    with kept_folder(folder):
        yield folder


@contextmanager
def kept_folder(folder: Path) -> Iterator[None]:
    """A folder for the passes of the block; only a kill or an interrupt leaves it.

    LockedError where another run works in it, which keeps it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lock = FolderLock()
    lock.take(folder)
    try:
        yield
    except (IncompleteError, InterruptedRunError, KeyboardInterrupt):
        raise
    except BaseException:
        remove(folder)
        raise
    else:
        remove(folder)
    finally:
        lock.release()


def remove(folder: Path) -> None:
    """Remove what is between the passes, if there is any; what cannot be removed harms nobody."""
    shutil.rmtree(folder, ignore_errors=True)


def kept_pass(
    work: Pass, opened: Opened[Outcome], check: Callable[[Tally], None] = lambda _: None
) -> Tally:
    """As `run_pass`, but where an earlier run has done the same, its outputs are taken."""
    earlier = finished(work)
    if earlier is not None:
        click.echo(f"{earlier.taken} rows were read by an earlier run ({work.label})", err=True)
        return earlier
    tally = run_pass(work, opened, check)
    if work.key is not None:
        write_json(mark_of(work), asdict(Journal(work.key, sizes_of(work), tally)))
    return tally


def finished(work: Pass) -> Tally | None:
    """What an earlier run of the same pass found, where its outputs are as it left them."""
    try:
        found = read_journal(mark_of(work))
        whole = found.key == work.key and found.sizes == sizes_of(work)
    except (FileNotFoundError, ValueError):
        return None
    return found.tally if whole else None


def mark_of(work: Pass) -> Path:
    """Where it stands that a pass is done."""
    first = next(iter(work.paths.values()))
    return first.with_name(f".{first.name}.done")


def sizes_of(work: Pass) -> list[int]:
    """Bytes of each output."""
    return [path.stat().st_size for path in work.paths.values()]
