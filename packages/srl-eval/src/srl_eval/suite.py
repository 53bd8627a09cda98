"""Several models on several tasks in several modes, in one command that can be resumed.

Each evaluation has its own folder and is a run of its own; what is finished is not done again.
Models are loaded one after the other, each once a task and mode that is not finished.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field, field_validator, model_validator

from srl_data.command.config import ConfigTree, Section, validate
from srl_data.command.errors import ConfigError, DataError
from srl_eval.config import EvalConfig
from srl_eval.metrics import Metrics
from srl_eval.models import check_folder
from srl_eval.tasks import TaskSpec, get_task

_FOLDER = re.compile(r"[\w.+-]*\w[\w.+-]*")


class SuiteModel(Section):
    """One model of a suite."""

    name: str
    """What its folder and its rows are called; one model, one name."""
    model: str | None = None
    """Hub id or local folder."""
    model_path: Path | None = None
    """Local checkpoint, instead of `model`."""
    revision: str | None = None
    """Revision of a model from the hub."""
    template: str | None = None
    """Prompt template, instead of the checkpoint's own."""


class SuiteConfig(Section):
    """A suite file: models, tasks and modes, and what all evaluations share."""

    output_dir: Path
    """Folder of the suite; each evaluation writes into MODEL/TASK_MODE in it."""
    models: list[SuiteModel] = Field(min_length=1)
    """The models, in the order of the tables; differences are to the first."""
    tasks: list[str] = Field(min_length=1)
    """Task names."""
    modes: list[str] = Field(default=["greedy"], min_length=1)
    """greedy, stepwise, avgN."""
    data: dict[str, Path] = Field(default_factory=dict)
    """Local data file by task name; other tasks come from the hub."""
    shared: EvalConfig = EvalConfig()
    """Settings of every evaluation, as in a file of `srl-eval TASK`."""

    @field_validator("models")
    @classmethod
    def _names_are_folders(cls, models: list[SuiteModel]) -> list[SuiteModel]:
        names = [model.name for model in models]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"two models are called {name!r}")
            if not _FOLDER.fullmatch(name):
                raise ValueError(f"name {name!r} is not a folder name: use letters, digits, ._+-")
        return models

    @model_validator(mode="after")
    def _summary_is_of_one_run(self) -> "SuiteConfig":
        if self.shared.output.summary is not None:
            raise ValueError(
                "output.summary is one file, and every evaluation would write it; leave it out, "
                "and use `srl-eval rescore FOLDER --summary FILE` for the one that you want"
            )
        return self

    @model_validator(mode="after")
    def _data_is_of_the_tasks(self) -> "SuiteConfig":
        known = {get_task(name).name for name in self.tasks}
        for name in self.data:
            if get_task(name).name not in known:
                raise ValueError(f"data for {name!r}, which is none of the tasks")
        return self

    def data_path(self, task: TaskSpec) -> Path | None:
        """The local file of a task, under whichever of its names it was given."""
        files = {get_task(name).name: path for name, path in self.data.items()}
        return files.get(task.name)


@dataclass(frozen=True)
class Entry:
    """One evaluation of a suite."""

    model: str
    task: TaskSpec
    config: EvalConfig

    @property
    def folder(self) -> Path:
        """Where its files are."""
        assert self.config.output.output_dir is not None
        return self.config.output.output_dir


def entries(suite: SuiteConfig) -> Iterator[Entry]:
    """All evaluations, model by model; ConfigError for a bad task or mode."""
    for model in suite.models:
        for name in suite.tasks:
            task = get_task(name)
            for mode in suite.modes:
                yield Entry(model.name, task, entry_config(suite, model, task, mode))


def entry_config(suite: SuiteConfig, model: SuiteModel, task: TaskSpec, mode: str) -> EvalConfig:
    """The shared settings with one model, task and mode put in."""
    tree: dict[str, ConfigTree] = suite.shared.model_dump()
    named = {"model": model.model, "model_path": model.model_path, "revision": model.revision}
    tree["model"] |= {key: value for key, value in named.items() if value is not None}
    tree["decoding"]["mode"] = mode
    tree["data"]["data_path"] = suite.data_path(task)
    if model.template is not None:
        tree["prompt"]["template"] = model.template
    tree["output"]["output_dir"] = suite.output_dir / model.name / f"{task.name}_{mode}"
    return validate(dict(tree), EvalConfig, f"suite entry {model.name}, {task.name}, {mode}")


def run_suite(
    suite: SuiteConfig, run: Callable[[TaskSpec, EvalConfig], Metrics]
) -> list[tuple[Entry, Metrics]]:
    """Run every evaluation with `run`, in order; what is missing is found before the first."""
    planned = list(entries(suite))
    for entry in planned:
        check(entry)
    return [(entry, run(entry.task, entry.config)) for entry in planned]


def check(entry: Entry) -> None:
    """DataError where an evaluation's model folder or data file is not there."""
    model, path = entry.config.model, entry.config.data.data_path
    if not model.name:
        raise ConfigError(f"suite model {entry.model!r} has neither model nor model_path")
    check_folder(model, entry.config.backend.backend)
    if path is not None and not path.is_file():
        raise DataError(f"suite data for {entry.task.name}: no such file: {path}")


def comparable(suite: SuiteConfig) -> dict[str, list[Path]]:
    """Folders of the runs of each task and mode, in the order of the models."""
    found: dict[str, list[Path]] = {}
    for entry in entries(suite):
        found.setdefault(entry.folder.name, []).append(entry.folder)
    return found
