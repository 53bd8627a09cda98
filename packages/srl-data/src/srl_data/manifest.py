"""Manifests: what a data file was made from, by what, and what is in it.

`NAME.manifest.json` stands beside `NAME.jsonl`. It holds no clock and no machine, so that the same
build gives the same manifest, byte for byte.
"""

import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from srl_data.command.errors import DataError
from srl_data.files import remove_temporaries, sha256_file, write_json
from srl_data.records import parse_as

PAIRS_COMMAND = "srl-data pairs"
"""The command whose manifests tell the template that responses were written for."""


class BenchmarkOverlap(BaseModel):
    """How many training problems overlap with one evaluation set; they were left out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    source: str
    problems: int
    """Of the evaluation set."""
    exact: int
    """Training problems with the same words as one of it."""
    ngram: int
    """Other training problems that share an n-gram with one of it."""
    problems_overlapped: int
    """Problems of the evaluation set that any training problem overlaps with."""


class Source(BaseModel):
    """Where records came from: a file, a folder, a hub data set or a generator."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    revision: str | None = None
    """Commit of a hub data set."""
    sha256: str | None = None
    """Of a file's bytes."""
    decontamination: dict[str, BenchmarkOverlap] = Field(
        default_factory=dict, exclude_if=lambda found: not found
    )
    """What the source's own manifest says it was compared with, so that it is not lost where the
    records are read, changed and written again."""
    template: str | None = Field(default=None, exclude_if=lambda found: found is None)
    """The label of the prompt template whose form the responses have, as its own manifest tells."""


class Manifest(BaseModel):
    """The origin and content of one data file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    """The command that wrote the file, without its options."""
    source: Source
    options: dict[str, object]
    counts: dict[str, int]
    reasons: dict[str, int] = Field(default_factory=dict)
    """Excluded items by typed reason."""
    excluded: dict[str, list[str]] = Field(default_factory=dict)
    """The ids of the excluded items, by the same reasons; of long lists the first ones."""
    headings: dict[str, int] = Field(default_factory=dict)
    """How solutions excluded as `other_headings` spell their steps, and how many do."""
    decontamination: dict[str, BenchmarkOverlap] = Field(default_factory=dict)
    """By the evaluation sets that the records were compared with."""
    file: str
    records: int
    bytes: int
    sha256: str
    versions: dict[str, str]


def manifest_of(data: Path, sha256: str) -> Manifest | None:
    """The manifest beside a file; None where it has none, or it is not of these bytes."""
    try:
        found = parse_as(Manifest, manifest_path(data).read_bytes())
    except (OSError, ValueError):
        return None
    if found.sha256 != sha256:
        return None
    return found


def file_source(data: Path, sha256: str) -> Source:
    """A file with what its manifest, where it has one, says of its records."""
    found = manifest_of(data, sha256)
    if found is None:
        return Source(name=data.name, sha256=sha256)
    written = found.options.get("template") if found.command == PAIRS_COMMAND else None
    return Source(
        name=data.name,
        sha256=sha256,
        decontamination={**found.source.decontamination, **found.decontamination},
        template=written if isinstance(written, str) else found.source.template,
    )


def named_after(data: Path, end: str) -> Path:
    """`NAME.end` beside `NAME.jsonl`; for a folder some name, so that it can be told later."""
    return data.parent / f"{data.name.removesuffix('.jsonl')}.{end}"


def manifest_path(data: Path) -> Path:
    """`NAME.manifest.json` for `NAME.jsonl`."""
    return named_after(data, "manifest.json")


def with_manifests(files: Iterable[Path]) -> list[Path]:
    """Data files and the manifest of each, as a command writes them."""
    return [path for data in files for path in (data, manifest_path(data))]


def beside(data: Path, part: str) -> Path:
    """`NAME.part.jsonl` beside `NAME.jsonl`."""
    return named_after(data, f"{part}.jsonl")


def package_versions(*names: str) -> dict[str, str]:
    """Versions of Python and of the named packages that are installed."""
    versions = {"python": platform.python_version()}
    for name in names:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return versions


def write_manifest(
    data: Path,
    *,
    command: str,
    source: Source,
    options: Mapping[str, object],
    counts: Mapping[str, int],
    records: int,
    excluded: Mapping[str, list[str]] | None = None,
    headings: Mapping[str, int] | None = None,
    reasons: Mapping[str, int] | None = None,
    decontamination: Mapping[str, BenchmarkOverlap] | None = None,
) -> Manifest:
    """Describe the finished file `data` in the manifest beside it.

    `reasons` are counts of exclusions where `excluded` names only some of them.
    """
    excluded = dict(excluded or {})
    manifest = Manifest(
        command=command,
        source=source,
        options=dict(options),
        counts=dict(counts),
        reasons=dict(reasons or {reason: len(ids) for reason, ids in excluded.items()}),
        excluded=excluded,
        headings=dict(headings or {}),
        decontamination=dict(decontamination or {}),
        file=data.name,
        records=records,
        bytes=data.stat().st_size,
        sha256=sha256_file(data),
        versions=package_versions("srl-data", "srl-reward", "datasets"),
    )
    write_json(manifest_path(data), manifest.model_dump(mode="json"))
    for path in {data, data.resolve(), manifest_path(data)}:
        remove_temporaries(path)
    return manifest


def read_manifest(data: Path) -> Manifest | None:
    """The manifest of a data file, or None where it has none.

    Raises DataError where the manifest is damaged, or the file is not the one it describes.
    """
    path = manifest_path(data)
    try:
        manifest = parse_as(Manifest, path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise DataError(f"{path}: not a manifest ({error}); build the file again") from error
    if data.is_file() and sha256_file(data) != manifest.sha256:
        msg = f"{data} was changed after it was built (its sha256 is not that of {path.name})"
        raise DataError(f"{msg}; build it again, or remove the manifest to use it as it is")
    return manifest
