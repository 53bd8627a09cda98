"""Where metrics go: metrics.jsonl always, TensorBoard, W&B and trackio beside it.

One protocol, `Tracker`; `Trackers` sends each step to all of them. metrics.jsonl is the run's
record, so its failure ends the run; any other backend's failure is warned of once. Every
backend knows how to resume after `resume_step`, the last step that the resumed run keeps.
"""

import contextlib
import importlib
import logging
import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import time
from typing import BinaryIO, Literal, Protocol, cast

from srl_data.command.errors import ConfigError, DataError
from srl_data.files import atomic_writer, write_text
from srl_data.records import parse_object
from srl_grpo.config.train import TrainConfig
from srl_grpo.run.directory import RunDirectory, json_line

logger = logging.getLogger(__name__)

Metrics = Mapping[str, float]
Row = dict[str, float]
"""One line of metrics.jsonl: `step`, `time` in Unix seconds, and the metrics; null reads as NaN."""
WandbMode = Literal["online", "offline", "disabled"]


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
        line = json_line({"step": step, "time": round(time(), 3), **values})
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


class TensorBoardTracker:
    """TensorBoard event files; values that are not finite are left out."""

    def __init__(self, folder: Path, resume_step: int | None = None) -> None:
        from torch.utils.tensorboard import SummaryWriter

        # Events at and after purge_step are hidden when the run is shown.
        purge = None if resume_step is None else resume_step + 1
        self._writer = SummaryWriter(log_dir=str(folder), purge_step=purge)

    def log(self, step: int, metrics: Metrics) -> None:
        """Add one scalar per metric."""
        for name, value in metrics.items():
            if math.isfinite(value):
                self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file."""
        self._writer.close()


class HostedRun(Protocol):
    """The part of a W&B run object that is used here."""

    def log(self, data: Mapping[str, float]) -> None:
        """Send a row."""

    def define_metric(self, name: str, step_metric: str | None = None) -> object:
        """Say which metric is the x axis of another."""

    def finish(self) -> None:
        """Upload what is left."""


def stored_id(path: Path, resume_step: int | None) -> str:
    """The id kept at `path`: a resumed run finds its own again, a new one gets a new id."""
    if resume_step is not None and path.exists():
        return path.read_text(encoding="utf-8").strip()
    fresh = uuid.uuid4().hex[:12]
    write_text(path, fresh + "\n")
    return fresh


class WandbTracker:
    """Weights & Biases, online or offline; a resumed run keeps its id.

    Rows carry `step` as a metric of their own, the x axis of all others: W&B's built-in counter
    refuses to go back, so that a run resumed from an earlier checkpoint would lose its rows.
    """

    def __init__(
        self,
        run_dir: Path,
        project: str,
        name: str | None = None,
        mode: WandbMode = "online",
        resume_step: int | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as error:
            raise ConfigError(
                "W&B is asked for but not installed; install it with `uv sync --extra wandb` "
                "(or `pip install 'srl-grpo[wandb]'`), or turn it off"
            ) from error
        run = wandb.init(
            project=project,
            name=name or run_dir.name,
            id=stored_id(run_dir / "sys" / "wandb_run_id.txt", resume_step),
            dir=str(run_dir),
            mode=mode,
            resume="allow",
            config=dict(config or {}),
        )
        self._run = cast(HostedRun, run)
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Metrics) -> None:
        """Send one row."""
        self._run.log({"step": step, **metrics})

    def close(self) -> None:
        """Wait for the upload and end the run."""
        self._run.finish()


class TrackioTracker:
    """trackio, the local-first tracker; a resumed run keeps its name."""

    def __init__(self, project: str, name: str, config: Mapping[str, object] | None = None) -> None:
        try:
            self._trackio = importlib.import_module("trackio")
        except ImportError as error:
            raise ConfigError(
                "trackio is asked for but not installed; install it with "
                "`uv pip install trackio`, or turn it off"
            ) from error
        self._trackio.init(
            project=project, name=name, config=dict(config or {}), resume="allow", embed=False
        )

    def log(self, step: int, metrics: Metrics) -> None:
        """Send one row."""
        self._trackio.log(dict(metrics), step=step)

    def close(self) -> None:
        """End the run."""
        self._trackio.finish()


class Trackers:
    """All trackers of a run as one; `record`'s failure is raised, the others' warned of once."""

    def __init__(
        self,
        record: Tracker,
        others: Sequence[Tracker] = (),
        warn: Callable[[str], None] = logger.warning,
    ) -> None:
        self._record = record
        self._others = others
        self._warn = warn
        self._warned: set[int] = set()

    def log(self, step: int, metrics: Metrics) -> None:
        """Record `metrics` everywhere."""
        self._record.log(step, metrics)
        for tracker in self._others:
            with self._forgiving(tracker):
                tracker.log(step, metrics)

    def close(self) -> None:
        """Close every tracker, the record last."""
        for tracker in self._others:
            with self._forgiving(tracker):
                tracker.close()
        self._record.close()

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


def make_trackers(
    config: TrainConfig,
    directory: RunDirectory,
    resume_step: int | None,
    warn: Callable[[str], None],
) -> Tracker:
    """metrics.jsonl and whatever else the config asks for."""
    options = config.tracking
    others: list[Tracker] = []
    if options.tensorboard:
        others.append(TensorBoardTracker(directory.tensorboard, resume_step))
    if options.wandb != "disabled":
        others.append(
            WandbTracker(
                directory.path,
                project=options.wandb_project,
                name=options.run_name,
                mode=options.wandb,
                resume_step=resume_step,
                config=config.model_dump(mode="json"),
            )
        )
    return Trackers(MetricsFile(directory.metrics, resume_step), others, warn)


class NoTracker:
    """The tracker of ranks that record nothing."""

    def log(self, step: int, metrics: object) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""
