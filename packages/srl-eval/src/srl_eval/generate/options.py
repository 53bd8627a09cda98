"""What the engines are set up with, and keys of configs that training and evaluation share.

Plain values, so that an engine can be started by whoever has them: `srl_eval`'s config, the
trainer's, or a script.
"""

from dataclasses import dataclass, field
from typing import Annotated

from pydantic import BeforeValidator, Field


def as_stop_strings(value: object) -> object:
    """One stop string as several; ValueError for an empty one."""
    strings = (value,) if isinstance(value, str) else value
    if isinstance(strings, list | tuple) and "" in strings:
        raise ValueError("a stop string is empty, so it would end every completion at once")
    return strings


StopStrings = Annotated[tuple[str, ...], BeforeValidator(as_stop_strings)]
"""Texts that end a completion; in a file a list or one text, on the command line a flag each."""

ModelRevision = Annotated[
    str | None, Field(description="Revision of a model from the hub: a branch, a tag or a commit.")
]


@dataclass(frozen=True, slots=True)
class VllmOptions:
    """How vLLM runs a model in this process.

    `dtype` is vLLM's name of a precision, or "auto"; `gpu_memory_utilization` the share of the
    GPU's memory that it takes, on a CPU of the free memory that its cache may take;
    `tensor_parallel_size` the GPUs that the model is spread over; `chunk_size` the completions of
    one call; `max_model_len` the most tokens of prompt and completion together, None for the
    model's window. `in_process` keeps the engine in the caller's process on GPUs too, beside other
    work of it; `enable_sleep` lets it give the GPU's memory back between calls; `extra` are further
    arguments of `vllm.LLM`.
    """

    dtype: str = "auto"
    chunk_size: int = 256
    gpu_memory_utilization: float = 0.9
    tensor_parallel_size: int = 1
    max_model_len: int | None = None
    in_process: bool = False
    enable_sleep: bool = False
    extra: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """Where a server is and how it is asked.

    `base_url` is `http://HOST:PORT/v1`; `model` the name that the server gives its model;
    `concurrency` the requests at a time; `timeout` the seconds until a request must be answered
    whole; `attempts` how often a request is sent that meets 429, 5xx or a broken connection.
    """

    base_url: str
    model: str
    chunk_size: int = 256
    concurrency: int = 64
    timeout: float = 1800.0
    attempts: int = 10
