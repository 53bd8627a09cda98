"""The MATH data set as its archive unpacks: `train/algebra/1.json`, a problem per file.

Files are read in the order of subjects and numbers. A row's `unique_id` is its path, which is how
MATH-500 names its problems.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from hashlib import sha256
from pathlib import Path

from srl_data.command.errors import DataError
from srl_data.file_formats import NumberedRows
from srl_data.manifest import Source
from srl_data.overlap import whole_text
from srl_data.records import OnError, Skipped, parse_object
from srl_data.sources import RowSource
from srl_data.splits import Splits

PARTS = ("train", "test")
NUMBERED = re.compile(r"\d+\.json")


def is_math_folder(path: Path) -> bool:
    """Whether a folder has subjects of numbered problems inside train or test."""
    return any(next(problem_files(path / part), None) for part in PARTS)


def problem_files(part: Path) -> Iterator[Path]:
    """The files of one split, in order."""
    if not part.is_dir():
        return
    for subject in sorted(path for path in part.iterdir() if path.is_dir()):
        files = (path for path in subject.iterdir() if NUMBERED.fullmatch(path.name))
        yield from sorted(files, key=lambda path: int(path.stem))


def open_math_folder(path: Path) -> Splits:
    """The splits of the folder."""
    parts = {name: partial(open_part, path / name) for name in PARTS if (path / name).is_dir()}
    return Splits(str(path), parts)


def open_part(part: Path) -> RowSource:
    """One split's rows; its checksum is over the names and bytes of all files."""
    files = list(problem_files(part))
    digest = sha256()
    for path in files:
        digest.update(f"{name_of_file(path)}\0".encode() + sha256(path.read_bytes()).digest())

    def read(on_error: OnError, skipped: Skipped) -> NumberedRows:
        for position, path in enumerate(files):
            try:
                row = parse_object(path.read_bytes())
            except ValueError as error:
                if on_error == "fail":
                    raise DataError(f"{path}: {error}; mend it or pass --on-error skip") from error
                skipped(f"{path}: {error}")
                continue
            yield position, {**row, "unique_id": name_of_file(path)}

    origin = Source(name=f"{part.parent.name}/{part.name}", sha256=digest.hexdigest())
    return RowSource(origin, read, lambda position: str(files[position]), lambda: len(files))


def name_of_file(path: Path) -> str:
    """`train/algebra/1.json`."""
    return "/".join(path.parts[-3:])


def math500_print(problem: str) -> str:
    """By what a problem of MATH-500 is known: the first of its text's SHA-256, spacing aside."""
    return sha256(whole_text(problem).encode()).hexdigest()[:16]


def math500_prints() -> frozenset[str]:
    """Of all 500 problems; the file is made from them by `benchmarks/overlaps.py`."""
    from importlib.resources import files

    text = files("srl_data.answers").joinpath("math500.json").read_text(encoding="utf-8")
    return frozenset(json.loads(text))
