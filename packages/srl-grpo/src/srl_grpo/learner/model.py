"""The model to train and its tokenizer, loaded and prepared for training.

What loading checks is `srl_eval.generate`'s, shared with evaluation; here is what training adds.
"""

import os
from collections.abc import Callable

import torch
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from srl_data.command.errors import DataError
from srl_eval.generate.architectures import load_config, vocabulary_size, window
from srl_eval.generate.folders import ModelSource, check_files
from srl_eval.generate.tokenizers import check_ids, load_tokenizer, longest_id
from srl_eval.generate.transformers import SMALL_MODEL
from srl_eval.generate.weights import load_model, quiet_transformers
from srl_grpo.config.sections import ModelSection
from srl_grpo.learner.noise import switch_off_noise
from srl_grpo.learner.trainable import check_trainable

Note = Callable[[str], None]
"""Shows a line to the user."""


def source_of(section: ModelSection) -> ModelSource:
    """Where the model of a config comes from."""
    assert section.path is not None
    return ModelSource(section.path, section.revision)


def check_model(section: ModelSection) -> None:
    """DataError where the model of a config is a local path that cannot be trained.

    Seen from its files and its config alone, so that it comes before data or a hub are asked.
    """
    if section.path is None:
        return
    source = source_of(section)
    check_files(source)
    if source.folder is not None:
        check_trainable(source, load_config(source))


def with_end_token(tokenizer: PreTrainedTokenizerBase, name: str) -> PreTrainedTokenizerBase:
    """`tokenizer`, which must have an end token, with a padding token."""
    if tokenizer.eos_token_id is None:
        raise DataError(f"the tokenizer of {name!r} has no end token, so no completion could end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """The compute type behind `model.dtype`."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def load_for_training(
    section: ModelSection, device: torch.device, seed: int, note: Note = lambda _: None
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer of `model.path`, on `device`, without dropout."""
    assert section.path is not None
    check_files(source_of(section))
    tokenizer = with_end_token(load_tokenizer(source_of(section), note), section.path)
    model = load_trainable(section, device, tokenizer, seed, note)
    return prepare_model(model, section, device, note), tokenizer


def load_trainable(
    section: ModelSection,
    device: torch.device,
    tokenizer: PreTrainedTokenizerBase,
    seed: int,
    note: Note = lambda _: None,
) -> PreTrainedModel:
    """The causal LM behind `model.path`, with an embedding for every id of the tokenizer."""
    source = source_of(section)
    check_files(source)
    config = load_config(source)
    check_trainable(source, config)
    if not section.resize_embeddings:
        check_ids(tokenizer, vocabulary_size(config), source.name)
    model = load_model(
        source,
        dtype=compute_dtype(section.dtype, device),
        attention=section.attention,
        config=config,
    )
    if section.resize_embeddings:
        grow_embeddings(model, longest_id(tokenizer) + 1, seed, note)
    freeze_what_text_leaves_out(model)
    return model


def grow_embeddings(model: PreTrainedModel, rows: int, seed: int, note: Note) -> None:
    """Give the embedding (and the head) `rows` rows where it has fewer.

    New rows are drawn about the mean of the old ones, the same on every rank.
    """
    before = vocabulary_size(model.config)
    if rows <= before:
        return
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        torch.manual_seed(seed)
        model.resize_token_embeddings(rows, mean_resizing=True)
    note(f"embedding grown from {before} to {rows} rows, new ones about the mean of the old")


def freeze_what_text_leaves_out(model: PreTrainedModel) -> None:
    """Train only the text model of a composite one.

    Its vision tower gets no gradient from text, and weight decay alone must not move it.
    """
    if model.config.get_text_config(decoder=True) is model.config:
        return
    used = {id(parameter) for parameter in model.get_decoder().parameters()}
    for part in (model.get_input_embeddings(), model.get_output_embeddings()):
        used |= {id(parameter) for parameter in part.parameters()}
    for parameter in model.parameters():
        if id(parameter) not in used:
            parameter.requires_grad_(False)


def prepare_model(
    model: PreTrainedModel,
    section: ModelSection,
    device: torch.device,
    note: Note = lambda _: None,
) -> PreTrainedModel:
    """`model` on `device` in its compute type, without dropout or other noise."""
    cast_parameters(model, compute_dtype(section.dtype, device))
    torch.nn.Module.to(model, device=device)
    switch_off_noise(model, note)
    if section.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


def cast_parameters(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Cast parameters alone: buffers such as rotary frequencies must stay in float32.

    In bfloat16 a rotary phase is off by a radian at position 1,000.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def use_one_thread_if_small(model: PreTrainedModel) -> None:
    """One CPU thread for a small model, unless OMP_NUM_THREADS says otherwise.

    An operator's threads wait for each other by spinning: on two idle cores a second one makes an
    update 1.4 times faster, beside other work it makes it three times and more slower.
    """
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL_MODEL
    if small and model.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def context_length(model: PreTrainedModel) -> int | None:
    """Most tokens the model takes; None where its config names no limit."""
    return window(model.config)
