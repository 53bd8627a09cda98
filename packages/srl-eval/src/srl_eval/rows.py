"""Rows of data as they are, each with where it stands: from a local file or from the hub.

What a row means is its reader's business: `problems.py`, `fewshot.py`.
"""

import json
from collections.abc import Iterator
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.records import open_data, read_objects
from srl_data.sources import resolve_commit
from srl_eval.tasks import HubSource

Row = dict[str, object]
Rows = Iterator[tuple[str, Row]]


def read_rows(path: Path) -> Rows:
    """(where, row) for each row of a local file."""
    if path.suffix != ".json":
        for number, row in read_objects(path, skippable=False):
            yield f"{path}:{number}", row
        return
    with open_data(path) as file:
        try:
            content = json.load(file)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}: not JSON: {error}") from error
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f"{path}: expected a JSON list of objects")
    for number, row in enumerate(content, 1):
        yield f"{path}: row {number}", row


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
