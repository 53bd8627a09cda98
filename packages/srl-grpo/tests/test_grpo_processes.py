"""Two processes against one. Run by torchrun, this module is also what the ranks do."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_eval.generate import Completion
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner import distributed
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import SHARED_RATIO, UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.objective.options import LossOptions
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.rollout.engines import transformers_rollout
from srl_grpo.rollout.groups import Group, Scored

ROUNDS = 3
TOLERANCE = 1e-5


def model_of(seed: int) -> Qwen2ForCausalLM:
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=29,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        initializer_range=0.2,
        tie_word_embeddings=True,
        eos_token_id=0,
        pad_token_id=1,
    )
    return Qwen2ForCausalLM(config)


def replayed(round_number: int) -> list[Group]:
    """Stored rollouts: three groups of three, of lengths from 1 to 9, the same on every rank."""
    generator = torch.Generator().manual_seed(round_number)

    def integers(low: int, high: int, count: int) -> list[int]:
        return torch.randint(low, high, (count,), generator=generator).tolist()

    groups = []
    for _ in range(3):
        prompt = tuple(integers(2, 29, integers(1, 8, 1)[0]))
        members = []
        for reward in torch.rand(3, generator=generator).tolist():
            ids = (*integers(2, 29, integers(0, 9, 1)[0]), 0)
            completion = Completion(ids, (-3.0,) * len(ids), "stop", 0)
            members.append(Scored(completion, "", reward))
        groups.append(Group(0, prompt, tuple(members)))
    return groups


def train_replayed(stage: int, folder: Path) -> None:
    """Updates on the stored rollouts; losses and final weights go into `folder`."""
    world = distributed.start()
    options = {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
    engine = TrainingEngine(
        Policy(model_of(0)),
        EngineSection(zero_stage=stage, deepspeed={"zero_optimization": options}),
        OptimizerSection(learning_rate=1e-3, max_grad_norm=0.5),
        world,
    )
    # Nine completions in steps of two: the last step has one, and so leaves a rank without any.
    updater = Updater(
        engine=engine,
        loss=PolicyLoss(options=LossOptions(epsilon_high=0.28, beta=0.05)),
        options=UpdateOptions(
            batch_size=2,
            passes=2,
            temperature=0.9,
            token_budget=20,
            seed=7,
            max_logprob_difference=0,  # the stored rollouts' sampler is made up
        ),
        pad_id=1,
        reference=Policy(model_of(1)).requires_grad_(False),
    )
    batches = [samples_of(replayed(number), GroupRelative()) for number in range(ROUNDS)]
    metrics = [updater(samples, number, 1e-3) for number, samples in enumerate(batches)]
    rollout = transformers_rollout(engine, pad_id=1, chunk_size=4)
    rollout.sync_weights()
    sampled_from = {
        name: parameter.detach().clone()
        for name, parameter in rollout.engine.model.named_parameters()
    }
    weights = engine.model_state()
    if world.is_main:
        weights.pop("lm_head.weight", None)
        save_file(weights, folder / "weights.safetensors")
        save_file(sampled_from, folder / "sampled_from.safetensors")
        (folder / "metrics.json").write_text(json.dumps(metrics))
    world.barrier()  # a rank that left early would abort the others at their exit


def launch(environment: dict[str, str], stage: int, folder: Path, processes: int) -> Path:
    folder.mkdir()
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__, str(stage), str(folder)]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=250, check=False
    )
    assert result.returncode == 0, result.stderr[-3000:]
    return folder


@pytest.fixture(scope="module")
def alone(environment, tmp_path_factory):
    """What one process makes of the stored rollouts, without ZeRO."""
    return launch(environment, 0, tmp_path_factory.mktemp("one") / "out", 1)


@pytest.mark.slow
@pytest.mark.parametrize("stage", [0, 1, 2, 3])
def test_two_processes_agree_with_one_on_replayed_rollouts(environment, tmp_path, alone, stage):
    folder = launch(environment, stage, tmp_path / "out", 2)
    expected = json.loads((alone / "metrics.json").read_text())
    found = json.loads((folder / "metrics.json").read_text())
    for step, (ours, theirs) in enumerate(zip(expected, found, strict=True)):
        assert ours.keys() == theirs.keys()
        assert ours.pop(SHARED_RATIO) <= 1  # padding depends on who has which rows
        for name, value in ours.items():
            assert math.isfinite(theirs[name]), (step, name)
            assert theirs[name] == pytest.approx(value, rel=TOLERANCE, abs=TOLERANCE), (step, name)
    assert expected[-1]["kl"] > 0
    assert expected[-1]["approx_kl"] > 0
    before = model_of(0).state_dict()
    reached, weights = (load_file(f / "weights.safetensors") for f in (alone, folder))
    assert reached.keys() == weights.keys()
    for name, value in reached.items():
        torch.testing.assert_close(weights[name], value, rtol=0, atol=TOLERANCE)
        assert (value - before[name]).abs().max() > 100 * TOLERANCE
    sampled_from = load_file(folder / "sampled_from.safetensors")
    for name, value in sampled_from.items():
        assert torch.equal(value, weights[name])


def numbers(run: Path) -> list[dict[str, float]]:
    """The metrics of a run without its times."""
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    timed = ("time", "step_time", "tokens_per_second", SHARED_RATIO)  # as a prompt may be parted
    return [
        {n: v for n, v in line.items() if n not in timed and not n.startswith("time/")}
        for line in lines
    ]


COMMAND = [
    *("train", "--config", "smoke_test", "--ppo-steps", 2, "--train-batch-size", 8),
    *("--beta", 0.05, "--micro-batch-tokens", 200, "--warm-start-steps", 30, "--eval-limit", 4),
    *("--no-before-after", "--no-tensorboard"),
]


@pytest.fixture(scope="module")
def command_alone(run_command, tmp_path_factory):
    """The run that the command makes in one process, without ZeRO."""
    run = tmp_path_factory.mktemp("command") / "run"
    result = run_command(*COMMAND, "--output-dir", run)
    assert result.returncode == 0, result.stderr[-3000:]
    return run


@pytest.mark.slow
@pytest.mark.parametrize("stage", [2, 3])
def test_the_command_on_two_processes_agrees_with_one(run_command, tmp_path, command_alone, stage):
    run = tmp_path / "run"
    sharded = ["--zero-stage", stage, "--nproc-per-node", 2]
    sharded += ["--deepspeed", "{zero_optimization: {stage3_param_persistence_threshold: 0}}"]
    result = run_command(*COMMAND, *sharded, "--output-dir", run)
    assert result.returncode == 0, result.stderr[-3000:]
    for ours, theirs in zip(numbers(command_alone), numbers(run), strict=True):
        assert ours.keys() == theirs.keys()
        for name, value in ours.items():
            assert theirs[name] == pytest.approx(value, rel=1e-4, abs=1e-5), name


if __name__ == "__main__":
    train_replayed(int(sys.argv[1]), Path(sys.argv[2]))
    distributed.stop()
