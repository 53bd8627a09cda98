"""A vLLM engine in a process of its own that is brought a trainer's weights.

It stands on the trainer's own GPUs or on others; the weights come by vLLM's weight transfer, whose
control this engine passes on (`vllm.distributed.weight_transfer`). The process ends with the one
that started it. Left out: what is transferred (`srl_grpo.rollout.transfer`).
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from srl_eval.generate.engine import Prompt
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.text import Decoder
from srl_eval.generate.vllm import require_vllm
from srl_eval.generate.vllm_processes import RemoteEngine, Worker


def start_separate_vllm(
    source: ModelSource,
    options: VllmOptions,
    gpus: Sequence[str],
    decoder: Decoder | None = None,
) -> "SeparateVllmEngine":
    """An engine in a process that sees `gpus` alone, by the environment's names; none on a CPU.

    Raises as `start_vllm` does.
    """
    require_vllm()
    worker = Worker(source, options, decoder, ",".join(gpus) or None)
    try:
        window = worker.receive()
    except BaseException:
        worker.end()
        raise
    return SeparateVllmEngine(worker, options.chunk_size, window, decoder)


class SeparateVllmEngine(RemoteEngine):
    """The engine, seen from the process that started it; also a client of vLLM's weight sync."""

    def __init__(
        self, worker: Worker, chunk_size: int, max_length: int | None, decoder: Decoder | None
    ) -> None:
        super().__init__(chunk_size, max_length, decoder)
        self._worker = worker

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """One call of vLLM, there."""
        version = self.weights_version
        rows = self._ask("run_chunk", [list(prompt) for prompt in prompts], sampling, list(seeds))
        return [replace(row, weights_version=version) for row in rows]

    def sleep(self, level: int) -> None:
        """As `VllmEngine.sleep`."""
        self._ask("sleep", level)

    def wake_weights(self) -> None:
        """As `VllmEngine.wake_weights`."""
        self._ask("wake_weights")

    def wake_cache(self) -> None:
        """As `VllmEngine.wake_cache`."""
        self._ask("wake_cache")

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """As `VllmEngine.init_weight_transfer_engine`."""
        self._ask("init_weight_transfer_engine", init_info)

    def start_weight_update(self) -> None:
        """As `VllmEngine.start_weight_update`."""
        self._ask("start_weight_update")

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """As `VllmEngine.update_weights`; what CUDA shares goes along as its handles."""
        self._ask("update_weights", update_info)

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """As `VllmEngine.finish_weight_update`."""
        self._ask("finish_weight_update", weight_version)

    def close(self) -> None:
        """End the process."""
        self._worker.end()

    def _ask(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - what the engine gives
        self._worker.send(method, *arguments)
        return self._worker.receive()
