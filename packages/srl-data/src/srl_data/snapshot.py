"""Snapshots of sources: their rows with checksums, so that a later run needs no network.

A snapshot holds the rows of each split as JSON Lines, and in SNAPSHOT.json, which is written last,
where they came from and the SHA-256 of each file. A later run reads the snapshot alone, checks each
checksum, and so proves that it used the same bytes. Left out: what the rows mean.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from srl_data.command.errors import DataError
from srl_data.files import sha256_file, write_json
from srl_data.listing import Listed
from srl_data.manifest import Source
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.kept import kept_pass, mark_of
from srl_data.passes.run import Pass
from srl_data.passes.workers import Outcome
from srl_data.records import OnError, encode_object, parse_as
from srl_data.sources import RowSource, open_file
from srl_data.splits import Splits

RECORD = "SNAPSHOT.json"
ROWS = "rows"


class SnapshotFile(BaseModel):
    """The rows of one split."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    file: str
    origin: Source
    rows: int
    skipped: int = 0
    """Malformed rows of the source that were left out, where that was asked for."""
    sha256: str


class Wanted(BaseModel):
    """What was asked for; a snapshot of something else is not used."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    """A hub id, or the name of a local file or folder."""
    subset: str | None
    revision: str | None
    """As it was asked for, of hub data sets alone."""


class Snapshot(BaseModel):
    """What SNAPSHOT.json says."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    wanted: Wanted
    splits: dict[str, SnapshotFile]


def read_snapshot(folder: Path, wanted: Wanted) -> Snapshot | None:
    """The snapshot in a folder, its files proven by their checksums; None where there is none.

    Raises DataError where it is of something else, or a file is not as it was written.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        found = parse_as(Snapshot, path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: not a snapshot ({error}); remove the folder") from error
    if found.wanted != wanted:
        raise DataError(
            f"{folder} is a snapshot of {described(found.wanted)}, not of {described(wanted)}; "
            "name another --snapshot-dir, or remove it"
        )
    for part in found.splits.values():
        check_file(folder / part.file, part.sha256)
    return found


def described(wanted: Wanted) -> str:
    """What a snapshot is of, for a message."""
    subset = f", subset {wanted.subset}" if wanted.subset else ""
    return f"{wanted.source}{subset}" + (f" at {wanted.revision}" if wanted.revision else "")


def check_file(path: Path, sha256: str) -> None:
    """DataError where a file of a snapshot is not there, or was changed."""
    if not path.is_file():
        raise DataError(f"{path} of the snapshot is missing; remove the snapshot to take it again")
    if sha256_file(path) != sha256:
        raise DataError(
            f"{path} was changed after the snapshot was taken (its sha256 is not {RECORD}'s); "
            "remove the snapshot to take it again"
        )


def take_snapshot(
    folder: Path,
    wanted: Wanted,
    splits: Mapping[str, Callable[[], RowSource]],
    on_error: OnError,
    skipped: Listed,
) -> Snapshot:
    """Write the rows of some splits, and the record last."""
    (folder / RECORD).unlink(missing_ok=True)
    written, passes = (
        {},
        [row_pass(folder, wanted, name, part(), on_error) for name, part in splits.items()],
    )
    for name, work in zip(splits, passes, strict=True):
        tally = kept_pass(work, lambda: row_lines)
        skipped.join(tally.skipped)
        path = work.paths[ROWS]
        written[name] = SnapshotFile(
            file=path.name,
            origin=work.source.origin,
            rows=tally.taken,
            skipped=tally.skipped.count,
            sha256=sha256_file(path),
        )
    found = Snapshot(wanted=wanted, splits=written)
    write_json(folder / RECORD, found.model_dump(mode="json"))
    for work in passes:
        mark_of(work).unlink(missing_ok=True)
    return found


def row_pass(folder: Path, wanted: Wanted, name: str, source: RowSource, on_error: OnError) -> Pass:
    """The pass that copies the rows of one split, which a later run continues after a kill."""
    paths, label = {ROWS: folder / f"{name}.jsonl"}, f"reading {name}"
    return Pass("snapshot", source, paths, wanted.model_dump(), on_error, label=label)


def row_lines(rows: Sequence[NumberedRow]) -> Outcome:
    """Rows as JSON Lines."""
    outcome = Outcome()
    for _, row in rows:
        outcome.write(ROWS, encode_object(row))
    return outcome


def check_origins(snapshot: Snapshot, folder: Path, splits: Splits) -> None:
    """DataError where the local source is still there and is no longer what was read."""
    for name, part in snapshot.splits.items():
        now = splits[name].origin if name in splits.parts else None
        if now is None or (now.sha256, now.revision) != (part.origin.sha256, part.origin.revision):
            raise DataError(
                f"{splits.name}: the split {name!r} is not what the snapshot {folder} was taken "
                "from; remove the snapshot to take it again, or name another --snapshot-dir"
            )


def open_snapshot(folder: Path, snapshot: Snapshot) -> Splits:
    """The splits of a snapshot; each tells where its rows came from first."""

    def opened(part: SnapshotFile) -> RowSource:
        rows = open_file(folder / part.file)
        return RowSource(part.origin, rows.read, rows.place, lambda: part.rows)

    return Splits(
        str(folder), {name: partial(opened, part) for name, part in snapshot.splits.items()}
    )
