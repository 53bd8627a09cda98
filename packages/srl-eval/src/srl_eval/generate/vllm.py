"""The engine over vLLM in this process: token ids in and out, one seed per row.

vLLM batches continuously, so a row's neighbours, and with them the last bits of its logits, are up
to its scheduler: equal seeds give equal draws up to such near-ties. Prompts share their beginnings
within a chunk and not beyond it, so that a chunk that is redone gives what it gave. A checkpoint's
`generation_config` plays no part. min-p acts there before top-k and top-p, not after them. How it
is set up is in `vllm_settings.py`.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_eval.generate.architectures import load_config
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.sampling import Completion, FinishReason, Sampling
from srl_eval.generate.stop_text import ended
from srl_eval.generate.text import Decoder
from srl_eval.generate.vllm_host import (
    EngineLog,
    engine_log,
    kept_process_group,
    set_environment,
    uncompiled,
    untouched_process,
)
from srl_eval.generate.vllm_settings import (
    INSTALL,
    check_on_cpu,
    check_versions,
    cpu_arguments,
    installed_version,
    llm_arguments,
    shape_of,
)
from srl_eval.generate.vllm_weights import missing_weights, pack_again

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedConfig
    from vllm import LLM
    from vllm.outputs import CompletionOutput, RequestOutput

_SIGNED = 1 << 63
_COLDEST = 0.01
"""vLLM raises lower temperatures to it, with a warning in its log."""


class EngineError(CommandError):
    """vLLM failed while it generated."""


def is_installed() -> bool:
    """Whether there is a vLLM of either build."""
    return find_spec("vllm") is not None


def require_vllm() -> None:
    """ConfigError where vLLM is not installed, or does not go with torch and transformers."""
    found = installed_version()
    if not is_installed() or found is None:
        raise ConfigError(f"backend vllm is not installed: {INSTALL}; or take backend hf")
    others = {name: version(name) for name in ("torch", "transformers")}
    check_versions({"vllm": found, **others})


def check_vllm(source: ModelSource, config: "PreTrainedConfig", options: VllmOptions) -> None:
    """Raise for what vLLM cannot do with a model of this configuration; nothing is loaded.

    ConfigError for options, DataError for the model.
    """
    require_vllm()
    with engine_log().catching(), untouched_process():
        _arguments(source, config, options)


def start_vllm(
    source: ModelSource, options: VllmOptions, decoder: Decoder | None = None
) -> "VllmEngine":
    """Load a model into vLLM, on the GPUs, or on the CPU where there are none.

    Raises ConfigError for options that it cannot follow, DataError for a model that it cannot run.
    """
    require_vllm()
    log = engine_log()
    config = load_config(source, quantised=True)
    with log.catching(), untouched_process():
        on_cpu, arguments = _arguments(source, config, options)
        set_environment(in_process=on_cpu or options.in_process, shared=options.in_process)
        llm = _load(source, arguments, log)
    return VllmEngine(llm, options.chunk_size, decoder, log=log, on_cpu=on_cpu)


def _arguments(
    source: ModelSource, config: "PreTrainedConfig", options: VllmOptions
) -> tuple[bool, dict[str, object]]:
    """Whether vLLM runs on the CPU, and the arguments of `vllm.LLM`; raises as `check_vllm`."""
    shape = shape_of(source, config, options)
    arguments = llm_arguments(source, options) | options.extra
    on_cpu = _is_cpu()
    if on_cpu:
        check_on_cpu(source, shape, options, _head_sizes())
        arguments |= cpu_arguments(shape, options, _free_memory())
    return on_cpu, arguments


def _is_cpu() -> bool:
    """Whether vLLM runs on the CPU; ConfigError where its build finds nothing to run on."""
    try:
        from vllm.platforms import current_platform
    except ImportError as error:
        raise ConfigError(f"vLLM cannot be imported here ({error}): {INSTALL}") from error
    if current_platform.is_unspecified():
        raise ConfigError(f"vLLM finds no GPU, and this is not its build for CPU: {INSTALL}")
    return bool(current_platform.is_cpu())


def _head_sizes() -> list[int]:
    from vllm.v1.attention.backends.cpu_attn import CPUAttentionBackend

    return list(CPUAttentionBackend.get_supported_head_sizes())


def _free_memory() -> int:
    """Bytes of memory that can be had without swapping."""
    lines = Path("/proc/meminfo").read_text("ascii").splitlines()
    (kilobytes,) = (line.split()[1] for line in lines if line.startswith("MemAvailable:"))
    return int(kilobytes) << 10


def _load(source: ModelSource, arguments: dict[str, object], log: EngineLog) -> "LLM":
    from vllm import LLM

    log.take_logger()
    try:
        return LLM(**arguments)
    except Exception as error:  # whatever a foreign model or a full GPU brings about
        raise DataError(f"vLLM cannot run model {source.name!r}: {log.reason(error)}") from error


class VllmEngine(ChunkedEngine):
    """Completions from a `vllm.LLM` made with `logprobs_mode="processed_logprobs"`."""

    def __init__(
        self,
        llm: "LLM",
        chunk_size: int = 256,
        decoder: Decoder | None = None,
        *,
        log: EngineLog | None = None,
        on_cpu: bool = False,
    ) -> None:
        super().__init__(chunk_size, decoder)
        self.llm = llm
        self.on_cpu = on_cpu
        self._log = log

    @property
    def max_length(self) -> int | None:
        """vLLM's `max_model_len`, which may be below the model's own window."""
        return int(self.llm.llm_engine.model_config.max_model_len)

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """As for every engine, and ConfigError for a temperature that vLLM would change."""
        check_temperature(sampling)
        super().check(prompts, sampling)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Around every call into vLLM: the process stays as it is, errors become one line."""
        try:
            with untouched_process(), uncompiled() if self.on_cpu else nullcontext():
                yield
        except CommandError:
            raise
        except Exception as error:  # as above: its engine may raise anything
            reason = self._log.reason(error) if self._log else str(error)
            raise EngineError(f"vLLM failed: {reason}") from error

    def load_weights(self, weights: Iterable[tuple[str, "Tensor"]]) -> None:
        """Take other weights of the same model, all of them, by the names of its checkpoints.

        Each tensor is read as it comes, so that they need not be there at once. Needs an engine in
        this process. EngineError where some weight of the model is not among them.
        """
        with self.inside(), missing_weights() as missing:
            told = {"weights_iterator": iter(weights)}
            self.llm.collective_rpc("reload_weights", kwargs=told)
            self._forget()
        if missing:
            raise EngineError(f"vLLM was given not all of the model's weights: {missing[0]}")

    def _forget(self) -> None:
        """Let go of what was made from other weights."""
        if self.on_cpu:
            self.llm.apply_model(pack_again)
        self.llm.reset_prefix_cache()

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Meet the sender of weights that vLLM's `weight_transfer_config` names."""
        with self.inside():
            self.llm.init_weight_transfer_engine({"init_info": init_info})

    def start_weight_update(self) -> None:
        """Begin to take weights, by the names of checkpoints, layer by layer."""
        with self.inside():
            self.llm.start_weight_update()

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Take some of the weights."""
        with self.inside():
            self.llm.update_weights({"update_info": update_info})

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """All have come; forget what the old ones cached."""
        with self.inside():
            self.llm.finish_weight_update(weight_version)
            self._forget()

    def sleep(self, level: int) -> None:
        """Give the GPU's memory back: 1 keeps the weights in host memory, 2 keeps nothing."""
        with self.inside():
            self.llm.sleep(level)

    def wake_weights(self) -> None:
        """Take memory for the weights again; after level 2 they have to be loaded."""
        with self.inside():
            self.llm.wake_up(tags=["weights"])

    def wake_cache(self) -> None:
        """Take memory for the cache again."""
        with self.inside():
            self.llm.wake_up(tags=["kv_cache"])

    def close(self) -> None:
        """End the engine and free its memory; it is not used again."""
        with self.inside(), kept_process_group():
            self.llm.llm_engine.engine_core.shutdown()

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One call of vLLM; its scheduler makes the batches."""
        from vllm import SamplingParams

        params = [
            SamplingParams(
                max_tokens=sampling.max_new_tokens,
                temperature=sampling.temperature,
                top_p=sampling.top_p,
                top_k=sampling.top_k,
                min_p=sampling.min_p,
                seed=seed % _SIGNED,
                stop_token_ids=list(sampling.stop_token_ids),
                stop=list(sampling.stop) or None,
                include_stop_str_in_output=True,
                ignore_eos=True,
                logprobs=0,
                detokenize=bool(sampling.stop),
                skip_special_tokens=False,
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        with self.inside():
            self.llm.reset_prefix_cache()  # a chunk's last bits depend on nothing before it
            outputs = self.llm.generate(requests, params, use_tqdm=False)
        return [self._completion(output, sampling) for output in outputs]

    def _completion(self, output: "RequestOutput", sampling: Sampling) -> Completion:
        """One row, cut after its end by the rule of all engines.

        Raises FloatingPointError where the model's numbers are not finite, EngineError for a row
        that ended before its time.
        """
        (best,) = output.outputs
        tokens = tuple(int(token) for token in best.token_ids)
        steps = zip(tokens, best.logprobs, strict=True)
        logprobs = [float(step[token].logprob) for token, step in steps]
        _check_finite(logprobs)
        end, text = ended(tokens, sampling, self.decoder)
        if end is None and len(tokens) < sampling.max_new_tokens:
            text = _ended_by_text(best, len(tokens), sampling)
            end = len(tokens)
        reason: FinishReason = "length" if end is None else "stop"
        return Completion(tokens[:end], tuple(logprobs[:end]), reason, self.weights_version, text)


def check_temperature(sampling: Sampling) -> None:
    """ConfigError for a temperature that vLLM would change."""
    if 0.0 < sampling.temperature < _COLDEST:
        raise ConfigError(
            f"temperature {sampling.temperature} is below what vLLM samples at: expected 0 "
            f"(greedy) or {_COLDEST} and above"
        )


def _check_finite(logprobs: Sequence[float]) -> None:
    """FloatingPointError for the first log-probability that is no number."""
    for place, value in enumerate(logprobs):
        if not math.isfinite(value):
            raise FloatingPointError(
                f"the model gave a log-probability of {value} at new token {place}: "
                "its weights or activations are not finite"
            )


def _ended_by_text(best: "CompletionOutput", length: int, sampling: Sampling) -> str:
    """The stop string that vLLM found and we did not: it decodes token by token.

    EngineError where it is none.
    """
    if isinstance(best.stop_reason, str) and best.stop_reason in sampling.stop:
        return best.stop_reason
    raise EngineError(
        f"vLLM ended a completion ({best.finish_reason!r}, {best.stop_reason!r}) after {length} of "
        f"{sampling.max_new_tokens} tokens, at none of the stop tokens and strings"
    )
