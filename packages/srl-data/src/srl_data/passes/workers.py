"""Work on chunks in one process or several, with outcomes in the order of the chunks.

Each process opens its own worker once. At most a few chunks per process are under way, so that a
source of any length needs bounded memory. A process whose parent is gone ends itself.
"""

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures import wait as wait_for
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from multiprocessing.connection import wait
from typing import Any, TypeVar

from srl_data.command.errors import IncompleteError
from srl_data.passes.chunks import Chunk, NumberedRow

AHEAD = 2
"""Chunks under way per process."""
LOOK_SECONDS = 1.0
"""Time between looks at whether all workers live."""


@dataclass
class Outcome:
    """What became of a chunk's rows."""

    lines: dict[str, list[bytes]] = field(default_factory=dict)
    """Lines to write, by the output."""
    counts: Counter[str] = field(default_factory=Counter)
    total: float = 0.0
    """A sum over the rows that is no count."""
    refused: list[tuple[int, str]] = field(default_factory=list)
    """Positions of bad rows, each with its reason."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Rows that give nothing, by the reason."""
    named: dict[str, list[str]] = field(default_factory=dict)
    """The names of those, by the reason."""

    def write(self, output: str, line: bytes) -> None:
        """Add a line to an output."""
        self.lines.setdefault(output, []).append(line)

    def leave_out(self, reason: str, name: str) -> None:
        """Count a row that gives nothing."""
        self.left_out[reason] += 1
        self.named.setdefault(reason, []).append(name)


T = TypeVar("T")
Worker = Callable[[Sequence[NumberedRow]], T]
"""Called with a chunk's rows; it raises CommandError for what no other row can mend."""
Opened = Callable[[], Worker[T]]
"""Opens a worker; it travels to each process, so it is made of picklable parts."""

_own: list[Worker[Any]] = []
"""The worker of this process, where it is one of several."""


def outcomes(
    chunks: Iterable[Chunk], opened: Opened[T], processes: int
) -> Generator[tuple[Chunk, T]]:
    """Each chunk with its outcome, in order."""
    if processes == 1:
        worker = opened()
        for chunk in chunks:
            yield chunk, worker(chunk.rows)
        return
    # Not forked: a process with threads, such as the progress bar's, cannot be copied safely.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, context, _begin, (opened,)) as pool:
        try:
            yield from _in_order(pool, chunks, processes * AHEAD)
        except BrokenProcessPool as error:
            raise IncompleteError(
                "a worker process ended before its work did (out of memory?); run it again with "
                "fewer --workers: it continues where it was"
            ) from error
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def _in_order(
    pool: ProcessPoolExecutor, chunks: Iterable[Chunk], width: int
) -> Iterator[tuple[Chunk, Any]]:
    under_way: deque[tuple[Chunk, Future[Any]]] = deque()
    for chunk in chunks:
        under_way.append((chunk, pool.submit(_handle, chunk.rows)))
        if len(under_way) >= width:
            first, future = under_way.popleft()
            yield first, waited(future, pool)
    for first, future in under_way:
        yield first, waited(future, pool)


def waited(future: Future[Any], pool: ProcessPoolExecutor) -> object:
    """What a future gives; BrokenProcessPool where a worker died, whatever it was doing.

    A worker that is killed in the midst of handing over a result leaves the pool reading the rest
    of it for ever. Then the others are ended, and the pool finds the end of that pipe.
    """
    while not wait_for([future], LOOK_SECONDS).done:
        workers = list(pool._processes.values())  # noqa: SLF001 - the pool tells of its processes nowhere else
        if any(process.exitcode is not None for process in workers):
            wait_for([future], LOOK_SECONDS)  # the pool finds most deaths itself
            for process in workers:
                process.kill()
            pool._result_queue._writer.close()  # type: ignore[attr-defined]  # noqa: SLF001 - the pool closes it nowhere, and reads until no writer is left
            break
    return future.result()


def _begin(opened: Opened[Any]) -> None:
    """Open this process's worker; Ctrl-C is the parent's to handle."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    _own.append(opened())


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)


def _handle(rows: Sequence[NumberedRow]) -> object:
    (worker,) = _own
    outcome: object = worker(rows)
    return outcome
