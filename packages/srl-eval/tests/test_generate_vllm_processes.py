"""Several engines as one: how a chunk is cut, what is said of a process that fails."""

import os
from typing import Any

import pytest

from srl_data.command.errors import ConfigError, DataError
from srl_eval.config import EvalConfig
from srl_eval.generate import Completion, Sampling, vllm_separate
from srl_eval.generate.engine import PromptTooLongError
from srl_eval.generate.folders import ModelSource
from srl_eval.generate.options import VllmOptions
from srl_eval.generate.vllm import EngineError
from srl_eval.generate.vllm_processes import ManyEngines, gpus, leave_launch, passable, visible


class Near:
    """A worker in this process, whose completions name it and the rows that it was given."""

    def __init__(self, number: int, fails: Exception | None = None) -> None:
        self.number, self.fails = number, fails
        self.asked: list[list[int]] = []
        self.ended = False

    def send(self, method: str, *arguments: Any) -> None:  # noqa: ANN401 - as the real one
        assert method == "run_chunk"
        prompts, _, seeds = arguments
        self.asked.append(seeds)
        self.last = [
            Completion((self.number, *prompt), (0.0,) * (1 + len(prompt)), "length", 0)
            for prompt in prompts
        ]

    def answer(self) -> Any:  # noqa: ANN401 - as the real one
        return self.fails or self.last

    def end(self) -> None:
        self.ended = True


def engine_of(*workers: Near, chunk_size: int = 8, window: int | None = 64) -> ManyEngines:
    return ManyEngines(workers, chunk_size, window, None)  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [1, 2, 5, 8, 11, 16])
@pytest.mark.parametrize("size", [1, 2, 3, 8])
def test_rows_come_back_in_order_whatever_the_number_of_engines(rows: int, size: int) -> None:
    workers = [Near(number) for number in range(size)]
    found = engine_of(*workers).generate([[n] for n in range(rows)], Sampling(4), range(rows))
    assert [row.token_ids[1] for row in found] == list(range(rows))
    sizes = [len(part) for worker in workers for part in worker.asked]
    assert sum(sizes) == rows
    assert max(sizes) <= -(-min(rows, 8) // size)


def test_each_engine_has_its_part_of_a_chunk() -> None:
    workers = [Near(number) for number in range(3)]
    engine_of(*workers).generate([[n] for n in range(8)], Sampling(4), range(8))
    assert [worker.asked for worker in workers] == [[[0, 1, 2]], [[3, 4, 5]], [[6, 7]]]


def test_a_failure_is_raised_when_all_have_answered() -> None:
    engine = engine_of(Near(0, EngineError("no memory")), Near(1))
    with pytest.raises(EngineError, match="no memory"):
        engine.generate([[1]] * 4, Sampling(4), range(4))


def test_what_does_not_fit_or_is_too_cold_is_refused_before_anyone_is_asked() -> None:
    worker = Near(0)
    with pytest.raises(PromptTooLongError, match="the model takes 64"):
        engine_of(worker).generate([[1] * 60], Sampling(5), [0])
    with pytest.raises(ConfigError, match="below what vLLM samples at"):
        engine_of(worker).generate([[1]], Sampling(5, temperature=0.001), [0])
    assert worker.asked == []


def test_all_processes_are_ended() -> None:
    workers = [Near(0), Near(1)]
    engine_of(*workers).close()
    assert [worker.ended for worker in workers] == [True, True]


class Asked:
    """A worker that was started: remembers how, and what it was asked."""

    def __init__(self, _source: object, _options: object, _decoder: object, gpu: object) -> None:
        self.gpu, self.asked, self.replies = gpu, [], [64]
        self.ended = False

    def send(self, method: str, *arguments: object) -> None:
        self.asked.append((method, *arguments))
        self.replies.append(None)

    def receive(self) -> object:
        found = self.replies.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def end(self) -> None:
        self.ended = True


@pytest.mark.parametrize(
    ("gpus_", "seen"), [((), None), (("4",), "4"), (("4", "GPU-x"), "4,GPU-x")]
)
def test_an_engine_beside_sees_its_gpus_and_passes_on_what_it_is_told(
    monkeypatch: pytest.MonkeyPatch, gpus_: tuple[str, ...], seen: str | None
) -> None:
    monkeypatch.setattr(vllm_separate, "require_vllm", lambda: None)
    monkeypatch.setattr(vllm_separate, "Worker", Asked)
    engine = vllm_separate.start_separate_vllm(ModelSource("m"), VllmOptions(chunk_size=8), gpus_)
    worker: Any = engine._worker
    assert (worker.gpu, engine.max_length, engine.chunk_size) == (seen, 64, 8)
    engine.sleep(2)
    engine.wake_weights()
    engine.init_weight_transfer_engine({"packed": True})
    engine.start_weight_update()
    engine.update_weights({"names": ["a"]})
    engine.finish_weight_update()
    engine.wake_cache()
    assert worker.asked == [
        ("sleep", 2),
        ("wake_weights",),
        ("init_weight_transfer_engine", {"packed": True}),
        ("start_weight_update",),
        ("update_weights", {"names": ["a"]}),
        ("finish_weight_update", None),
        ("wake_cache",),
    ]
    engine.close()
    assert worker.ended


def test_a_process_forgets_the_run_that_a_launcher_announced(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its store would take the engine's own processes for the trainer's."""
    told = {"RANK": "1", "LOCAL_RANK": "1", "MASTER_PORT": "29", "TORCHELASTIC_RUN_ID": "x"}
    for name, value in {**told, "CUDA_VISIBLE_DEVICES": "3"}.items():
        monkeypatch.setenv(name, value)
    leave_launch()
    assert not told.keys() & os.environ.keys()
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "3"


def test_errors_pass_between_processes() -> None:
    for known in (DataError("no such model"), ConfigError("x"), FloatingPointError("nan")):
        found = passable(known)
        assert (type(found), str(found)) == (type(known), str(known))
    found = passable(RuntimeError("out of blocks"))
    assert type(found) is EngineError
    assert str(found) == "vLLM failed: RuntimeError: out of blocks"


def test_a_process_sees_its_gpu_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for before in (None, "4,5"):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        if before is not None:
            monkeypatch.setenv("CUDA_VISIBLE_DEVICES", before)
        with visible("5"):
            assert os.environ["CUDA_VISIBLE_DEVICES"] == "5"
        assert os.environ.get("CUDA_VISIBLE_DEVICES") == before


def test_each_engine_needs_a_gpu_where_there_are_some(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    assert gpus(4) == []  # all on the CPU
    monkeypatch.setattr("torch.cuda.device_count", lambda: 3)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert gpus(2) == ["0", "1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,6,GPU-abc")
    assert gpus(3) == ["5", "6", "GPU-abc"]
    with pytest.raises(ConfigError, match="--data-parallel-size 4 needs as many GPUs, and 3"):
        gpus(4)


@pytest.mark.parametrize(
    ("backend", "reason"),
    [
        ({"backend": "hf", "data_parallel_size": 2}, "is for --backend vllm, not hf"),
        (
            {"backend": "vllm", "data_parallel_size": 2, "tensor_parallel_size": 4},
            "--data-parallel-size 2 with --tensor-parallel-size 4: one of them",
        ),
    ],
)
def test_what_is_not_to_be_had_is_told_from_the_config(backend: dict, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        EvalConfig.model_validate({"model": {"model": "m"}, "backend": backend})
