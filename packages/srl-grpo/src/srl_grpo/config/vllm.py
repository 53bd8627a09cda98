"""How vLLM runs beside the trainer, where `rollout.backend` is vllm."""

from typing import Annotated, Literal

from pydantic import Field

from srl_data.command.config import Flag, Section
from srl_grpo.config.sections import Positive

COLDEST = 0.01
"""The lowest temperature that vLLM samples at."""


WeightTransfer = Literal["auto", "in_process", "ipc", "nccl"]
"""See `VllmSection.weight_transfer`."""


class VllmSection(Section):
    """vLLM in the trainer's own processes, or beside them."""

    gpu_memory_utilization: Annotated[
        float,
        Field(gt=0, le=1),
        Flag("vllm-gpu-memory", aliases=("vllm-gpu-memory-utilization",)),
    ] = 0.5
    """Share of each GPU's memory for vLLM's weights and cache; on a CPU, of the free memory for
    its cache."""
    tensor_parallel_size: Annotated[
        Positive, Flag("vllm-tensor-parallel", aliases=("vllm-tensor-parallel-size",))
    ] = 1
    """Processes, each with its GPU, that one engine is spread over; the others are further
    engines."""
    enable_sleep: Annotated[bool, Flag("vllm-enable-sleep")] = False
    """Give the GPU's memory back while the model is trained."""
    sleep_level: Annotated[int, Field(ge=1, le=2), Flag("vllm-sleep-level")] = 1
    """What sleep leaves: 1 keeps the weights in host memory, 2 keeps nothing and waits for the
    trained weights."""

    weight_transfer: Annotated[WeightTransfer, Flag("vllm-weight-transfer")] = "auto"
    """How weights reach vLLM: in_process, in the trainer's own processes, as they are; ipc, in
    others on the same GPUs; nccl, on GPUs that the trainer leaves free. auto: in_process, or nccl
    where the processes do not divide into engines."""

    @property
    def changed(self) -> list[str]:
        """The keys whose values are not the default ones."""
        fields = type(self).model_fields
        return [name for name, field in fields.items() if getattr(self, name) != field.default]
