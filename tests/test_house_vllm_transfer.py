"""Weights on their way to vLLM in other processes: vLLM's own senders and receivers, on a CPU.

The wire alone is another one, within this process, since CUDA's and NCCL's need GPUs;
`test_house_vllm_gpu.py` meets those.
"""

import json
import queue
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_data.command.errors import CommandError
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.distributed import World, start
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.rollout.parity import Parity
from srl_grpo.rollout.placement import Placement, Transfer
from srl_grpo.rollout.transfer import open_transfer

if TYPE_CHECKING:
    from srl_eval.generate.vllm import VllmEngine

Run = Callable[[Sequence[str]], CompletedProcess[str]]

pytestmark = [pytest.mark.vllm, pytest.mark.timeout(600)]

SIZES = {"hidden_size": 128, "num_attention_heads": 2, "num_key_value_heads": 1}
WINDOW = 64


def qwen2() -> Qwen2ForCausalLM:
    config = Qwen2Config(
        vocab_size=300,
        num_hidden_layers=2,
        intermediate_size=64,
        max_position_embeddings=WINDOW,
        **SIZES,
    )
    return Qwen2ForCausalLM(config)


@pytest.fixture(scope="module")
def world() -> World:
    return start()


@pytest.fixture
def policy() -> Qwen2ForCausalLM:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return qwen2()


def started(policy: Qwen2ForCausalLM, folder: Path, backend: str) -> "VllmEngine":
    """vLLM with random weights, in this process."""
    from srl_eval.generate.vllm import start_vllm

    policy.config.save_pretrained(folder)
    extra: dict[str, object] = {
        "skip_tokenizer_init": True,
        "load_format": "dummy",
        "weight_transfer_config": {"backend": backend},
    }
    options = VllmOptions(chunk_size=8, max_model_len=WINDOW, in_process=True, extra=extra)
    return start_vllm(ModelSource(str(folder)), options)


class Wire:
    """Takes the place of NCCL and of CUDA's shared memory; remembers the sizes of what is sent."""

    def __init__(self) -> None:
        self.sent: queue.Queue[torch.Tensor] = queue.Queue()
        self.sizes: list[int] = []

    def end(self, *, sends: bool) -> SimpleNamespace:
        """What one end broadcasts, the other one receives."""

        def broadcast(tensor: torch.Tensor, src: int, stream: object = None) -> None:
            assert src == 0
            assert stream is None
            if sends:
                self.sizes.append(tensor.nbytes)
                self.sent.put(tensor.clone())
            else:
                tensor.copy_(self.sent.get(timeout=60))

        return SimpleNamespace(broadcast=broadcast, destroy=lambda: None)

    def export(self, tensor: torch.Tensor) -> tuple[None, tuple[object, ...]]:
        """A handle: the buffer itself."""
        self.sizes.append(tensor.nbytes)
        return None, (tensor, *range(6))


class OnCpu:
    """torch, which takes memory of a GPU on the CPU."""

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever torch has
        return getattr(torch, name)

    def empty(self, *shape: Any, device: str = "cpu", **rest: Any) -> torch.Tensor:  # noqa: ANN401
        assert device in ("cuda", torch.device("cpu"))
        return torch.empty(*shape, **rest)


@pytest.fixture
def wire(monkeypatch: pytest.MonkeyPatch) -> Wire:
    """The wire, and nothing for CUDA's streams."""
    from vllm.distributed.weight_transfer import nccl_engine, packed_tensor

    found, stream = Wire(), SimpleNamespace(synchronize=lambda: None)
    for place, name, value in (
        (nccl_engine, "worker_init_process_group", lambda *_: found.end(sends=False)),
        (nccl_engine, "open_trainer_endpoint", lambda _: found.end(sends=True)),
        (packed_tensor, "_get_streams", lambda *_: (stream, stream)),
        (packed_tensor, "reduce_tensor", found.export),
        (packed_tensor, "torch", OnCpu()),
        (packed_tensor.PackedBufferImporter, "rebuild", lambda _, handle: handle[0]),
        (torch.cuda, "stream", lambda _: nullcontext()),
        (torch.cuda, "current_stream", lambda: stream),
        (torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="GPU-0")),
        (torch.cuda, "ipc_collect", lambda: None),
        (torch.accelerator, "current_device_index", lambda: 0),
        (torch.accelerator, "synchronize", lambda *_: None),
    ):
        monkeypatch.setattr(place, name, value)
    monkeypatch.setattr("srl_grpo.rollout.transfer.BUFFER", 100_000)
    return found


@pytest.mark.parametrize("transfer", ["nccl", "ipc"])
def test_what_is_sent_is_what_vllm_samples_from(
    policy: Qwen2ForCausalLM, world: World, wire: Wire, tmp_path: Path, transfer: Transfer
) -> None:
    """After real updates, buffer by buffer, none much larger than the largest tensor."""
    training = TrainingEngine(Policy(policy), EngineSection(), OptimizerSection(), world)
    engine = started(policy, tmp_path, transfer)
    tensors = [each.nbytes for each in policy.state_dict().values()]
    try:
        sender = open_transfer(training, Placement(transfer, gpus=("0",)), engine)
        parity = Parity(training, WINDOW)
        with pytest.raises(CommandError, match="does not sample from the weights"):
            parity.check(engine)
        for number in range(3):
            with torch.no_grad():
                for parameter in policy.parameters():
                    parameter.add_(0.05 * number)
            sender.send_weights()
            assert parity.check(engine) < 1e-5
        sender.shutdown()
    finally:
        engine.close()
    if transfer == "nccl":
        assert sum(wire.sizes) == 3 * sum(tensors)
        assert len(wire.sizes) >= 6
        assert max(wire.sizes) <= 2 * max(tensors)
    else:
        assert wire.sizes == [max(tensors)] * 3  # one buffer per sync, filled again and again


def test_a_run_is_brought_its_weights_by_the_way_that_its_config_chose(
    wire: Wire,
    run_inside: Run,
    vllm_run: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A whole run over the wire; the engine stays in this process, where the wire is."""

    def here(source: ModelSource, options: VllmOptions, gpus: object, decoder: Any) -> "VllmEngine":  # noqa: ANN401
        from srl_eval.generate.vllm import start_vllm

        assert gpus == ("0",)
        assert options.extra["weight_transfer_config"] == {"backend": "nccl"}
        return start_vllm(source, options, decoder)

    place = Placement("nccl", gpus=("0",))
    monkeypatch.setattr("srl_grpo.rollout.colocated.place_engine", lambda *_: place)
    monkeypatch.setattr("srl_grpo.rollout.colocated.start_separate_vllm", here)
    path = vllm_run(tmp_path, num_steps=2)
    done = run_inside(f"srl-grpo train --config {path} --output-dir run")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [row["sampling/sync_difference"] < 1e-5 for row in rows] == [True, True]
    assert [row["sampling/logprob_difference"] < 1e-5 for row in rows] == [True, True]
    assert len(wire.sizes) >= 3 * 2  # before the first step and after each
