"""Weights & Biases, opened in the same way by training and evaluation.

The library is an extra of the packages above, so it is imported when it is first asked for. Its
environment variables (WANDB_MODE and others) mean what they do everywhere; the account's key is its
own business.
"""

import importlib
import uuid
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Protocol, cast

from srl_data.command.errors import ConfigError
from srl_data.files import write_text

RUN_ID_FILE = "wandb_run_id.txt"
WandbMode = Literal["disabled", "online", "offline"]


class HostedRun(Protocol):
    """The part of a W&B run that is used."""

    def log(self, data: Mapping[str, object]) -> None:
        """Send a row."""

    def define_metric(self, name: str, step_metric: str | None = None) -> object:
        """Say which metric is the x axis of another."""

    def finish(self) -> None:
        """Upload what is left."""


def require_library(library: str, package: str, off: str) -> None:
    """ConfigError naming `package`'s extra of the same name where a library is not installed.

    `off` says how to do without it.
    """
    if find_spec(library) is None:
        shown = {"wandb": "W&B"}.get(library, library)
        raise ConfigError(
            f"{shown} is asked for but not installed; install it with `uv sync --extra {library}` "
            f"(or `pip install '{package}[{library}]'`), or {off}"
        )


def stored_run_id(path: Path, *, resume: bool) -> str:
    """The run id kept at `path`; a new one is made where there is none, or for a new run."""
    if resume and path.exists():
        return path.read_text(encoding="utf-8").strip()
    fresh = uuid.uuid4().hex[:12]
    write_text(path, fresh + "\n")
    return fresh


def open_run(
    folder: Path,
    *,
    run_id: str,
    project: str | None,
    name: str,
    config: Mapping[str, object],
    mode: WandbMode | None = None,
    job_type: str | None = None,
    console: Literal["auto", "off"] = "auto",
) -> HostedRun:
    """Begin a run, or continue the one with this id; its files go to `folder`.

    `mode` None leaves online or offline to WANDB_MODE; `console` says whether the terminal's text
    is kept with the run. The library's errors are raised.
    """
    wandb = importlib.import_module("wandb")
    run = wandb.init(
        project=project,
        name=name,
        id=run_id,
        dir=str(folder),
        mode=mode,
        job_type=job_type,
        resume="allow",
        config=dict(config),
        settings=wandb.Settings(console=console),
    )
    return cast(HostedRun, run)
