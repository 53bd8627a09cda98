"""Where solutions are read from: a local file or folder, or a data set on the hub.

`open_source` finds out what a name is and gives rows with their position; formats are a JSON
array, JSON Lines, Parquet, a folder saved by `datasets`, or `OWNER/NAME` on the hub. What a row
means is the builder's business.
"""

import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.files import sha256_file
from srl_data.manifest import Source
from srl_data.records import OnError, Skipped, open_data, read_objects

Row = dict[str, object]
NumberedRows = Iterator[tuple[int, Row]]
"""Rows with their 0-based position in the source."""

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
COMMIT = re.compile(r"[0-9a-f]{40}")
FORMATS = "a JSON array (.json), JSON Lines (.jsonl), Parquet (.parquet) or a `datasets` folder"


@dataclass(frozen=True)
class RowSource:
    """Rows that can be read again and again, and where they come from."""

    origin: Source
    read: Callable[[OnError, Skipped], NumberedRows]
    """Stream the rows; a bad one raises DataError, or is reported where "skip" is asked for."""


def read_jsonl(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON Lines file."""
    for number, row in read_objects(path, on_error, skipped):
        yield number - 1, row


def read_json_array(path: Path, on_error: OnError, skipped: Skipped) -> NumberedRows:
    """Objects of a JSON array; the array is held in memory as a whole."""
    with open_data(path) as file:
        try:
            items = json.load(file)
        except (ValueError, RecursionError) as error:
            msg = f"{path}: not JSON: {error}; for one object per line, name the file .jsonl"
            raise DataError(msg) from error
    if not isinstance(items, list):
        msg = f"{path}: expected an array of objects at the top, found {type(items).__name__}"
        raise DataError(msg)
    for index, item in enumerate(items):
        if isinstance(item, dict):
            yield index, item
            continue
        reason = f"{path}: item {index} is not an object but {type(item).__name__}"
        if on_error == "fail":
            raise DataError(f"{reason}; mend it or pass --on-error skip")
        skipped(reason)


def read_parquet(path: Path, _on_error: OnError, _skipped: Skipped) -> NumberedRows:
    """Rows of a Parquet file, a batch at a time."""
    import pyarrow.parquet  # type: ignore[import-untyped]

    index = 0
    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    yield index, row
                    index += 1
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"{path}: not a Parquet file that can be read: {error}") from error


def read_dataset(dataset: object) -> NumberedRows:
    """Rows of a `datasets.Dataset`."""
    assert hasattr(dataset, "__iter__")
    yield from enumerate(dataset)


def one_split(loaded: object, name: str) -> object:
    """The `train` split of a `DatasetDict`, or its only one; a plain data set as it is."""
    if not isinstance(loaded, dict):
        return loaded
    if "train" in loaded:
        return loaded["train"]
    if len(loaded) == 1:
        return next(iter(loaded.values()))
    msg = f"{name} has the splits {sorted(loaded)} and none is 'train'; give one split's folder"
    raise DataError(msg)


def open_folder(path: Path) -> RowSource:
    """A folder written by `save_to_disk`."""
    if not any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        msg = f"{path} is a folder without a data set saved by `datasets`; expected {FORMATS}"
        raise DataError(msg)
    import datasets

    try:
        loaded = one_split(datasets.load_from_disk(str(path)), str(path))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: `datasets` cannot load this folder: {error}") from error
    # The fingerprint is `datasets`' own hash of the content's history.
    fingerprint = str(getattr(loaded, "_fingerprint", ""))
    return RowSource(
        Source(name=path.name, revision=f"fingerprint {fingerprint}"),
        lambda _on_error, _skipped: read_dataset(loaded),
    )


def open_file(path: Path) -> RowSource:
    """A local data file, its format told by its suffix."""
    readers = {".json": read_json_array, ".jsonl": read_jsonl, ".parquet": read_parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{path}: unknown kind of file {path.suffix!r}; expected {FORMATS}")
    origin = Source(name=path.name, sha256=sha256_file(path))
    return RowSource(origin, lambda on_error, skipped: reader(path, on_error, skipped))


def hub_failure(name: str, revision: str | None, error: Exception) -> DataError:
    """The error for a data set that the hub did not give."""
    reason = " ".join(str(error).split()) or type(error).__name__
    at = f" at revision {revision!r}" if revision else ""
    return DataError(
        f"cannot load {name!r}{at} from the hub ({reason}); check the name and the network, "
        "or give a local copy: --source FILE"
    )


def resolve_commit(name: str, revision: str | None) -> str:
    """The commit behind a branch or tag of a hub data set; a full commit needs no network."""
    if revision and COMMIT.fullmatch(revision):
        return revision
    from huggingface_hub import HfApi

    try:
        sha = HfApi().dataset_info(name, revision=revision, timeout=30).sha
    except Exception as error:  # the client's errors share no base class
        raise hub_failure(name, revision, error) from error
    if sha is None:
        raise hub_failure(name, revision, ValueError("the hub names no commit"))
    return sha


def open_hub(name: str, revision: str | None) -> RowSource:
    """A data set on the hub, at one commit, through the local cache of `datasets`."""
    commit = resolve_commit(name, revision)
    import datasets

    try:
        loaded = one_split(datasets.load_dataset(name, revision=commit), name)
    except DataError:
        raise
    except Exception as error:
        raise hub_failure(name, commit, error) from error
    return RowSource(
        Source(name=name, revision=commit), lambda _on_error, _skipped: read_dataset(loaded)
    )


def open_source(name: str, revision: str | None = None) -> RowSource:
    """The rows behind `--source`: a file or folder that exists, else a data set on the hub.

    Raises DataError (exit code 3) where there is neither or it cannot be read.
    """
    path = Path(name)
    if path.exists():
        if revision:
            raise DataError(f"--revision {revision!r} is for hub data sets; {name!r} is local")
        return open_folder(path) if path.is_dir() else open_file(path)
    if HUB_NAME.fullmatch(name) and path.suffix not in (".json", ".jsonl", ".parquet"):
        return open_hub(name, revision)
    raise DataError(f"no such data file: {name}; expected {FORMATS}, or OWNER/NAME on the hub")
