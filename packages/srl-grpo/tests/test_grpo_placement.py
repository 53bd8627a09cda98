"""Where vLLM stands beside the trainer, by what is asked for and what GPUs there are."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest

from srl_data.command.errors import ConfigError
from srl_grpo.config.train import TrainConfig
from srl_grpo.config.vllm import VllmSection
from srl_grpo.rollout.colocated import check_backend, options_of
from srl_grpo.rollout.placement import Placement, place_engine


@dataclass
class Ranks:
    """A world as one rank sees it."""

    rank: int
    size: int

    def of_main(self, work: Callable[[], object]) -> object:
        return work()


@pytest.fixture
def gpus(monkeypatch):
    """Gives this process so many GPUs."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)

    def give(count: int) -> None:
        monkeypatch.setattr("torch.cuda.device_count", lambda: count)

    return give


def placed(way: str, size: int, rank: int, ranks: int, **section: object) -> Placement:
    given = {"weight_transfer": way, "tensor_parallel_size": size, **section}
    return place_engine(VllmSection.model_validate(given), Ranks(rank, ranks))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("count", "ranks", "size", "transfer"),
    [
        (0, 1, 1, "in_process"),
        (0, 2, 1, "in_process"),
        (1, 1, 1, "in_process"),
        (8, 1, 1, "in_process"),  # a GPU that is free is left free
        (2, 2, 2, "in_process"),
        (8, 8, 2, "in_process"),
        (4, 1, 2, "nccl"),
        (8, 6, 4, "error"),
        (3, 1, 2, "nccl"),
        (2, 1, 2, "error"),
        (0, 1, 2, "error"),
    ],
)
def test_vllm_joins_the_trainers_processes_where_they_divide(
    gpus, count: int, ranks: int, size: int, transfer: str
) -> None:
    gpus(count)
    if transfer == "error":
        with pytest.raises(ConfigError, match=f"--vllm-tensor-parallel {size} does not divide"):
            placed("auto", size, 0, ranks)
        return
    found = placed("auto", size, 0, ranks)
    assert found.transfer == transfer
    assert found.ranks == (ranks if transfer == "nccl" else size)
    assert found.leads


def test_in_process_all_ranks_of_an_engine_ask_it(gpus) -> None:
    gpus(4)
    assert [placed("in_process", 2, rank, 4) for rank in range(4)] == [
        Placement("in_process", 2, leads=True, gpus=())
    ] * 4


def test_by_ipc_the_first_rank_of_each_engine_asks_it_on_their_own_gpus(gpus, monkeypatch) -> None:
    gpus(4)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,GPU-x")
    found = []
    for rank in range(8):  # two hosts of four
        monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
        monkeypatch.setenv("LOCAL_RANK", str(rank % 4))
        found.append(placed("ipc", 2, rank, 8))
    assert [each.leads for each in found] == [True, False] * 4
    assert [each.gpus for each in found] == [("4", "5")] * 2 + [("6", "GPU-x")] * 2 + [
        ("4", "5")
    ] * 2 + [("6", "GPU-x")] * 2
    assert {(each.transfer, each.ranks) for each in found} == {("ipc", 2)}


def test_by_nccl_one_engine_on_free_gpus_serves_all_ranks(gpus) -> None:
    gpus(5)
    found = [placed("nccl", 2, rank, 3) for rank in range(3)]
    assert [each.leads for each in found] == [True, False, False]
    assert {(each.ranks, each.gpus) for each in found} == {(3, ("3", "4"))}


@pytest.mark.parametrize(
    ("count", "way", "size", "ranks", "section", "reason"),
    [
        (0, "ipc", 1, 1, {}, "--vllm-weight-transfer ipc needs a GPU .CUDA shares"),
        (0, "nccl", 1, 1, {}, "--vllm-weight-transfer nccl needs a GPU .NCCL copies"),
        (0, "nccl", 2, 3, {}, "on a CPU weights are handed over in_process, which auto chooses"),
        (1, "nccl", 1, 1, {}, "nccl needs 1 GPUs beside the trainer's 1, and 1 are visible"),
        (4, "nccl", 2, 3, {}, "nccl needs 2 GPUs beside the trainer's 3, and 4 are visible"),
        (2, "nccl", 1, 1, {"enable_sleep": True}, "has other GPUs than vLLM: leave it out"),
        (8, "in_process", 3, 4, {}, "--vllm-tensor-parallel 3 does not divide the run's 4"),
        (8, "ipc", 3, 4, {}, "a multiple of it, or leave 3 GPUs beside the trainer's to vLLM"),
    ],
)
def test_what_is_not_to_be_had_is_told(
    gpus, count: int, way: str, size: int, ranks: int, section: dict, reason: str
) -> None:
    gpus(count)
    with pytest.raises(ConfigError, match=reason):
        placed(way, size, 0, ranks, **section)


def test_ipc_does_not_cross_hosts(gpus, monkeypatch) -> None:
    gpus(2)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match=r"ipc joins GPUs of one host.*the 2 processes"):
        placed("ipc", 4, 0, 4)


def config_of(**vllm: object) -> TrainConfig:
    tree = {"model": {"path": "m"}, "data": {"path": "d.jsonl"}}
    return TrainConfig.model_validate({**tree, "rollout": {"use_vllm": True, "vllm": vllm}})


@pytest.mark.parametrize("way", ["ipc", "nccl"])
def test_a_cpu_is_told_before_vllm_is_looked_for(gpus, way: str) -> None:
    gpus(0)
    config = config_of(weight_transfer=way)
    with pytest.raises(ConfigError, match=f"--vllm-weight-transfer {way} needs a GPU"):
        check_backend(config, config.model, Ranks(0, 1))  # type: ignore[arg-type]


@pytest.mark.parametrize("way", ["ipc", "nccl"])
def test_vllm_is_told_how_weights_come_and_joins_no_group(way) -> None:
    import torch

    options = options_of(config_of(), torch.float32, Ranks(0, 4), way)  # type: ignore[arg-type]
    assert options.extra == {
        "load_format": "dummy",
        "weight_transfer_config": {"backend": way},
    }


@pytest.mark.parametrize("given", [{"use_vllm": False}, {}])
def test_a_way_without_vllm_is_refused(given: dict) -> None:
    tree = {"model": {"path": "m"}, "data": {"path": "d.jsonl"}}
    rollout = {**given, "vllm": {"weight_transfer": "ipc"}}
    with pytest.raises(ValueError, match="weight_transfer does nothing with backend"):
        TrainConfig.model_validate({**tree, "rollout": rollout})


def test_a_rank_of_another_host_follows_rank_0s(gpus) -> None:
    """Free GPUs on rank 0's host are enough; those of a rank's own are not asked."""
    gpus(4)
    section = VllmSection.model_validate({"weight_transfer": "nccl", "tensor_parallel_size": 1})
    with pytest.raises(ConfigError, match="4 are visible"):
        place_engine(section, Ranks(4, 8))  # type: ignore[arg-type]

    class Hosts(Ranks):
        def of_main(self, _work: Callable[[], object]) -> object:
            return "nccl", ("4",)

    found = place_engine(section, Hosts(4, 8))  # type: ignore[arg-type]
    assert found == Placement("nccl", 8, leads=False, gpus=("4",))


def test_by_ipc_a_rank_whose_gpus_are_not_visible_is_an_error(gpus, monkeypatch) -> None:
    gpus(1)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert placed("ipc", 1, 1, 2).gpus == ("0",)  # its own, which the launcher shows it alone
    with pytest.raises(ConfigError, match="needs the GPUs 0 to 1 of this host, and 1 are visible"):
        placed("ipc", 2, 1, 2)
