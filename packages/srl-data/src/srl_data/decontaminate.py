"""`srl-data decontaminate FILE --against …`: the records whose problem overlaps with no benchmark.

Records of any form keep theirs; the problem is found in the usual columns, or in the one that is
named. It streams; what overlaps is listed pair by pair beside the output.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated

from pydantic import Field

from srl_data.columns import name_of, text_in
from srl_data.command.config import Flag, Positional
from srl_data.command.errors import DataError
from srl_data.decontamination import (
    PAIRS,
    Benchmarks,
    OverlapSection,
    count_common,
    named_source,
    open_benchmarks,
)
from srl_data.manifest import BenchmarkOverlap, beside, with_manifests, write_manifest
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally
from srl_data.passes.kept import work_folder
from srl_data.passes.run import Pass, PassSection, run_pass
from srl_data.passes.workers import Outcome
from srl_data.problem_text import problem_text
from srl_data.records import OnError, Row, encode_object
from srl_data.splits import check_outputs, open_source

COMMAND = "srl-data decontaminate"
KEPT = "kept"


class DecontaminateConfig(OverlapSection, PassSection):
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


@dataclass(frozen=True)
class Decontaminated:
    """What a pass found."""

    benchmarks: Benchmarks
    tally: Tally

    @property
    def read(self) -> int:
        """Records with a problem."""
        return self.tally.counts.get("read", 0)

    @property
    def kept(self) -> int:
        """Those that overlap with nothing."""
        return self.tally.counts.get(KEPT, 0)

    @property
    def overlaps(self) -> dict[str, BenchmarkOverlap]:
        """What was left out, by evaluation set."""
        return self.benchmarks.overlaps(self.tally.counts)


def question(column: str | None, _position: int, row: Row) -> str:
    """The problem of a row; ValueError where there is none."""
    return text_in(row, column, "--problem-field") if column else problem_text(row)


@dataclass(frozen=True)
class Decontaminator:
    """Lets the records through that overlap with nothing; the worker of the pass."""

    benchmarks: Benchmarks
    column: str | None

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """The records and the pairs as lines."""
        outcome = Outcome()
        for position, row in rows:
            try:
                text = question(self.column, position, row)
                compared = self.benchmarks.compare(name_of(row, f"row-{position:05d}"), text)
            except ValueError as error:
                outcome.refused.append((position, str(error)))
                continue
            outcome.counts["read"] += 1
            compared.note(outcome)
            if not compared.pairs:
                outcome.write(KEPT, encode_object(row))
                outcome.counts[KEPT] += 1
        return outcome


def decontaminate(config: DecontaminateConfig) -> Decontaminated:
    """Write the records that do not overlap, the pairs, and the manifest.

    Raises DataError where nothing is read or nothing is left, and then writes nothing.
    """
    check_files(config)
    source = open_source(config.file)
    benchmarks = open_benchmarks(config.against, config)
    options = config.model_dump(mode="json", exclude={"file", "output", "against", "workers"})
    work = Pass(
        command=COMMAND,
        source=source,
        paths={KEPT: config.output, PAIRS: beside(config.output, "overlaps")},
        options=(options, benchmarks.digest),
        on_error=config.on_error,
        workers=config.workers,
    )
    with work_folder(config.output) as folder:
        count_common(benchmarks, work, partial(question, config.problem_field), folder)
        opened = partial(Decontaminator, benchmarks, config.problem_field)
        tally = run_pass(work, opened, partial(require_some, config))
    done = Decontaminated(benchmarks, tally)
    write_manifest(
        config.output,
        command=COMMAND,
        source=source.origin,
        options=options,
        counts={"read": done.read, KEPT: done.kept, "skipped": tally.skipped.count},
        records=done.kept,
        reasons={"overlap": done.read - done.kept},
        decontamination=done.overlaps,
    )
    return done


def check_files(config: DecontaminateConfig) -> None:
    """ConfigError where an output would take the place of what is read, or cannot be written."""
    files = [*with_manifests([config.output]), beside(config.output, "overlaps")]
    check_outputs(files, config.file, *(named_source(spec)[1] for spec in config.against))


def require_some(config: DecontaminateConfig, tally: Tally) -> None:
    """DataError where no record is read or none is left."""
    if not tally.counts.get(KEPT):
        read = tally.counts.get("read", 0)
        what = f"all {read} records overlap" if read else "no records"
        raise DataError(f"{config.file}: {what}; nothing is written")
