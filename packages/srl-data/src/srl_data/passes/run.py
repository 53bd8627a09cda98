"""A pass over a source: chunks to workers, outcomes to outputs, a bar, and what was found."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import BinaryIO, Protocol

import rich_click as click
from pydantic import Field

from srl_data.command.config import Section
from srl_data.command.errors import InterruptedRunError
from srl_data.command.progress import Meter, meter
from srl_data.listing import keep_first
from srl_data.passes.chunks import Chunk, read_chunks
from srl_data.passes.draft import Draft, Tally, draft, run_key
from srl_data.passes.workers import Opened, Outcome, outcomes
from srl_data.records import OnError
from srl_data.sources import RowSource, refuse_row


class PassSection(Section):
    """How a pass is run."""

    workers: int = Field(default=1, ge=1, le=512)
    """Processes that do the work; what is written is the same for any number."""


@dataclass(frozen=True)
class Pass:
    """One command's pass over its source."""

    command: str
    source: RowSource
    paths: Mapping[str, Path]
    """The outputs by name."""
    options: object
    """What decides the outputs besides the source; a killed run is continued where it is equal."""
    on_error: OnError = "fail"
    workers: int = 1
    resumable: bool = True
    """Whether all that decides the outputs is in `options`."""
    unused: tuple[Path, ...] = ()
    """Outputs that the command has with other options."""
    label: str | None = None
    """What the bar says; None: the command's last word."""

    @property
    def key(self) -> str | None:
        """What tells that a killed run was this one; None where the source may have changed."""
        origin = self.source.origin
        if not self.resumable or (origin.sha256 is None and origin.revision is None):
            return None
        names = {name: str(path) for name, path in self.paths.items()}
        parts = (self.command, version("srl-data"), version("srl-reward"), self.options, names)
        return run_key(*parts, origin.model_dump(), self.on_error)


def run_pass(
    work: Pass, opened: Opened[Outcome], check: Callable[[Tally], None] = lambda _: None
) -> Tally:
    """Run the pass and give what it found; the outputs appear at its end.

    `check` may raise for what was found, before they do.

    Raises DataError at the first bad row (with `on_error` "fail"), and InterruptedRunError where
    it was interrupted and the same command continues.
    """
    try:
        with draft(work.paths, work.key, work.unused) as outputs:
            if outputs.resumed:
                click.echo(f"continuing after {outputs.resumed} rows of an earlier run", err=True)
            label = work.label or work.command.split()[-1]
            with meter(label, rows_left(work, outputs), "rows") as progress:
                take_all(work, opened, outputs, progress)
            check(outputs.tally)
            return outputs.tally
    except KeyboardInterrupt as stop:
        if work.key is None:
            raise
        raise InterruptedRunError("interrupted; the same command continues where it was") from stop


class Outputs(Protocol):
    """Where the lines of a pass go."""

    tally: Tally
    resumed: int

    def write(self, name: str, lines: Sequence[bytes]) -> None:
        """Append lines to an output."""

    def commit(self) -> None:
        """The lines of a chunk are whole."""


@dataclass
class Stream:
    """Standard output, a pipe or a device, which takes lines as they come."""

    sink: BinaryIO
    tally: Tally = field(default_factory=Tally)
    resumed: int = 0

    def write(self, _name: str, lines: Sequence[bytes]) -> None:
        """Write lines."""
        self.sink.writelines(lines)

    def commit(self) -> None:
        """Let the reader see them."""
        self.sink.flush()


def stream_pass(
    work: Pass,
    opened: Opened[Outcome],
    sink: BinaryIO,
    progress: Meter,
    check: Callable[[Tally], None],
) -> Tally:
    """Run a pass whose lines go straight to `sink`; raises as `run_pass` does."""
    stream = Stream(sink)
    take_all(work, opened, stream, progress)
    check(stream.tally)
    return stream.tally


def rows_left(work: Pass, outputs: Draft) -> int | None:
    """How many rows are still to be taken, about."""
    count = work.source.count()
    return None if count is None else max(0, count - outputs.resumed)


def take_all(work: Pass, opened: Opened[Outcome], outputs: Outputs, progress: Meter) -> None:
    """Write every chunk's outcome, in order."""
    chunks = read_chunks(work.source, work.on_error, outputs.resumed)
    with closing(outcomes(chunks, opened, work.workers)) as found:
        for chunk, outcome in found:
            take(work, outputs, chunk, outcome)
            progress.advance(len(chunk.rows))


def take(work: Pass, outputs: Outputs, chunk: Chunk, outcome: Outcome) -> None:
    """Write one chunk's outcome and note what it found."""
    tally = outputs.tally
    tally.skipped.join(chunk.skipped)
    skip = tally.skipped.add if work.on_error == "skip" else None
    for position, reason in outcome.refused:
        refuse_row(work.source, position, reason, skip)
    for name, lines in outcome.lines.items():
        outputs.write(name, lines)
    tally.taken += len(chunk.rows)
    add_counts(tally.counts, outcome.counts)
    add_counts(tally.left_out, outcome.left_out)
    tally.total += outcome.total
    for reason, names in outcome.named.items():
        keep_first(tally.named.setdefault(reason, []), names)
    outputs.commit()


def add_counts(sums: dict[str, int], counts: Mapping[str, int]) -> None:
    """Add counts to the sums of the same names, zeros too."""
    for name, count in counts.items():
        sums[name] = sums.get(name, 0) + count
