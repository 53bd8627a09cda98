"""Who answers: a model with its tokenizer, its prompt template and a way to start an engine.

Loading is in two parts: tokenizer and configuration at once, since prompts and caps depend on them,
and the weights only when there is something left to generate. No code from a model folder is ever
run.
"""

import datetime as dt
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from srl_data.chat import Tokenizer
from srl_data.command.errors import ConfigError, DataError
from srl_data.files import sha256_file
from srl_data.own_templates import open_template
from srl_data.prompt_format import PromptFormat, open_prompts
from srl_data.prompt_record import (
    ChatOptions,
    chat_options,
    read_record,
)
from srl_data.prompts import Template
from srl_data.template_choice import ChosenTemplate, choose_template
from srl_eval.config import Backend, BackendSection, EvalConfig, ModelSection
from srl_eval.generate.architectures import (
    check_generates,
    load_config,
    vocabulary_size,
    window,
)
from srl_eval.generate.engine import ChunkedEngine, Engine
from srl_eval.generate.folders import ModelSource, check_files
from srl_eval.generate.options import ServerOptions, VllmOptions
from srl_eval.generate.stopping import stop_token_ids
from srl_eval.generate.tokenizers import check_ids, check_marks, load_tokenizer, padding_id
from srl_eval.generate.weights import load_generation_config, load_model
from srl_eval.vllm_road import Road, find_road

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedTokenizerBase

DEFAULT_TEMPLATE = "boxed"
_HASH_UP_TO = 1 << 30  # bytes of weights that are hashed; above, names and sizes must do


def no_more_to_check() -> None:
    """For what is known to start, or says why not at once."""


@dataclass(frozen=True)
class Subject:
    """A model under evaluation.

    `window` is prompt and answer together, at most; `identity` what a resumed run must find again;
    `start` gives the engine, loading the weights if they are not; `notes` what loading noticed.
    """

    label: str
    prompts: PromptFormat
    window: int | None
    stop_token_ids: tuple[int, ...]
    identity: dict[str, object]
    start: Callable[[], Engine]
    starting: str | None = None
    """What `start` does, where it takes long enough to look like a hang."""
    notes: tuple[str, ...] = ()
    check: Callable[[], None] = no_more_to_check
    """Raises as `start` does for what can be seen without loading; asked before a run's folder is
    begun."""

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
    words = open_template(template or DEFAULT_TEMPLATE)
    prompts = open_prompts(tokenizer, words, ChatOptions(), label)
    return Subject(
        label=label,
        prompts=prompts,
        window=window,
        stop_token_ids=tuple(sorted({*stop_token_ids, *prompts.stop_token_ids})),
        identity={"model": label, "weights_version": engine.weights_version},
        start=lambda: engine,
    )


def open_subject(
    config: EvalConfig, today: dt.date | None = None, template: Template | None = None
) -> Subject:
    """The model that the configuration names, asked as if the day were `today` where that counts.

    `template` goes before the configuration's and the checkpoint's.

    Raises ConfigError where none or an absent backend is named, DataError for a path or hub id that
    is not a model.
    """
    section, backend = config.model, config.backend
    road = check_model(config)
    asked = backend.served_model or section.name
    notes: list[str] = []
    model_config, tokenizer = _load_head(config, notes)
    on_server = backend.backend == "server" or road.base_url is not None
    device, dtype = ("", "") if on_server else _placement(section)
    prompts = _prompts(config, tokenizer, today, template, notes)
    identity = _identity(section) | {"backend": backend.backend}
    if backend.backend == "vllm":
        notes.append(road.note(asked))
        identity |= {"vllm": road.name} | processes(backend)
    identity |= {"served_model": asked} if on_server else {"device": device, "dtype": dtype}
    in_process = backend.backend == "vllm" and not on_server

    def check() -> None:
        from srl_eval.generate.vllm import check_vllm

        check_vllm(source_of(section), model_config, vllm_options(backend, dtype))

    return Subject(
        label=section.name,
        prompts=prompts,
        window=smallest(window(model_config), backend.max_model_len, road.window),
        stop_token_ids=stop_token_ids(
            [tokenizer, model_config, load_generation_config(source_of(section))],
            prompts.stop_token_ids,
        ),
        identity=identity,
        start=lambda: _start(config, road, model_config, tokenizer, device, dtype),
        starting=STARTING if in_process else None,
        notes=tuple(notes),
        check=check if in_process else no_more_to_check,
    )


STARTING = "starting vLLM: it loads the model and makes room for its cache (up to a minute)"


def processes(backend: BackendSection) -> dict[str, object]:
    """Of several engines or parts of one their number: either moves the last bits of logits."""
    numbers = {"engines": backend.data_parallel_size, "tensor_parts": backend.tensor_parallel_size}
    return {name: number for name, number in numbers.items() if number != 1}


def smallest(*limits: int | None) -> int | None:
    """The least of the limits that there are."""
    return min((limit for limit in limits if limit is not None), default=None)


def check_model(config: EvalConfig) -> Road:
    """See that there is a model that can be run, from its files and configuration alone.

    Gives how vLLM is reached, where that is the backend.

    Raises as `open_subject` does, before data or a hub are asked.
    """
    if not config.model.name:
        raise ConfigError("no model given; name one with model.model or model.model_path")
    check_folder(config.model, config.backend.backend)
    source, road = source_of(config.model), Road()
    if config.backend.backend == "hf" and source.folder is not None:
        _check_generates(source, load_config(source))
    if config.backend.backend == "vllm":
        road = find_road(config)
        told = [flag for flag in config.backend.changed_of_vllm if flag != "--max-model-len"]
        if road.base_url is not None and told:
            raise ConfigError(
                f"{told[0]} is for vLLM started here, and {road.note(config.model.name)}: leave it "
                "out, the server was told its own"
            )
        check_files(source, weights=road.base_url is None, quantised=True)
    return road


def check_folder(section: ModelSection, backend: Backend) -> None:
    """DataError in one line for a local path that is not a model folder for this backend.

    Weights need not be there where a server may have them.
    """
    check_files(source_of(section), weights=backend == "hf", quantised=backend != "hf")


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


def _prompts(
    config: EvalConfig,
    tokenizer: Tokenizer,
    today: dt.date | None,
    template: Template | None,
    notes: list[str],
) -> PromptFormat:
    """How the model is asked: flags over what its checkpoint records over defaults."""
    folder = Path(config.model.name)
    recorded = read_record(folder) if folder.is_dir() else None
    chosen = (
        choose_template(config.prompt.template, recorded, folder, DEFAULT_TEMPLATE)
        if template is None
        else ChosenTemplate(template)
    )
    notes += [chosen.note] if chosen.note else []
    options = chat_options(config.prompt, recorded, today)
    return open_prompts(tokenizer, chosen.template, options, config.model.name)


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


def vllm_options(backend: BackendSection, dtype: str) -> VllmOptions:
    """How vLLM is started for a backend section."""
    return VllmOptions(
        dtype=dtype,
        chunk_size=backend.chunk_size,
        gpu_memory_utilization=backend.gpu_memory_utilization,
        tensor_parallel_size=backend.tensor_parallel_size,
        max_model_len=backend.max_model_len,
    )


def server_options(config: EvalConfig, road: Road) -> ServerOptions:
    """How the server of a config is asked, under the name that it gives the model."""
    backend = config.backend
    base_url = road.base_url or backend.base_url
    assert base_url is not None, "BackendSection asks for it"
    return ServerOptions(
        base_url=base_url,
        model=backend.served_model or config.model.name,
        chunk_size=backend.chunk_size,
        concurrency=backend.concurrency,
        timeout=backend.request_timeout,
        attempts=backend.request_attempts,
    )


def start_engines(
    config: EvalConfig, dtype: str, tokenizer: "PreTrainedTokenizerBase"
) -> ChunkedEngine:
    """vLLM in this process, or in several."""
    source, options = source_of(config.model), vllm_options(config.backend, dtype)
    if config.backend.data_parallel_size == 1:
        from srl_eval.generate.vllm import start_vllm

        return start_vllm(source, options, tokenizer)
    from srl_eval.generate.vllm_processes import start_vllm_processes

    return start_vllm_processes(source, options, config.backend.data_parallel_size, tokenizer)


def _start(
    config: EvalConfig,
    road: Road,
    model_config: "PreTrainedConfig",
    tokenizer: "PreTrainedTokenizerBase",
    device: str,
    dtype: str,
) -> Engine:
    if config.backend.backend == "server" or road.base_url is not None:
        from srl_eval.generate.server import start_server

        return start_server(server_options(config, road), tokenizer)
    if config.backend.backend == "vllm":
        return start_engines(config, dtype, tokenizer)
    import torch

    from srl_eval.generate.transformers import TransformersEngine

    model = load_model(source_of(config.model), dtype=dtype, config=model_config)
    torch.nn.Module.to(model, device)
    return TransformersEngine(
        model,
        pad_token_id=padding_id(tokenizer, vocabulary_size(model_config)),
        chunk_size=config.backend.chunk_size,
        decoder=tokenizer,
    )
