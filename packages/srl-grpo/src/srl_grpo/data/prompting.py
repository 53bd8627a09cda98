"""How a run prompts its model: settled at its start, the same when it is resumed.

Chat template, its arguments, the frozen date and the stop tokens come together here; rendering is
`srl_data.prompt_format`'s.
"""

from collections.abc import Callable
from pathlib import Path

from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl_data.command.errors import ConfigError
from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import (
    ChatOptions,
    PromptRecord,
    chat_options,
    differences,
)
from srl_data.prompts import Template
from srl_eval.generate import stop_token_ids
from srl_grpo.config.run import RunConfig
from srl_grpo.data.training_template import recorded_prompts
from srl_grpo.learner.distributed import World


def open_training_prompts(
    config: RunConfig,
    template: Template,
    tokenizer: PreTrainedTokenizerBase,
    model: PreTrainedModel,
    resumed: Path | None,
    world: World,
    note: Callable[[str], None],
) -> PromptFormat:
    """How records become prompts of `template`: by the config, or as what is `resumed` records it.

    A chat template from a file becomes the tokenizer's own, and the end of a turn an end token of
    the model's generation configuration, so that a checkpoint of either is used alike elsewhere.
    Raises ConfigError where a resumed run would see other prompts than before.
    """
    recorded = recorded_prompts(config, resumed)
    options: ChatOptions = world.from_main(chat_options(config.data, recorded))
    name = config.model.path or "the model made on the spot"
    prompts = open_prompts(tokenizer, template, options, name)
    if resumed is not None and recorded is not None:
        check_unchanged(resumed, recorded, prompts.record)
    if options.text is not None:
        tokenizer.chat_template = options.text
    added = name_stops(model, prompts)
    for line in (*prompts.notes, *([added] if added else [])):
        note(line)
    return prompts


def check_unchanged(resumed: Path, before: PromptRecord, now: PromptRecord) -> None:
    """ConfigError naming what differs where a resumed run would prompt its model otherwise."""
    changed = differences(before, now)
    if changed:
        is_model = (resumed / "config.json").is_file()
        elsewhere = f"with --model {resumed}" if is_model else "in another --output-dir"
        raise ConfigError(
            f"--resume {resumed}: its prompts would change ({'; '.join(changed)}); resume with "
            f"the options that the run began with, or begin another run {elsewhere}"
        )


def stops_of(model: PreTrainedModel, prompts: PromptFormat) -> tuple[int, ...]:
    """Ids that end a completion."""
    sources = (prompts.tokenizer, model.config, model.generation_config)
    return stop_token_ids(sources, prompts.stop_token_ids)


def name_stops(model: PreTrainedModel, prompts: PromptFormat) -> str | None:
    """Make the end of a turn an end token of the generation configuration; a line if it was none.

    Whoever loads a checkpoint stops where training did.
    """
    known = stop_token_ids((prompts.tokenizer, model.config, model.generation_config))
    stops = stops_of(model, prompts)
    new = set(stops) - set(known)
    if not new or model.generation_config is None:
        return None
    model.generation_config.eos_token_id = list(stops)
    return (
        f"the chat template ends a turn with {prompts.turn_end.text!r}, which no configuration "
        "names: it is a stop token of this run, and in the generation_config of its checkpoints"
    )
