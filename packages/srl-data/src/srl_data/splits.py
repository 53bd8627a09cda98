"""Native splits: the parts that a data set comes in, `train`, `test` and their like.

`open_splits` finds out what a name is: a file, which has no splits; a folder with files named by
their split, or one saved by `datasets`; else a data set on the hub. `training_split` and
`heldout_split` say which part a command reads. Formats of files are `srl_data.sources`'.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.manifest import Source
from srl_data.sources import (
    FORMATS,
    READERS,
    NumberedRows,
    RowSource,
    check_format,
    hub_failure,
    open_file,
    open_files,
    resolve_commit,
)

WHOLE = ""
"""The name of the only part of what has no splits."""
TRAIN = "train"
HELD_OUT = ("test", "validation", "valid", "val", "dev", "eval")
"""Names of held-out splits, the first that there is being taken."""

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
SPLIT_FILE = re.compile(
    r"(?P<split>\w+)(?:-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?)?\.\w+"
)
"""`train.jsonl`, `train-00000-of-00002.parquet`."""
NOT_DATA = frozenset({"dataset_info", "dataset_infos", "dataset_dict", "state"})
"""JSON files that `datasets` writes beside the data."""


@dataclass(frozen=True)
class Splits:
    """The parts of a data set by their names; a part is opened where it is asked for."""

    name: str
    parts: Mapping[str, Callable[[], RowSource]]

    @property
    def undivided(self) -> bool:
        """Whether it has no splits: a file, or one table."""
        return set(self.parts) == {WHOLE}

    @property
    def names(self) -> str:
        """The splits for a message."""
        return ", ".join(sorted(self.parts))

    def __getitem__(self, name: str) -> RowSource:
        return self.parts[name]()


def open_splits(name: str, revision: str | None = None, subset: str | None = None) -> Splits:
    """The parts of a file or folder that exists, else of a data set on the hub.

    `revision` and `subset` (one of several configurations) are of the hub alone. Raises DataError
    (exit code 3) where there is neither or it cannot be read.
    """
    path = Path(name)
    if path.exists():
        for value, what in ((revision, "revision"), (subset, "subset")):
            if value:
                raise DataError(
                    f"{what} {value!r} is for hub data sets and {name!r} is local; leave it out"
                )
        if path.is_dir():
            return open_folder(path)
        check_format(path)
        return Splits(name, {WHOLE: lambda: open_file(path)})
    if HUB_NAME.fullmatch(name) and may_have_splits(name):
        return open_hub(name, revision, subset)
    raise DataError(f"no such data file: {name}; expected {FORMATS}, or OWNER/NAME on the hub")


def may_have_splits(name: Path | str) -> bool:
    """Whether a name can have splits, as folders and data sets of the hub do, and files do not."""
    return Path(name).suffix.lower() not in READERS


def open_source(name: str, revision: str | None = None) -> RowSource:
    """The rows behind a name; of several splits `train`, or the only one.

    Raises DataError as `open_splits` does, or where no split is to be chosen.
    """
    splits = open_splits(name, revision)
    if len(splits.parts) == 1:
        return splits[next(iter(splits.parts))]
    if TRAIN not in splits.parts:
        msg = f"{name} has the splits {splits.names} and none is {TRAIN!r}"
        raise DataError(f"{msg}; give the file or folder of one split")
    return splits[TRAIN]


def training_split(splits: Splits, wanted: str | None) -> str:
    """The split to train on: the `wanted` one, else `train`, else all of what has no splits.

    Raises ConfigError for a split of what has none, DataError for one that is not there.
    """
    if splits.undivided:
        refuse_split(splits, wanted, "--train-split")
        return WHOLE
    name = wanted or TRAIN
    if name not in splits.parts:
        raise missing_split(splits, name, "--train-split")
    return name


def heldout_split(splits: Splits, wanted: str | None, training: str | None) -> str | None:
    """The held-out split: the `wanted` one, else the first of `HELD_OUT` that there is.

    `training` is the split that is trained on, where it is of the same data set: never the held-out
    one. None where there is none; what has no splits is held out whole where `training` is None.
    Raises as `training_split` does.
    """
    if splits.undivided:
        refuse_split(splits, wanted, "--eval-split")
        return WHOLE if training is None else None
    if wanted is None:
        found = [name for name in HELD_OUT if name in splits.parts and name != training]
        return found[0] if found else None
    if wanted not in splits.parts:
        raise missing_split(splits, wanted, "--eval-split")
    if wanted == training:
        raise ConfigError(
            f"--eval-split {wanted!r} is the split that is trained on; give another of "
            f"{splits.names}"
        )
    return wanted


def refuse_split(splits: Splits, wanted: str | None, flag: str) -> None:
    """ConfigError where a split is asked of what has none."""
    if wanted is not None:
        raise ConfigError(f"{flag} {wanted!r}: {splits.name} has no splits; leave it out")


def missing_split(splits: Splits, name: str, flag: str) -> DataError:
    """The error for a split that a data set does not have."""
    return DataError(
        f"{splits.name} has no split {name!r} ({flag}); its splits: {splits.names or 'none'}; "
        f"choose with {flag}"
    )


def open_folder(path: Path) -> Splits:
    """A folder saved by `datasets`, or one of files named by their splits."""
    if any((path / name).is_file() for name in ("dataset_info.json", "dataset_dict.json")):
        return open_saved(path)
    found = split_files(path) or split_files(path / "data")
    if not found:
        raise DataError(
            f"{path} is a folder without a data set: neither files named by their split nor one "
            f"saved by `datasets`{folders_in(path)}; expected {FORMATS}"
        )
    parts = {
        name: partial(open_files, files, f"{path.name}/{name}") for name, files in found.items()
    }
    return Splits(str(path), parts)


def folders_in(path: Path) -> str:
    """The folders of a folder that could have been meant, for a message."""
    names = sorted(each.name for each in path.iterdir() if each.is_dir() and split_files(each))
    return f" (name one of its folders: {', '.join(names)})" if names else ""


def split_files(folder: Path) -> dict[str, list[Path]]:
    """The data files of each split, in order. DataError where a split is told twice or in part."""
    found: dict[str, list[Path]] = {}
    for path in data_files(folder):
        match = SPLIT_FILE.fullmatch(path.name)
        if match and match["split"] not in NOT_DATA:
            found.setdefault(match["split"], []).append(path)
    for name, files in found.items():
        check_shards(folder, name, files)
    for name, files in split_folders(folder):
        if name in found:
            raise DataError(
                f"{folder} has the split {name!r} twice, as {found[name][0].name} and as a folder; "
                "keep one"
            )
        found[name] = files
    return found


def data_files(folder: Path) -> list[Path]:
    """Files of a known format in a folder, in order; none where there is no such folder."""
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if path.suffix.lower() in READERS)


def check_shards(folder: Path, name: str, files: Sequence[Path]) -> None:
    """DataError where a split's files are not one, nor all of the parts that their names tell."""
    shards = [match for path in files if (match := SPLIT_FILE.fullmatch(path.name))]
    numbers = [int(match["number"] or 0) for match in shards]
    counts = {int(match["count"] or 1) for match in shards}
    if len(counts) == 1 and numbers == list(range(next(iter(counts)))):
        return
    names = ", ".join(path.name for path in files[:3]) + (", …" if len(files) > 3 else "")
    raise DataError(
        f"{folder}: the split {name!r} is neither one file nor a whole set of shards ({names}); "
        "keep one file, or all of NAME-00000-of-0000N"
    )


def split_folders(folder: Path) -> Iterator[tuple[str, list[Path]]]:
    """Folders that hold one split's files, such as `train/0000.parquet`.

    One that holds files named by splits is a data set of its own.
    """
    if not folder.is_dir():
        return
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = data_files(inner)
        stems = {match["split"] for path in files if (match := SPLIT_FILE.fullmatch(path.name))}
        if files and inner.name != "data" and stems.isdisjoint({TRAIN, *HELD_OUT} - {inner.name}):
            yield inner.name, files


def open_saved(path: Path) -> Splits:
    """A folder written by `save_to_disk`, with splits or without."""
    import datasets

    try:
        loaded = datasets.load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{path}: `datasets` cannot load this folder: {error}") from error
    tables = tables_of(loaded)
    # The fingerprint is `datasets`' own hash of the content's history.
    origins = {
        name: Source(
            name=f"{path.name}/{name}" if name else path.name,
            revision=f"fingerprint {getattr(table, '_fingerprint', '')}",
        )
        for name, table in tables.items()
    }
    parts = {name: partial(of_table, tables[name], origins[name]) for name in tables}
    return Splits(str(path), parts)


def open_hub(name: str, revision: str | None, subset: str | None) -> Splits:
    """A data set on the hub, at one commit, through the local cache of `datasets`."""
    commit = resolve_commit(name, revision)
    import datasets

    try:
        loaded = datasets.load_dataset(name, subset, revision=commit)
    except Exception as error:  # its errors share no base class
        raise hub_failure(name, commit, error) from error
    label = f"{name}:{subset}" if subset else name
    parts = {
        split: partial(
            of_table, table, Source(name=f"{label}/{split}" if split else label, revision=commit)
        )
        for split, table in tables_of(loaded).items()
    }
    return Splits(label, parts)


def tables_of(loaded: object) -> dict[str, object]:
    """The tables of a `DatasetDict` by their split; a plain data set has no splits."""
    if isinstance(loaded, dict):
        return {str(name): table for name, table in loaded.items()}
    return {WHOLE: loaded}


def of_table(table: object, origin: Source) -> RowSource:
    """The rows of a `datasets.Dataset`."""

    def read(_on_error: object, _skipped: object) -> NumberedRows:
        assert hasattr(table, "__iter__")
        yield from enumerate(table)

    return RowSource(origin, read, lambda position: f"{origin.name}, row {position + 1}")
