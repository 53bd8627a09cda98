"""Who answers: a model with its tokenizer, its prompt template and a way to start an engine.

Loading is in two parts: tokenizer and configuration at once, since prompts and caps depend on them,
and the weights only when there is something left to generate. No code from a model folder is ever
run.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srl_data.errors import ConfigError, DataError
from srl_data.files import sha256_file
from srl_data.prompts import Template, get_template, read_template
from srl_eval.config import Backend, EvalConfig, ModelSection
from srl_eval.generate.architectures import (
    check_generates,
    load_config,
    vocabulary_size,
    window,
)
from srl_eval.generate.engine import Engine
from srl_eval.generate.folders import ModelSource, check_files
from srl_eval.generate.tokenizers import check_ids, check_marks, load_tokenizer, padding_id
from srl_eval.generate.weights import load_model
from srl_eval.solvers import Tokenizer

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

DEFAULT_TEMPLATE = "boxed"
_HASH_UP_TO = 1 << 30  # bytes of weights that are hashed; above, names and sizes must do


@dataclass(frozen=True)
class Subject:
    """A model under evaluation.

    `window` is prompt and answer together, at most; `identity` what a resumed run must find again;
    `start` gives the engine, loading the weights if they are not; `notes` what loading noticed.
    """

    label: str
    tokenizer: Tokenizer
    template: Template
    window: int | None
    stop_token_ids: tuple[int, ...]
    identity: dict[str, object]
    start: Callable[[], Engine]
    notes: tuple[str, ...] = ()


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
    return Subject(
        label=label,
        tokenizer=tokenizer,
        template=get_template(template or DEFAULT_TEMPLATE),
        window=window,
        stop_token_ids=stop_token_ids,
        identity={"model": label, "weights_version": engine.weights_version},
        start=lambda: engine,
    )


def open_subject(config: EvalConfig) -> Subject:
    """The model that the configuration names.

    Raises ConfigError where none or an absent backend is named, DataError for a path or hub id that
    is no model.
    """
    section, backend = config.model, config.backend
    check_model(config)
    if backend.backend == "vllm":
        from srl_eval.generate.vllm import require_vllm

        require_vllm()
    notes: list[str] = []
    model_config, tokenizer = _load_head(config, notes)
    device, dtype = ("", "") if backend.backend == "server" else _placement(section)
    identity = _identity(section) | {"backend": backend.backend}
    if backend.backend == "server":
        identity |= {"served_model": backend.served_model or section.name}
    else:
        identity |= {"device": device, "dtype": dtype}
    return Subject(
        label=section.name,
        tokenizer=tokenizer,
        template=_template(config),
        window=window(model_config),
        stop_token_ids=_stop_ids(section, model_config, tokenizer),
        identity=identity,
        start=lambda: _start(config, model_config, tokenizer, device, dtype),
        notes=tuple(notes),
    )


def check_model(config: EvalConfig) -> None:
    """See that there is a model that can be run, from its files and configuration alone.

    Raises as `open_subject` does, before data or a hub are asked.
    """
    if not config.model.name:
        raise ConfigError("no model given; name one with --model or --model-path")
    check_folder(config.model, config.backend.backend)
    source = source_of(config.model)
    if config.backend.backend == "hf" and source.folder is not None:
        _check_generates(source, load_config(source))


def check_folder(section: ModelSection, backend: Backend) -> None:
    """DataError in one line for a local path that is no model folder for this backend."""
    check_files(source_of(section), weights=backend != "server", quantised=backend != "hf")


def source_of(section: ModelSection) -> ModelSource:
    """Where the model of a section comes from."""
    local = section.model_path is not None
    return ModelSource(section.name, section.revision, section.cache_dir, local)


def _check_generates(source: ModelSource, config: "PreTrainedConfig") -> None:
    """DataError for an architecture that the hf backend cannot run, naming those that may."""
    try:
        check_generates(source, config)
    except DataError as error:
        raise DataError(f"{error}; --backend vllm or server may run it") from error


def _load_head(
    config: EvalConfig, notes: list[str]
) -> "tuple[PreTrainedConfig, PreTrainedTokenizerBase]":
    """Configuration and tokenizer, checked against each other; what was noticed goes to `notes`."""
    source = source_of(config.model)
    on_hf = config.backend.backend == "hf"
    model_config = load_config(source, quantised=not on_hf)
    if on_hf:
        _check_generates(source, model_config)
    tokenizer = load_tokenizer(source, notes.append)
    check_marks(tokenizer, source.name)
    check_ids(tokenizer, vocabulary_size(model_config), source.name)
    return model_config, tokenizer


def _template(config: EvalConfig) -> Template:
    """The template named, else the checkpoint's own, else the default."""
    if config.prompt.template is not None:
        return get_template(config.prompt.template)
    path = config.model.model_path or Path(config.model.model or "")
    return (read_template(path) if path.is_dir() else None) or get_template(DEFAULT_TEMPLATE)


def _ids(value: object) -> set[int]:
    if isinstance(value, int):
        return {value}
    return {item for item in value if isinstance(item, int)} if isinstance(value, list) else set()


def _stop_ids(
    section: ModelSection, config: "PreTrainedConfig", tokenizer: "PreTrainedTokenizerBase"
) -> tuple[int, ...]:
    """End tokens of tokenizer, configuration and generation_config: of that file, only these."""
    from transformers import GenerationConfig

    ids = _ids(tokenizer.eos_token_id) | _ids(getattr(config, "eos_token_id", None))
    try:
        generation = GenerationConfig.from_pretrained(
            section.name,
            cache_dir=section.cache_dir,
            local_files_only=section.model_path is not None,
            revision=section.revision or "main",
        )
        ids |= _ids(generation.eos_token_id)
    except OSError:
        pass  # many models have none
    return tuple(sorted(ids))


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
    config: EvalConfig,
    model_config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    device: str,
    dtype: str,
) -> Engine:
    if config.backend.backend == "vllm":
        from srl_eval.generate.vllm import start_vllm

        return start_vllm(config.model, config.backend, dtype)
    if config.backend.backend == "server":
        from srl_eval.generate.server import start_server

        return start_server(config.model, config.backend)
    import torch

    from srl_eval.generate.transformers import TransformersEngine

    model = load_model(source_of(config.model), dtype=dtype, config=model_config)
    torch.nn.Module.to(model, device)
    return TransformersEngine(
        model,
        pad_token_id=padding_id(tokenizer, vocabulary_size(model_config)),
        chunk_size=config.backend.chunk_size,
    )
