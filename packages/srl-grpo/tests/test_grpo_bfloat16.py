"""bfloat16 under every ZeRO stage: the first update, the sum of gradients, the resume."""

import pytest
import torch

from srl_data.command.errors import ConfigError
from srl_data.lock import FolderLock
from srl_data.prompt_record import PromptRecord
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import cast_parameters
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.run.checkpoint import TrainerState, load_checkpoint, save_checkpoint
from srl_grpo.run.start import find_starting_point
from srl_grpo.toy.model import character_tokenizer

RATE, DECAY = 2e-3, 0.1
SETTINGS = [(0, False), (1, False), (1, True), (2, False), (2, True), (3, False), (3, True)]
NAMES = [f"zero-{stage}{'-offload' if offload else ''}" for stage, offload in SETTINGS]


def half(model):
    cast_parameters(model, torch.bfloat16)
    return model


def make_engine(model, world, stage, offload, decay=DECAY):
    # 0 shards every parameter: small models would hide under ZeRO-3's threshold.
    more = {"zero_optimization": {"stage3_param_persistence_threshold": 0}} if stage == 3 else {}
    options = EngineSection(zero_stage=stage, offload_optimizer=offload, deepspeed=more)
    adam = OptimizerSection(learning_rate=RATE, weight_decay=decay, max_grad_norm=1e9)
    return TrainingEngine(Policy(half(model)), options, adam, world)


def update(engine, world, groups, step=0, budget=16):
    options = UpdateOptions(batch_size=64, token_budget=budget, max_logprob_difference=0)
    updater = Updater(engine, PolicyLoss(), options, 1)
    return updater(samples_of(groups, GroupRelative()), step, RATE)


@pytest.fixture
def groups(make_group):
    return [
        make_group([1.0, 0.2, -1.0], [5, 6, 7], [(8, 9, 0), (8, 0), (10, 11, 12, 13, 0)]),
        make_group([0.5, 0.5, 0.0], [14], [(0,), (15, 16, 0), (17, 0)]),
    ]


def masters(engine):
    """The optimizer's float32 weights, flat, in order of the parameters."""
    from deepspeed.utils import safe_get_full_fp32_param

    found = [safe_get_full_fp32_param(p) for p in engine.policy.parameters()]
    assert all(part.dtype == torch.float32 for part in found)
    return torch.cat([part.detach().flatten() for part in found])


def one_row_gradient(model):
    """The gradient of one row's mean log-probability in plain torch, and that row."""
    row = MicroBatch.of_rows([([5, 6], [7, 8, 0])])
    Policy(half(model))(row)[0].mean().backward()
    return torch.cat([p.grad.float().flatten() for p in model.parameters()]), row


@pytest.mark.parametrize(("stage", "offload"), SETTINGS, ids=NAMES)
def test_the_first_update_is_adams_of_float32_masters(tiny_model, world, groups, stage, offload):
    engine = make_engine(tiny_model(), world, stage, offload)
    start = torch.cat([p.detach().float().flatten() for p in half(tiny_model()).parameters()])
    update(engine, world, groups)
    # Adam's first step is the rate in the gradient's direction, after decoupled weight decay.
    moved = masters(engine) - start * (1 - RATE * DECAY)
    share = moved.abs() / RATE
    assert share.median() == pytest.approx(1.0, abs=1e-3)
    assert ((share - 1).abs() < 1e-2).float().mean() > 0.9
    low = torch.cat([t.float().flatten() for t in trained(engine)])
    assert torch.equal(low, masters(engine).bfloat16().float())


def trained(engine):
    state = engine.model_state()
    return [state[name] for name, _ in engine.policy.model.named_parameters()]


@pytest.mark.parametrize("stage", [0, 2, 3])
def test_every_stage_makes_the_update_of_zero_1(tiny_model, world, groups, stage):
    found = []
    for number in (1, stage):
        engine = make_engine(tiny_model(), world, number, offload=False)
        metrics = update(engine, world, groups, budget=10_000)
        found.append((masters(engine), metrics["loss"], metrics["grad_norm"]))
    (expected, *numbers), (weights, *others) = found
    assert others == pytest.approx(numbers, rel=1e-5)
    assert torch.allclose(weights, expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize(("stage", "offload"), SETTINGS[1:], ids=NAMES[1:])
def test_many_micro_batches_add_up_in_float32(tiny_model, world, stage, offload):
    # In bfloat16 the eighty small parts would vanish beside the first: 1 + 1/720 is 1.
    gradient, row = one_row_gradient(tiny_model(num_hidden_layers=1))
    engine = make_engine(tiny_model(num_hidden_layers=1), world, stage, offload)
    for share in (0.9, *[0.1 / 80] * 79, None):
        engine.begin(last=share is None)
        engine.backward(engine.forward(row, 1.0)[0].mean() * (share or 0.1 / 80))
    assert engine.step(RATE) == pytest.approx(float(gradient.norm()), rel=0.02)


@pytest.mark.parametrize(("stage", "offload"), SETTINGS, ids=NAMES)
def test_a_run_resumes_bit_for_bit(tiny_model, world, groups, tmp_path, stage, offload):
    unbroken = make_engine(tiny_model(), world, stage, offload)
    update(unbroken, world, groups[:1])
    state = TrainerState(step=1, zero_stage=unbroken.zero_stage)
    tokenizer, record = (
        character_tokenizer(list("abcdefghijklmnopqrstu")),
        PromptRecord(name="bare", version=1),
    )
    folder = save_checkpoint(tmp_path, unbroken, tokenizer, record, state, world)
    update(unbroken, world, groups[1:], 1)

    resumed = make_engine(half(type(tiny_model()).from_pretrained(folder)), world, stage, offload)
    load_checkpoint(folder, resumed, world)
    update(resumed, world, groups[1:], 1)
    assert torch.equal(masters(resumed), masters(unbroken))
    expected = unbroken.model_state()
    assert all(torch.equal(value, expected[name]) for name, value in resumed.model_state().items())


def test_rotary_frequencies_stay_in_float32(tiny_model, world):
    plain = dict(tiny_model().named_buffers())
    for stage in range(4):
        engine = make_engine(tiny_model(), world, stage, offload=False)
        for name, buffer in engine.policy.model.named_buffers():
            assert buffer.dtype == torch.float32
            assert torch.equal(buffer, plain[name])


def test_zero_0_is_zero_1_in_bfloat16_also_for_a_resume(tiny_model, world, tmp_path):
    engine = make_engine(tiny_model(), world, 0, offload=False)
    assert engine.zero_stage == 1
    state = TrainerState(step=1, zero_stage=engine.zero_stage)
    tokenizer, record = character_tokenizer(list("abc")), PromptRecord(name="bare", version=1)
    folder = save_checkpoint(tmp_path, engine, tokenizer, record, state, world)

    def config(**changes):
        return TrainConfig.model_validate(
            {
                "model": {"path": "unused", "dtype": "bfloat16"} | changes,
                "data": {"path": "unused.jsonl"},
                "checkpoint": {"resume": str(folder)},
            }
        )

    lock = FolderLock()
    try:
        assert find_starting_point(config(), world, lock).checkpoint == folder
        with pytest.raises(ConfigError, match="--zero-stage 1, this run has 0"):
            find_starting_point(config(dtype="float32"), world, lock)
    finally:
        lock.release()


def test_the_type_of_gradient_sums_is_not_for_the_user_to_set():
    with pytest.raises(ValueError, match="may not set data_types"):
        EngineSection(zero_stage=1, deepspeed={"data_types": {"grad_accum_dtype": "bf16"}})
