"""A pool of child processes that ask math-verify, each killed when an answer takes too long.

The children are plain subprocesses: nothing is forked (threads and CUDA survive) and the caller's
`__main__` isn't imported again. Safe from any thread; a forked child gets a pool of its own.
"""

import atexit
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

START_SECONDS = 120.0
"""How long a child may take to load sympy, on a busy machine too."""


class Worker:
    """One child process, started at its first question and again after each kill."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def ask(self, gold: str, prediction: str, seconds: float, rules: str = "math") -> str:
        """Return the child's verdict, "timeout" if it had to be killed, "crashed" if it died."""
        process = self._process or self._start()
        self._process = process
        killed = threading.Event()
        question = json.dumps([rules, gold, prediction])
        line = self._exchange(process, f"{question}\n", seconds, killed)
        if killed.is_set() or line in ("", "crashed\n"):
            self.close()
        if line:
            return line.strip()
        return "timeout" if killed.is_set() else "crashed"

    def close(self) -> None:
        """Kill the child, if there is one."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "srl_reward._math_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        if self._exchange(process, "", START_SECONDS, threading.Event()) != "ready\n":
            process.kill()
            process.communicate()
            raise RuntimeError(
                "the grading process did not start; is math-verify installed? "
                "pip install 'srl-reward[math]'"
            )
        return process

    def _exchange(
        self,
        process: "subprocess.Popen[str]",
        line: str,
        seconds: float,
        killed: threading.Event,
    ) -> str:
        """Write a line and read one; empty if the child died or was killed after `seconds`."""
        assert process.stdin is not None
        assert process.stdout is not None

        def kill() -> None:
            killed.set()
            process.kill()

        timer = threading.Timer(seconds, kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(line)
            process.stdin.flush()
            return process.stdout.readline()
        except OSError:  # the pipe broke: the child is gone
            return ""
        finally:
            timer.cancel()


class Pool:
    """A fixed number of workers, shared by all threads."""

    def __init__(self, workers: int) -> None:
        self._workers = [Worker() for _ in range(workers)]
        self._idle: queue.SimpleQueue[Worker] = queue.SimpleQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def ask_all(
        self, pairs: Sequence[tuple[str, str]], seconds: float, rules: str = "math"
    ) -> list[str]:
        """Return a verdict for each (gold, prediction), by the rules `math` or `drgrpo`."""
        ask = partial(self._ask, seconds=seconds, rules=rules)
        if len(pairs) < 2:
            return [ask(pair) for pair in pairs]
        with ThreadPoolExecutor(min(len(pairs), len(self._workers))) as executor:
            return list(executor.map(ask, pairs))

    def close(self) -> None:
        """Kill every child."""
        for worker in self._workers:
            worker.close()

    def _ask(self, pair: tuple[str, str], seconds: float, rules: str) -> str:
        worker = self._idle.get()
        try:
            return worker.ask(*pair, seconds, rules)
        finally:
            self._idle.put(worker)


class _Shared:
    """The process's own pool, made at first use."""

    pool: Pool | None = None
    lock = threading.Lock()


def shared_pool() -> Pool:
    """Return this process's pool: `SRL_REWARD_GRADERS` children, by default one a core up to 8."""
    with _Shared.lock:
        if _Shared.pool is None:
            count = int(os.environ.get("SRL_REWARD_GRADERS") or min(8, os.cpu_count() or 1))
            _Shared.pool = Pool(max(1, count))
            atexit.register(_Shared.pool.close)
        return _Shared.pool


def _forget() -> None:
    """Drop the parent's pool in a forked child, whose pipes it must not touch."""
    if _Shared.pool is not None:
        atexit.unregister(_Shared.pool.close)
    _Shared.pool = None
    _Shared.lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
