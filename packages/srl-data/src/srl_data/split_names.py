"""Files of a folder, by the splits that their names tell.

`train.jsonl`, `train-00000-of-00002.parquet`, `train/0000.parquet`; where no name is a split's,
names that end in one (`gsm8k_train.jsonl`), or numbered parts of one table (`part-000.csv`, …).
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.file_formats import is_data_name, split_name

WHOLE = ""
"""The name of the only part of what has no splits."""
TRAIN = "train"
HELD_OUT = ("test", "validation", "valid", "val", "dev", "eval")
"""Names of held-out splits, the first that there is being taken."""

SHARD = r"(?:-(?P<number>\d{5})-of-(?P<count>\d{5})(?:-[0-9a-f]+)?)?"
SPLIT_FILE = re.compile(rf"(?P<split>\w+){SHARD}")
"""The stem `train`, or `train-00000-of-00002`."""
ENDS_IN_SPLIT = re.compile(rf"(?P<prefix>.*)[-_.](?P<split>{'|'.join([TRAIN, *HELD_OUT])}){SHARD}")
NUMBERED = re.compile(r"(?P<prefix>.*?)[-_.]?(?P<number>\d+)")
NOT_DATA = frozenset({"dataset_info", "dataset_infos", "dataset_dict", "state"})
"""JSON files that `datasets` writes beside the data."""

Files = dict[str, list[Path]]
"""The files of each split, in order."""


def stem_of(path: Path) -> str:
    """A data file's name without its format's suffixes."""
    return split_name(path)[0]


def split_files(folder: Path) -> Files:
    """The data files of each split, in order. DataError where a split is told twice or in part."""
    found: Files = {}
    files = data_files(folder)
    for path in files:
        match = SPLIT_FILE.fullmatch(stem_of(path))
        if match:
            found.setdefault(match["split"], []).append(path)
    if not {TRAIN, *HELD_OUT} & found.keys():
        found = files_ending_in_splits(files) or numbered_parts(files) or found
    for name, parts in found.items():
        if name:
            check_shards(folder, name, parts)
    for name, parts in split_folders(folder):
        if name in found:
            raise DataError(
                f"{folder} has the split {name!r} twice, as {found[name][0].name} and as a folder; "
                "keep one"
            )
        found[name] = parts
    return found


def data_files(folder: Path) -> list[Path]:
    """Files of a known format in a folder, in order; none where there is no such folder."""
    if not folder.is_dir():
        return []
    files = (path for path in folder.iterdir() if path.is_file() and path.name[0] != ".")
    return sorted(path for path in files if is_data_name(path) and stem_of(path) not in NOT_DATA)


def files_ending_in_splits(files: Sequence[Path]) -> Files:
    """The splits of files that are all called NAME-SPLIT, of one NAME; none of others."""
    matches = [ENDS_IN_SPLIT.fullmatch(stem_of(path)) for path in files]
    prefixes = {match["prefix"] if match else None for match in matches}
    if len(prefixes) != 1 or None in prefixes:
        return {}
    found: Files = {}
    for path, match in zip(files, matches, strict=True):
        if match:
            found.setdefault(match["split"], []).append(path)
    return found


def numbered_parts(files: Sequence[Path]) -> Files:
    """The one table of files that are numbered from 0 or 1, each number once; none of others."""
    matches = [NUMBERED.fullmatch(stem_of(path)) for path in files]
    names = {(match["prefix"] if match else None, split_name(path)[1:])
             for match, path in zip(matches, files, strict=True)}  # fmt: skip
    if len(names) != 1 or None in {prefix for prefix, _ in names}:
        return {}
    numbers = sorted((int(match["number"]), path) for match, path in
                     zip(matches, files, strict=True) if match)  # fmt: skip
    first = numbers[0][0]
    if first > 1 or [number for number, _ in numbers] != list(range(first, first + len(files))):
        return {}
    return {WHOLE: [path for _, path in numbers]}


def shard_match(path: Path) -> re.Match[str] | None:
    """The parts of a split's file name."""
    return SPLIT_FILE.fullmatch(stem_of(path)) or ENDS_IN_SPLIT.fullmatch(stem_of(path))


def check_shards(folder: Path, name: str, files: Sequence[Path]) -> None:
    """DataError where a split's files are not one, nor all of the parts that their names tell."""
    shards = [match for path in files if (match := shard_match(path))]
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
        stems = {m["split"] for path in files if (m := SPLIT_FILE.fullmatch(stem_of(path)))}
        if files and inner.name != "data" and stems.isdisjoint({TRAIN, *HELD_OUT} - {inner.name}):
            yield inner.name, files


def folders_in(path: Path) -> str:
    """The folders of a folder that could have been meant, for a message."""
    names = sorted(each.name for each in path.iterdir() if each.is_dir() and split_files(each))
    return f" (name one of its folders: {', '.join(names)})" if names else ""
