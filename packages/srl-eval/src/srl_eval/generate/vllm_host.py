"""What vLLM does to the process that it runs in, kept from the rest of that process.

It logs to standard output, seeds every random generator, puts another function in the place of
`torch.set_num_threads`, compiles small kernels at the first use, and reports its use to its makers.
Left out: the engine (`vllm.py`).
"""

import atexit
import logging
import os
import random
import re
import sys
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from functools import cache
from pathlib import Path

_ERROR_LINE = re.compile(r"\b(\w*(?:Error|Exception)): (.+)")
_ELSEWHERE = "root cause"  # "Engine core initialization failed. See root cause above."


@cache
def engine_log() -> "EngineLog":
    """The log of this process."""
    return EngineLog()


class EngineLog:
    """What vLLM says, in a file that is left only where an error names it."""

    def __init__(self) -> None:
        number, name = tempfile.mkstemp(prefix="srl-vllm-", suffix=".log")
        self.path = Path(name)
        self._file = os.fdopen(number, "w", encoding="utf-8", buffering=1)
        atexit.register(self._remove)

    def _remove(self) -> None:
        self.path.unlink(missing_ok=True)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Within, standard output and error of this process and its children go to the file.

        Children that are started within keep it.
        """
        sys.stdout.flush()
        sys.stderr.flush()
        before = [os.dup(number) for number in (1, 2)]
        try:
            for number in (1, 2):
                os.dup2(self._file.fileno(), number)
            with redirect_stdout(self._file), redirect_stderr(self._file):
                yield
        finally:
            for number, earlier in zip((1, 2), before, strict=True):
                os.dup2(earlier, number)
                os.close(earlier)

    def take_logger(self) -> None:
        """Send vLLM's logger to the file from now on."""
        handler = logging.StreamHandler(self._file)
        handler.setFormatter(logging.Formatter("%(levelname)s %(name)s: %(message)s"))
        logging.getLogger("vllm").handlers = [handler]

    def reason(self, error: Exception) -> str:
        """Why vLLM failed, in one line, and where it said more."""
        self._file.flush()
        told = " ".join(str(error).split()) or type(error).__name__
        if _ELSEWHERE in told:
            found = _ERROR_LINE.findall(self.path.read_text("utf-8", "replace"))
            causes = [text for _, text in found if _ELSEWHERE not in text]
            told = " ".join(causes[-1].split()) if causes else told
        atexit.unregister(self._remove)
        return f"{told[:400]} (vLLM's log: {self.path})"


@contextmanager
def untouched_process() -> Iterator[None]:
    """Within, vLLM may draw and set what it likes: random states and threads are as before after.

    Its warnings are about its own code and are not shown. Nothing is compiled within.
    """
    import numpy as np
    import torch

    python, numbers = random.getstate(), np.random.get_state()
    threads, set_threads = torch.get_num_threads(), torch.set_num_threads
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    try:
        with torch.random.fork_rng(devices), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numbers)
        torch.set_num_threads = set_threads
        set_threads(threads)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Within, what torch would compile runs as written.

    Without CUDA vLLM compiles one function of its sampler, in half a minute and with a C++ compiler
    that many machines have not.
    """
    import torch

    with torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def kept_process_group() -> Iterator[None]:
    """Within, torch's default process group is not ended: it may be the caller's.

    An engine in this process ends its own groups, and with them the default one, whoever made it.
    """
    import torch.distributed as dist

    end = dist.destroy_process_group

    def end_subgroup(group: dist.ProcessGroup | None = None) -> None:
        if group is not None and group is not dist.group.WORLD:
            end(group)

    dist.destroy_process_group = end_subgroup
    try:
        yield
    finally:
        dist.destroy_process_group = end


def set_environment(*, in_process: bool, shared: bool = False) -> None:
    """Environment variables that vLLM reads; those that the user has set stay, but for one.

    A process that is `shared` with other work keeps the cores that its threads may run on.
    """
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_COLOR", "0")
    if shared:
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")
    if in_process:
        os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"
