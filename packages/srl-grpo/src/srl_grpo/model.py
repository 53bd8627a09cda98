"""Models and tokenizers: from a hub, from a local folder, or made on the spot.

Nothing of what is loaded runs code: `trust_remote_code` off, weights from safetensors alone.
"""

import os
from pathlib import Path

import torch
from safetensors import SafetensorError
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from srl_data.errors import DataError
from srl_eval.generate.transformers import SMALL_MODEL
from srl_grpo.config import BuildSection, ModelSection

END, PAD = "<|end|>", "<|pad|>"


def character_tokenizer(alphabet: list[str]) -> PreTrainedTokenizerFast:
    """A tokenizer whose tokens are the entries of `alphabet` (characters and marks)."""
    marks = [END, PAD]
    vocabulary = {token: number for number, token in enumerate([*marks, *alphabet])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=PAD))
    longest_first = sorted(alphabet, key=len, reverse=True)
    pattern = "|".join(escape(token) for token in longest_first)
    tokenizer.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), behavior="isolated")
    tokenizer.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, clean_up_tokenization_spaces=False
    )


def escape(token: str) -> str:
    """`token` as a pattern of Oniguruma, the tokenizers library's regex engine."""
    return "".join(c if c.isalnum() or c.isspace() else f"\\{c}" for c in token)


def alphabet_named(name: str) -> list[str]:
    """The tokens of a shipped alphabet."""
    from srl_data.arithmetic import ALPHABET, PIECES

    assert name == "arithmetic"
    return [*PIECES, *ALPHABET]


def build_model(build: BuildSection, seed: int) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """A small seeded Qwen3 model in float32 and its character tokenizer.

    Not Qwen2: for that model type transformers 5 loads every tokenizer as Qwen2's own byte-level
    one, whatever the folder says, and a reloaded checkpoint would read other ids.
    """
    tokenizer = character_tokenizer(alphabet_named(build.alphabet))
    config = Qwen3Config(
        vocab_size=len(tokenizer),
        hidden_size=build.hidden_size,
        intermediate_size=build.intermediate_size,
        num_hidden_layers=build.num_layers,
        num_attention_heads=build.num_heads,
        num_key_value_heads=build.num_kv_heads,
        head_dim=build.hidden_size // build.num_heads,
        max_position_embeddings=build.max_positions,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen3ForCausalLM(config)
    return model, tokenizer


def check_source(path: str) -> None:
    """DataError for a local path that exists but is no model folder, with what is missing."""
    folder = Path(path)
    if folder.is_file():
        raise DataError(
            f"model {path!r} is a file; expected a folder with config.json, or a hub id"
        )
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise DataError(f"model folder {path!r} has no config.json: it holds no transformers model")
    looks_local = path.startswith((".", "/", "~")) or path.count("/") > 1
    if looks_local and not folder.exists():
        raise DataError(f"no model folder at {path!r}")


def load_model(
    path: str, *, revision: str | None, dtype: torch.dtype, attention: str = "auto"
) -> PreTrainedModel:
    """A causal LM from a hub id or a local folder; DataError in one line if there is none."""
    check_source(path)
    implementation = {} if attention == "auto" else {"attn_implementation": attention}
    try:
        return AutoModelForCausalLM.from_pretrained(
            path,
            revision=revision,
            dtype=dtype,
            trust_remote_code=False,
            use_safetensors=True,
            **implementation,
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DataError(f"cannot load model {path!r}: {first_line(error)}") from error
    except SafetensorError as error:
        raise DataError(f"cannot load model {path!r}: bad weights file: {error}") from error


def load_tokenizer(path: str, *, revision: str | None) -> PreTrainedTokenizerBase:
    """The tokenizer of a hub id or local folder, with an end token and a padding token."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            path, revision=revision, trust_remote_code=False
        )
    except (OSError, ValueError, KeyError, RuntimeError, ImportError) as error:
        raise DataError(f"cannot load the tokenizer of {path!r}: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise DataError(f"the tokenizer of {path!r} has no end token, so no completion could end")
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its type where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def compute_dtype(name: str, device: torch.device) -> torch.dtype:
    """The compute type behind `model.dtype`."""
    if name == "auto":
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    return torch.bfloat16 if name == "bfloat16" else torch.float32


def make_model(
    section: ModelSection, device: torch.device, seed: int
) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """The model and tokenizer that a config names, on `device`, without dropout."""
    if section.build is not None:
        model, tokenizer = build_model(section.build, seed)
    else:
        assert section.path is not None
        tokenizer = load_tokenizer(section.path, revision=section.revision)
        model = load_trainable(section, device)
    return ready(model, section, device), tokenizer


def load_trainable(section: ModelSection, device: torch.device) -> PreTrainedModel:
    """The causal LM behind `model.path`."""
    assert section.path is not None
    return load_model(
        section.path,
        revision=section.revision,
        dtype=compute_dtype(section.dtype, device),
        attention=section.attention,
    )


def ready(model: PreTrainedModel, section: ModelSection, device: torch.device) -> PreTrainedModel:
    """`model` on `device` in its compute type, without dropout."""
    switch_off_dropout(model)
    if section.gradient_checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    cast_parameters(model, compute_dtype(section.dtype, device))
    torch.nn.Module.to(model, device=device)
    return model


def cast_parameters(model: PreTrainedModel, dtype: torch.dtype) -> None:
    """Cast parameters alone: buffers such as rotary frequencies must stay in float32.

    In bfloat16 a rotary phase is off by a radian at position 1,000.
    """
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)


def settle_threads(model: PreTrainedModel) -> None:
    """One CPU thread for a small model, unless OMP_NUM_THREADS says otherwise.

    An operator's threads wait for each other by spinning: on two idle cores a second one makes an
    update 1.4 times faster, beside other work it makes it three times and more slower.
    """
    small = sum(parameter.numel() for parameter in model.parameters()) <= SMALL_MODEL
    if small and model.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)


def switch_off_dropout(model: PreTrainedModel) -> None:
    """Set every dropout to 0: old and new log-probabilities must come from one function."""
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
        for name, value in vars(module).items():
            if "dropout" in name and isinstance(value, float):
                setattr(module, name, 0.0)


def context_length(model: PreTrainedModel) -> int | None:
    """Most tokens the model takes; None where its config names no limit."""
    length = getattr(model.config, "max_position_embeddings", None)
    return int(length) if length else None
