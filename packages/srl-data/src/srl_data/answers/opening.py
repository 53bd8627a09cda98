"""Where the rows of a build come from: the snapshot, else a local copy, else the hub.

Parts are called train, val and test, whatever the source calls them; what else a source has is
passed over.
"""

from collections.abc import Callable, Mapping
from functools import partial
from os.path import realpath
from pathlib import Path

from srl_data.answers.config import MathConfig, SplitsConfig
from srl_data.answers.math_folder import is_math_folder, open_math_folder
from srl_data.command.errors import ConfigError, DataError
from srl_data.hub_folder import card_subsets, snapshot_in
from srl_data.listing import Listed
from srl_data.snapshot import (
    Wanted,
    check_origins,
    open_snapshot,
    read_snapshot,
    take_snapshot,
)
from srl_data.sources import RowSource, joined
from srl_data.split_names import TRAIN, WHOLE
from srl_data.splits import Splits, is_local, open_splits

CALLED = {
    "train": (TRAIN, WHOLE),
    "val": ("validation", "valid", "val", "dev"),
    "test": ("test",),
}
"""What sources call each part, the first that there is being taken."""
SUBJECTS = (
    "algebra",
    "counting_and_probability",
    "geometry",
    "intermediate_algebra",
    "number_theory",
    "prealgebra",
    "precalculus",
)
"""MATH's subjects, which are subsets of its hub data set."""
MAIN = "main"
"""The revision that is meant where none is named; local data have none."""


def open_parts(config: SplitsConfig, skipped: Listed) -> tuple[Splits, dict[str, int]]:
    """The parts of the source by our names, out of a snapshot that is proven or taken now.

    With them, by part, the number of malformed rows that the snapshot leaves out; where it is taken
    now, `skipped` gets a line for each.

    Raises DataError where the source or the snapshot cannot be used.
    """
    folder, local = config.snapshot, is_local(config.source)
    wanted = wanted_of(config)
    snapshot = read_snapshot(folder, wanted)
    if snapshot is None:
        parts = known_parts(open_whole(config))
        snapshot = take_snapshot(folder, wanted, parts, config.on_error, skipped)
    elif local:
        whole = open_whole(config)
        check_origins(snapshot, folder, Splits(config.source, known_parts(whole)))
    bad = {name: part.skipped for name, part in snapshot.splits.items()}
    if config.on_error == "fail" and any(bad.values()):
        raise DataError(
            f"{folder} leaves out {sum(bad.values())} bad rows, since it was taken with --on-error "
            "skip; give that again, or remove it to take it anew"
        )
    return open_snapshot(folder, snapshot), bad


def wanted_of(config: SplitsConfig) -> Wanted:
    """What the snapshot has to be of; the folder of a local source is not part of it."""
    if is_local(config.source) or Path(config.source).is_absolute():
        return Wanted(source=Path(config.source).name, subset=None, revision=None)
    return Wanted(source=config.source, subset=config.subset, revision=config.revision)


def check_places(config: SplitsConfig) -> None:
    """ConfigError where the output or the snapshot would be written over the source."""
    source = Path(config.source)
    if not source.exists():
        return
    folder = realpath(source if source.is_dir() else source.parent)
    for flag, path in (("--output-dir", config.output_dir), ("--snapshot-dir", config.snapshot)):
        if realpath(path) == folder:
            raise ConfigError(f"{flag} {path} is the folder of the source; name another")


def known_parts(splits: Splits) -> Mapping[str, Callable[[], RowSource]]:
    """The parts by our names. DataError where none is for training."""
    found = {
        ours: next((splits.parts[name] for name in theirs if name in splits.parts), None)
        for ours, theirs in CALLED.items()
    }
    if found["train"] is None:
        raise DataError(f"{splits.name} has the splits {splits.names} and none is 'train'")
    return {name: part for name, part in found.items() if part is not None}


def open_whole(config: SplitsConfig) -> Splits:
    """All parts of the source as it calls them."""
    path = Path(config.source)
    if path.is_dir():
        path = snapshot_in(path)
    if isinstance(config, MathConfig):
        if path.is_dir() and is_math_folder(path):
            return open_math_folder(path)
        if config.subset is None and (
            not is_local(path) or all((path / subject).is_dir() for subject in SUBJECTS)
        ):
            return merged([open_one(config, subject) for subject in SUBJECTS], config.source)
    return open_one(config, config.subset)


def open_one(config: SplitsConfig, subset: str | None) -> Splits:
    """The source, or one of its subsets; the usual subset is left out where a folder has none."""
    if not is_local(config.source):
        return open_splits(config.source, config.revision, subset, config.cache_dir)
    usual = type(config).model_fields["subset"].default
    if subset and subset == usual and not has_subset(Path(config.source), subset):
        subset = None
    revision = None if config.revision == MAIN else config.revision
    return open_splits(config.source, revision, subset)


def has_subset(path: Path, subset: str) -> bool:
    """Whether a folder has a subset of this name."""
    if not path.is_dir():
        return False
    folder = snapshot_in(path)
    return (folder / subset).is_dir() or subset in dict(card_subsets(folder))


def merged(several: list[Splits], name: str) -> Splits:
    """The splits of several subsets, each split one table."""
    names = dict.fromkeys(part for splits in several for part in splits.parts)

    def opened(part: str) -> RowSource:
        label = f"{Path(name).name if is_local(name) else name}/{part}"
        return joined([splits[part] for splits in several if part in splits.parts], label)

    return Splits(name, {part: partial(opened, part) for part in names})
