"""The first prompt that a training run would put to its model, as `train --dry-run` shows it."""

from collections.abc import Mapping

from srl_data.arithmetic import problems
from srl_data.first_prompt import EXAMPLE, first_prompt_lines
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import chat_options
from srl_data.prompts import get_template
from srl_data.records import Record, SrlInstance, read_records
from srl_eval.config import EvalConfig
from srl_eval.first_prompt import Asked, model_first_prompt
from srl_grpo.config.train import TrainConfig


def train_first_prompt(config: TrainConfig) -> list[str]:
    """The first prompt line by line; a made-up record's where the data is not on this machine.

    Raises what opening the model or reading the data does.
    """
    if config.model.build is not None:
        return built_first_prompt(config, *first_record(config))
    tree = {
        "model": {"model": config.model.path, "revision": config.model.revision},
        "prompt": {
            "template": config.data.template,
            "chat_template": config.data.chat_template,
            "chat_template_kwargs": config.data.chat_template_kwargs,
        },
    }
    return model_first_prompt(EvalConfig.model_validate(tree), lambda: first_record(config))


def first_record(config: TrainConfig) -> Asked:
    """The columns of the first record, and whose they are."""
    path = config.data.path
    if config.synthetic is not None:
        made = problems(config.seed, 1, config.synthetic.difficulty, "train")
        record: Record = next(next(made).instances())
    elif path is None or not path.is_file():
        return EXAMPLE, f"of an example ({path} is not there)"
    else:
        found = next(read_records(path, SrlInstance, config.data.on_error), None)
        if found is None:
            return EXAMPLE, f"of an example ({path} holds no record)"
        record = found
    return record.model_dump(exclude={"id", "meta"}), f"of {record.id!r}"


def built_first_prompt(config: TrainConfig, columns: Mapping[str, object], whose: str) -> list[str]:
    """That of a model made on the spot, whose tokenizer is made as in the run."""
    assert config.model.build is not None
    from srl_grpo.toy.characters import CharacterCoder, alphabet_named, character_core

    tokenizer = CharacterCoder(character_core(alphabet_named(config.model.build.alphabet)))
    name, options = "the model made on the spot", chat_options(config.data)
    prompts = open_prompts(tokenizer, get_template(config.data.template), options, name)
    return first_prompt_lines(prompts, columns, (0,), whose)
