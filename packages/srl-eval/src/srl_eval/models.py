"""Who answers: a model with its tokenizer, its prompt template and a way to start an engine.

Loading is in two parts: tokenizer and configuration at once, since prompts and caps depend on them,
and the weights only when there is something left to generate. No code from a model folder is ever
run.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srl_data.chat import Tokenizer
from srl_data.errors import ConfigError, DataError
from srl_data.files import sha256_file
from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import (
    ChatOptions,
    PromptRecord,
    chat_options,
    read_record,
    recorded_template,
)
from srl_data.prompts import Template, get_template
from srl_eval.config import EvalConfig, ModelSection
from srl_eval.generate.engine import Engine
from srl_eval.generate.stopping import stop_token_ids

if TYPE_CHECKING:
    from transformers import GenerationConfig, PreTrainedConfig, PreTrainedTokenizerBase

DEFAULT_TEMPLATE = "boxed"
_HASH_UP_TO = 1 << 30  # bytes of weights that are hashed; above, names and sizes must do


@dataclass(frozen=True)
class Subject:
    """A model under evaluation.

    `window` is prompt and answer together, at most; `identity` what a resumed run must find again;
    `start` gives the engine, loading the weights if they are not.
    """

    label: str
    prompts: PromptFormat
    window: int | None
    stop_token_ids: tuple[int, ...]
    identity: dict[str, object]
    start: Callable[[], Engine]

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self.prompts.tokenizer

    @property
    def template(self) -> Template:
        """The prompt template."""
        return self.prompts.template


def live_subject(
    engine: Engine,
    tokenizer: Tokenizer,
    *,
    stop_token_ids: tuple[int, ...],
    window: int | None,
    label: str = "live",
    template: str | None = None,
) -> Subject:
    """A model that is there already, such as one in training; `label` stands for its weights."""
    words = get_template(template or DEFAULT_TEMPLATE)
    prompts = open_prompts(tokenizer, words, ChatOptions(), label)
    return Subject(
        label=label,
        prompts=prompts,
        window=window,
        stop_token_ids=tuple(sorted({*stop_token_ids, *prompts.stop_token_ids})),
        identity={"model": label, "weights_version": engine.weights_version},
        start=lambda: engine,
    )


def open_subject(config: EvalConfig, today: dt.date | None = None) -> Subject:
    """The model that the configuration names, asked as if the day were `today` where that counts.

    Raises ConfigError where none or an absent backend is named, DataError for a path or hub id that
    is no model.
    """
    section, backend = config.model, config.backend
    check_model(config)
    if backend.backend == "vllm":
        from srl_eval.generate.vllm import require_vllm

        require_vllm()
    model_config, tokenizer = _load_head(section)
    device, dtype = ("", "") if backend.backend == "server" else _placement(section)
    prompts = _prompts(config, tokenizer, today)
    identity = _identity(section) | {"backend": backend.backend}
    if backend.backend == "server":
        identity |= {"served_model": backend.served_model or section.name}
    else:
        identity |= {"device": device, "dtype": dtype}
    return Subject(
        label=section.name,
        prompts=prompts,
        window=_window(model_config),
        stop_token_ids=stop_token_ids(
            [tokenizer, model_config, *_generation_config(section)], prompts.stop_token_ids
        ),
        identity=identity,
        start=lambda: _start(config, tokenizer, device, dtype),
    )


def check_model(config: EvalConfig) -> None:
    """See, without opening it, that there is a model; raises as `open_subject` does."""
    if not config.model.name:
        raise ConfigError("no model given; name one with model.model or model.model_path")
    check_folder(config.model, weights=config.backend.backend != "server")


def check_folder(section: ModelSection, *, weights: bool = True) -> None:
    """DataError for a local path that is no model folder, in one line.

    Without `weights` it only has to say which model it is: they are elsewhere.
    """
    path = section.model_path or Path(section.model or "")
    is_path = section.model_path is not None or path.is_absolute() or len(path.parts) > 2
    if not is_path and not path.exists():
        return  # a hub id
    if not path.is_dir():
        what = "is a file" if path.is_file() else "does not exist"
        raise DataError(f"{path} {what}; expected a model folder with config.json and weights")
    if not (path / "config.json").is_file():
        raise DataError(f"{path} is no model: it has no config.json")
    if not weights:
        return
    index = path / "model.safetensors.index.json"
    needed = {"model.safetensors"}
    if index.is_file():
        try:
            needed = set(json.loads(index.read_text())["weight_map"].values())
        except (ValueError, KeyError, AttributeError) as error:
            raise DataError(f"{index} is damaged: {error}") from error
    missing = sorted(name for name in needed if not (path / name).is_file())
    if missing:
        raise DataError(f"{path} is no whole model: {', '.join(missing)} missing")


def _kwargs(section: ModelSection) -> dict[str, object]:
    return {
        "revision": section.revision,
        "cache_dir": section.cache_dir,
        "trust_remote_code": False,
        "local_files_only": section.model_path is not None,
    }


def _load_head(section: ModelSection) -> "tuple[PreTrainedConfig, PreTrainedTokenizerBase]":
    from transformers import AutoConfig, AutoTokenizer

    try:
        config = AutoConfig.from_pretrained(section.name, **_kwargs(section))
        tokenizer = AutoTokenizer.from_pretrained(section.name, **_kwargs(section))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(_no_model(section.name, error)) from error
    return config, tokenizer


def tokenizer_note(subject: Subject, prompt: str) -> str | None:
    """A warning where the loaded tokenizer is not the one in the model's folder.

    transformers 5 loads the tokenizer of every qwen2 folder as Qwen2's own, whatever its
    tokenizer.json says; the model would then read other ids than it was trained on.
    """
    file = Path(subject.label) / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer as RawTokenizer

    stored = RawTokenizer.from_file(str(file)).encode(prompt, add_special_tokens=False).ids
    if stored == list(subject.tokenizer.encode(prompt, add_special_tokens=False)):
        return None
    return (
        f"transformers reads the first prompt otherwise than {file} does; the model may have been "
        "trained on other ids, and its answers mean little"
    )


def _no_model(name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    reason = reason[:200] + ("..." if len(reason) > 200 else "")
    return f"cannot load a model from {name!r}: {reason}"


def _prompts(config: EvalConfig, tokenizer: Tokenizer, today: dt.date | None) -> PromptFormat:
    """How the model is asked: flags over what its checkpoint records over defaults."""
    folder = Path(config.model.name)
    recorded = read_record(folder) if folder.is_dir() else None
    options = chat_options(config.prompt, recorded, today)
    return open_prompts(tokenizer, _template(config, recorded), options, config.model.name)


def _template(config: EvalConfig, recorded: PromptRecord | None) -> Template:
    """The template named, else the checkpoint's own, else the default."""
    if config.prompt.template is not None:
        return get_template(config.prompt.template)
    if recorded is not None:
        return recorded_template(Path(config.model.name), recorded)
    return get_template(DEFAULT_TEMPLATE)


def _window(config: "PreTrainedConfig") -> int | None:
    limit = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return int(limit) if limit else None


def _generation_config(section: ModelSection) -> "list[GenerationConfig]":
    """The generation configuration, of which only the end tokens are used; many have none."""
    from transformers import GenerationConfig

    try:
        found = GenerationConfig.from_pretrained(
            section.name,
            cache_dir=section.cache_dir,
            local_files_only=section.model_path is not None,
            revision=section.revision or "main",
        )
    except OSError:
        return []
    return [found]


def _placement(section: ModelSection) -> tuple[str, str]:
    """Device and precision, with the automatic ones settled."""
    import torch

    device = section.device or ("cuda" if torch.cuda.is_available() else "cpu")
    on_cpu = torch.device(device).type == "cpu"
    return device, "float32" if section.dtype == "auto" and on_cpu else section.dtype


def _identity(section: ModelSection) -> dict[str, object]:
    """What tells this model from others: for a folder its files, else name and revision."""
    path = Path(section.name)
    if not path.is_dir():
        return {"model": section.name, "revision": section.revision}
    files = sorted(p for p in path.iterdir() if p.suffix in {".safetensors", ".json", ".jinja"})
    small = sum(p.stat().st_size for p in files) <= _HASH_UP_TO
    digest = hashlib.sha256()
    for file in files:
        whole = small or file.suffix != ".safetensors"
        content = sha256_file(file) if whole else str(file.stat().st_size)
        digest.update(f"{file.name} {content}\n".encode())
    return {"model": str(path), "files_sha256": digest.hexdigest()}


def _start(
    config: EvalConfig, tokenizer: "PreTrainedTokenizerBase", device: str, dtype: str
) -> Engine:
    if config.backend.backend == "vllm":
        from srl_eval.generate.vllm import start_vllm

        return start_vllm(config.model, config.backend, dtype)
    if config.backend.backend == "server":
        from srl_eval.generate.server import start_server

        return start_server(config.model, config.backend)
    import torch
    from safetensors import SafetensorError
    from transformers import AutoModelForCausalLM

    from srl_eval.generate.transformers import TransformersEngine

    name = config.model.name
    try:
        model = AutoModelForCausalLM.from_pretrained(
            name, dtype=dtype, use_safetensors=True, **_kwargs(config.model)
        )
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        raise DataError(_no_model(name, error)) from error
    torch.nn.Module.to(model, device)
    pad = tokenizer.pad_token_id
    return TransformersEngine(
        model,
        pad_token_id=pad if isinstance(pad, int) else 0,
        chunk_size=config.backend.chunk_size,
    )
