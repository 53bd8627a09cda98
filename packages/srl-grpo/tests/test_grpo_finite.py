"""What is not finite stops a run in one line, and is never saved."""

import json
import math

import pytest
import torch

from srl_data.command.config import load_config
from srl_data.command.errors import CommandError
from srl_data.prompt_record import PromptRecord
from srl_eval.generate import Sampling
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.finite import first_not_finite
from srl_grpo.learner.model import cast_parameters
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.objective.options import LossOptions
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.rollout.engines import generate_round, transformers_rollout
from srl_grpo.run.checkpoint import TrainerState, save_checkpoint, steps_of
from srl_grpo.stages.running import train_and_compare
from srl_grpo.stages.train import open_run
from srl_grpo.toy.model import character_tokenizer

TYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
NORM = "model.norm.weight"


@pytest.fixture
def make_engine(tiny_model, world):
    def make(stage=0, dtype="float32"):
        model = tiny_model()
        cast_parameters(model, TYPES[dtype])
        return TrainingEngine(
            Policy(model), EngineSection(zero_stage=stage), OptimizerSection(), world
        )

    return make


def update(engine, world, groups, rate=1e-3, **options):
    update = UpdateOptions(batch_size=64, token_budget=64, **options)
    updater = Updater(engine, PolicyLoss(), update, 1)
    return updater(samples_of(groups, GroupRelative()), 4, rate)


def save(engine, world, run, step):
    state = TrainerState(step=step, zero_stage=engine.zero_stage)
    tokenizer, record = character_tokenizer(list("abc")), PromptRecord(name="bare", version=1)
    return save_checkpoint(run, engine, tokenizer, record, state, world)


def spoil(engine, name, value):
    parameter = dict(engine.policy.model.named_parameters())[name]
    with torch.no_grad(), engine.gathered([parameter]):
        parameter.view(-1)[3] = value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(("stage", "dtype"), [(0, "float32"), (2, "float32"), (1, "bfloat16")])
def test_weights_are_looked_at_before_a_checkpoint_is_written(
    make_engine, world, make_group, tmp_path, stage, dtype, value
):
    engine = make_engine(stage, dtype)
    update(engine, world, [make_group([1.0, 0.0])], max_logprob_difference=0)
    save(engine, world, tmp_path, 3)
    spoil(engine, NORM, value)
    with pytest.raises(CommandError) as caught:
        save(engine, world, tmp_path, 4)
    assert caught.value.exit_code == 1
    text = str(caught.value)
    assert f"step 4: {NORM} holds {value} (seen on rank 0)" in text
    assert "lower --learning-rate and continue from step 3 with --resume auto" in text
    assert [path.name for path in tmp_path.iterdir()] == ["step_3"]


def test_finite_weights_whose_outputs_are_not_are_not_saved(
    make_engine, world, make_group, tmp_path
):
    engine = make_engine()
    update(engine, world, [make_group([1.0, 0.0])], max_logprob_difference=0)
    engine.policy.model.model.rotary_emb.inv_freq.fill_(float("nan"))
    with pytest.raises(CommandError, match="log-probabilities are not finite, though its weights"):
        save(engine, world, tmp_path, 1)
    assert steps_of(tmp_path) == []


@pytest.mark.parametrize("rate", [1e7, 1e10, 1e20, 1e30])
def test_weights_too_large_to_compute_with_are_not_saved(
    make_engine, world, make_group, tmp_path, rate
):
    engine = make_engine()
    update(engine, world, [make_group([1.0, 0.0])], rate=rate, max_logprob_difference=0)
    assert first_not_finite(engine.model_state().items()) is None
    with pytest.raises(CommandError, match=r"has grown to .*, too large to compute with"):
        save(engine, world, tmp_path, 1)
    assert steps_of(tmp_path) == []


def test_the_optimizers_moments_are_looked_at(make_engine, world, make_group, tmp_path):
    for stage, where in ((0, NORM), (1, "its shard")):
        engine = make_engine(stage)
        update(engine, world, [make_group([1.0, 0.0])], max_logprob_difference=0)
        tensors = dict(engine.optimizer_tensors())
        tensors[f"the optimizer's exp_avg_sq of {where}"].view(-1)[0] = float("inf")
        with pytest.raises(CommandError, match=f"exp_avg_sq of {where} holds inf"):
            save(engine, world, tmp_path, 1)


def test_looking_at_the_outputs_leaves_training_as_it_was(make_engine, world, make_group, tmp_path):
    first, second = (make_group([1.0, 0.0, 0.3], [p], [(7, 8, 0), (9, 0), (0,)]) for p in (5, 6))
    for stage in (0, 2, 3):
        weights = []
        for saved in (True, False):
            engine = make_engine(stage)
            update(engine, world, [first], max_logprob_difference=0)
            if saved:
                save(engine, world, tmp_path, 1)
            update(engine, world, [second], max_logprob_difference=0)
            weights.append(engine.model_state())
        assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


def test_a_loss_that_is_not_finite_stops_before_the_weights_change(make_engine, world, make_group):
    engine = make_engine()
    before = engine.model_state()
    group = make_group([1.0, 0.0])
    members = [m.completion for m in group.members]
    object.__setattr__(members[0], "logprobs", (float("nan"),) * 2)
    with pytest.raises(CommandError, match=r"step 5: sampling/logprob_difference is nan"):
        update(engine, world, [group])
    assert all(torch.equal(value, before[name]) for name, value in engine.model_state().items())


@pytest.mark.parametrize("whose", ["the policy", "the KL reference"])
def test_log_probabilities_that_are_not_finite_say_whose_they_are(
    make_engine, tiny_model, world, make_group, whose
):
    engine, reference = make_engine(), Policy(tiny_model(seed=1))
    spoiled = reference.model if whose == "the KL reference" else engine.policy.model
    with torch.no_grad():
        spoiled.model.norm.weight[0] = float("nan")
    loss = PolicyLoss(options=LossOptions(beta=0.1))
    updater = Updater(engine, loss, UpdateOptions(batch_size=64, passes=2), 1, reference)
    with pytest.raises(CommandError, match=f"log-probabilities under {whose} hold nan"):
        updater(samples_of([make_group([1.0, 0.0])], GroupRelative()), 0, 1e-3)


def test_sampling_from_a_model_that_is_not_finite_is_one_line(make_engine, world):
    engine = make_engine()
    spoil(engine, NORM, float("nan"))
    rollout = transformers_rollout(engine, pad_id=1, chunk_size=4)

    class Prompt:
        ids = (5, 6)

    sampling = Sampling(max_new_tokens=3)
    with pytest.raises(FloatingPointError, match=r"nan at new token 0.*\(seen on rank 0\)"):
        generate_round(rollout, [Prompt()], 2, sampling, [1, 2], world)


@pytest.mark.parametrize(
    ("value", "blamed"),
    [(math.nan, f"{NORM} holds nan"), (math.inf, f"{NORM} holds inf"), (3e38, f"{NORM} has grown")],
)
def test_a_run_that_cannot_sample_names_step_rank_and_weight(tiny, tmp_path, world, value, blamed):
    overrides = {("output_dir",): tmp_path / "run"}
    config = load_config(TrainConfig, str(tiny()), overrides)
    with open_run(config, world) as (session, stage, comparison):
        session.state.step = 1
        session.engine.policy.model.get_parameter(NORM).data.fill_(value)
        with pytest.raises(CommandError) as caught:
            train_and_compare(session, stage, comparison)
    text = str(caught.value)
    assert text.startswith("after step 1: the model gave a log-probability of nan at new token 0")
    assert f"(seen on rank 0); {blamed}" in text
    assert text.endswith("there is no checkpoint yet: lower --learning-rate and begin anew")


def test_a_resumed_run_names_the_checkpoint_that_it_came_from(call, tiny, tmp_path, world):
    config, run = tiny(rollout={"max_starved_steps": 0}), tmp_path / "run"
    assert call("train", "--config", config, "--output-dir", run)[0] == 0
    overrides = {("output_dir",): run, ("checkpoint", "resume"): "auto", ("num_steps",): 4}
    resumed = load_config(TrainConfig, str(config), overrides)
    with open_run(resumed, world) as (session, stage, comparison):
        session.engine.policy.model.get_parameter(NORM).data.fill_(math.nan)
        with pytest.raises(CommandError, match="continue from step 2 with --resume auto"):
            train_and_compare(session, stage, comparison)


def test_a_command_says_nothing_of_its_libraries(run_command, tiny, tmp_path):
    result = run_command("train", "--config", tiny(), "--output-dir", tmp_path / "out")
    assert "step 2/2" in result.stdout
    assert "WARNING" not in result.stdout + result.stderr


@pytest.mark.slow
def test_a_run_whose_rate_is_too_high_leaves_nothing_that_a_resume_would_take(
    run_command, tmp_path
):
    run = tmp_path / "run"
    command = ["train", "--config", "smoke_test", "--no-before-after", "--no-tensorboard"]
    command += ["--eval-every", 0, "--checkpoint-every", 1, "--output-dir", run]
    result = run_command(*command, "--learning-rate", 1e10)
    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert "lower --learning-rate" in result.stderr
    assert steps_of(run) == []
    again = run_command(*command, "--learning-rate", 1e-4, "--resume", "auto")
    assert again.returncode == 0, again.stderr[-2000:]
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2, 3]
