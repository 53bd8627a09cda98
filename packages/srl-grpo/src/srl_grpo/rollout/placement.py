"""Where vLLM stands beside the trainer, and how the policy's weights reach it.

In the trainer's own processes, on the GPUs of the trainer in processes of its own, or on GPUs that
the trainer leaves free. Left out: what is brought there (`srl_grpo.rollout.transfer`).
"""

import os
from dataclasses import dataclass
from typing import Literal

from srl_data.command.errors import ConfigError
from srl_eval.generate.vllm_processes import visible_gpus
from srl_grpo.config.vllm import VllmSection
from srl_grpo.learner.distributed import World

Transfer = Literal["in_process", "ipc", "nccl"]

WHY = {
    "ipc": "CUDA shares a GPU's memory between processes",
    "nccl": "NCCL copies from GPU to GPU",
}


@dataclass(frozen=True)
class Placement:
    """An engine as one rank sees it."""

    transfer: Transfer = "in_process"
    """How weights come to it."""
    ranks: int = 1
    """Neighbouring ranks that one engine serves."""
    leads: bool = True
    """Whether this rank asks the engine: in the trainer's processes all do, else the first."""
    gpus: tuple[str, ...] = ()
    """Those of an engine outside the trainer's processes, as the environment names them."""


IN_PROCESS = Placement()
"""Each rank has its engine to itself."""


def place_engine(section: VllmSection, world: World) -> Placement:
    """The place that a config names, or the one that fits; ConfigError where there is none.

    Hosts may differ in their GPUs: rank 0's decides what has to be the same on all. Collective.
    """
    transfer, gpus = world.of_main(lambda: place_on_main(section, world))
    size = section.tensor_parallel_size
    if transfer == "nccl":
        return Placement(transfer, world.size, world.rank == 0, gpus)
    if transfer == "in_process":
        return Placement(transfer, size)
    return Placement(transfer, size, world.rank % size == 0, own_gpus(size, world))


def place_on_main(section: VllmSection, world: World) -> tuple[Transfer, tuple[str, ...]]:
    """How weights come to vLLM, by rank 0's host, and the GPUs there that it has to itself."""
    transfer = transfer_of(section, world)
    if transfer == "nccl":
        return transfer, free_gpus(section, world)
    check_division(section, world)
    if transfer == "ipc":
        own_gpus(section.tensor_parallel_size, world)
    return transfer, ()


def transfer_of(section: VllmSection, world: World) -> Transfer:
    """How weights reach vLLM.

    Asked for nothing, vLLM joins the trainer's processes, where tensors are handed over as they
    are; only where these do not divide into engines, and there are GPUs, does it stand beside them.
    """
    named, size = section.weight_transfer, section.tensor_parallel_size
    gpus = len(visible_gpus())
    if named in WHY and not gpus:
        raise ConfigError(
            f"--vllm-weight-transfer {named} needs a GPU ({WHY[named]}), and there is none: on a "
            "CPU weights are handed over in_process, which auto chooses"
        )
    if named != "auto":
        return named
    fits_beside = gpus >= local_size(world) + size
    return "nccl" if world.size % size and fits_beside else "in_process"


def check_division(section: VllmSection, world: World) -> None:
    """ConfigError where the trainer's processes do not divide into engines."""
    size = section.tensor_parallel_size
    if not world.size % size:
        return
    free = f", or leave {size} GPUs beside the trainer's to vLLM" if visible_gpus() else ""
    raise ConfigError(
        f"--vllm-tensor-parallel {size} does not divide the run's {world.size} processes; "
        f"give --nproc-per-node a multiple of it{free}"
    )


def free_gpus(section: VllmSection, world: World) -> tuple[str, ...]:
    """The first GPUs behind the trainer's on this host; ConfigError where they are too few."""
    size, used, gpus = section.tensor_parallel_size, local_size(world), visible_gpus()
    if section.enable_sleep:
        raise ConfigError(
            "--vllm-enable-sleep gives memory back to the trainer, which with --vllm-weight-"
            "transfer nccl has other GPUs than vLLM: leave it out"
        )
    if len(gpus) < used + size:
        raise ConfigError(
            f"--vllm-weight-transfer nccl needs {size} GPUs beside the trainer's {used}, and "
            f"{len(gpus)} are visible: start fewer processes (--nproc-per-node), or in_process"
        )
    return tuple(gpus[used : used + size])


def own_gpus(size: int, world: World) -> tuple[str, ...]:
    """The GPUs of this rank and the neighbours that share its engine; all on one host."""
    local, gpus = local_size(world), visible_gpus()
    if local % size:
        raise ConfigError(
            f"--vllm-weight-transfer ipc joins GPUs of one host, and --vllm-tensor-parallel {size} "
            f"does not divide the {local} processes of this one; in_process crosses hosts"
        )
    if len(gpus) == size == 1:
        return tuple(gpus)  # a launcher that shows each process its own
    first = int(os.environ.get("LOCAL_RANK", "0")) // size * size
    found = tuple(gpus[first : first + size])
    if len(found) < size:
        raise ConfigError(
            f"--vllm-weight-transfer ipc needs the GPUs {first} to {first + size - 1} of this "
            f"host, and {len(gpus)} are visible: let each process see all GPUs of its host, or "
            "start fewer processes (--nproc-per-node)"
        )
    return found


def local_size(world: World) -> int:
    """The run's processes on this host."""
    return int(os.environ.get("LOCAL_WORLD_SIZE", str(world.size)))
