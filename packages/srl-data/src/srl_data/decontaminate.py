"""`srl-data decontaminate FILE --against …`: the records whose problem overlaps with no benchmark.

Records of any form keep theirs; the problem is found in the usual columns, or in the one that is
named. It streams; what overlaps is listed pair by pair beside the output.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.columns import name_of, text_in
from srl_data.command.config import Flag, Positional
from srl_data.command.errors import ConfigError, DataError
from srl_data.command.progress import track
from srl_data.decontamination import (
    Contamination,
    OverlapSection,
    named_source,
    open_benchmarks,
)
from srl_data.files import atomic_writer
from srl_data.manifest import beside, write_manifest
from srl_data.problem_text import problem_text
from srl_data.records import OnError, Row, encode_object
from srl_data.sources import RowSource, each_row
from srl_data.splits import open_source, reads_file

COMMAND = "srl-data decontaminate"


class DecontaminateConfig(OverlapSection):
    """Config of `srl-data decontaminate`."""

    file: Annotated[Path, Positional()]
    """Training records of any form: a file, a glob or a folder."""
    output: Path
    """Where the records that do not overlap go; the pairs go to NAME.overlaps.jsonl beside it."""
    against: Annotated[tuple[str, ...], Flag(aliases=("decontaminate",)), Field(min_length=1)]
    """An evaluation set, as SOURCE or NAME=SOURCE: a file, a glob, a folder, of which the held-out
    split is read, or a hub data set. May be given several times."""
    problem_field: str | None = None
    """The column with the problem. Default: problem, question, prompt, instruction or messages."""
    on_error: OnError = "fail"


@dataclass
class Decontaminated:
    """What a pass found."""

    contamination: Contamination
    read: int = 0
    kept: int = 0
    skipped: list[str] = field(default_factory=list)


def decontaminate(config: DecontaminateConfig) -> Decontaminated:
    """Write the records that do not overlap, the pairs, and the manifest.

    Raises DataError where nothing is read or nothing is left, and then writes nothing.
    """
    source = open_source(config.file)
    refuse_overwriting(config)
    done = Decontaminated(open_benchmarks(config.against, config))
    if config.common is not None:
        for _, text, _ in asked(config, source, []):
            done.contamination.index.count(text)
    pairs = beside(config.output, "overlaps")
    with atomic_writer(config.output) as kept, atomic_writer(pairs) as listed:
        done.contamination.note = lambda pair: listed.write(encode_object(pair))
        for row, text, name in track(
            asked(config, source, done.skipped), "looking", source.count(), unit="records"
        ):
            done.read += 1
            if not done.contamination.check(name, text):
                done.kept += 1
                kept.write(encode_object(row))
        require_some(config, done)
    describe(config, source, done)
    return done


def refuse_overwriting(config: DecontaminateConfig) -> None:
    """ConfigError where the output would take the place of what is read."""
    names = [str(config.file), *(named_source(spec)[1] for spec in config.against)]
    for name in names:
        for path in (config.output, beside(config.output, "overlaps")):
            if reads_file(name, path):
                raise ConfigError(f"--output {config.output}: {path} is of {name}; name another")


def asked(
    config: DecontaminateConfig, source: RowSource, skipped: list[str]
) -> Iterator[tuple[Row, str, str]]:
    """Each row with its problem and its name."""

    def read(row: Row, place: str) -> tuple[Row, str, str]:
        column = config.problem_field
        text = text_in(row, column, "--problem-field") if column else problem_text(row)
        return row, text, name_of(row, place)

    return each_row(source, read, config.on_error, skipped.append)


def require_some(config: DecontaminateConfig, done: Decontaminated) -> None:
    """DataError where no record is read or none is left."""
    if not done.kept:
        what = f"all {done.read} records overlap" if done.read else "no records"
        raise DataError(f"{config.file}: {what}; nothing is written")


def describe(config: DecontaminateConfig, source: RowSource, done: Decontaminated) -> None:
    """Write the manifest."""
    write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options=config.model_dump(mode="json", exclude={"file", "output", "against"}),
        counts={"read": done.read, "kept": done.kept, "skipped": len(done.skipped)},
        records=done.kept,
        reasons={"overlap": done.read - done.kept},
        decontamination=done.contamination.counts(),
    )
