"""Choosing a token: filters against a plain reference, frequencies against the softmax."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from srl_eval.generate import Sampling, seed_array, seed_for, uniforms
from srl_eval.generate.draw import draw_token


def reference_distribution(logits: list[float], sampling: Sampling) -> dict[int, float]:
    """The processed distribution, one token at a time in Python floats."""
    scaled = [float(np.float32(x) / np.float32(sampling.temperature)) for x in logits]
    ids = sorted(range(len(scaled)), key=lambda i: (-scaled[i], i))
    if sampling.top_k:
        ids = ids[: sampling.top_k]
    top = scaled[ids[0]]
    weight = {i: math.exp(scaled[i] - top) for i in ids}
    if sampling.top_p < 1.0:
        total, before, kept = sum(weight.values()), 0.0, []
        for i in ids:
            if kept and before >= sampling.top_p * total:
                break
            kept.append(i)
            before += weight[i]
        ids = kept
    if sampling.min_p:
        ids = [i for i in ids if i == ids[0] or weight[i] >= sampling.min_p]
    total = sum(weight[i] for i in ids)
    return {i: weight[i] / total for i in ids}


def near_a_threshold(logits: list[float], sampling: Sampling) -> bool:
    """Whether rounding could decide which tokens stay; such cases prove nothing."""
    up, down = (1 + 1e-5), (1 - 1e-5)
    sets = []
    for factor in (down, 1.0, up):
        moved = Sampling(
            max_new_tokens=1,
            temperature=sampling.temperature,
            top_k=sampling.top_k,
            top_p=min(1.0, sampling.top_p * factor) if sampling.top_p < 1.0 else 1.0,
            min_p=min(1.0, sampling.min_p * factor),
        )
        sets.append(set(reference_distribution(logits, moved)))
    return not sets[0] == sets[1] == sets[2]


@settings(deadline=None, max_examples=300)
@given(
    logits=st.lists(st.integers(-40, 40).map(lambda n: n / 4), min_size=1, max_size=12),
    temperature=st.sampled_from([0.3, 0.7, 1.0, 1.7]),
    top_k=st.integers(0, 13),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 0.999, 1.0]),
    min_p=st.sampled_from([0.0, 0.01, 0.2, 1.0]),
    u=st.floats(0.0, 1.0, exclude_max=True),
)
def test_choice_equals_the_plain_reference(
    logits: list[float], temperature: float, top_k: int, top_p: float, min_p: float, u: float
) -> None:
    sampling = Sampling(1, temperature, top_p=top_p, top_k=top_k, min_p=min_p)
    if near_a_threshold(logits, sampling):
        return
    expected = reference_distribution(logits, sampling)
    grid = torch.tensor([u, *[(n + 0.5) / 64 for n in range(64)]], dtype=torch.float64)
    token, logprob = draw_token(torch.tensor([logits]).expand(65, -1), sampling, grid)
    assert set(token.tolist()) <= set(expected)
    for chosen, value in zip(token.tolist(), logprob.tolist(), strict=True):
        assert value == pytest.approx(math.log(expected[chosen]), abs=1e-5)
    # An even grid over [0, 1) must hit each token as often as its probability says, to a cell at
    # either end.
    for i, probability in expected.items():
        assert abs(token[1:].tolist().count(i) - 64 * probability) <= 2.0


@settings(deadline=None)
@given(st.lists(st.floats(-30, 30, width=32), min_size=1, max_size=9))
def test_greedy_takes_the_first_maximum_and_reports_temperature_one(logits: list[float]) -> None:
    token, logprob = draw_token(torch.tensor([logits]), Sampling(1, 0.0, top_p=0.1), None)
    best = logits.index(max(logits))
    assert token.tolist() == [best]
    expected = torch.tensor(logits, dtype=torch.float64).log_softmax(-1)[best]
    assert logprob.item() == pytest.approx(expected.item(), abs=1e-5)


def test_a_token_of_probability_zero_is_never_drawn_at_the_edges() -> None:
    logits = torch.tensor([[-torch.inf, 0.0, -torch.inf, 0.0, -torch.inf]])
    edges = torch.tensor([0.0, 0.5, 1.0 - 2.0**-52], dtype=torch.float64)
    token, _ = draw_token(logits.expand(3, -1), Sampling(1), edges)
    assert token.tolist() == [1, 3, 3]


def test_sampled_frequencies_match_the_softmax() -> None:
    logits = torch.tensor([0.3, -1.2, 2.0, 0.0, 1.1, -0.4])
    rows = 20_000
    u = uniforms(seed_array([seed_for(5, row) for row in range(rows)]), 3, 1)[:, 0]
    token, _ = draw_token(logits.expand(rows, -1), Sampling(1, 0.8), torch.from_numpy(u))
    expected = (logits / 0.8).softmax(-1).double().numpy() * rows
    counts = np.bincount(token.numpy(), minlength=6)
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < 20.5  # 99.9th percentile at 5 degrees of freedom


def test_a_large_vocabulary_is_drawn_from_without_drift() -> None:
    vocabulary = 150_000
    logits = torch.zeros(1, vocabulary)
    u = torch.tensor([0.0, 0.25, 0.5, 0.999999], dtype=torch.float64)
    token, logprob = draw_token(logits.expand(4, -1), Sampling(1), u)
    assert token.tolist() == [0, 37_500, 75_000, 149_999]
    assert logprob.tolist() == pytest.approx([-math.log(vocabulary)] * 4, abs=1e-5)


def test_a_temperature_that_overflows_logits_is_refused_with_what_is_expected() -> None:
    for value in (1e-39, 9e-7, -1.0, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"expected 0 \(greedy\) or at least 1e-06"):
            Sampling(2, temperature=value)
    for value in (0.0, 1e-6, 2.0):
        assert Sampling(2, temperature=value).temperature == value
