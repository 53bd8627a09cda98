"""The model of a run with its tokenizer and its prompt template.

Loaded, checked against each other, and tried: the first prompt must survive the tokenizer, and a
checkpoint of all but the weights must come back. What is loaded is `srl_grpo.learner.model`'s.
"""

from dataclasses import dataclass

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl_data.command.errors import ConfigError
from srl_data.prompt_format import PromptFormat
from srl_data.prompts import Template
from srl_eval.generate.architectures import vocabulary_size
from srl_eval.generate.tokenizers import check_marks, check_round_trip, padding_id
from srl_grpo.config.run import RunConfig
from srl_grpo.config.sections import ModelSection
from srl_grpo.data.prompting import open_training_prompts
from srl_grpo.data.prompts import Note
from srl_grpo.learner.distributed import World
from srl_grpo.learner.model import (
    context_length,
    load_for_training,
    prepare_model,
    use_one_thread_if_small,
)
from srl_grpo.learner.model_folder import mend_generation_config, try_saving
from srl_grpo.run.start import StartingPoint
from srl_grpo.toy.model import build_model

MADE = "made on the spot"
"""What a model that has no folder is called."""


@dataclass(frozen=True)
class PromptedModel:
    """A model, its tokenizer and its prompt template: how records become ids and ids text."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    prompts: PromptFormat
    name: str
    """What the model is called in errors."""

    @property
    def pad_id(self) -> int:
        """The id that pads rows; never attended to."""
        return padding_id(self.tokenizer, vocabulary_size(self.model.config))

    def check(self, prompt: str) -> None:
        """DataError where the first prompt or a trial save does not come back."""
        check_marks(self.tokenizer, self.name)
        check_round_trip(self.tokenizer, prompt, self.name)
        try_saving(self.model, self.tokenizer, self.name, prompt)


def model_section(config: RunConfig, start: StartingPoint) -> ModelSection:
    """The config's model, or in its place the checkpoint to resume from or an earlier stage's."""
    folder = start.checkpoint or start.model
    if folder is None:
        return config.model
    place = {"path": str(folder), "build": None, "revision": None}
    return ModelSection.model_validate(config.model.model_dump() | place)


def make_model(
    section: ModelSection, device: torch.device, seed: int, note: Note = lambda _: None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer that a config names, loaded or built, on `device`."""
    if section.build is None:
        return load_for_training(section, device, seed, note)
    model, tokenizer = build_model(section.build, seed, section.attention)
    return prepare_model(model, section, device, note), tokenizer


def open_model(
    config: RunConfig, template: Template, start: StartingPoint, world: World, note: Note
) -> PromptedModel:
    """The model and tokenizer of the config, or of the checkpoint to resume from, with prompts."""
    section = model_section(config, start)
    model, tokenizer = make_model(section, world.device, config.seed, note)
    mend_generation_config(model, note)
    use_one_thread_if_small(model)
    check_lengths(config, context_length(model))
    resumed = start.prompts
    prompts = open_training_prompts(config, template, tokenizer, model, resumed, world, note)
    return PromptedModel(model, tokenizer, prompts, section.path or MADE)


def check_lengths(config: RunConfig, limit: int | None) -> None:
    """ConfigError if rows of the allowed lengths do not fit the model's window."""
    if limit is not None and config.longest > limit:
        raise ConfigError(
            f"{config.lengths_told} exceeds the model's {limit} positions; lower "
            f"{config.length_flags}"
        )
