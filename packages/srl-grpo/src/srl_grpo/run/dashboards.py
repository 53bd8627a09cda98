"""Trackers besides metrics.jsonl: TensorBoard, Weights & Biases and trackio.

Each resumes its own run after `resume_step`, the last step that a resumed run keeps; None begins a
new one. What they raise is warned of by `srl_grpo.run.trackers.Trackers`.
"""

import importlib
import math
from collections.abc import Mapping
from pathlib import Path

from srl_data.command.wandb import RUN_ID_FILE, WandbMode, open_run, stored_run_id
from srl_data.files import write_text

Metrics = Mapping[str, float]

NAME_FILE = "trackio_run_name.txt"


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


class WandbTracker:
    """Weights & Biases, online or offline; a run is resumed under its own id.

    Rows carry `step` as a metric of their own, the x axis of all others: W&B's built-in counter
    refuses to go back, so that a run resumed from an earlier checkpoint would lose its rows.
    """

    def __init__(
        self,
        run_dir: Path,
        project: str,
        name: str,
        mode: WandbMode = "online",
        resume_step: int | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        self._run = open_run(
            run_dir,
            run_id=stored_run_id(run_dir / "sys" / RUN_ID_FILE, resume=resume_step is not None),
            project=project,
            name=name,
            config=config or {},
            mode=mode,
        )
        self._run.define_metric("step")
        self._run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Metrics) -> None:
        """Send one row."""
        self._run.log({"step": step, **metrics})

    def close(self) -> None:
        """Wait for the upload and end the run."""
        self._run.finish()


class TrackioTracker:
    """trackio, the local-first tracker; a run is resumed under the name that it began with.

    trackio finds a run by its name alone, so a new run whose name is taken in the project gets a
    number behind it. Rows of steps that are done again after resuming stand beside the earlier
    ones.
    """

    def __init__(
        self,
        run_dir: Path,
        project: str,
        name: str,
        resume_step: int | None = None,
        config: Mapping[str, object] | None = None,
    ) -> None:
        self._trackio = importlib.import_module("trackio")
        path = run_dir / "sys" / NAME_FILE
        again = resume_step is not None and path.exists()
        if again:
            name = path.read_text(encoding="utf-8").strip()
        else:
            name = free_name(name, self._names(project))
            write_text(path, name + "\n")
        self._trackio.init(
            project=project,
            name=name,
            config=dict(config or {}),
            resume="allow" if again else "never",
            embed=False,
            auto_log_cpu=False,
        )

    def _names(self, project: str) -> set[str]:
        """The names of the project's runs on this machine."""
        try:
            return {str(run.name) for run in self._trackio.Api().runs(project)}
        except ValueError:  # there is no such project yet
            return set()

    def log(self, step: int, metrics: Metrics) -> None:
        """Send one row."""
        self._trackio.log(dict(metrics), step=step)

    def close(self) -> None:
        """Write what is buffered and end the run."""
        self._trackio.finish()


def free_name(name: str, taken: set[str]) -> str:
    """`name`, or the first of `name-2`, `name-3`, … that is not taken."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name}-{number}"
    return found
