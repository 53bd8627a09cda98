"""vLLM engines in processes of their own; several, each with a GPU of its own, as one engine.

For models that fit a GPU: each engine has the whole model and takes its part of every chunk. The
processes end with the one that started them, however that ends. Left out: one model over several
GPUs, which is vLLM's own affair (`tensor_parallel_size`).
"""

import multiprocessing
import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from srl_data.command.errors import CommandError, ConfigError
from srl_eval.generate.engine import ChunkedEngine, Prompt
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.sampling import Completion, Sampling
from srl_eval.generate.text import Decoder
from srl_eval.generate.vllm import EngineError, check_temperature, require_vllm, start_vllm

_VISIBLE = "CUDA_VISIBLE_DEVICES"
_END_SECONDS = 10.0


def start_vllm_processes(
    source: ModelSource, options: VllmOptions, size: int, decoder: Decoder | None = None
) -> "ManyEngines":
    """`size` engines of one model.

    Raises as `start_vllm` does, and ConfigError where there are GPUs, but fewer than engines.
    """
    require_vllm()
    places = gpus(size)
    each = replace(options, in_process=True)
    if not places:  # on a CPU all of them share one memory
        share = options.gpu_memory_utilization / size
        each = replace(each, gpu_memory_utilization=share)
    workers = [Worker(source, each, decoder, places[n] if places else None) for n in range(size)]
    try:
        windows = [worker.receive() for worker in workers]
    except BaseException:
        for worker in workers:
            worker.end()
        raise
    return ManyEngines(workers, options.chunk_size, windows[0], decoder)


def gpus(size: int) -> list[str]:
    """A visible GPU for each of `size` engines; none on a CPU."""
    found = visible_gpus()
    if 0 < len(found) < size:
        raise ConfigError(
            f"--data-parallel-size {size} needs as many GPUs, and {len(found)} are there"
        )
    return found[:size]


def visible_gpus() -> list[str]:
    """The GPUs that this process sees, as the environment names them; none on a CPU."""
    import torch

    count = torch.cuda.device_count()
    named = [name for name in os.environ.get(_VISIBLE, "").split(",") if name]
    return (named or [str(place) for place in range(count)])[:count]


class RemoteEngine(ChunkedEngine):
    """vLLM in other processes, by what all such engines say of themselves."""

    def __init__(self, chunk_size: int, max_length: int | None, decoder: Decoder | None) -> None:
        super().__init__(chunk_size, decoder)
        self._max_length = max_length

    @property
    def max_length(self) -> int | None:
        """The engine's own, as its process told it."""
        return self._max_length

    def check(self, prompts: Sequence[Prompt], sampling: Sampling) -> None:
        """As for a vLLM engine in this process."""
        check_temperature(sampling)
        super().check(prompts, sampling)


class ManyEngines(RemoteEngine):
    """The engines as one; a chunk is cut into as many parts of neighbouring rows."""

    def __init__(
        self,
        workers: "Sequence[Worker]",
        chunk_size: int,
        max_length: int | None,
        decoder: Decoder | None,
    ) -> None:
        super().__init__(chunk_size, max_length, decoder)
        self._workers = list(workers)

    def run_chunk(
        self, prompts: Sequence[Prompt], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        """Each engine's part at once; the first failure is raised when all have answered."""
        size = -(-len(prompts) // len(self._workers))
        parts = [slice(start, start + size) for start in range(0, len(prompts), size)]
        asked = list(zip(self._workers, parts, strict=False))
        for worker, part in asked:
            worker.send("run_chunk", list(prompts[part]), sampling, list(seeds[part]))
        answers = [worker.answer() for worker, _ in asked]
        for answer in answers:
            if isinstance(answer, Exception):
                raise answer
        return [completion for answer in answers for completion in answer]

    def close(self) -> None:
        """End the processes."""
        for worker in self._workers:
            worker.end()


class Worker:
    """One engine's process, seen from the one that started it."""

    def __init__(
        self, source: ModelSource, options: VllmOptions, decoder: Decoder | None, gpu: str | None
    ) -> None:
        """Start it, seeing `gpu` alone: one, several with commas between, or None for all.

        One that spreads its model over GPUs has processes of its own, and may not be a daemon.
        """
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        told = (theirs, source, options, decoder)
        alone = options.tensor_parallel_size == 1
        self._process = context.Process(target=serve, args=told, daemon=alone)
        with visible(gpu):
            self._process.start()
        theirs.close()  # else its end is not seen here

    def send(self, method: str, *arguments: object) -> None:
        """Ask for what a method of the engine does."""
        try:
            self._pipe.send((method, arguments))
        except OSError as error:
            raise self._gone() from error

    def answer(self) -> Any:  # noqa: ANN401 - what the process sends
        """What the process says next; an exception is given, not raised."""
        try:
            return self._pipe.recv()
        except (EOFError, OSError):
            return self._gone()

    def receive(self) -> Any:  # noqa: ANN401 - as above
        """The same, with an exception raised."""
        found = self.answer()
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        """End the process, by force where it takes long."""
        self._pipe.close()
        self._process.join(_END_SECONDS)
        if self._process.is_alive():
            self._process.kill()

    def _gone(self) -> EngineError:
        self._process.join(_END_SECONDS)
        return EngineError(f"a process of vLLM ended (exit code {self._process.exitcode})")


@contextmanager
def visible(gpu: str | None) -> Iterator[None]:
    """Within, a process that is started sees that GPU alone."""
    before = os.environ.get(_VISIBLE)
    if gpu is not None:
        os.environ[_VISIBLE] = gpu
    try:
        yield
    finally:
        if gpu is not None:
            os.environ.pop(_VISIBLE)
            os.environ.update({} if before is None else {_VISIBLE: before})


def serve(
    pipe: Connection, source: ModelSource, options: VllmOptions, decoder: Decoder | None
) -> None:
    """What a process does: start the engine, answer until nobody asks any more."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the one that started it
    leave_launch()
    try:
        engine = start_vllm(source, options, decoder)
    except Exception as error:  # noqa: BLE001 - told to the one that waits
        pipe.send(passable(error))
        return
    pipe.send(engine.max_length)
    while True:
        try:
            method, arguments = pipe.recv()
        except EOFError:
            return
        try:
            answer: object = getattr(engine, method)(*arguments)
        except Exception as error:  # noqa: BLE001 - as above
            answer = passable(error)
        pipe.send(answer)


LAUNCHED = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def leave_launch() -> None:
    """Forget the run that a launcher announced to the process that started this one.

    vLLM would take its rank and its store for the engine's own.
    """
    for name in list(os.environ):
        if name in LAUNCHED or name.startswith(("TORCHELASTIC_", "GROUP_", "ROLE_")):
            del os.environ[name]


def passable(error: Exception) -> Exception:
    """An error that can be sent: our own as they are, others by their words."""
    known = isinstance(error, CommandError | FloatingPointError)
    told = f"{type(error).__name__}: {error}"
    return type(error)(str(error)) if known else EngineError(f"vLLM failed: {told}")
