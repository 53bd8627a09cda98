"""An update of trees against the padded one: every gradient and metric, over trees of any shape.

Run by torchrun, this module is what ranks do.
"""

import contextlib
import functools
import subprocess
import sys
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from transformers import AutoConfig, AutoModelForCausalLM

from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner import distributed
from srl_grpo.learner.audit import widened
from srl_grpo.learner.batch import Sample
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.prompt_groups import Sharing, Work
from srl_grpo.learner.updater import SHARED_RATIO, UpdateOptions, Updater
from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.likelihood import ResponseLoss
from srl_grpo.objective.loss import KINDS, PolicyLoss
from srl_grpo.objective.options import LossOptions

VOCABULARY = 41
BASE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 0,
    "pad_token_id": 1,
}
GPT2 = {
    "vocab_size": VOCABULARY,
    "n_embd": 32,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 512,
    "initializer_range": 0.2,
    "bos_token_id": None,
    "eos_token_id": 0,
}
KINDS_OF_MODELS = ("llama", "qwen2", "qwen3", "gemma", "gpt2")
SHARING = Sharing(40, work=Work(0.05, 1.0))
LOSSES = {
    **{name: PolicyLoss(name) for name in KINDS},
    "k1": PolicyLoss("dapo", LossOptions(beta=0.1, kl_estimator="k1", kl_corrected=True)),
    "k2": PolicyLoss("grpo", LossOptions(beta=0.1, kl_estimator="k2")),
    "k3": PolicyLoss("dapo", LossOptions(beta=0.1)),
    "sampler": PolicyLoss("dapo", LossOptions(sampler=SamplerWeights(2.0, 0.1))),
    "sequences": PolicyLoss(
        "gspo", LossOptions(sampler=SamplerWeights(2.0, 0.1, "sequence_mask"), beta=0.1)
    ),
    "likelihood": ResponseLoss(),
}


def make_model(kind, *, tied=True, checkpointing=False, dtype=torch.float64):
    """A model of a family that any long texts' gradients pass through, and its values."""
    options = {**(GPT2 if kind == "gpt2" else BASE), "tie_word_embeddings": tied}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        config = AutoConfig.for_model(kind, **options)
        model = AutoModelForCausalLM.from_config(config).eval()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):  # zeros would prove nothing
                torch.nn.init.normal_(parameter, std=0.2)
            parameter.data = parameter.data.to(dtype)
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.p = 0.0
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    return model


@functools.cache
def engine_of(kind, stage=0, dtype=torch.float64, **options):
    """One engine for all examples; the world is the session's."""
    sharded = {"stage3_param_persistence_threshold": 0} if stage == 3 else {}
    section = EngineSection(zero_stage=stage, deepspeed={"zero_optimization": sharded})
    with widened(dtype == torch.float64):
        policy = Policy(make_model(kind, dtype=dtype, **options))
        return TrainingEngine(policy, section, OptimizerSection(), distributed.World())


@dataclass
class Found:
    """What an update accumulates."""

    metrics: dict[str, float]
    gradients: dict[str, torch.Tensor]


def accumulated(engine, samples, loss, sharing, **options):
    """Metrics and gradients of one optimizer step that is not made."""
    normalisation = getattr(loss, "normalisation", "token-mean")
    update = UpdateOptions(
        batch_size=len(samples), normalisation=normalisation, longest=20, sharing=sharing, **options
    )
    with widened(engine.dtype == torch.float64):
        metrics, ratios = Updater(engine, loss, update, 1).accumulate(samples)
        gradients = engine.gradients()
        if engine.zero_stage:
            engine.step(0.0)
        for parameter in engine.policy.parameters():
            parameter.grad = None
    metrics["ratios"] = float(ratios.double().sort().values.pow(2).sum())
    return Found(metrics, gradients)


def distances(one, other):
    """Of each tensor: norm of the difference over its own norm.

    Where a gradient cancels (a query that sees equal keys) only rounding is left of it, which is
    compared with a thousandth of the whole gradient.
    """
    whole = float(torch.nn.utils.get_total_norm(list(other.values())))
    return {
        name: float((one[name] - right).norm()) / max(float(right.norm()), 1e-3 * whole, 1e-30)
        for name, right in other.items()
    }


def check(engine, samples, loss, budget, limit=1e-12, sharing=SHARING):
    padded = accumulated(engine, samples, loss, None, token_budget=budget)
    shared = accumulated(engine, samples, loss, sharing, token_budget=budget)
    ratio = shared.metrics.pop(SHARED_RATIO)
    assert ratio >= padded.metrics.pop(SHARED_RATIO)
    assert padded.gradients.keys() == shared.gradients.keys()
    assert shared.metrics == pytest.approx(padded.metrics, rel=limit, abs=limit)
    worst = distances(shared.gradients, padded.gradients)
    assert max(worst.values(), default=0.0) <= limit, worst
    return ratio


def ids(least, most, values=3):
    return st.lists(st.integers(2, 1 + values), min_size=least, max_size=most).map(tuple)


@st.composite
def groups(draw):
    """Samples by prompts that often share beginnings, one of them drawn anew as another's."""
    prompts = draw(st.lists(ids(1, 6), min_size=1, max_size=3))
    if draw(st.booleans()):
        prompts.append((*prompts[0], *draw(ids(1, 20))))
    found = []
    for group, prompt in enumerate(prompts):
        completions = draw(st.lists(ids(0, 12), min_size=1, max_size=5))
        found.extend((group, prompt, completion) for completion in completions)
    return made(found, draw(st.integers(0, 99)))


def made(rows, seed=0):
    """Samples with made-up constants; at least one token is trained."""
    if not any(completion for _, _, completion in rows):
        rows = [*rows, (rows[0][0], rows[0][1], (7, 8))]
    chance = torch.Generator().manual_seed(seed)

    def about(center, count):
        return tuple((center + 0.3 * torch.randn(count, generator=chance)).tolist())

    return [
        Sample(
            prompt,
            completion,
            group=group,
            advantage=about(0.0, 1)[0],
            old_logprobs=about(-3.7, len(completion)),
            sampler_logprobs=about(-3.7, len(completion)),
            reference_logprobs=about(-3.7, len(completion)),
        )
        for group, prompt, completion in rows
    ]


ONE_BRANCH = made([(0, (5, 6), (7, 8, 9))])
EQUAL = made([(0, (5, 6), (7, 8, 9)), (0, (5, 6), (7, 8, 9)), (0, (5, 6), ())])
NESTED = made([(0, (5,), (6, 7)), (1, (5, 6), (7, 8)), (1, (5, 6), (9,)), (2, (5, 6, 7), (8,))])
WIDE = made([(0, tuple(range(2, 32)), (n, *range(n, n + 9))) for n in range(2, 10)])


@given(groups(), st.sampled_from(sorted(LOSSES)), st.sampled_from([12, 60, 16384]))
@example(ONE_BRANCH, "dapo", 16384)
@example(EQUAL, "gspo", 16384)
@example(NESTED, "k3", 16384)
@example(WIDE, "grpo", 60)
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_gradients_and_metrics_of_trees_are_the_padded_ones(world, samples, loss, budget):
    check(engine_of("llama"), samples, LOSSES[loss], budget)


@pytest.mark.parametrize("loss", sorted(LOSSES))
def test_every_loss_takes_trees(world, loss):
    assert check(engine_of("llama"), [*WIDE, *NESTED, *EQUAL], LOSSES[loss], 90) > 1.5


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("kind", KINDS_OF_MODELS)
def test_every_kind_of_model_takes_trees(world, kind, tied, checkpointing):
    engine = engine_of(kind, tied=tied, checkpointing=checkpointing)
    check(engine, [*WIDE, *NESTED, *EQUAL], LOSSES["k3"], 16384)


@pytest.mark.parametrize("kind", KINDS_OF_MODELS)
def test_float32_lies_as_near_as_the_padded_pass_lies_to_itself(world, kind):
    engine = engine_of(kind, dtype=torch.float32)
    samples, loss = [*WIDE, *NESTED, *EQUAL], LOSSES["dapo"]
    padded = accumulated(engine, samples, loss, None, token_budget=16384)
    again = accumulated(engine, samples, loss, None, token_budget=50)
    shared = accumulated(engine, samples, loss, SHARING, token_budget=16384)
    itself = max(distances(again.gradients, padded.gradients).values())
    assert max(distances(shared.gradients, padded.gradients).values()) <= max(3 * itself, 1e-6)


def test_a_whole_update_of_several_passes_is_the_padded_one(world):
    samples = [replace(s, old_logprobs=(), reference_logprobs=()) for s in [*WIDE, *NESTED]]
    found = []
    for sharing in (None, SHARING):
        with widened():
            engine = engine_of.__wrapped__("qwen2")
            reference = Policy(make_model("qwen2").requires_grad_(False))
            options = UpdateOptions(
                batch_size=len(samples), passes=2, sharing=sharing, max_logprob_difference=0
            )
            updater = Updater(engine, LOSSES["k3"], options, 1, reference)
            metrics = updater(samples, 0, 1e-3)
            scores = updater.score(samples, reference)
        metrics.pop(SHARED_RATIO)
        found.append((metrics, [value for row in scores for value in row]))
    (padded, padded_scores), (shared, shared_scores) = found
    assert shared == pytest.approx(padded, rel=1e-6, abs=1e-9)
    assert shared_scores == pytest.approx(padded_scores, rel=1e-6)


@pytest.mark.slow
@settings(max_examples=40, suppress_health_check=list(HealthCheck))
@given(groups(), st.sampled_from(sorted(LOSSES)), st.sampled_from([12, 60, 16384]))
@pytest.mark.parametrize("kind", KINDS_OF_MODELS)
def test_gradients_of_every_kind_over_random_trees(world, kind, samples, loss, budget):
    check(engine_of(kind), samples, LOSSES[loss], budget)


def checked_stages(world):
    """Trees and padded rows under every ZeRO stage, for the losses that differ most in columns."""
    for stage in range(4):
        for kind in ("llama", "gpt2"):
            engine = engine_of(kind, stage=stage)
            for loss in ("k3", "sequences", "likelihood"):
                for budget in (60, 16384):
                    check(engine, [*WIDE, *NESTED, *EQUAL], LOSSES[loss], budget)
        engine_of.cache_clear()
    world.barrier()  # a rank that left early would abort the others at their exit


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_every_stage_takes_trees(world, stage):
    check(engine_of("llama", stage=stage), [*WIDE, *NESTED, *EQUAL], LOSSES["k3"], 60)


@pytest.mark.slow
@pytest.mark.parametrize("processes", [1, 2])
def test_every_stage_takes_trees_over_processes(environment, processes):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    command += ["--nproc-per-node", str(processes), __file__]
    result = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=280, check=False
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "every stage holds" in result.stdout


if __name__ == "__main__":
    with contextlib.ExitStack() as stack:
        here = distributed.start()
        stack.callback(distributed.stop)
        checked_stages(here)
        if here.is_main:
            print("every stage holds")
