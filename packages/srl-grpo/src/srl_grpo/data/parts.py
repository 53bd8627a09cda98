"""The two parts of a stage's data: what is trained on, and what is held out of training.

Both come from one data set with native splits, or from two files. Left out: what the rows mean.
"""

from pathlib import Path
from typing import Literal, Protocol

from srl_data.command.errors import DataError
from srl_data.records import open_data
from srl_data.sources import RowSource
from srl_data.split_names import TRAIN
from srl_data.splits import (
    HUB_NAME,
    heldout_split,
    is_glob,
    may_have_splits,
    open_splits,
    training_split,
)

Part = Literal["train", "eval"]


class PartedData(Protocol):
    """What a config's data section says of its parts."""

    @property
    def path(self) -> Path | str | None:
        """The data set that is trained on."""

    @property
    def val_path(self) -> Path | str | None:
        """Another one, held out."""

    @property
    def revision(self) -> str | None:
        """Of the hub."""

    @property
    def subset(self) -> str | None:
        """Of the hub."""

    @property
    def train_split(self) -> str | None:
        """The split to train on."""

    @property
    def eval_split(self) -> str | None:
        """The split that is held out."""


def open_part(data: PartedData, part: Part) -> RowSource | None:
    """The rows of a part: the training split, or what is held out; None where nothing is.

    Raises DataError or ConfigError where the data or the split is not there.
    """
    if part == "eval" and data.val_path is not None:
        return open_val_path(data)
    assert data.path is not None, "the config asks for data"
    splits = open_splits(str(data.path), data.revision, data.subset)
    training = training_split(splits, data.train_split)
    name = training if part == "train" else heldout_split(splits, data.eval_split, training)
    return None if name is None else splits[name]


def open_val_path(data: PartedData) -> RowSource:
    """The held-out rows of a data set of their own; its only split, where it has one."""
    same = data.val_path == data.path
    splits = open_splits(str(data.val_path), *((data.revision, data.subset) if same else ()))
    name = heldout_split(splits, data.eval_split, None)
    if name is None and set(splits.parts) == {TRAIN}:
        name = TRAIN
    if name is None:
        raise DataError(
            f"{data.val_path} has the splits {splits.names} and none is called test or "
            "validation; name one with --eval-split"
        )
    return splits[name]


def identity_of(source: RowSource | None) -> str | None:
    """What tells whether data are still the same: a checksum, or the hub's commit."""
    return None if source is None else source.origin.sha256 or source.origin.revision


def check_data(name: Path | str) -> None:
    """DataError for data of this machine that cannot be opened; a hub is not asked."""
    path = Path(name)
    if path.exists() or is_glob(path):
        open_splits(str(path))
    elif not (may_have_splits(path) and HUB_NAME.fullmatch(str(name))):
        open_data(path).close()
