"""Native splits: the parts that a data set comes in, `train`, `test` and their like.

`open_splits` finds out what a name is: a file or a glob of files, which have no splits; a folder
with files named by their split, as a download from the hub leaves it, or saved by `datasets`; else
a data set on the hub. `training_split` and `heldout_split` say which part a command reads. Formats
of files are `srl_data.file_formats`', their names `srl_data.split_names`'.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from glob import glob
from os.path import realpath
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.file_formats import FORMATS, NumberedRows, format_of, is_data_name
from srl_data.hub_folder import card_files, card_subsets, snapshot_in
from srl_data.manifest import Source
from srl_data.outputs import check_writable
from srl_data.records import STANDARD_INPUT
from srl_data.sources import (
    RowSource,
    hub_failure,
    open_file,
    open_files,
    resolve_commit,
    shallow,
)
from srl_data.split_names import HELD_OUT, TRAIN, WHOLE, folders_in, split_files, stem_of

HUB_NAME = re.compile(r"[\w-][\w.-]*/[\w.-]+")
GLOB = re.compile(r"[*?\[]")


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


def open_splits(
    name: str,
    revision: str | None = None,
    subset: str | None = None,
    cache_dir: Path | None = None,
) -> Splits:
    """The parts of a file, folder or glob that exists, else of a data set on the hub.

    `revision` and `cache_dir` are of the hub alone, `subset` (one of several configurations) of the
    hub and of folders. Raises DataError (exit code 3) where there is neither or it cannot be read.
    """
    path = Path(name)
    if path.exists() or path == STANDARD_INPUT:
        if revision:
            raise DataError(
                f"revision {revision!r} is for hub data sets and {name!r} is local; leave it out"
            )
        return open_folder(path, subset) if path.is_dir() else open_one(path, subset)
    if is_glob(name):
        return open_glob(name)
    if HUB_NAME.fullmatch(name) and may_have_splits(name):
        return open_hub(name, revision, subset, cache_dir)
    raise DataError(f"no such data file: {name}; expected {FORMATS}, or OWNER/NAME on the hub")


def open_one(path: Path, subset: str | None = None) -> Splits:
    """A file, a pipe, or standard input."""
    if subset:
        raise DataError(f"subset {subset!r}: {path} is one file and has none; leave it out")
    format_of(path)
    return Splits(str(path), {WHOLE: lambda: open_file(path)})


def open_glob(pattern: str) -> Splits:
    """The files that a pattern names, in order, as one table; manifests among them are no data."""
    files = [path for path in matches(pattern) if path.is_file() and not is_manifest(path)]
    if not files:
        raise DataError(f"no file matches {pattern!r}; expected {FORMATS}")
    twins: dict[Path, Path] = {}
    for path in files:
        format_of(path)
        twin = twins.setdefault(path.with_name(stem_of(path)), path)
        if twin != path:
            raise DataError(
                f"{pattern!r} matches {twin.name} and {path.name}, the same table twice it seems; "
                "name one kind of file"
            )
    return Splits(pattern, {WHOLE: partial(open_files, files, Path(pattern).name)})


def is_manifest(path: Path) -> bool:
    """Whether a file is one of those that commands write beside their data."""
    return path.name.endswith((".manifest.json", ".report.json", ".run.json"))


def may_have_splits(name: Path | str) -> bool:
    """Whether a name can have splits, as folders and data sets of the hub do, and files do not."""
    return not is_data_name(name) and not is_glob(name)


def is_glob(name: Path | str) -> bool:
    """Whether a name that is no file's is a pattern of files."""
    return GLOB.search(str(name)) is not None


def is_local(name: Path | str) -> bool:
    """Whether a name is that of data on this machine: a file, a folder, a glob with matches."""
    path = Path(name)
    return path.exists() or (is_glob(path) and bool(matches(str(path))))


def check_outputs(outputs: Iterable[Path], *sources: Path | str) -> None:
    """ConfigError where an output is a file that is read, or where none can be written."""
    for path in outputs:
        check_writable(path)
        for source in sources:
            if reads_file(source, path):
                raise ConfigError(
                    f"{path} would be written over, and {source} is read from it; give another "
                    "--output"
                )


def reads_file(name: Path | str, path: Path) -> bool:
    """Whether the data of a local name lie in a file, which must then not be written over."""
    source = Path(name)
    if source.is_dir():
        return path.exists() and lies_in_data(snapshot_in(source).resolve(), path)
    found = matches(str(source)) if is_glob(source) and not source.exists() else [source]
    return realpath(path) in map(realpath, found)


def lies_in_data(folder: Path, path: Path) -> bool:
    """Whether a file stands where a folder's data do: at its top, in a split's folder, as named."""
    place = path.parent.resolve()
    if is_saved(folder):
        return place.is_relative_to(folder)
    if place.name in (TRAIN, *HELD_OUT):
        place = place.parent
    if place in (folder, folder / "data"):
        return True
    named = (file for _, files in card_subsets(folder) for part in files.values() for file in part)
    return realpath(path) in map(realpath, named)


def matches(pattern: str) -> list[Path]:
    """What a glob names, in order; hidden files are not among it."""
    return sorted(Path(each) for each in glob(pattern, recursive=True))  # noqa: PTH207 - absolute too


def open_source(
    name: str | Path, revision: str | None = None, subset: str | None = None
) -> RowSource:
    """The rows behind a name; of several splits `train`, or the only one.

    Raises DataError as `open_splits` does, or where no split is to be chosen.
    """
    splits = open_splits(str(name), revision, subset)
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


def open_folder(path: Path, subset: str | None = None) -> Splits:
    """A folder saved by `datasets`, one that the hub's client wrote, or files named by splits."""
    path = snapshot_in(path)
    if is_saved(path):
        if subset:
            raise DataError(f"subset {subset!r}: {path} was saved without any; leave it out")
        return open_saved(path)
    found = card_files(path, subset)
    if subset and not found:
        if not (path / subset).is_dir():
            raise DataError(f"{path} has no subset {subset!r}{folders_in(path)}; leave it out")
        path /= subset
    found = found or split_files(path) or split_files(path / "data")
    if not found:
        raise DataError(
            f"{path} is a folder without a data set: neither files named by their split nor one "
            f"saved by `datasets`{folders_in(path)}; expected {FORMATS}"
        )
    parts = {
        name: partial(open_files, files, f"{path.name}/{name}" if name else path.name)
        for name, files in found.items()
    }
    return Splits(str(path), parts)


def is_saved(path: Path) -> bool:
    """Whether `save_to_disk` wrote a folder; its cache has a `dataset_info.json`, too."""
    return (path / "dataset_dict.json").is_file() or (path / "state.json").is_file()


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


def open_hub(
    name: str, revision: str | None, subset: str | None, cache_dir: Path | None = None
) -> Splits:
    """A data set on the hub, at one commit, through the local cache of `datasets`."""
    commit = resolve_commit(name, revision)
    import datasets

    try:
        cache = {} if cache_dir is None else {"cache_dir": str(cache_dir)}
        loaded = datasets.load_dataset(name, subset, revision=commit, **cache)
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

    return shallow(RowSource(origin, read, lambda position: f"{origin.name}, row {position + 1}"))
