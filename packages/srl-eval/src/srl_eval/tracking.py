"""A finished evaluation on Weights & Biases: its scores, and a table of samples.

It is sent when all files are written, and nothing that goes wrong with it is the evaluation's
failure.
"""

import importlib
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from srl_data.command.wandb import RUN_ID_FILE, open_run, require_library, stored_run_id
from srl_eval.config import TrackingSection
from srl_eval.metrics import Metrics
from srl_eval.samples import Sample

PATIENCE_SECONDS = 120.0
"""How long a dashboard may take in all; W&B itself waits much longer for a dead network."""

_ROWS = 1000
_CHARACTERS = 4000
_COLUMNS = (
    *("id", "sample", "verdict", "extracted", "gold", "finish_reason", "completion_tokens"),
    "response",
)


def check_tracking(tracking: TrackingSection) -> None:
    """ConfigError saying which extra gives W&B, where it is asked for and not installed."""
    if tracking.wandb_project is not None:
        require_library("wandb", "srl-eval", "leave --wandb-project out")


def flat_metrics(metrics: Metrics) -> dict[str, float]:
    """Every number of a run under a name of its own."""
    scores = {"accuracy": metrics.accuracy, "format": metrics.format}
    scores[f"maj@{metrics.samples_per_problem}"] = metrics.majority
    scores |= {f"pass@{k}": score for k, score in metrics.pass_at.items()}
    flat: dict[str, float] = {}
    for name, score in scores.items():
        values = asdict(score)
        flat[name] = values.pop("mean")
        flat |= {f"{name}/{part}": value for part, value in values.items()}
    flat |= {f"verdict/{name}": count for name, count in metrics.verdicts.items()}
    flat |= {f"category/{name}": found.share for name, found in metrics.categories.items()}
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


def send(
    tracking: TrackingSection,
    folder: Path,
    name: str,
    config: Mapping[str, object],
    metrics: Metrics,
    samples: Sequence[Sample],
) -> None:
    """Send a run, offline or online as W&B is set up; its errors are raised."""
    run = open_run(
        folder,
        run_id=stored_run_id(folder / RUN_ID_FILE, resume=True),
        project=tracking.wandb_project,
        name=tracking.run_name or name,
        config=config,
        job_type="eval",
        console="off",
    )
    table = importlib.import_module("wandb").Table
    run.log(flat_metrics(metrics))
    run.log({"samples": table(columns=list(_COLUMNS), data=table_rows(samples))})
    run.finish()


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
