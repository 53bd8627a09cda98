"""Log-probabilities over the sets that the sampler kept, against exact enumeration.

A vocabulary of ten: every set, every probability and every derivative is summed up in plain
floats, token by token.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srl_eval.generate import KeptTokens, Sampling, TransformersEngine
from srl_eval.generate.draw import filter_sorted
from srl_eval.generate.kept import KeptRecorder
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.sections import EngineSection, OptimizerSection
from srl_grpo.learner.batch import Sample, to_tensors
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective import logprobs as module
from srl_grpo.objective.kept import Kept
from srl_grpo.objective.logprobs import linear_logprobs, reference_logprobs
from srl_grpo.stages.rl_setup import loss_of

TEN = 10
ROWS = st.lists(st.lists(st.integers(-6, 6), min_size=TEN, max_size=TEN), min_size=1, max_size=6)


def enumerated(logits, sampling):
    """The tokens kept and their probabilities, one after another; equal ones by their ids."""
    scaled = [x / sampling.temperature for x in logits]
    ids = sorted(range(TEN), key=lambda token: (-scaled[token], token))
    ids = ids[: sampling.top_k or TEN]
    weight = {token: math.exp(scaled[token]) for token in ids}
    total, before, kept = sum(weight.values()), 0.0, []
    for token in ids:
        if kept and before >= sampling.top_p * total * (1 - 1e-9):
            break
        kept.append(token)
        before += weight[token]
    kept = [t for t in kept if t == kept[0] or weight[t] >= sampling.min_p * weight[kept[0]]]
    mass = sum(weight[token] for token in kept)
    return {token: weight[token] / mass for token in kept}


def recorded(logits, sampling) -> list[KeptTokens]:
    """The sets of rows as the sampler records them, each row a completion of one token."""
    logits_BV = torch.tensor(logits, dtype=torch.float32) / sampling.temperature
    recorder = KeptRecorder(len(logits))
    recorder.add(torch.arange(len(logits)).numpy(), *filter_sorted(logits_BV, sampling))
    return [recorder.first(row, 1) for row in range(len(logits))]


def kept_sets(sets) -> Kept:
    ids = torch.tensor([token for each in sets for token in each], dtype=torch.int32)
    return Kept.of(ids, torch.tensor([len(each) for each in sets]))


def near_a_threshold(logits, sampling) -> bool:
    """Whether a little more or less of p keeps other tokens."""
    sets = [
        [
            set(
                enumerated(
                    row,
                    replace(
                        sampling,
                        top_p=min(1.0, sampling.top_p * f),
                        min_p=min(1.0, sampling.min_p * f),
                    ),
                )
            )
            for row in logits
        ]
        for f in (1 - 1e-5, 1.0, 1 + 1e-5)
    ]
    return not sets[0] == sets[1] == sets[2]


@settings(deadline=None, max_examples=150)
@given(
    rows=ROWS,
    temperature=st.sampled_from([0.5, 1.0, 1.6]),
    top_k=st.integers(0, 9),
    top_p=st.sampled_from([0.3, 0.62, 0.9, 1.0]),
    min_p=st.sampled_from([0.0, 0.07, 0.4]),
    at_once=st.integers(1, 7),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16]),
)
def test_values_and_gradients_are_those_of_the_enumerated_distribution(
    rows, temperature, top_k, top_p, min_p, at_once, dtype
):
    """Integer logits, so that ties are common and every type holds them exactly."""
    sampling = Sampling(1, temperature, top_p=top_p, top_k=top_k, min_p=min_p)
    if near_a_threshold(rows, sampling):
        return
    expected = [enumerated(row, sampling) for row in rows]
    sets = [kept.sets[0] for kept in recorded(rows, sampling)]
    assert [sorted(each) for each in sets] == [sorted(each) for each in expected]

    # Every token of every set once: hidden states are the logits, the weight is the identity.
    pairs = [(row, token) for row, kept in enumerate(expected) for token in kept]
    hidden = torch.tensor([rows[row] for row, _ in pairs], dtype=dtype, requires_grad=True)
    weight = torch.eye(TEN, dtype=dtype, requires_grad=True)
    bias = torch.zeros(TEN, dtype=dtype, requires_grad=True)
    targets = torch.tensor([token for _, token in pairs])
    kept = kept_sets([sets[row] for row, _ in pairs])
    upstream = [(-1.0) ** place * (1 + place % 3) for place in range(len(pairs))]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOGIT_BYTES", 4 * TEN * at_once)
        patch.setattr(module, "WEIGHT_BYTES", 4 * TEN * 3)  # bfloat16: blocks of three tokens
        found, entropy = linear_logprobs(hidden, weight, bias, targets, temperature, kept)
        (found * torch.tensor(upstream, dtype=found.dtype)).sum().backward()

    exact = [math.log(expected[row][token]) for row, token in pairs]
    assert found.tolist() == pytest.approx(exact, abs=1e-5)
    slopes = [
        [
            up * ((token == other) - expected[row].get(other, 0.0)) / temperature
            for other in range(TEN)
        ]
        for up, (row, token) in zip(upstream, pairs, strict=True)
    ]
    tolerance = 0.03 if dtype is torch.bfloat16 else 1e-5
    sums = [sum(slope[other] for slope in slopes) for other in range(TEN)]
    columns = [
        [
            sum(s[out] * rows[row][into] for s, (row, _) in zip(slopes, pairs, strict=True))
            for into in range(TEN)
        ]
        for out in range(TEN)
    ]
    scale = 1 + max(abs(value) for row in [*columns, sums] for value in row)
    for gradient, enumerated_one in (
        (hidden.grad, slopes),
        (weight.grad, columns),
        (bias.grad, sums),
    ):
        whole = torch.tensor(enumerated_one, dtype=torch.float64)
        assert (gradient.double() - whole).abs().max() < tolerance * scale
    # A token that was not kept has no slope at all.
    left_out = [
        hidden.grad[place, other].item()
        for place, (row, _) in enumerate(pairs)
        for other in range(TEN)
        if other not in expected[row]
    ]
    assert not any(left_out)
    whole, whole_entropy = linear_logprobs(hidden, weight, bias, targets, temperature)
    assert torch.equal(entropy, whole_entropy)  # the policy's, whatever was kept


@given(ROWS, st.lists(st.sets(st.integers(0, 9)), min_size=6, max_size=6))
def test_the_fast_path_is_the_obvious_one(rows, sets):
    hidden = torch.tensor(rows, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(TEN, TEN, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    weight.requires_grad_()
    targets = torch.arange(len(rows)) % TEN
    kept = kept_sets([sorted(each) for each in sets[: len(rows)]])
    found, entropy = linear_logprobs(hidden, weight, None, targets, 0.8, kept)
    expected, expected_entropy = reference_logprobs(hidden, weight, targets, 0.8, kept)
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(entropy, expected_entropy)
    assert torch.isfinite(found).all()  # a set without its own token has it all the same
    assert (found <= 0).all()
    for ours, theirs in zip(
        torch.autograd.grad(found.sum(), (hidden, weight)),
        torch.autograd.grad(expected.sum(), (hidden, weight)),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_all_tokens_kept_are_none_left_out():
    hidden = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    weight = torch.randn(TEN, 4, generator=torch.Generator().manual_seed(1))
    targets = torch.arange(5)
    everything = kept_sets([list(range(TEN))] * 5)
    found = linear_logprobs(hidden, weight, None, targets, 1.0, everything)
    assert torch.equal(found[0], linear_logprobs(hidden, weight, None, targets)[0])


PROMPTS = [(5, 6, 7), (9,), (11, 12), (14, 3)]
SAMPLING = Sampling(8, 0.8, top_p=0.8, top_k=9, min_p=0.02, stop_token_ids=(0,), record_kept=True)


def drawn_from(model) -> list[Sample]:
    """Two completions of each prompt, as the trainer takes them."""
    rows = [prompt for prompt in PROMPTS for _ in range(2)]
    done = TransformersEngine(model, pad_token_id=1).generate(rows, SAMPLING, list(range(8)))
    return [
        Sample(
            prompt,
            completion.token_ids,
            advantage=(-1.0) ** place,
            sampler_logprobs=completion.logprobs,
            kept=completion.kept,
        )
        for place, (prompt, completion) in enumerate(zip(rows, done, strict=True))
    ]


def restricted(model, sample: Sample):
    """A sample's log-probabilities over its sets, from whole logits and a loop."""
    ids = torch.tensor([[*sample.prompt_ids, *sample.completion_ids]])
    logits = model(input_ids=ids).logits[0, len(sample.prompt_ids) - 1 : -1] / SAMPLING.temperature
    return torch.stack(
        [
            row[token] - row[kept].logsumexp(-1)
            for row, token, kept in zip(
                logits, sample.completion_ids, sample.kept.sets, strict=True
            )
        ]
    )


@pytest.mark.parametrize("packing", [False, True])
def test_the_policy_scores_within_the_sets_of_each_sample(tiny_model, packing):
    model = tiny_model()
    samples = drawn_from(model)
    batch = to_tensors(samples, [5, 0, 3, 6], 1, "cpu", packing)
    found = batch.split(Policy(model)(batch, SAMPLING.temperature)[0])
    for row, values in zip(batch.rows, found, strict=True):
        assert values == pytest.approx(restricted(model, samples[row]).tolist(), abs=1e-4)
        assert values == pytest.approx(samples[row].sampler_logprobs, abs=1e-4)


def test_all_optimizer_steps_renormalise_over_the_sets_of_the_sampling(tiny_model, world):
    """Two steps by hand with plain autograd and Adam, old log-probabilities before the first."""
    model, plain = tiny_model(), tiny_model()
    samples = drawn_from(model)
    section = AlgorithmSection(ppo_steps=2, beta=0.1, kl_estimator="k3")
    optimizer = OptimizerSection(learning_rate=3e-2)
    engine = TrainingEngine(Policy(model), EngineSection(), optimizer, world)
    options = UpdateOptions(batch_size=8, passes=2, temperature=SAMPLING.temperature)
    reference = Policy(tiny_model(seed=1).requires_grad_(False))
    other = tiny_model(seed=1)
    metrics = Updater(engine, loss_of(section), options, 1, reference)(samples, 0, 3e-2)

    adam = torch.optim.AdamW(plain.parameters(), lr=3e-2, weight_decay=0.0, betas=(0.9, 0.999))
    old = [restricted(plain, sample).detach() for sample in samples]
    away = [restricted(other, sample).detach() for sample in samples]
    tokens = sum(len(sample.completion_ids) for sample in samples)
    for _ in range(2):
        total = 0.0
        for sample, before, theirs in zip(samples, old, away, strict=True):
            new = restricted(plain, sample)
            ratio = (new - before).exp()
            clipped = torch.minimum(
                ratio * sample.advantage, ratio.clamp(0.8, 1.28) * sample.advantage
            )
            gap = theirs - new
            total = total - (clipped - 0.1 * (gap.exp() - gap - 1)).sum() / tokens
        plain.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        adam.step()
    for (name, ours), theirs in zip(
        engine.policy.model.named_parameters(), plain.parameters(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=2e-4, msg=name)
    assert metrics["kl"] > 0
    assert metrics["sampling/logprob_difference"] < 1e-4


def test_samples_with_and_without_sets_do_not_mix(tiny_model):
    with_sets = drawn_from(tiny_model())[:2]
    mixed = [with_sets[0], replace(with_sets[1], kept=None)]
    with pytest.raises(ValueError, match="the sets of all their tokens, or none"):
        to_tensors(mixed, [0, 1], 1, "cpu")
    assert to_tensors(with_sets, [], 1, "cpu").kept is None


RUN = {
    "num_steps": 1,
    "model": {"build": {"hidden_size": 16, "num_heads": 2, "num_kv_heads": 1, "num_layers": 1}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 4, "num_heldout": 2, "digits": [2, 2]},
    "algorithm": {"baseline": "none", "ppo_steps": 2, "train_batch_size": 2},
    "tracking": {"tensorboard": False},
}


@pytest.mark.parametrize("filters", [{}, {"top_p": 0.5}, {"top_k": 5}, {"min_p": 0.8}], ids=str)
def test_a_run_with_filters_trains_on_what_they_left(watched, tmp_path, filters):
    rollout = {"batch_size": 2, "group_size": 2, "max_new_tokens": 8, "temperature": 0.9, **filters}
    seen = watched({**RUN, "rollout": rollout}, tmp_path / "run", script=None)
    (metrics,) = seen.metrics
    assert metrics["sampling/logprob_difference"] < 1e-5
    assert ("sampling/kept_tokens" in metrics) == bool(filters)
    if filters:
        vocabulary = len(seen.trainer.tokenizer)
        assert 1 < metrics["sampling/kept_tokens"] < vocabulary
        assert metrics["entropy"] > 0.9 * math.log(vocabulary)  # of the whole distribution
        if filters.get("top_k"):
            assert metrics["sampling/kept_tokens"] == 5.0


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--top-k", 1], "top_k 1 leaves a single token to draw"),
        (["--top-k", -1], "greater than or equal to 0"),
        (["--min-p", 1], "less than 1"),
        (["--min-p", -0.1], "greater than or equal to 0"),
        (["--top-p", 0], "greater than 0"),
        (["--top-p", 1.1], "less than or equal to 1"),
    ],
)
def test_filters_that_leave_nothing_to_draw_are_refused(call, tiny, flags, message):
    code, _, errors = call("train", "--config", tiny(), *flags, "--dry-run")
    assert code == 2
    assert message in " ".join(errors.split())
