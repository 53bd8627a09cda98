"""Processes of one run: who this one is, and the few things that all of them share.

Everything exchanged here is small (rewards, ids, decisions); gradients and parameters are
DeepSpeed's. A process started alone is a world of one and opens no port.
"""

import os
import sys
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import TypeVar, cast

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import HashStore

from srl_data.command.errors import CommandError

T = TypeVar("T")

TIMEOUT = timedelta(minutes=60)
"""How long a rank waits for another: rollouts of one may be far longer than those of the next."""


class World:
    """The ranks of a run, with a gloo group for exchanges between hosts' memories."""

    def __init__(self) -> None:
        self.rank = dist.get_rank()
        self.size = dist.get_world_size()
        self.device = pick_device()
        backend = dist.get_backend()
        self._group = None if "gloo" in backend else dist.new_group(backend="gloo", timeout=TIMEOUT)

    @property
    def is_main(self) -> bool:
        """Whether this rank writes files and shows progress."""
        return self.rank == 0

    def gather(self, value: T) -> list[T]:
        """Every rank's value, in order of rank, on every rank."""
        if self.size == 1:
            return [value]
        values: list[T | None] = [None] * self.size
        dist.all_gather_object(values, value, group=self._group)
        return values  # type: ignore[return-value]  # all filled now

    def from_main(self, value: T) -> T:
        """Rank 0's value, on every rank."""
        if self.size == 1:
            return value
        values = [value]
        dist.broadcast_object_list(values, src=0, group=self._group)
        return values[0]

    def of_main(self, work: Callable[[], T]) -> T:
        """What `work` gives on rank 0, on every rank; its CommandError ends all, told by one."""
        done: T | CommandError
        try:
            done = work() if self.is_main else cast(T, None)
        except CommandError as error:
            done = error
        found = self.from_main(done)
        if isinstance(found, CommandError):
            raise found if self.is_main else SystemExit(found.exit_code)
        return found

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any rank."""
        return any(self.gather(flag))

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over ranks, in double precision."""
        if self.size == 1:
            return list(values)
        total = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(total, group=self._group)
        return [float(value) for value in total]

    def barrier(self) -> None:
        """Wait until every rank is here."""
        if self.size > 1:
            dist.barrier(group=self._group)


def pick_device() -> torch.device:
    """This process's GPU (`LOCAL_RANK`), or the CPU where there is none."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def start() -> World:
    """Join the run that a launcher announced through the environment, or start a world of one."""
    backend = "nccl" if torch.cuda.is_available() else "gloo"
    os.environ.setdefault("LOCAL_RANK", "0")
    if not dist.is_initialized():
        if "RANK" in os.environ and "WORLD_SIZE" in os.environ:
            pick_device()
            dist.init_process_group(backend, timeout=TIMEOUT)
        else:
            dist.init_process_group(backend, store=HashStore(), rank=0, world_size=1)
    return World()


def stop() -> None:
    """Leave the run; the process may begin another one.

    DeepSpeed keeps the groups that it made, and would use them in the next run: it has to end what
    it joined itself.
    """
    if not dist.is_initialized():
        return
    joined = sys.modules.get("deepspeed.comm")  # not imported here: not every run came that far
    if joined is not None and joined.is_initialized():
        joined.destroy_process_group()
    else:
        dist.destroy_process_group()
