"""A finished evaluation on Weights & Biases: its scores, and a table of samples.

It is sent when all files are written, and nothing that goes wrong with it is the evaluation's
failure. WANDB_MODE and W&B's other variables mean what they do everywhere; the account's key is
W&B's own business.
"""

import importlib
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol, cast

from srl_data.command.errors import ConfigError
from srl_data.files import write_text
from srl_eval.config import TrackingSection
from srl_eval.metrics import Metrics
from srl_eval.samples import Sample

RUN_ID_FILE = "wandb_run_id.txt"
PATIENCE_SECONDS = 120.0
"""How long a dashboard may take in all; W&B itself waits much longer for a dead network."""

_ROWS = 1000
_CHARACTERS = 4000
_COLUMNS = (
    *("id", "sample", "verdict", "extracted", "gold", "finish_reason", "completion_tokens"),
    "response",
)


class HostedRun(Protocol):
    """The part of a W&B run that is used here."""

    def log(self, data: Mapping[str, object]) -> None:
        """Send a row."""

    def finish(self) -> None:
        """Upload what is left."""


def require_wandb(tracking: TrackingSection) -> None:
    """ConfigError saying which extra gives W&B, where it is asked for and not installed."""
    if tracking.wandb_project is not None and find_spec("wandb") is None:
        raise ConfigError(
            "W&B is asked for but not installed; install it with `uv sync --extra wandb` "
            "(or `pip install 'srl-eval[wandb]'`), or leave --wandb-project out"
        )


def flat_metrics(metrics: Metrics) -> dict[str, float]:
    """Every number of a run under a name of its own."""
    scores = {"accuracy": metrics.accuracy, f"maj@{metrics.samples_per_problem}": metrics.majority}
    scores |= {f"pass@{k}": score for k, score in metrics.pass_at.items()}
    flat: dict[str, float] = {}
    for name, score in scores.items():
        values = asdict(score)
        flat[name] = values.pop("mean")
        flat |= {f"{name}/{part}": value for part, value in values.items()}
    flat |= {f"verdict/{name}": count for name, count in metrics.verdicts.items()}
    return flat | {
        "problems": metrics.problems,
        "samples_per_problem": metrics.samples_per_problem,
        "cut_off": metrics.cut_off,
        "completion_tokens/mean": metrics.mean_completion_tokens,
        "completion_tokens/max": metrics.max_completion_tokens,
        "steps/mean": metrics.mean_steps,
    }


def table_rows(samples: Sequence[Sample]) -> list[list[object]]:
    """Samples for the table: every problem's first, then every second; long texts are cut."""
    ordered = sorted(samples, key=lambda sample: (sample.sample, sample.doc))
    rows = []
    for sample in ordered[:_ROWS]:
        text = sample.response
        cut = f" [... {len(text) - _CHARACTERS} characters]" if len(text) > _CHARACTERS else ""
        values = [getattr(sample, name) for name in _COLUMNS[:-1]]
        rows.append([*values, text[:_CHARACTERS] + cut])
    return rows


def stored_run_id(folder: Path) -> str:
    """The folder's W&B run: one that is run again resumes under its id."""
    path = folder / RUN_ID_FILE
    if not path.exists():
        write_text(path, uuid.uuid4().hex[:12] + "\n")
    return path.read_text(encoding="utf-8").strip()


def send(
    tracking: TrackingSection,
    folder: Path,
    name: str,
    config: Mapping[str, object],
    metrics: Metrics,
    samples: Sequence[Sample],
) -> None:
    """Send a run, offline or online as W&B is set up; its errors are raised."""
    wandb = importlib.import_module("wandb")
    run = wandb.init(
        project=tracking.wandb_project,
        name=tracking.run_name or name,
        id=stored_run_id(folder),
        dir=str(folder),
        job_type="eval",
        resume="allow",
        config=dict(config),
        settings=wandb.Settings(console="off"),
    )
    hosted = cast(HostedRun, run)
    hosted.log(flat_metrics(metrics))
    hosted.log({"samples": wandb.Table(columns=list(_COLUMNS), data=table_rows(samples))})
    hosted.finish()


def forgive(action: Callable[[], None], patience: float, warn: Callable[[str], None]) -> None:
    """Run `action` for at most so many seconds; a failure and a hang are warnings.

    It has a thread of its own, which is left behind if it hangs.
    """
    failures: list[BaseException] = []

    def body() -> None:
        try:
            action()
        except BaseException as error:  # noqa: BLE001 - a dashboard must never end an evaluation
            failures.append(error)

    thread = threading.Thread(target=body, name="wandb", daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        warn(f"W&B did not answer within {patience:.0f} s and was left; all files are written")
    elif failures:
        reason = " ".join(str(failures[0]).split())[:300] or type(failures[0]).__name__
        warn(f"W&B failed and was left: {reason}; all files are written")
