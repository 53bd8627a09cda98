"""The policy's weights on their way to a vLLM in other processes, by vLLM's own weight transfer.

Either way sends the tensors of `checkpoint_weights` in buffers of a stated size, so that no second
whole model is held: `ipc` lets a process on the same GPU map the buffer, `nccl` broadcasts it to
other GPUs. Left out: vLLM in the trainer's processes, which takes the tensors themselves
(`srl_grpo.rollout.colocated`).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from srl_eval.generate import ChunkedEngine, Completion, Sampling
from srl_eval.generate.engine import Prompt
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.rollout.checkpoint_weights import checkpoint_weights
from srl_grpo.rollout.placement import Placement

BUFFER = 256 << 20
"""Bytes that are sent at once, or the largest tensor's where that is more."""


class SyncClient(Protocol):
    """What vLLM's transfer asks of an engine; a `vllm…VLLMWeightSyncClient`."""

    def init_weight_transfer_engine(self, init_info: dict[str, Any]) -> None:
        """Get ready to receive."""

    def start_weight_update(self) -> None:
        """Begin to take weights layer by layer."""

    def update_weights(self, update_info: dict[str, Any]) -> None:
        """Take a buffer of weights."""

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        """All have come; what the old ones cached is forgotten."""


@dataclass(frozen=True)
class TensorMeta:
    """A tensor before it is there: as vLLM's `ParamMeta`."""

    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def bytes(self) -> int:
        """Its size."""
        return torch.Size(self.shape).numel() * self.dtype.itemsize


class PolicySource:
    """The policy's weights, again at every iteration: as vLLM's `WeightSource`."""

    def __init__(self, training: TrainingEngine) -> None:
        """Read names and shapes once. Collective under ZeRO-3."""
        self.training = training
        self._metadata = [
            TensorMeta(name, value.dtype, tuple(value.shape))
            for name, value in checkpoint_weights(training)
        ]

    def metadata(self) -> list[TensorMeta]:
        """What iteration gives, in its order."""
        return self._metadata

    def __iter__(self) -> Iterator[tuple[str, Tensor]]:
        """Names and values now. Collective under ZeRO-3."""
        return checkpoint_weights(self.training)

    @property
    def buffer(self) -> int:
        """Bytes of a buffer that every tensor fits in."""
        return max(BUFFER, *(each.bytes for each in self._metadata))


class FollowerEngine(ChunkedEngine):
    """The engine of a neighbouring rank, seen from one that it serves too and that asks nothing."""

    def run_chunk(
        self,
        prompts: Sequence[Prompt],
        sampling: Sampling,  # noqa: ARG002 - every engine's
        seeds: Sequence[int],  # noqa: ARG002 - as above
    ) -> list[Completion]:
        """Not asked; see `PolicyRollout.leads`."""
        raise AssertionError(f"{len(prompts)} prompts for an engine that another rank asks")

    def sleep(self, level: int) -> None:
        """The rank that asks it lets it sleep."""

    def wake_weights(self) -> None:
        """And wakes it."""

    def wake_cache(self) -> None:
        """As above."""

    def close(self) -> None:
        """And ends it."""


class Sender(Protocol):
    """A `vllm…TrainerWeightTransferEngine`."""

    def send_weights(self) -> None:
        """Send the policy's current weights to the engine, from start to finish. Collective."""

    def shutdown(self) -> None:
        """Leave the engine's group."""


def open_transfer(
    training: TrainingEngine, placement: Placement, client: SyncClient | None
) -> Sender:
    """The sending end of a transfer, met by the engine's. Collective.

    `client` is None on ranks that another one leads: they gather and share, and ask nobody.
    """
    from vllm.distributed.weight_transfer import WeightTransferTrainerFactory

    source = PolicySource(training)
    info = init_info(placement, training.world.rank, source.buffer)
    sender: Sender = WeightTransferTrainerFactory.trainer_init(info, client=client, source=source)
    return sender


def init_info(placement: Placement, rank: int, buffer: int) -> object:
    """How a rank joins a transfer: the first of an engine's ranks sends."""
    packing = {"packed": True, "packed_buffer_size_bytes": buffer}
    sender = rank % placement.ranks
    if placement.transfer == "ipc":
        from vllm.distributed.weight_transfer.ipc_engine import IPCTrainerInitInfo

        return IPCTrainerInitInfo(rank=sender, **packing)
    from vllm.distributed.weight_transfer.nccl_engine import NCCLTrainerInitInfo
    from vllm.utils.network_utils import get_open_port

    return NCCLTrainerInitInfo(
        rank=sender,
        master_address="127.0.0.1",
        master_port=get_open_port(),
        world_size=1 + len(placement.gpus),
        **packing,
    )
