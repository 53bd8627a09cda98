"""Signals that end a run after the step in progress, with a checkpoint.

Ctrl-C, a launcher's or scheduler's SIGTERM, a closed terminal's SIGHUP, and SIGUSR1, by which
SLURM warns of the end of the time (`sbatch --signal=USR1@600`).
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1)


def heeded() -> tuple[signal.Signals, ...]:
    """The signals that stop this run: not SIGHUP where `nohup` asked to ignore it."""
    deaf = signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    return tuple(number for number in STOPPING if not (deaf and number == signal.SIGHUP))


def end_at_once() -> None:
    """Until the first step any of them ends the process as Ctrl-C does: one line, exit code 130."""
    for number in heeded():
        signal.signal(number, signal.default_int_handler)


@contextmanager
def stop_requested() -> Iterator[Callable[[], bool]]:
    """Turn the signals into a request to stop after the step; a second Ctrl-C ends it at once.

    Yields a function that returns whether a signal has asked the run to stop.
    """
    asked = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        # A launcher sends SIGTERM after the terminal's SIGINT: that is not a second request.
        if asked.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return
    numbers = heeded()
    before = [signal.signal(number, on_signal) for number in numbers]
    try:
        yield asked.is_set
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
