"""The first prompt that an evaluation, or a training run, of a config would put to its model.

Nothing is fetched: a model that is not on this machine is named as missing, and problems that are
not are replaced by an example.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from srl_data.first_prompt import EXAMPLE, first_prompt_lines
from srl_data.prompts import Template
from srl_eval.config import EvalConfig, ModelSection
from srl_eval.problems import load_problems
from srl_eval.tasks import TaskSpec

Asked = tuple[Mapping[str, object], str]
"""A record's columns, and words that say whose they are."""


def eval_first_prompt(task: TaskSpec, config: EvalConfig) -> list[str]:
    """What `srl-eval TASK --dry-run` shows. Raises what opening the model or the data does."""
    return model_first_prompt(config, lambda: first_problem(task, config.data.data_path))


def first_problem(task: TaskSpec, path: Path | None) -> Asked:
    """The first problem of a file, or an example where there is none."""
    if path is None or not path.is_file():
        return EXAMPLE, "of an example"
    problem = load_problems(task, path, None, 1).problems[0]
    return {"problem": problem.problem}, f"of {problem.id!r} of {path}"


def model_first_prompt(
    config: EvalConfig, first: Callable[[], Asked], template: Template | None = None
) -> list[str]:
    """The prompt of the `first` record for the model of `config`.

    `template` goes before the configuration's and the checkpoint's.
    """
    if not config.model.name:
        return ["# first prompt: not shown, no model is named"]
    if not is_here(config.model):
        return [f"# first prompt: not shown, model {config.model.name!r} is not on this machine"]
    from srl_eval.models import open_subject

    columns, whose = first()
    subject = open_subject(config, template=template)
    lines = first_prompt_lines(subject.prompts, columns, subject.stop_token_ids, whose)
    return [*lines, *(f"# note: {note}" for note in subject.notes)]


def is_here(section: ModelSection) -> bool:
    """Whether a model's folder is there, or its configuration in the hub's cache."""
    if Path(section.name).exists():
        return True
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        found = try_to_load_from_cache(
            section.name, "config.json", cache_dir=section.cache_dir, revision=section.revision
        )
    except HFValidationError:  # a path, not a hub id
        return False
    return isinstance(found, str)
