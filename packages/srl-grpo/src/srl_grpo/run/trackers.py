"""Where metrics go: metrics.jsonl always, and the dashboards of `srl_grpo.run.dashboards`.

One protocol, `Tracker`; `Trackers` sends steps to all of them. metrics.jsonl is the run's record:
it has every step, and its failure ends the run. Dashboards are thinned by --logging-steps; a
failure of theirs is warned of once. Every tracker knows how to resume after `resume_step`, the
last step that the resumed run keeps.
"""

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import time
from typing import BinaryIO, Protocol

from srl_data.command.errors import DataError
from srl_data.command.wandb import require_library
from srl_data.files import atomic_writer
from srl_data.records import finite_line, parse_object
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sections import TrackingSection
from srl_grpo.run.dashboards import TensorBoardTracker, TrackioTracker, WandbTracker
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.logging_steps import is_shown

logger = logging.getLogger(__name__)

Metrics = Mapping[str, float]
Row = dict[str, float]
"""One line of metrics.jsonl: `step`, `time` in Unix seconds, and the metrics; null reads as NaN."""


class Tracker(Protocol):
    """Takes the metrics of a step; several calls for one step add up."""

    def log(self, step: int, metrics: Metrics) -> None:
        """Record `metrics` under `step`."""

    def close(self) -> None:
        """Write what is buffered and let go of files and connections."""


def complete_lines(path: Path) -> Iterator[bytes]:
    """The lines of a file that end in a newline: a last one torn by a crash is left out."""
    with path.open("rb") as file:
        yield from (line for line in file if line.endswith(b"\n") and line.strip())


def parse_row(line: bytes) -> Row:
    """One line of metrics.jsonl; ValueError with a reason where it is something else."""
    row: Row = {}
    for name, value in parse_object(line).items():
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            msg = f"expected a number or null for {name!r}, found {value!r}"
            raise ValueError(msg)
        row[name] = math.nan if value is None else float(value)
    if math.isnan(row.get("step", math.nan)):
        raise ValueError("no step")
    return row


def read_metrics(path: Path) -> Iterator[Row]:
    """Stream the rows of a metrics.jsonl; null gives NaN, a torn last line is left out.

    Raises DataError with file, line and reason at any other bad line.
    """
    for number, line in enumerate(complete_lines(path), start=1):
        try:
            yield parse_row(line)
        except ValueError as error:
            raise DataError(f"{path}:{number}: {error}; mend or remove the line") from error


def truncate_metrics(path: Path, resume_step: int) -> None:
    """Atomically drop the rows after `resume_step`, and a torn last line."""
    with atomic_writer(path) as kept:
        for number, line in enumerate(complete_lines(path), start=1):
            try:
                step = parse_row(line)["step"]
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}; mend or remove the line") from error
            if step <= resume_step:
                kept.write(line)


class MetricsFile:
    """metrics.jsonl, one JSON object per line, each flushed; NaN and infinities become null."""

    def __init__(self, path: Path, resume_step: int | None = None) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        if resume_step is not None and path.exists():
            truncate_metrics(path, resume_step)
        self.path = path
        self._file: BinaryIO = path.open("wb" if resume_step is None else "ab", buffering=0)

    def log(self, step: int, metrics: Metrics) -> None:
        """Append one line; OSError (naming the file) where the disk refuses it."""
        values = {name: float(value) for name, value in metrics.items()}
        line = finite_line({"step": step, "time": round(time(), 3), **values})
        try:
            written = self._file.write(line)
            if written < len(line):
                self._file.write(line[written:])
        except OSError as error:
            error.filename = str(self.path)
            raise

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class Trackers:
    """All trackers of a run as one; `record`'s failure is raised, the others' warned of once.

    `record` takes every step. The others are thinned: they take the first step they are given,
    every `every`-th, the last one (when the trackers are closed) and every step with an evaluation.
    A step that is taken is taken whole and alone: its values are not means over those left out.
    """

    def __init__(
        self,
        record: Tracker,
        others: Sequence[Tracker] = (),
        warn: Callable[[str], None] = logger.warning,
        every: int = 1,
    ) -> None:
        self._record = record
        self._others = others
        self._warn = warn
        self._every = every
        self._first: int | None = None
        self._left_out: tuple[int, Metrics] | None = None
        self._warned: set[int] = set()

    def log(self, step: int, metrics: Metrics) -> None:
        """Record `metrics`, and send them on where the step is one that is shown."""
        self._record.log(step, metrics)
        if self._first is None:
            self._first = step
        if is_shown(step, self._every, self._first) or has_evaluation(metrics):
            self._left_out = None
            self._send(step, metrics)
        else:
            self._left_out = step, dict(metrics)

    def close(self) -> None:
        """Send the last step if it was left out, then close every tracker, the record last."""
        if self._left_out is not None:
            self._send(*self._left_out)
        for tracker in self._others:
            with self._forgiving(tracker):
                tracker.close()
        self._record.close()

    def _send(self, step: int, metrics: Metrics) -> None:
        for tracker in self._others:
            with self._forgiving(tracker):
                tracker.log(step, metrics)

    @contextlib.contextmanager
    def _forgiving(self, tracker: Tracker) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # noqa: BLE001 - a dashboard must never end a training run
            if id(tracker) not in self._warned:
                self._warned.add(id(tracker))
                kind = type(tracker).__name__
                self._warn(
                    f"{kind} failed: {error!r}; training continues, later failures are not reported"
                )


def has_evaluation(metrics: Metrics) -> bool:
    """Whether a step was evaluated on held-out data."""
    return any(name.startswith("eval/") for name in metrics)


def check_trackers(options: TrackingSection) -> None:
    """ConfigError naming the extra of a tracker that is asked for and not installed."""
    if options.wandb != "disabled":
        require_library("wandb", "srl-grpo", "turn it off with --wandb disabled")
    if options.trackio:
        require_library("trackio", "srl-grpo", "leave --trackio out")


def make_trackers(
    config: RunConfig,
    directory: RunDirectory,
    resume_step: int | None,
    warn: Callable[[str], None],
) -> Tracker:
    """metrics.jsonl and whatever else the config asks for."""
    options = config.tracking
    name = options.run_name or directory.path.resolve().name
    settings = config.model_dump(mode="json")
    others: list[Tracker] = []
    if options.tensorboard:
        others.append(TensorBoardTracker(directory.tensorboard, resume_step))
    if options.wandb != "disabled":
        others.append(
            WandbTracker(
                directory.path,
                project=options.wandb_project,
                name=name,
                mode=options.wandb,
                resume_step=resume_step,
                config=settings,
            )
        )
    if options.trackio:
        others.append(
            TrackioTracker(
                directory.path,
                project=options.trackio_project,
                name=name,
                resume_step=resume_step,
                config=settings,
            )
        )
    record = MetricsFile(directory.metrics, resume_step)
    return Trackers(record, others, warn, options.logging_steps)


class NoTracker:
    """The tracker of ranks that record nothing."""

    def log(self, step: int, metrics: object) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
