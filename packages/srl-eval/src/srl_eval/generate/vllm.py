"""The engine over vLLM in this process: token ids in and out, one seed per row.

vLLM batches continuously, so a row's neighbours, and with them the last bits of its logits, are up
to its scheduler: equal seeds give equal draws up to such near-ties. Its own defaults from a
checkpoint's `generation_config` are switched off.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING

from srl_data.command.errors import ConfigError
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.sampling import Completion, FinishReason, Sampling
from srl_eval.generate.stop_text import ended
from srl_eval.generate.text import Decoder

if TYPE_CHECKING:
    from vllm import LLM
    from vllm.outputs import RequestOutput

_SIGNED = 1 << 63


def require_vllm() -> None:
    """ConfigError saying which extra gives vLLM, where it is not installed."""
    if find_spec("vllm") is None:
        raise ConfigError("backend vllm is not installed: `uv sync --extra vllm`, or --backend hf")


def start_vllm(
    source: ModelSource, options: VllmOptions, decoder: Decoder | None = None
) -> "VllmEngine":
    """Load a model into vLLM."""
    require_vllm()
    from vllm import LLM

    llm = LLM(
        model=source.name,
        revision=source.revision,
        download_dir=str(source.cache_dir) if source.cache_dir else None,
        dtype=options.dtype,
        trust_remote_code=False,
        generation_config="vllm",
        gpu_memory_utilization=options.gpu_memory_utilization,
        tensor_parallel_size=options.tensor_parallel_size,
        logprobs_mode="processed_logprobs",
    )
    return VllmEngine(llm, chunk_size=options.chunk_size, decoder=decoder)


class VllmEngine(ChunkedEngine):
    """Completions from a `vllm.LLM` made with `logprobs_mode="processed_logprobs"`."""

    def __init__(self, llm: "LLM", chunk_size: int = 256, decoder: Decoder | None = None) -> None:
        super().__init__(chunk_size, decoder)
        self.llm = llm

    @property
    def max_length(self) -> int | None:
        """vLLM's `max_model_len`, which may be below the model's own window."""
        return int(self.llm.llm_engine.model_config.max_model_len)

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
                ignore_eos=True,
                logprobs=0,
                detokenize=bool(sampling.stop),
                skip_special_tokens=False,
            )
            for seed in seeds
        ]
        requests = [{"prompt_token_ids": list(prompt)} for prompt in prompts]
        outputs = self.llm.generate(requests, params, use_tqdm=False)
        return [self._completion(output, sampling) for output in outputs]

    def _completion(self, output: "RequestOutput", sampling: Sampling) -> Completion:
        (best,) = output.outputs
        tokens = tuple(int(token) for token in best.token_ids)
        end, text = ended(tokens, sampling, self.decoder)
        tokens = tokens[:end]
        reason: FinishReason = "length" if end is None else "stop"
        steps = zip(tokens, best.logprobs[: len(tokens)], strict=True)
        logprobs = tuple(float(step[token].logprob) for token, step in steps)
        return Completion(tokens, logprobs, reason, self.weights_version, text)
