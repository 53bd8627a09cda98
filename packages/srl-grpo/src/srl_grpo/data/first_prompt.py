"""The first prompt that a training run would put to its model, as `train --dry-run` shows it."""

from collections.abc import Mapping
from pathlib import Path

from srl_data.arithmetic import problems
from srl_data.command.errors import DataError
from srl_data.first_prompt import EXAMPLE, first_prompt_lines
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import chat_options
from srl_data.prompts import Template
from srl_data.records import Record
from srl_data.splits import is_local
from srl_eval.config import EvalConfig
from srl_eval.first_prompt import Asked, model_first_prompt
from srl_grpo.config.sampled import Q, SampledConfig
from srl_grpo.data.prompts import made_records, training_records
from srl_grpo.data.record_kinds import Needed, RecordKind, kind_of_run
from srl_grpo.data.training_template import training_template, with_template


def train_first_prompt(
    config: Q, needed: Needed, resumed: Path | None = None
) -> tuple[Q, list[str]]:
    """The config with its template, and the first prompt line by line.

    `needed` are the columns that the rewards read, `resumed` is the folder of a run to continue.
    Where the data is not on this machine the record is made up. Raises what opening the model or
    reading the data does.
    """
    kind = kind_of_run(config, needed)
    chosen = training_template(config, kind, resumed)
    lines = prompt_lines(config, kind, chosen.template)
    note = [f"# note: {chosen.note}"] if chosen.note else []
    return with_template(config, chosen.template), [*lines, *note]


def prompt_lines(config: SampledConfig, kind: RecordKind, template: Template) -> list[str]:
    """The first prompt of a config in the words of `template`."""
    if config.model.build is not None:
        return built_first_prompt(config, template, *first_record(config, kind))
    tree = {
        "model": {"model": config.model.path, "revision": config.model.revision},
        "prompt": {
            "chat_template": config.data.chat_template,
            "chat_template_kwargs": config.data.chat_template_kwargs,
        },
    }
    evaluation = EvalConfig.model_validate(tree)
    return model_first_prompt(evaluation, lambda: first_record(config, kind), template)


def first_record(config: SampledConfig, kind: RecordKind) -> Asked:
    """The columns of the first record, and whose they are."""
    path = config.data.path
    record: Record | None
    if config.synthetic is not None:
        made = problems(config.seed, 1, config.synthetic.difficulty, "train")
        record = next(made_records(made, kind))
    elif path is None or not is_local(path):
        return EXAMPLE, f"of an example ({path} is not there)"
    else:
        record = next(training_records(config, kind, lambda _: None), None)
    if record is None:
        raise DataError(f"{path}: no records; expected at least one")
    return record.model_dump(exclude={"id", "meta"}), f"of {record.id!r}"


def built_first_prompt(
    config: SampledConfig, template: Template, columns: Mapping[str, object], whose: str
) -> list[str]:
    """That of a model made on the spot, whose tokenizer is made as in the run."""
    assert config.model.build is not None
    from srl_grpo.toy.characters import CharacterCoder, alphabet_named, character_core

    tokenizer = CharacterCoder(character_core(alphabet_named(config.model.build.alphabet)))
    name, options = "the model made on the spot", chat_options(config.data)
    prompts = open_prompts(tokenizer, template, options, name)
    return first_prompt_lines(prompts, columns, (0,), whose)
