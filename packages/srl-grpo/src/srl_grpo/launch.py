"""One process or several: torchrun's work, reached through flags.

A process that a launcher started (`RANK` is set) trains at once, whichever launcher it was.
"""

import os
import signal
import sys
from collections.abc import Callable, Sequence

from srl_data.command.errors import CommandError, ConfigError
from srl_data.command.streams import lasting_streams
from srl_grpo.config.run import C
from srl_grpo.config.sections import LaunchSection
from srl_grpo.run.stopping import end_at_once, heeded

CODES = (2, 3, 4, 130)
"""Exit codes of ranks that are passed on; any other failure is 1."""


PATIENCE = 3600
"""Seconds that ranks have to finish their step after Ctrl-C, before they are killed."""


class RankError(CommandError):
    """A rank failed; it has said why, and its exit code becomes ours."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code  # type: ignore[misc]  # this instance's, not the class's


def launch_or_run(config: C, command: Callable[[], Callable[[C], None]]) -> None:
    """Run a training command in this process, or start the processes that do.

    `command` gives the function that runs it; what it imports is heavy, and launching needs none.
    """
    end_at_once()
    several = config.launch.nproc_per_node * config.launch.nnodes > 1
    with lasting_streams():
        if several and "RANK" not in os.environ:
            launch(config.launch, sys.argv[1:])
            return
        command()(config)


def torchrun_arguments(options: LaunchSection, arguments: Sequence[str]) -> list[str]:
    """The command line of torchrun that runs `srl-grpo` with `arguments` on every rank."""
    # A rank ends its step and writes a checkpoint before it stops: far longer than torchrun's 30 s.
    signals = ",".join(number.name for number in (*heeded(), signal.SIGQUIT))
    stop = ["--shutdown-timeout", str(PATIENCE), "--signals-to-handle", signals]
    ours = [*stop, "-m", "srl_grpo", *arguments]
    processes = ["--nproc-per-node", str(options.nproc_per_node)]
    if options.nnodes == 1:
        return ["--standalone", *processes, *ours]
    if options.rdzv_endpoint is None:
        raise ConfigError("several hosts need --rdzv-endpoint HOST:PORT, the first host's address")
    return [
        *("--nnodes", str(options.nnodes), "--node-rank", str(options.node_rank)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", options.rdzv_endpoint),
        *("--rdzv-id", "srl-grpo", *processes),
        *ours,
    ]


def launch(options: LaunchSection, arguments: Sequence[str]) -> None:
    """Run the ranks of this host to their end; RankError with the first failure's exit code."""
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.run import main

    cores = max(1, (os.cpu_count() or 1) // options.nproc_per_node)
    os.environ.setdefault("OMP_NUM_THREADS", str(cores))  # else torchrun sets 1, with a banner
    command = torchrun_arguments(options, arguments)
    try:
        main(command)
    except ChildFailedError as error:
        rank, failure = error.get_first_failure()
        code = failure.exitcode if failure.exitcode in CODES else 1
        raise RankError(f"rank {rank} ended with exit code {failure.exitcode}", code) from error
    except SignalException as error:
        raise RankError(f"ended by {error.sigval.name}; its ranks were stopped", 130) from error
