"""Folders as a download from the hub leaves them: the client's cache, and what the card says.

A data set's card (`README.md`) may name its subsets and the files of each split. Left out: files
whose names tell their splits, which are `srl_data.split_names`'.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import yaml

from srl_data.command.errors import DataError
from srl_data.file_formats import is_data_name
from srl_data.split_names import TRAIN, Files, check_shards, shard_match

DEFAULT = "default"
"""The subset that a card means where none is asked for."""


def snapshot_in(folder: Path) -> Path:
    """The snapshot inside a folder of the hub client's cache (`datasets--OWNER--NAME`).

    Any other folder is returned as it is. DataError where several snapshots could be meant.
    """
    snapshots = folder / "snapshots"
    if not (snapshots.is_dir() and (folder / "refs").is_dir()):
        return folder
    main = folder / "refs" / "main"
    if main.is_file() and (named := snapshots / main.read_text().strip()).is_dir():
        return named
    found = sorted(path for path in snapshots.iterdir() if path.is_dir())
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise DataError(f"{folder} holds the snapshots {names}; name the folder of one")


def card_files(folder: Path, subset: str | None) -> Files:
    """The files of each split of a subset as the card names them; none where it names none.

    DataError where the card has several subsets and none was chosen, or not the one that was.
    """
    subsets = dict(card_subsets(folder))
    if not subsets:
        return {}
    chosen = subset or (DEFAULT if DEFAULT in subsets else next(iter(subsets)))
    if chosen not in subsets or (subset is None and chosen != DEFAULT and len(subsets) > 1):
        names = ", ".join(subsets)
        raise DataError(f"{folder} has the subsets {names}; choose one by name, not {subset!r}")
    found = {name: files for name, files in subsets[chosen].items() if files}
    for files in found.values():
        check_parts(files)
    return found


def check_parts(files: Sequence[Path]) -> None:
    """DataError where files are named as parts of a table, and some parts are not there."""
    tables: dict[tuple[Path, str], list[Path]] = {}
    for path in files:
        if (match := shard_match(path)) and match["count"]:
            tables.setdefault((path.parent, match["split"]), []).append(path)
    for (folder, name), parts in tables.items():
        check_shards(folder, name, parts)


def card_subsets(folder: Path) -> Iterator[tuple[str, Files]]:
    """The subsets of a card with the files of their splits; those without any file are left out."""
    for config in card_configs(folder):
        inner = folder / str(config.get("data_dir") or ".")
        files = {
            split: [path for pattern in patterns for path in matching(inner, pattern)]
            for split, patterns in patterns_of(config.get("data_files")).items()
        }
        if any(files.values()):
            yield DEFAULT if config.get("default") is True else str(config["config_name"]), files


def card_configs(folder: Path) -> list[Mapping[str, object]]:
    """The entries of a card's `configs`; none where there is no card, or it is no YAML."""
    card = folder / "README.md"
    if not card.is_file():
        return []
    text = card.read_text(encoding="utf-8", errors="replace")
    if not text.startswith("---"):
        return []
    try:
        head = yaml.safe_load(text[3:].partition("\n---")[0])
    except yaml.YAMLError:
        return []
    configs = head.get("configs") if isinstance(head, Mapping) else None
    entries = configs if isinstance(configs, list) else []
    return [each for each in entries if isinstance(each, Mapping) and "config_name" in each]


def patterns_of(data_files: object) -> dict[str, list[str]]:
    """Patterns of files by split; without splits all are of `train`, as on the hub."""
    if isinstance(data_files, str):
        return {TRAIN: [data_files]}
    if not isinstance(data_files, list):
        return {}
    found: dict[str, list[str]] = {}
    for entry in data_files:
        split = entry.get("split") if isinstance(entry, Mapping) else TRAIN
        path = entry.get("path") if isinstance(entry, Mapping) else entry
        paths = path if isinstance(path, list) else [path]
        found.setdefault(str(split), []).extend(str(each) for each in paths)
    return found


def matching(folder: Path, pattern: str) -> list[Path]:
    """Data files that a card's pattern names, in order."""
    if "://" in pattern or pattern.startswith("/") or not folder.is_dir():
        return []
    return sorted(each for each in folder.glob(pattern) if each.is_file() and is_data_name(each))
