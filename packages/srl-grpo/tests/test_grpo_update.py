from dataclasses import replace

import numpy as np
import pytest
import torch

from srl_eval.generate import seed_for
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.engine import TrainingEngine, deepspeed_settings
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import (
    SHARED_RATIO,
    UpdateOptions,
    Updater,
    mean_metrics,
    optimizer_batches,
    with_token_weights,
)
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.stages.rl_setup import loss_of

RATE, TEMPERATURE, SEED = 2e-3, 0.8, 42
HIGH = {"dapo": 1.28, "grpo": 1.2}
"""Upper bounds of the ratio."""


@pytest.fixture
def groups(make_group):
    """Two groups of three, of unlike lengths."""
    return [
        make_group([1.0, 0.2, -1.0], [5, 6, 7], [(8, 9, 0), (8, 0), (10, 11, 12, 13, 0)]),
        make_group([0.5, 0.5, 0.0], [14], [(0,), (15, 16, 0), (17, 0)]),
    ]


@pytest.fixture
def updater(world):
    """Makes an updater of a model over a single-process engine."""

    def make(
        model, budget=10_000, train_batch_size=6, reference=None, clip=0.5, stage=0, **options
    ):
        engine = TrainingEngine(
            Policy(model),
            EngineSection(zero_stage=stage),
            OptimizerSection(learning_rate=RATE, weight_decay=0.1, max_grad_norm=clip),
            world,
        )
        algorithm = AlgorithmSection(train_batch_size=train_batch_size, **options)
        loss = loss_of(algorithm)
        update = UpdateOptions(
            batch_size=train_batch_size,
            passes=algorithm.ppo_steps,
            normalisation=loss.normalisation,
            token_budget=budget,
            temperature=TEMPERATURE,
            seed=SEED,
            max_logprob_difference=0,  # the groups' sampler is made up
        )
        made = Updater(engine, loss, update, 1, reference)
        return lambda groups, step, rate: made(samples_of(groups, GroupRelative()), step, rate)

    return make


def row_logprobs(model, prompt, completion):
    ids = torch.tensor([[*prompt, *completion]])
    table = torch.log_softmax(model(input_ids=ids).logits[0] / TEMPERATURE, dim=-1)
    start = len(prompt) - 1
    return torch.stack([table[start + i, token] for i, token in enumerate(completion)])


def naive_update(
    model, groups, step=0, size=6, passes=1, beta=0.0, reference=None, clip=0.5, name="dapo"
):
    """One rollout batch in plain torch: rows one by one, the loss as the papers write it."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.1, foreach=False)
    rows = []
    for group in groups:
        rewards = np.array(group.rewards)
        for member, advantage in zip(
            group.members, (rewards - rewards.mean()) / (rewards.std(ddof=1) + 1e-4), strict=True
        ):
            rows.append((group.prompt_ids, member.completion.token_ids, float(advantage)))
    with torch.no_grad():
        old = [row_logprobs(model, prompt, ids) for prompt, ids, _ in rows]
        frozen = [row_logprobs(reference, *row[:2]) for row in rows] if reference else old
    losses, norms, weights = [], [], []
    for number in range(passes):
        order = list(range(len(rows)))
        if size < len(rows):
            generator = np.random.default_rng(seed_for(SEED, "update", step, number))
            order = generator.permutation(len(rows)).tolist()
        for chosen in np.array_split(order, -(-len(rows) // size)):
            tokens = sum(len(rows[place][1]) for place in chosen)
            loss = torch.zeros(())
            for place in chosen:
                prompt, ids, advantage = rows[place]
                logprobs = row_logprobs(model, prompt, ids)
                ratio = (logprobs - old[place]).exp()
                gain = torch.minimum(ratio * advantage, ratio.clamp(0.8, HIGH[name]) * advantage)
                gap = frozen[place] - logprobs
                terms = gain - beta * (gap.exp() - gap - 1)
                share = tokens if name == "dapo" else len(chosen) * len(ids)
                loss = loss - terms.sum() / share
            optimizer.zero_grad()
            loss.backward()
            norms.append(float(torch.nn.utils.clip_grad_norm_(model.parameters(), clip)))
            optimizer.step()
            losses.append(loss.item())
            weights.append(tokens if name == "dapo" else len(chosen))
    return {"loss": np.average(losses, weights=weights), "grad_norm": np.mean(norms)}


def assert_same_weights(found, expected, start, tolerance=1e-6):
    """Equal within `tolerance`, but for a few weights whose gradient is rounding noise.

    Adam divides a gradient by its own size, so one of 1e-8 moves its weight like one of 1.
    """
    flat = [
        torch.cat([p.detach().flatten() for p in m.parameters()]) for m in (found, expected, start)
    ]
    assert (flat[1] - flat[2]).abs().median() > 0.1 * RATE
    difference = (flat[0] - flat[1]).abs()
    assert (difference > tolerance).float().mean() < 0.005
    assert difference.max() < 0.02 * RATE


@pytest.mark.parametrize("name", HIGH)
def test_one_step_equals_plain_torch(tiny_model, updater, groups, name):
    model, expected = tiny_model(), tiny_model()
    metrics = updater(model, loss=name)(groups, 0, RATE)
    naive = naive_update(expected, groups, name=name)
    assert_same_weights(model, expected, tiny_model())
    assert metrics["loss"] == pytest.approx(naive["loss"], abs=1e-6)
    assert metrics["grad_norm"] == pytest.approx(naive["grad_norm"], rel=1e-5)
    assert metrics["grad_norm"] > 0.5  # so that clipping is part of what was compared
    assert metrics["clip_ratio/region_mean"] == metrics["approx_kl"] == 0.0


@pytest.mark.parametrize("stage", [0, 2])
@pytest.mark.parametrize("budget", [1, 7, 16])
def test_micro_batches_change_nothing(tiny_model, updater, groups, budget, stage):
    # ZeRO-2 reduces inside the backward pass: without care only the last micro-batch counts.
    whole, parts = tiny_model(), tiny_model()
    expected = updater(whole)(groups, 0, RATE)
    found = updater(parts, budget=budget, stage=stage)(groups, 0, RATE)
    assert_same_weights(parts, whole, tiny_model())
    assert found.pop(SHARED_RATIO) > expected.pop(SHARED_RATIO)  # less padding
    assert found == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("name", HIGH)
def test_several_passes_clip_against_the_policy_before_the_first(tiny_model, updater, groups, name):
    model, expected = tiny_model(), tiny_model()
    options = {"ppo_steps": 2, "train_batch_size": 4, "loss": name}
    metrics = updater(model, **options)(groups, 7, RATE)
    naive = naive_update(expected, groups, step=7, size=4, passes=2, name=name)
    assert_same_weights(model, expected, tiny_model(), tolerance=5e-6)
    assert metrics["loss"] == pytest.approx(naive["loss"], abs=1e-5)
    assert metrics["approx_kl"] > 0


def test_the_kl_term_pulls_towards_the_reference(tiny_model, updater, groups):
    model, expected, reference = tiny_model(), tiny_model(), tiny_model(seed=1)
    frozen = Policy(tiny_model(seed=1)).requires_grad_(False)
    metrics = updater(model, beta=0.5, reference=frozen)(groups, 0, RATE)
    naive = naive_update(expected, groups, beta=0.5, reference=reference)
    assert_same_weights(model, expected, tiny_model())
    assert metrics["loss"] == pytest.approx(naive["loss"], abs=1e-5)
    assert metrics["kl"] > 0
    for name, parameter in frozen.model.named_parameters():
        assert torch.equal(parameter, dict(reference.named_parameters())[name])


def test_several_rollout_batches_keep_the_optimizers_moments(tiny_model, updater, groups):
    model = tiny_model()
    one = updater(model)
    optimizer_moves = []
    for step in range(2):
        before = model.model.norm.weight.detach().clone()
        one(groups[step : step + 1], step, RATE)
        optimizer_moves.append((model.model.norm.weight - before).abs().max().item())
    # Adam's first step is the rate itself; a second of other gradients is not, unless reset.
    assert optimizer_moves[0] == pytest.approx(RATE, rel=0.2)
    alone = tiny_model()
    updater(alone)(groups[:1], 0, RATE)
    updater(alone)(groups[1:], 1, RATE)
    assert not torch.equal(alone.model.norm.weight, model.model.norm.weight)


def test_a_rate_of_zero_changes_nothing(tiny_model, updater, groups):
    model = tiny_model()
    updater(model)(groups, 0, 0.0)
    for name, parameter in tiny_model().named_parameters():
        assert torch.equal(parameter, dict(model.named_parameters())[name])


def test_the_samplers_own_probabilities_are_compared(tiny_model, updater, groups):
    metrics = updater(tiny_model())(groups, 0, RATE)
    model = tiny_model()
    gaps = [
        (row_logprobs(model, group.prompt_ids, member.completion.token_ids) + 1.0).abs()
        for group in groups
        for member in group.members
    ]
    expected = torch.cat(gaps).mean().item()
    assert metrics["sampling/logprob_difference"] == pytest.approx(expected, abs=1e-5)


def test_passes_cover_all_samples_in_seeded_orders(groups):
    samples = samples_of(groups, GroupRelative())
    first = optimizer_batches(samples, 4, SEED, (0, 0))
    assert [len(batch) for batch in first] == [3, 3]
    assert sorted(s.completion_ids for batch in first for s in batch) == sorted(
        s.completion_ids for s in samples
    )
    assert optimizer_batches(samples, 4, SEED, (0, 0)) == first
    assert optimizer_batches(samples, 4, SEED, (0, 1)) != first
    assert optimizer_batches(samples, 6, SEED, (0, 0)) == [samples]


@pytest.mark.parametrize(
    ("count", "size", "sizes"),
    [(9, 4, [3, 3, 3]), (9, 8, [5, 4]), (10, 4, [4, 3, 3]), (12, 4, [4, 4, 4]), (5, 1, [1] * 5)],
)
def test_the_remainder_is_shared_out(make_group, count, size, sizes):
    samples = samples_of([make_group([*range(count)])], GroupRelative())
    assert [len(batch) for batch in optimizer_batches(samples, size, SEED, (3, 0))] == sizes


def test_a_rate_of_zero_gives_the_metrics_of_one_step_however_it_is_cut(
    tiny_model, updater, groups
):
    whole = updater(tiny_model())(groups, 0, 0.0)
    for size in (4, 5, 1):
        cut = updater(tiny_model(), train_batch_size=size)(groups, 0, 0.0)
        for name in ("loss", "entropy", "sampling/logprob_difference"):
            assert cut[name] == pytest.approx(whole[name], rel=1e-5, abs=1e-6), (size, name)


def test_the_metrics_of_one_step_are_its_own_to_the_last_bit():
    one = {"loss": 0.1 + 0.2, "grad_norm": 1 / 3}
    assert mean_metrics([(7, one)]) == one


def test_weights_are_shares_of_the_optimizer_steps_own_tokens(groups):
    samples = with_token_weights(samples_of(groups, GroupRelative())[:2], "token-mean")
    assert [sample.weight for sample in samples] == [0.2, 0.2]


def test_samples_hold_the_sampled_ids_and_group_advantages(groups):
    samples = samples_of(groups, GroupRelative())
    assert [s.completion_ids for s in samples[:2]] == [(8, 9, 0), (8, 0)]
    assert samples[0].prompt_ids == (5, 6, 7)
    assert sum(s.advantage for s in samples[:3]) == pytest.approx(0, abs=1e-9)
    # 0.5, 0.5, 0: mean 1/3, sample deviation sqrt(1/12).
    assert samples[5].advantage == pytest.approx(-(1 / 3) / (12**-0.5 + 1e-4))


def test_settings_of_deepspeed_are_laid_over_ours_section_by_section():
    options = EngineSection(
        zero_stage=3,
        deepspeed={"zero_optimization": {"stage3_param_persistence_threshold": 0}, "x": 1},
    )
    settings = deepspeed_settings(options, OptimizerSection(max_grad_norm=0.25), bfloat16=True)
    assert settings["zero_optimization"] == {"stage": 3, "stage3_param_persistence_threshold": 0}
    assert settings["gradient_clipping"] == 0.25
    assert settings["bf16"] == {"enabled": True}
    assert settings["x"] == 1


@pytest.mark.parametrize("size", [64, 2])
def test_a_sample_that_brings_its_old_log_probabilities_keeps_them(
    tiny_model, world, groups, size
) -> None:
    """The policy's own less 0.1 on every token: the ratio is exp(0.1) in the first step."""
    seen: list[torch.Tensor] = []

    class Watching(PolicyLoss):
        def __call__(self, logprobs_N, columns):
            if len(seen) < 1:
                seen.append((logprobs_N.detach() - columns["old_logprobs"]).exp())
            return super().__call__(logprobs_N, columns)

    engine = TrainingEngine(Policy(tiny_model()), EngineSection(), OptimizerSection(), world)
    options = UpdateOptions(batch_size=size, token_budget=1000, max_logprob_difference=0)
    made = Updater(engine, Watching(), options, 1)
    samples = samples_of(groups, GroupRelative())
    own = made.score(samples, engine)
    brought = [
        replace(sample, old_logprobs=tuple(value - 0.1 for value in values) if number else ())
        for number, (sample, values) in enumerate(zip(samples, own, strict=True))
    ]
    made(brought, 0, 0.0)
    ratios = {round(value, 3) for value in seen[0].tolist()}
    assert 1.105 in ratios
    assert ratios <= {1.0, 1.105}
    assert size == 2 or ratios == {1.0, 1.105}
