"""A sampler that is not the model in training stops the run at its first step."""

import math

import numpy as np
import pytest
import torch

from srl_data.command.errors import CommandError
from srl_eval.generate import Sampling, TransformersEngine
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.agreement import LIMITS, limit_of, unhealthy
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.model import cast_parameters
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.rollout.groups import Group, Scored
from srl_grpo.stages.rl_setup import loss_of

PROMPTS = [(5, 6, 7), (9,), (11, 12), (14, 3)]


def sampled_and_trained(
    model, sampler, world, *, temperature=1.0, filters=None, limit=None, **more
):
    """One update of `model` from samples of `sampler`; its metrics."""
    sampling = Sampling(
        max_new_tokens=12,
        temperature=temperature,
        **(filters or {}),
        stop_token_ids=(0,),
        record_kept=True,
    )
    rows = [prompt for prompt in PROMPTS for _ in range(4)]
    drawn = TransformersEngine(sampler, pad_token_id=1).generate(
        rows, sampling, list(range(len(rows)))
    )
    groups = [
        Group(n, prompt, tuple(Scored(c, "", float(r)) for r, c in enumerate(drawn[4 * n :][:4])))
        for n, prompt in enumerate(PROMPTS)
    ]
    engine = TrainingEngine(Policy(model), EngineSection(), OptimizerSection(), world)
    section = AlgorithmSection(**more)
    options = UpdateOptions(
        batch_size=section.train_batch_size or 64,
        passes=section.ppo_steps,
        token_budget=64,
        temperature=temperature,
        max_logprob_difference=limit,
    )
    updater = Updater(engine, loss_of(section), options, 1)
    return updater(samples_of(groups, GroupRelative()), 0, 1e-3)


FILTERS = [
    {"top_p": 0.7},
    {"top_p": 0.3},
    {"top_k": 4},
    {"min_p": 0.3},
    {"top_k": 9, "top_p": 0.9, "min_p": 0.1},
]


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize("filters", [{}, *FILTERS], ids=str)
def test_the_model_itself_is_not_stopped(tiny_model, world, filters, temperature, dtype):
    """What it was drawn from is known to both, so that nothing but rounding is between them."""
    model, sampler = tiny_model(), tiny_model()
    for each in (model, sampler):
        cast_parameters(each, dtype)
    metrics = sampled_and_trained(model, sampler, world, filters=filters, temperature=temperature)
    assert metrics["sampling/logprob_difference"] < LIMITS[dtype] / 2
    if dtype is torch.float32:
        assert metrics["sampling/logprob_difference"] < 1e-5
    assert math.isfinite(metrics["loss"])


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.7}, {"top_k": 4}], ids=str)
@pytest.mark.parametrize("cut", [{}, {"train_batch_size": 8, "ppo_steps": 2}])
def test_another_model_is_stopped_before_its_weights_change(tiny_model, world, filters, cut):
    model = tiny_model()
    with pytest.raises(CommandError) as caught:
        sampled_and_trained(model, tiny_model(seed=1), world, filters=filters, **cut)
    assert caught.value.exit_code == 1
    text = str(caught.value)
    assert text.startswith("step 1: the sampler's log-probabilities lie ")
    assert "in float32 stays far below 0.001" in text
    assert "--max-logprob-difference" in text
    expected = dict(tiny_model().named_parameters())
    assert all(torch.equal(p, expected[name]) for name, p in model.named_parameters())


@pytest.mark.parametrize("limit", [0, 50.0])
def test_the_limit_is_the_users(tiny_model, world, limit):
    metrics = sampled_and_trained(tiny_model(), tiny_model(seed=1), world, limit=limit)
    assert metrics["sampling/logprob_difference"] > 0.1


@pytest.mark.parametrize(
    ("dtype", "p01", "p99", "told"),
    [
        (torch.float32, 0.9995, 1.0005, False),
        (torch.float32, 0.998, 1.0, True),
        (torch.float32, 1.0, 1.002, True),
        (torch.bfloat16, 0.75, 1.35, False),
        (torch.bfloat16, 0.69, 1.0, True),
        (torch.bfloat16, 1.0, 1.41, True),
    ],
)
def test_either_end_of_the_ratios_may_leave_their_healthy_range(dtype, p01, p99, told):
    found = unhealthy({"sampling/ratio_p01": p01, "sampling/ratio_p99": p99}, dtype)
    assert (found is not None) == told
    assert unhealthy({}, dtype) is None  # nothing was compared


def test_limits():
    assert limit_of(None, torch.float32) == 1e-3
    assert limit_of(None, torch.bfloat16) == 0.25
    assert limit_of(0.5, torch.float32) == 0.5
    assert limit_of(0.0, torch.float32) == math.inf


@pytest.mark.parametrize(
    "cut", [{}, {"train_batch_size": 4}, {"train_batch_size": 8, "ppo_steps": 2}]
)
def test_the_ratios_distribution_is_that_of_all_tokens(tiny_model, world, cut):
    """However the batch is cut, whether its loss has a ratio or not: one number a token."""
    model, sampler = tiny_model(), tiny_model(seed=1)
    for loss in ("dapo", "reinforce_with_baseline", "luspo"):
        found = sampled_and_trained(tiny_model(), sampler, world, limit=0, loss=loss, **cut)
        ratios = true_ratios(model, sampler)
        expected = {"mean": np.mean(ratios), "max": np.max(ratios)}
        for name, share in (("p01", 0.01), ("p50", 0.5), ("p99", 0.99)):
            expected[name] = np.quantile(ratios, share)
        for name, value in expected.items():
            assert found[f"sampling/ratio_{name}"] == pytest.approx(value, rel=1e-4), (loss, name)
        difference = np.abs(np.log(ratios)).mean()
        assert found["sampling/logprob_difference"] == pytest.approx(difference, rel=1e-4)


def true_ratios(model, sampler) -> np.ndarray:
    """`old / sampler` of what `sampler` draws, scored row by row."""
    sampling = Sampling(max_new_tokens=12, temperature=1.0, stop_token_ids=(0,))
    rows = [prompt for prompt in PROMPTS for _ in range(4)]
    engine = TransformersEngine(sampler, pad_token_id=1)
    drawn = engine.generate(rows, sampling, list(range(len(rows))))
    found = []
    for prompt, completion in zip(rows, drawn, strict=True):
        ids = torch.tensor([[*prompt, *completion.token_ids]])
        with torch.no_grad():
            table = model(input_ids=ids).logits[0, len(prompt) - 1 : -1].log_softmax(-1)
        chosen = table.gather(1, torch.tensor(completion.token_ids)[:, None])[:, 0]
        found.append((chosen - torch.tensor(completion.logprobs)).exp().numpy())
    return np.concatenate(found)
