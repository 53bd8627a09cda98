import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.kl import k3
from srl_grpo.objective.loss import policy_loss
from srl_grpo.objective.normalisation import token_weights
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Tokens

CLIP = LossOptions(epsilon_low=0.2, epsilon_high=0.3)


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def loss_of(ratio: float, advantage: float, options: LossOptions = CLIP) -> tuple[float, float]:
    """Loss of one token of weight 1 at a ratio, and its slope by the log-probability."""
    old = column(-1.0)
    logprobs = (old + math.log(ratio)).requires_grad_()
    loss, _ = policy_loss("dapo", Tokens(logprobs, old, column(advantage), column(1.0)), options)
    loss.backward()
    assert logprobs.grad is not None
    return loss.item(), logprobs.grad.item()


@pytest.mark.parametrize(
    ("ratio", "advantage", "loss", "slope"),
    [
        (1.0, 2.0, -2.0, -2.0),
        (1.0, -2.0, 2.0, 2.0),
        (1.25, 2.0, -2.5, -2.5),  # inside the range
        (0.9, -2.0, 1.8, 1.8),
        (1.5, 2.0, -2.6, 0.0),  # above, good token: cut off at 1.3
        (0.5, -2.0, 1.6, 0.0),  # below, bad token: cut off at 0.8
        (1.5, -2.0, 3.0, 3.0),  # above, bad token: pushed back
        (0.5, 2.0, -1.0, -1.0),  # below, good token: pulled up
    ],
)
def test_one_token_by_hand(ratio, advantage, loss, slope):
    assert loss_of(ratio, advantage) == pytest.approx((loss, slope), abs=1e-12)


def test_clip_shares_count_only_tokens_whose_gradient_is_cut():
    ratios = torch.tensor([1.5, 0.5, 1.5, 0.5, 1.0], dtype=torch.float64)
    advantages = column(1, -1, -1, 1, 1)
    weights = column(0.4, 0.3, 0.1, 0.1, 0.1)
    _, metrics = policy_loss(
        "dapo", Tokens(ratios.log(), torch.zeros_like(ratios), advantages, weights), CLIP
    )
    assert metrics["clip_ratio/high_mean"].item() == pytest.approx(0.4)
    assert metrics["clip_ratio/low_mean"].item() == pytest.approx(0.3)
    assert metrics["clip_ratio/region_mean"].item() == pytest.approx(0.7)


def test_gradient_at_ratio_one_is_minus_advantage_times_weight():
    logprobs = column(-0.3, -2.0, -9.0).requires_grad_()
    advantages, weights = column(1.5, -0.7, 0.0), column(0.2, 0.5, 0.3)
    loss, metrics = policy_loss(
        "dapo", Tokens(logprobs, logprobs.detach(), advantages, weights), CLIP
    )
    loss.backward()
    torch.testing.assert_close(logprobs.grad, -advantages * weights, rtol=0, atol=1e-15)
    assert loss.item() == pytest.approx(-(0.3 - 0.35), abs=1e-12)
    assert metrics["approx_kl"].item() == 0.0


def test_metrics_take_no_gradient():
    options = LossOptions(beta=0.1)
    logprobs = column(-1.2, -1.9).requires_grad_()
    tokens = Tokens(
        logprobs,
        column(-1, -2),
        column(1, -1),
        column(0.5, 0.5),
        reference_logprobs_N=column(-1.5, -2.5),
    )
    _, metrics = policy_loss("dapo", tokens, options)
    assert set(metrics) >= {"kl", "approx_kl", "clip_ratio/region_mean"}
    assert not any(value.requires_grad for value in metrics.values())


TOKENS = st.lists(
    st.tuples(
        st.floats(-6, 0),  # policy
        st.floats(-6, 0),  # old
        st.floats(-3, 3),  # advantage
        st.floats(0, 1),  # weight
        st.floats(-6, 0),  # reference
        st.floats(-6, 0),  # sampler
    ),
    min_size=1,
    max_size=12,
)
OPTIONS = st.builds(
    LossOptions,
    epsilon_low=st.sampled_from([0.1, 0.2, 0.5]),
    epsilon_high=st.sampled_from([0.1, 0.28, 3.0]),
    beta=st.sampled_from([0.0, 0.05, 1.0]),
    sampler=st.sampled_from([None, SamplerWeights(1.0), SamplerWeights(2.0)]),
)


def naive_loss(tokens: list[tuple[float, ...]], options: LossOptions) -> float:
    """Token by token, by cases, with no tensor in sight."""
    total = 0.0
    for policy, old, advantage, weight, reference, sampler in tokens:
        ratio = math.exp(policy - old)
        if advantage >= 0:
            gain = advantage * min(ratio, 1 + options.epsilon_high)
        else:
            gain = advantage * max(ratio, 1 - options.epsilon_low)
        if options.sampler is not None:
            gain *= min(options.sampler.cap, math.exp(old - sampler))
        penalty = math.exp(reference - policy) - (reference - policy) - 1
        total += weight * (-gain + options.beta * penalty)
    return total


def loss_over(tokens: list[tuple[float, ...]], options: LossOptions) -> tuple[Tensor, Tensor]:
    policy, old, advantage, weight, reference, sampler = (
        torch.tensor(values, dtype=torch.float64) for values in zip(*tokens, strict=True)
    )
    policy.requires_grad_()
    loss, _ = policy_loss(
        "dapo", Tokens(policy, old, advantage, weight, None, reference, sampler), options
    )
    loss.backward()
    assert policy.grad is not None
    return loss.detach(), policy.grad


@given(TOKENS, OPTIONS)
def test_loss_equals_the_naive_one(tokens, options):
    loss, _ = loss_over(tokens, options)
    expected = naive_loss(tokens, options)
    assert loss.item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(TOKENS, OPTIONS, st.integers(0, 12))
def test_micro_batches_add_up_to_the_whole(tokens, options, cut):
    whole, slope = loss_over(tokens, options)
    parts = [part for part in (tokens[:cut], tokens[cut:]) if part]
    losses, slopes = zip(*[loss_over(part, options) for part in parts], strict=True)
    torch.testing.assert_close(sum(losses), whole, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(torch.cat(slopes), slope, rtol=0, atol=0)


def test_an_empty_micro_batch_adds_nothing():
    nothing = torch.zeros(0, requires_grad=True)
    loss, metrics = policy_loss("dapo", Tokens(nothing, nothing.detach(), nothing, nothing), CLIP)
    assert loss.item() == 0.0
    assert {value.item() for value in metrics.values()} == {0.0}


def test_kl_term_by_hand():
    # Policy at 0.5, reference at 0.25: d = -log 2, k3 = 0.5 + log 2 - 1.
    logprobs, reference = column(math.log(0.5)), column(math.log(0.25))
    options = LossOptions(beta=0.1)
    expected = 0.5 + math.log(2) - 1
    tokens = Tokens(logprobs, logprobs, column(0.0), column(1.0), reference_logprobs_N=reference)
    loss, metrics = policy_loss("dapo", tokens, options)
    assert metrics["kl"].item() == pytest.approx(expected, abs=1e-12)
    assert loss.item() == pytest.approx(0.1 * expected, abs=1e-12)


def test_without_beta_no_reference_is_needed_and_no_kl_reported():
    _, metrics = policy_loss("dapo", Tokens(*[column(-1.0)] * 2, *[column(1.0)] * 2), CLIP)
    assert "kl" not in metrics


@pytest.mark.parametrize(("sampler", "factor"), [(-1.5, 1.2), (-0.5, math.exp(-0.5))])
def test_the_sampler_correction_is_capped_above_only(sampler, factor):
    options = LossOptions(sampler=SamplerWeights(1.2))
    columns = (column(-1.0), column(-1.0), column(2.0), column(1.0))
    loss, _ = policy_loss("dapo", Tokens(*columns, sampler_logprobs_N=column(sampler)), options)
    assert loss.item() == pytest.approx(-2.0 * factor, abs=1e-12)


def test_the_sampler_correction_leaves_the_kl_term_alone():
    options = LossOptions(beta=0.5, sampler=SamplerWeights(1.0))
    columns = (column(-1.0), column(-1.0), column(0.0), column(1.0))
    loss, metrics = policy_loss("dapo", Tokens(*columns, None, column(-2.0), column(0.0)), options)
    assert loss.item() == pytest.approx(0.5 * metrics["kl"].item(), abs=1e-12)


@given(st.floats(-8, 0), st.floats(-8, 0))
def test_k3_is_never_negative_and_zero_only_where_both_agree(policy, reference):
    value = k3(column(policy), column(reference)).item()
    assert value >= 0
    if abs(policy - reference) > 1e-6:
        assert value > 0
    expected = math.exp(reference - policy) - (reference - policy) - 1
    assert value == pytest.approx(expected, rel=1e-6, abs=1e-12)


@given(st.lists(st.floats(-3, 3), min_size=2, max_size=6), st.integers(0, 99))
def test_k3_is_unbiased_under_the_policy(scores, seed):
    policy = torch.log_softmax(column(*scores), 0)
    noise = torch.randn(len(scores), generator=torch.Generator().manual_seed(seed))
    reference = torch.log_softmax(column(*scores) + noise, 0)
    kl = (policy.exp() * (policy - reference)).sum()
    torch.testing.assert_close((policy.exp() * k3(policy, reference)).sum(), kl)


def test_approximate_kl_is_taken_from_the_old_policy():
    # Samples are the old policy's, so the estimator is exp(new - old) - (new - old) - 1.
    _, metrics = policy_loss(
        "dapo", Tokens(column(-1.0), column(-2.0), column(0.0), column(1.0)), CLIP
    )
    assert metrics["approx_kl"].item() == pytest.approx(math.e - 2, abs=1e-12)


def test_token_mean_weighs_tokens_alike():
    assert token_weights([1, 3, 0], "token-mean") == [0.25, 0.25, 0.0]


def test_sequence_mean_weighs_sequences_alike_and_forgets_empty_ones():
    assert token_weights([1, 4, 0], "sequence-mean") == [0.5, 0.125, 0.0]


@given(st.lists(st.integers(0, 50), max_size=20), st.sampled_from(["token-mean", "sequence-mean"]))
def test_weights_add_up_to_one(lengths, normalisation):
    weights = token_weights(lengths, normalisation)
    total = sum(n * w for n, w in zip(lengths, weights, strict=True))
    assert total == pytest.approx(1.0 if any(lengths) else 0.0)


def test_the_clip_range_has_no_effect_before_the_policy_has_moved():
    def gradient(moved: float, low: float, high: float) -> torch.Tensor:
        old = torch.tensor([-1.0, -0.5, -2.0])
        new = (old + moved * torch.tensor([1.0, -1.0, 1.0])).requires_grad_()
        options = LossOptions(epsilon_low=low, epsilon_high=high)
        advantages, weights = torch.tensor([1.0, -1.0, 0.5]), torch.full((3,), 1 / 3)
        loss, _ = policy_loss("dapo", Tokens(new, old, advantages, weights), options)
        return torch.autograd.grad(loss, new)[0]

    at_once = gradient(0.0, 0.2, 0.28)
    assert torch.equal(at_once, gradient(0.0, 0.001, 0.001))
    assert torch.equal(at_once, torch.tensor([-1.0, 1.0, -0.5]) / 3)
    assert not torch.equal(gradient(0.1, 0.2, 0.28), gradient(0.1, 0.001, 0.001))
