"""A sampler with weights of its own: when it sleeps, what it is brought, and that it is checked."""

from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    Qwen3MoeConfig,
    Qwen3MoeForCausalLM,
)

from srl_data.command.errors import CommandError, ConfigError
from srl_eval.generate import Sampling, TransformersEngine
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.rollout.checkpoint_weights import checkpoint_weights
from srl_grpo.rollout.colocated import DIFFERENCE, ReloadedWeights, check_backend, options_of
from srl_grpo.rollout.engines import AllRanks, PolicyRollout
from srl_grpo.rollout.parity import Parity
from srl_grpo.run.resume import recorded_config

SMALL = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
EXPERTS = {"moe_intermediate_size": 16, "num_experts_per_tok": 2}


class Recorder:
    """Samples by transformers from weights of its own, and remembers what it was told to do."""

    def __init__(self, model, loses: str = "", noise: float = 0.0) -> None:
        self.model, self.loses, self.noise = model, loses, noise
        self.engine = TransformersEngine(model, pad_token_id=1)
        self.events: list[str] = []
        self.weights_version = 0
        self.chunk_size = 4

    def generate(self, prompts, sampling, seeds):
        return self.engine.generate(prompts, sampling, seeds)

    def load_weights(self, weights) -> None:
        self.events.append("load")
        given = {name: value + self.noise for name, value in weights if name != self.loses}
        self.model.load_state_dict(given, strict=False)

    def sleep(self, level: int) -> None:
        self.events.append(f"sleep {level}")

    def wake_weights(self) -> None:
        self.events.append("wake weights")

    def wake_cache(self) -> None:
        self.events.append("wake cache")


def training_of(model, world, stage: int = 0) -> TrainingEngine:
    options = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if stage else {}
    section = EngineSection(zero_stage=stage, deepspeed=options)
    return TrainingEngine(Policy(model), section, OptimizerSection(), world)


def brought(training: TrainingEngine, sampler: Recorder, level: int = 0) -> PolicyRollout:
    sync = ReloadedWeights(
        sampler,
        lambda: sampler.load_weights(checkpoint_weights(training)),
        Parity(training, window=64),
        lambda: sampler.events.append("all ranks are here"),
        level,
    )
    return PolicyRollout(sampler, sync, rest=sync.rest, metrics=sync.metrics)


@pytest.mark.parametrize("level", [1, 2])
def test_weights_wake_before_they_are_brought_and_the_cache_after(tiny_model, world, level) -> None:
    sampler = Recorder(tiny_model(1))
    rollout = brought(training_of(tiny_model(0), world), sampler, level)
    rollout.sync_weights()
    rollout.rest()
    rollout.rest()  # it sleeps already
    rollout.sync_weights()
    rollout.sync_weights()  # it is awake already
    once = [f"sleep {level}", "all ranks are here", "wake weights", "load", "wake cache"]
    assert sampler.events == ["load", *once, "load"]
    assert sampler.weights_version == 3


def test_a_sampler_that_may_not_sleep_is_not_asked_to(tiny_model, world) -> None:
    sampler = Recorder(tiny_model(1))
    rollout = brought(training_of(tiny_model(0), world), sampler)
    rollout.rest()
    rollout.sync_weights()
    assert sampler.events == ["load"]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("stage", [0, 3])
def test_the_sampler_follows_the_policy(tiny_model, world, tied: bool, stage: int) -> None:
    policy, sampler = (
        tiny_model(0, tie_word_embeddings=tied),
        Recorder(tiny_model(1, tie_word_embeddings=tied)),
    )
    training = training_of(policy, world, stage)
    rollout = brought(training, sampler)
    for number in range(2):
        with torch.no_grad(), training.gathered(list(policy.parameters())):
            for parameter in policy.parameters():
                parameter.add_(0.1 * (number + 1))
        rollout.sync_weights()
        assert rollout.metrics[DIFFERENCE] < 1e-5


@pytest.mark.parametrize(
    "fault", [{"loses": "model.embed_tokens.weight"}, {"noise": 0.05}], ids=["lost", "changed"]
)
def test_a_sampler_with_other_weights_is_refused(tiny_model, world, fault) -> None:
    sampler = Recorder(tiny_model(1), **fault)
    rollout = brought(training_of(tiny_model(0), world), sampler)
    with pytest.raises(CommandError, match=r"after a sync the sampler's log-probabilities lie"):
        rollout.sync_weights()
    assert sampler.weights_version == 0


def test_a_greater_difference_is_allowed_where_the_config_says_so(tiny_model, world) -> None:
    training, sampler = training_of(tiny_model(0), world), Recorder(tiny_model(1), noise=0.001)
    found = Parity(training, window=64, limit=5.0)
    sampler.load_weights(checkpoint_weights(training))
    assert 1e-5 < found.check(sampler) < 5.0
    assert Parity(training, window=2, limit=0.0).check(sampler) > 0.0  # 0 for no limit


def qwen3_moe():
    return Qwen3MoeForCausalLM(Qwen3MoeConfig(**SMALL, **EXPERTS, num_experts=4))


def mixtral():
    return MixtralForCausalLM(MixtralConfig(**SMALL, num_local_experts=4))


def deepseek():
    ranks = {"kv_lora_rank": 4, "q_lora_rank": 4, "n_group": 1, "topk_group": 1}
    heads = {"qk_rope_head_dim": 4, "qk_nope_head_dim": 4, "v_head_dim": 4}
    rest = {"n_routed_experts": 4, "n_shared_experts": 1, "first_k_dense_replace": 1}
    model = DeepseekV3ForCausalLM(DeepseekV3Config(**SMALL, **EXPERTS, **ranks, **heads, **rest))
    model.get_buffer("model.layers.1.mlp.gate.e_score_correction_bias").uniform_()
    return model


@pytest.mark.parametrize("stage", [0, 3])
@pytest.mark.parametrize("make", [qwen3_moe, mixtral, deepseek])
def test_weights_are_named_and_cut_as_in_a_checkpoint(world, tmp_path: Path, make, stage) -> None:
    """Experts that the module holds in one tensor, and buffers that are saved."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = make()
    model.save_pretrained(tmp_path)
    expected = load_file(tmp_path / "model.safetensors")
    found = list(checkpoint_weights(training_of(model, world, stage)))
    assert sorted(name for name, _ in found) == sorted(expected)
    assert all(torch.equal(value, expected[name]) for name, value in found)


def test_a_tied_weight_comes_once_and_stays_as_it_was(tiny_model, world) -> None:
    training = training_of(tiny_model(0), world)
    found = dict(checkpoint_weights(training))
    assert "lm_head.weight" not in found
    before = found["model.embed_tokens.weight"].clone()
    with torch.no_grad():
        training.policy.model.get_input_embeddings().weight.zero_()
    assert torch.equal(found["model.embed_tokens.weight"], before)


WATCHED = {
    "num_steps": 2,
    "model": {"build": {"hidden_size": 16, "num_layers": 1, "max_positions": 800}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 5},
    "rollout": {"batch_size": 2, "max_new_tokens": 60},
}


def test_the_sampler_rests_from_the_update_to_the_sync(watched, tmp_path: Path) -> None:
    events: list[str] = []

    def listen(trainer) -> None:
        stage, rollout = trainer.stage, trainer.rollout
        update, sync = stage.updater, rollout.sync
        stage.updater = lambda *told: events.append("update") or update(*told)
        rollout.sync = lambda engine: events.append("sync") or sync(engine)
        rollout.rest = lambda: events.append("rest")
        rollout.metrics["sampling/sync_difference"] = 0.25

    seen = watched(WATCHED, tmp_path / "run", before=listen)
    assert events == ["rest", "update", "sync"] * 2
    assert [row["sampling/sync_difference"] for row in seen.metrics] == [0.25, 0.25]


@dataclass
class Ranks:
    """A world as one rank sees it, without what the others give."""

    rank: int
    size: int

    def gather(self, value):
        return [value]

    def of_main(self, work):
        return work()


class Echo:
    """Completes nothing; remembers which prompts it was asked for."""

    chunk_size = 2
    weights_version = 0

    def __init__(self) -> None:
        self.asked: list[int] = []

    def generate(self, prompts, _sampling, _seeds):
        self.asked += [prompt[0] for prompt in prompts]
        return [None] * len(prompts)


@pytest.mark.parametrize(
    ("ranks", "expected"),
    [
        (1, [[0, 1, 8, 9], [2, 3], [4, 5], [6, 7]]),
        (2, [[0, 1, 4, 5, 8, 9]] * 2 + [[2, 3, 6, 7]] * 2),
        (4, [list(range(10))] * 4),
    ],
)
def test_ranks_that_are_one_engine_generate_the_same_chunks(ranks: int, expected) -> None:
    asked = []
    for rank in range(4):
        engine = Echo()
        rows = [[number] for number in range(10)]
        with suppress(KeyError):  # what other ranks generate is not here
            AllRanks(engine, Ranks(rank, 4), ranks).generate(rows, Sampling(1), range(10))
        asked.append(engine.asked)
    assert asked == expected


BASE = {"model": {"path": "m"}, "data": {"path": "d.jsonl"}}


def rollout_of(config: type = TrainConfig, **rollout: object):
    return config.model_validate({**BASE, "rollout": rollout}).rollout


def test_use_vllm_is_the_backend_by_another_name() -> None:
    assert rollout_of().backend == "hf"
    assert rollout_of(use_vllm=True).backend == "vllm"
    assert rollout_of(use_vllm=True) == rollout_of(backend="vllm")
    assert rollout_of(use_vllm=False).backend == "hf"
    for given in ({"use_vllm": True, "backend": "hf"}, {"use_vllm": False, "backend": "vllm"}):
        with pytest.raises(ValueError, match="contradict each other"):
            rollout_of(**given)
    for unclear in (1, "true"):
        with pytest.raises(ValueError, match="use_vllm: expected true or false"):
            rollout_of(use_vllm=unclear)


@pytest.mark.parametrize("before", ["vllm", "hf"])
@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"use_vllm": True}, "vllm"),
        ({"use_vllm": False}, "hf"),
        ({"backend": "hf"}, "hf"),
        ({"backend": "vllm"}, "vllm"),
        ({}, None),
    ],
)
def test_a_resumed_run_samples_by_what_it_is_told_now(
    tmp_path: Path, before: str, given: dict, expected: str | None
) -> None:
    """Either flag goes before the run's own config, also the one that says no."""
    vllm = {"vllm": {"gpu_memory_utilization": 0.4}} if before == "vllm" else {}
    config = TrainConfig.model_validate({**BASE, "rollout": {"backend": before, **vllm}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(config.model_dump(mode="json")))
    command = {"checkpoint": {"resume": "auto"}, "output_dir": str(tmp_path), "rollout": given}
    tree, _ = recorded_config(command)
    resumed = TrainConfig.model_validate({**tree, "rollout": {**tree["rollout"], **given}})
    assert resumed.rollout.backend == (expected or before)
    kept = 0.4 if before == resumed.rollout.backend == "vllm" else 0.5
    assert resumed.rollout.vllm.gpu_memory_utilization == kept


@pytest.mark.parametrize(
    ("rollout", "reason"),
    [
        ({"vllm": {"sleep_level": 2}, "use_vllm": True}, "nothing without --vllm-enable-sleep"),
        ({"vllm": {"enable_sleep": True}}, "rollout.vllm.enable_sleep does nothing with backend"),
        (
            {"vllm": {"gpu_memory_utilization": 0.4, "tensor_parallel_size": 2}},
            "rollout.vllm.gpu_memory_utilization, rollout.vllm.tensor_parallel_size does nothing",
        ),
        ({"use_vllm": True, "temperature": 0.005}, "temperature 0.005 is below 0.01"),
        ({"use_vllm": True, "top_p": 0.9}, "top_p 0.9 with backend vllm: it does not tell"),
        ({"use_vllm": True, "top_k": 20, "min_p": 0.1}, "top_k 20, min_p 0.1 with backend vllm"),
    ],
)
def test_what_vllm_cannot_do_is_told_from_the_config(rollout, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        rollout_of(**rollout)


def test_rounds_may_filter_what_vllm_draws_from() -> None:
    """Expert iteration trains on texts alone, whatever they were drawn from."""
    assert rollout_of(ExpertConfig, use_vllm=True, top_p=0.9).filters == {"top_p": 0.9}


def config_of(**rollout: object) -> TrainConfig:
    lengths = {"data": {"path": "d.jsonl", "max_prompt_length": 30}}
    return TrainConfig.model_validate(
        {**BASE, **lengths, "rollout": {"use_vllm": True, "max_new_tokens": 20, **rollout}}
    )


def test_vllm_is_set_up_as_the_config_says(world) -> None:
    vllm = {"gpu_memory_utilization": 0.25, "enable_sleep": True, "sleep_level": 2}
    options = options_of(config_of(vllm=vllm, chunk_size=8), torch.bfloat16, world)
    assert (options.dtype, options.max_model_len, options.chunk_size) == ("bfloat16", 50, 8)
    assert (options.gpu_memory_utilization, options.enable_sleep) == (0.25, True)
    assert options.in_process
    assert options.extra == {"load_format": "dummy"}


def test_engines_of_several_processes_join_their_group() -> None:
    config = config_of(vllm={"tensor_parallel_size": 2})
    options = options_of(config, torch.float32, Ranks(0, 4))  # type: ignore[arg-type]
    assert options.tensor_parallel_size == 2
    assert options.extra["distributed_executor_backend"] == "external_launcher"


def test_processes_that_engines_do_not_share_evenly_are_told() -> None:
    config = config_of(vllm={"tensor_parallel_size": 2})
    with pytest.raises(ConfigError, match="--vllm-tensor-parallel 2 does not divide the run's 3"):
        check_backend(config, config.model, Ranks(0, 3))  # type: ignore[arg-type]


@pytest.mark.skipif(find_spec("vllm") is not None, reason="there is a vLLM here")
@pytest.mark.parametrize("warm_start", [0, 2])
def test_without_vllm_a_run_says_so_before_it_has_a_folder(
    call, tiny, tmp_path: Path, warm_start: int
) -> None:
    path = tiny(warm_start={"steps": warm_start})
    code, _, err = call("train", "--config", path, "--use-vllm", "--output-dir", "out")
    assert code == 2
    assert "backend vllm is not installed: `uv sync --extra vllm`" in err
    assert not (tmp_path / "out").exists()
