"""The pass over the rows of one part: its records on disk, each beside its question's place.

It is the work that takes long, in any number of processes, and a run that was killed takes what it
has written as it is. What becomes of the records is decided afterwards.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from srl_data.answers.config import SplitsConfig
from srl_data.answers.math_folder import math500_print
from srl_data.answers.reading import Reader, RefusedRowError
from srl_data.decontamination import PAIRS, Benchmarks
from srl_data.held_out import question_place
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.draft import Tally
from srl_data.passes.kept import kept_pass
from srl_data.passes.run import Pass
from srl_data.passes.workers import Outcome
from srl_data.records import PromptAnswer, Row, encode
from srl_data.sources import RowSource

RECORDS, PLACES = "records", "places"


@dataclass(frozen=True)
class Part:
    """How the rows of one part become records."""

    name: str
    reader: Reader
    config: SplitsConfig

    def record(self, position: int, row: Row) -> PromptAnswer:
        """The record of a row; RefusedRowError where it gives none."""
        return self.reader.read(row, self.row_name(position), self.config)

    def row_name(self, position: int) -> str:
        """What a row is called that has no id."""
        return f"{self.reader.prefix}-{self.name}-{position:05d}"

    def problem(self, position: int, row: Row) -> str | None:
        """The problem of a row that gives a record."""
        try:
            return self.record(position, row).problem
        except RefusedRowError:
            return None


@dataclass(frozen=True)
class Spooler:
    """Rows to records with their places; the worker of the pass."""

    part: Part
    math500: frozenset[str]
    """Prints of MATH-500's problems: kept out of train, marked in the other parts."""
    benchmarks: Benchmarks | None
    """What the problems are compared with."""

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """Records, places and overlapping pairs as lines."""
        outcome = Outcome()
        for position, row in rows:
            try:
                record = self.part.record(position, row)
            except RefusedRowError as error:
                outcome.leave_out(str(error), self.part.row_name(position))
                continue
            marked = bool(self.math500) and math500_print(record.problem) in self.math500
            reason = self.reason(record, outcome, marked=marked)
            if reason is not None:
                outcome.leave_out(reason, record.id)
                continue
            place = question_place(record.problem, self.part.config.seed)
            outcome.write(RECORDS, encode(record))
            outcome.write(PLACES, b"%032x %d\n" % (place, marked))
            outcome.counts[RECORDS] += 1
        return outcome

    def reason(self, record: PromptAnswer, outcome: Outcome, *, marked: bool) -> str | None:
        """Why a training record is left out."""
        if self.part.name != "train":
            return None
        if marked:
            return "math500"
        if self.benchmarks is None:
            return None
        compared = self.benchmarks.compare(record.id, record.problem)
        compared.note(outcome)
        return "overlap" if compared.pairs else None


@dataclass
class Exclusions:
    """Rows that are in no file, by reason."""

    counts: Counter[str] = field(default_factory=Counter)
    ids: dict[str, list[str]] = field(default_factory=dict)
    """The first of them."""


@dataclass(frozen=True)
class Spooled:
    """The records of one part on disk."""

    paths: Mapping[str, Path]
    tally: Tally

    def exclusions(self, malformed: int) -> Exclusions:
        """What gave no record, with so many malformed rows, which have no ids."""
        counts, ids = Counter(self.tally.left_out), dict(self.tally.named)
        if malformed:
            counts["malformed_row"] += malformed
            ids.setdefault("malformed_row", [])
        return Exclusions(counts, ids)

    def places(self) -> Iterator[tuple[int, bool]]:
        """The place of each record's question, and whether it is one of MATH-500's."""
        with self.paths[PLACES].open("rb") as file:
            for line in file:
                place, marked = line.split()
                yield int(place, 16), marked == b"1"

    def lines(self) -> Iterator[tuple[int, bool, bytes]]:
        """Each record as a line, with its place and its mark."""
        with self.paths[RECORDS].open("rb") as file:
            for (place, marked), line in zip(self.places(), file, strict=True):
                yield place, marked, line


def part_pass(part: Part, source: RowSource, folder: Path, digest: str, *, pairs: bool) -> Pass:
    """The pass over a part; `digest` is of what it is compared with, if anything."""
    config = part.config
    names = (RECORDS, PLACES, PAIRS) if pairs else (RECORDS, PLACES)
    options = config.model_dump(mode="json", exclude={"output_dir", "snapshot_dir", "workers"})
    return Pass(
        command=f"srl-data build {part.reader.prefix}",
        source=source,
        paths={name: folder / f"{part.name}.{name}" for name in names},
        options=(part.name, options, digest),
        workers=config.workers,
        label=part.name,
    )


def spool(work: Pass, spooler: Spooler) -> Spooled:
    """Run the pass, or take what an earlier run has made of it."""
    tally = kept_pass(work, partial(Spooler, spooler.part, spooler.math500, spooler.benchmarks))
    return Spooled(work.paths, tally)
