"""Rows of data as they are, each with where it stands: from local files or from the hub.

What a row means is its reader's business: `problems.py`, `fewshot.py`.
"""

from collections.abc import Iterator
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.records import open_data
from srl_data.sources import RowSource, resolve_commit
from srl_data.split_names import HELD_OUT
from srl_data.splits import heldout_split, is_glob, open_splits
from srl_eval.tasks import HubSource

Row = dict[str, object]
Rows = Iterator[tuple[str, Row]]


def open_rows(path: Path) -> RowSource:
    """A local file, a glob, or a folder, of whose splits the held-out one is read.

    DataError where it cannot be read, or no split of a folder is held out.
    """
    if not path.exists() and not is_glob(path):
        open_data(path)  # says what is wrong with the path; a hub is not asked
    splits = open_splits(str(path))
    name = heldout_split(splits, None, None)
    if name is None and len(splits.parts) == 1:
        name = next(iter(splits.parts))
    if name is None:
        raise DataError(
            f"{path} has the splits {splits.names} and none is held out ({', '.join(HELD_OUT)}); "
            "give the file of one"
        )
    return splits[name]


def read_rows(path: Path) -> Rows:
    """(where, row) for each row of a local file, a glob, or a folder's held-out split."""
    source = open_rows(path)
    try:
        for position, row in source.read("fail", lambda _: None):
            yield source.place(position), row
    except DataError as error:  # there is no such flag here
        raise DataError(str(error).replace(" or pass --on-error skip", "")) from error


def hub_rows(source: HubSource, revision: str | None, flag: str) -> tuple[Rows, str]:
    """Rows of a data set on the hub, and its name with the commit that was read.

    `revision` goes before the pinned one. `flag` is the option that takes a local file instead, for
    the DataError where the hub cannot be read.
    """
    from datasets import load_dataset

    try:
        commit = resolve_commit(source.name, revision or source.revision)
        parts = [
            (subset, load_dataset(source.name, subset, split=source.split, revision=commit))
            for subset in source.subsets
        ]
    except Exception as error:
        reason = " ".join(str(error.__cause__ or error).split())[:200]
        msg = f"cannot read {source.name} from the hub: {reason}; name a local file with {flag}"
        raise DataError(msg) from error
    label = f"{source.name}@{commit}"
    rows = (
        (f"{label}: {subset or 'row'} {number}", dict(row))
        for subset, data in parts
        for number, row in enumerate(data, 1)
    )
    return rows, label
