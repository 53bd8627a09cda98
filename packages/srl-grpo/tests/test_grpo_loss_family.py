"""Every loss against its paper's formula, value and gradient, token by token, without a tensor."""

import math
from dataclasses import dataclass, replace

import pytest
import torch
from hypothesis import assume, given, reject, settings
from hypothesis import strategies as st

from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.loss import KINDS, policy_loss
from srl_grpo.objective.normalisation import token_weights
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Tokens

LONGEST = 9
"""Tokens that a completion may have: Dr. GRPO's constant."""


@dataclass(frozen=True)
class Sequence:
    """A completion, by its tokens' log-probabilities."""

    advantage: float
    policy: tuple[float, ...] = ()
    old: tuple[float, ...] = ()
    reference: tuple[float, ...] = ()
    sampler: tuple[float, ...] = ()

    @property
    def ratios(self) -> list[float]:
        return [math.exp(a - b) for a, b in zip(self.policy, self.old, strict=True)]


@st.composite
def sequences(draw: st.DrawFn) -> Sequence:
    """Up to five tokens, also none, as after a few steps of training."""
    length = draw(st.integers(0, 5))
    near = st.lists(st.floats(-0.5, 0.5), min_size=length, max_size=length)
    policy = draw(st.lists(st.floats(-4, -0.6), min_size=length, max_size=length))
    others = [tuple(p + d for p, d in zip(policy, draw(near), strict=True)) for _ in range(3)]
    advantage = draw(st.sampled_from([0.0, -1.0]) | st.floats(-3, 3))
    return Sequence(advantage, tuple(policy), *others)


BATCHES = st.lists(sequences(), min_size=1, max_size=5)
RANGES = st.sampled_from([(0.2, 0.28), (0.05, 0.1), (3e-4, 4e-4), (1.0, 4.0), (0.5, 0.01)])


# The losses, from their papers: of a sequence, each token's loss and its slope by that token's
# log-probability. A slope is written down, not differentiated.


def off_the_kinks(ratio: float, *bounds: float) -> None:
    """Leave a drawn case out where a slope has two values."""
    if any(abs(ratio - bound) < 1e-9 for bound in bounds):
        reject()


def clipped(ratio: float, advantage: float, o: LossOptions) -> tuple[float, float]:
    """min(r A, clip(r) A) as PPO has it, and whether r's gradient is let through."""
    low, high = 1 - o.epsilon_low, 1 + o.epsilon_high
    off_the_kinks(ratio, low, high, o.clip_delta or 0.0)
    if advantage >= 0:
        return min(ratio, high) * advantage, float(ratio < high) * advantage
    bounded = min(ratio, o.clip_delta) if o.clip_delta else ratio
    return max(bounded, low) * advantage, float(low < ratio == bounded) * advantage


def ppo(s: Sequence, o: LossOptions, _weights) -> list[tuple[float, float]]:
    found = [(r, *clipped(r, s.advantage, o)) for r in s.ratios]
    return [(-value, -slope * r) for r, value, slope in found]


def sequence_ppo(s: Sequence, o: LossOptions, _weights) -> list[tuple[float, float]]:
    ratio = math.prod(s.ratios) ** (1 / len(s.policy))
    value, slope = clipped(ratio, s.advantage, o)
    # Each of n tokens has the loss, of which each token's log-probability moves 1/n: n / n.
    return [(-value, -slope * ratio)] * len(s.policy)


def gradient_only(s: Sequence, _o: LossOptions, _weights) -> list[tuple[float, float]]:
    return [(-s.advantage * p, -s.advantage) for p in s.policy]


def cispo(s: Sequence, o: LossOptions, _weights) -> list[tuple[float, float]]:
    kept = [min(max(r, 1 - o.epsilon_low), 1 + o.epsilon_high) for r in s.ratios]
    return [(-w * s.advantage * p, -w * s.advantage) for w, p in zip(kept, s.policy, strict=True)]


def sapo(s: Sequence, o: LossOptions, _weights) -> list[tuple[float, float]]:
    t = o.sapo_temperature_pos if s.advantage > 0 else o.sapo_temperature_neg
    gates = [1 / (1 + math.exp(-t * (r - 1))) for r in s.ratios]
    return [
        (-4 / t * g * s.advantage, -4 * g * (1 - g) * r * s.advantage)
        for g, r in zip(gates, s.ratios, strict=True)
    ]


def vespo(s: Sequence, o: LossOptions, weights: list[float]) -> list[tuple[float, float]]:
    positive = s.advantage >= 0
    k = o.vespo_k_pos if positive else o.vespo_k_neg
    decay = o.vespo_lambda_pos if positive else o.vespo_lambda_neg
    w = max(math.prod(s.ratios) * math.prod(max(weight, 1e-8) for weight in weights), 1e-8)
    phi = w**k * math.exp(decay * (1 - w))
    return [(-phi * s.advantage * p, -phi * s.advantage) for p in s.policy]


def token_mean(batch: list[Sequence]) -> list[float]:
    return [1 / sum(len(s.policy) for s in batch)] * len(batch)


def sequence_mean(batch: list[Sequence]) -> list[float]:
    count = sum(1 for s in batch if s.policy)
    return [1 / (count * len(s.policy)) if s.policy else 0.0 for s in batch]


def sequence_sum(batch: list[Sequence]) -> list[float]:
    return [1 / sum(1 for s in batch if s.policy)] * len(batch)


def over_longest(batch: list[Sequence]) -> list[float]:
    return [1 / (LONGEST * sum(1 for s in batch if s.policy))] * len(batch)


PAPERS = {
    "no_baseline": (gradient_only, sequence_mean),
    "reinforce_with_baseline": (gradient_only, sequence_mean),
    "grpo_clip": (ppo, sequence_mean),
    "grpo": (ppo, sequence_mean),
    "bnpo": (ppo, token_mean),
    "dapo": (ppo, token_mean),
    "dr_grpo": (ppo, over_longest),
    "gspo": (sequence_ppo, sequence_mean),
    "luspo": (sequence_ppo, sequence_sum),
    "cispo": (cispo, token_mean),
    "sapo": (sapo, sequence_mean),
    "vespo": (vespo, token_mean),
}


def correction(s: Sequence, how: SamplerWeights | None) -> list[float]:
    """The sampler's correction of each token of a sequence."""
    ratios = [math.exp(a - b) for a, b in zip(s.old, s.sampler, strict=True)]
    if how is None:
        return [1.0] * len(ratios)
    if how.correction.startswith("sequence"):
        ratios = [math.prod(ratios)] * len(ratios)
    for ratio in ratios:
        off_the_kinks(ratio, how.cap, how.floor)
    if how.correction.endswith("mask"):
        return [r if how.floor <= r <= how.cap else 0.0 for r in ratios]
    return [min(max(r, how.floor), how.cap) for r in ratios]


def divergence(policy: float, old: float, reference: float, o: LossOptions) -> tuple[float, float]:
    """The KL term of a token and its slope."""
    d = reference - policy
    value, slope = {
        "k1": (-d, 1.0),
        "k2": (d * d / 2, -d),
        "k3": (math.exp(d) - d - 1, 1 - math.exp(d)),
    }[o.kl_estimator]
    if not o.kl_corrected:
        return value, slope
    ratio = math.exp(policy - old)
    return ratio * value, ratio * (value + slope)


def by_the_paper(name: str, batch: list[Sequence], o: LossOptions) -> tuple[float, list[float]]:
    """Loss of a batch and its gradient by the log-probability of each token."""
    terms, weigh = PAPERS[name]
    loss, gradient = 0.0, []
    for s, weight in zip(batch, weigh(batch), strict=True):
        weights = correction(s, o.sampler)
        found = terms(s, o, weights) if s.policy else []
        for place, (value, slope) in enumerate(found):
            factor = 1.0 if name == "vespo" else weights[place]
            # One ratio stands at all tokens, so each moves what every token's weight multiplies.
            shared = sum(weights) / len(weights) if terms is sequence_ppo else factor
            kl, kl_slope = divergence(s.policy[place], s.old[place], s.reference[place], o)
            loss += weight * (factor * value + o.beta * kl)
            gradient.append(weight * (shared * slope + o.beta * kl_slope))
    return loss, gradient


def flat(batch: list[Sequence], name: str) -> torch.Tensor:
    return torch.tensor([v for s in batch for v in getattr(s, name)], dtype=torch.float64)


def per_token(batch: list[Sequence], values: list[float]) -> torch.Tensor:
    spread = [v for s, v in zip(batch, values, strict=True) for _ in s.policy]
    return torch.tensor(spread, dtype=torch.float64)


def ours(
    name: str, batch: list[Sequence], o: LossOptions, order: list[int] | None = None
) -> tuple[float, list[float], dict[str, float]]:
    """The same by the trainer's functions, in float64; `order` shuffles the flat tokens."""
    weights = token_weights([len(s.policy) for s in batch], KINDS[name].normalisation, LONGEST)
    rows = torch.tensor([n for n, s in enumerate(batch) for _ in s.policy], dtype=torch.long)
    columns = {
        "advantage": per_token(batch, [s.advantage for s in batch]),
        "weight": per_token(batch, weights),
        "sequence": rows,
        "old_logprobs": flat(batch, "old"),
        "reference_logprobs": flat(batch, "reference"),
        "sampler_logprobs": flat(batch, "sampler"),
    }
    places = torch.tensor(order if order is not None else range(len(rows)), dtype=torch.long)
    policy = flat(batch, "policy").requires_grad_()
    columns = {key: value[places] for key, value in columns.items()}
    loss, metrics = policy_loss(name, Tokens.of(policy[places], columns), o)
    loss.backward()
    assert policy.grad is not None
    return loss.item(), policy.grad.tolist(), {key: v.item() for key, v in metrics.items()}


def with_constants(name: str, **given: object) -> LossOptions:
    """The constants that a loss was published with, and others."""
    own = AlgorithmSection(loss=name).constants
    return LossOptions(**(own | given))


def test_every_loss_has_its_paper() -> None:
    assert set(PAPERS) == set(KINDS)


@pytest.mark.parametrize("name", PAPERS)
@given(batch=BATCHES)
def test_value_and_gradient_are_the_papers(name: str, batch: list[Sequence]) -> None:
    assume(any(s.policy for s in batch))
    options = with_constants(name)
    loss, gradient, _ = ours(name, batch, options)
    expected = by_the_paper(name, batch, options)
    assert loss == pytest.approx(expected[0], rel=1e-10, abs=1e-11)
    assert gradient == pytest.approx(expected[1], rel=1e-10, abs=1e-11)


@pytest.mark.parametrize("name", PAPERS)
@given(
    batch=BATCHES,
    bounds=RANGES,
    delta=st.sampled_from([None, 5.5]),
    powers=st.tuples(*[st.floats(0.5, 3)] * 6),
    beta=st.sampled_from([0.0, 0.05, 1.0]),
    estimator=st.sampled_from(["k1", "k2", "k3"]),
    corrected=st.booleans(),
    sampler=st.none()
    | st.builds(
        SamplerWeights,
        cap=st.sampled_from([1.05, 2.0]),
        floor=st.sampled_from([0.0, 0.8]),
        correction=st.sampled_from(
            ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]
        ),
    ),
)
def test_with_any_constants_kl_and_correction(
    name, batch, bounds, delta, powers, beta, estimator, corrected, sampler
) -> None:
    assume(any(s.policy for s in batch))
    if name == "vespo" and sampler is not None:
        how = sampler.correction.replace("sequence", "token")
        sampler = replace(sampler, correction=how)
    options = LossOptions(*bounds, delta, *powers, beta, estimator, corrected, sampler)
    loss, gradient, _ = ours(name, batch, options)
    expected = by_the_paper(name, batch, options)
    assert loss == pytest.approx(expected[0], rel=1e-9, abs=1e-10)
    assert gradient == pytest.approx(expected[1], rel=1e-9, abs=1e-10)


@pytest.mark.parametrize("name", PAPERS)
@settings(max_examples=20)
@given(batch=BATCHES, data=st.data())
def test_the_order_of_the_flat_tokens_does_not_matter(name, batch, data) -> None:
    options = with_constants(name, sampler=SamplerWeights(2.0), beta=0.1)
    loss, gradient, metrics = ours(name, batch, options)
    order = data.draw(st.permutations(range(len(gradient))))
    found = ours(name, batch, options, order)
    assert found[0] == pytest.approx(loss, rel=1e-12, abs=1e-12)
    assert found[1] == pytest.approx(gradient, rel=1e-12, abs=1e-12)
    assert found[2] == pytest.approx(metrics, rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("name", PAPERS)
def test_a_batch_without_a_token_adds_nothing(name: str) -> None:
    loss, gradient, metrics = ours(name, [Sequence(1.0)], with_constants(name, beta=0.1))
    assert (loss, gradient) == (0.0, [])
    assert set(metrics.values()) == {0.0}


FAR = Sequence(1.0, (-0.5, -2.0, -1.0), (-3.0, -1.0, -1.01), (-1.0,) * 3, (-3.0, -1.0, -1.01))
"""Ratios of 12.2, 0.37 and 1.01, whose geometric mean is 1.66 and whose product is 4.53."""
NEAR = Sequence(1.0, (-1.0, -1.0), (-1.223, -0.79), (-1.2, -0.9), (-1.2, -0.8))
"""Ratios of 1.250 and 0.811: between the bounds of one clip range and another."""
OWN = Sequence(1.0, (-0.7,), (-0.7,), (-0.9,), (-0.7,))
"""A ratio of 1."""


@pytest.mark.parametrize("advantage", [2.0, -2.0])
@pytest.mark.parametrize("name", PAPERS)
def test_far_from_the_policy_that_sampled(name: str, advantage: float) -> None:
    batch = [
        replace(FAR, advantage=advantage),
        replace(FAR, advantage=-advantage / 2),
        replace(NEAR, advantage=advantage),
        replace(NEAR, advantage=-0.3 * advantage),
        replace(OWN, advantage=0.7 * advantage),
        Sequence(advantage),
    ]
    uneven = {"epsilon_low": 0.1, "epsilon_high": 0.24}  # no loss is blind to which bound is which
    correction = {"sampler": SamplerWeights(1.05, 0.9)}
    for more in ({}, uneven, {"clip_delta": 6.0}, {"beta": 0.3}, correction):
        options = with_constants(name, **more)
        loss, gradient, _ = ours(name, batch, options)
        expected = by_the_paper(name, batch, options)
        assert loss == pytest.approx(expected[0], rel=1e-12)
        assert gradient == pytest.approx(expected[1], rel=1e-12)


TERMS = {
    "k1": {"beta": 0.3, "kl_estimator": "k1"},
    "k2": {"beta": 0.3, "kl_estimator": "k2"},
    "k3": {"beta": 0.3},
    "corrected": {"beta": 0.3, "kl_corrected": True},
    "token_truncate": {"sampler": SamplerWeights(1.05, 0.9)},
    "token_mask": {"sampler": SamplerWeights(1.05, 0.9, "token_mask")},
    "sequence_truncate": {"sampler": SamplerWeights(1.05, 0.9, "sequence_truncate")},
    "sequence_mask": {"sampler": SamplerWeights(1.05, 0.9, "sequence_mask")},
}


@pytest.mark.parametrize("term", TERMS)
def test_each_kl_term_and_correction_in_one_batch(term: str) -> None:
    batch = [FAR, replace(NEAR, advantage=-1.0), OWN, replace(NEAR, sampler=(-0.9, -0.7))]
    for name in ("dapo", "gspo", "cispo"):
        options = with_constants(name, **TERMS[term])
        found, expected = ours(name, batch, options), by_the_paper(name, batch, options)
        assert found[0] == pytest.approx(expected[0], rel=1e-12)
        assert found[1] == pytest.approx(expected[1], rel=1e-12)


def test_what_each_loss_does_to_a_token_far_away() -> None:
    """By hand: the slope of each token times the number of tokens, 3, of one good sequence."""
    slopes = {
        name: [3 * g for g in ours(name, [FAR], with_constants(name))[1]]
        for name in ("dapo", "gspo", "cispo", "sapo", "vespo", "reinforce_with_baseline")
    }
    r = FAR.ratios
    assert slopes["dapo"] == pytest.approx([0.0, -r[1], -r[2]])
    assert slopes["gspo"] == [0.0, 0.0, 0.0]
    assert slopes["cispo"] == pytest.approx([-5.0, -r[1], -r[2]])
    w = math.prod(r)
    assert slopes["vespo"] == pytest.approx([-(w**2) * math.exp(3 * (1 - w))] * 3)
    gates = [1 / (1 + math.exp(1 - x)) for x in r]
    assert slopes["sapo"] == pytest.approx(
        [-4 * g * (1 - g) * x for g, x in zip(gates, r, strict=True)]
    )
    assert slopes["reinforce_with_baseline"] == [-1.0, -1.0, -1.0]


def test_metrics_of_the_clip_are_shares_of_what_is_cut() -> None:
    far = [FAR, replace(FAR, advantage=-1.0)]
    tokens = ours("dapo", far, with_constants("dapo"))[2]
    assert tokens["clip_ratio/high_mean"] == pytest.approx(1 / 6)  # 12.2 where it is good
    assert tokens["clip_ratio/low_mean"] == pytest.approx(1 / 6)  # 0.37 where it is bad
    weights = ours("cispo", far, with_constants("cispo"))[2]
    assert weights["clip_ratio/high_mean"] == pytest.approx(2 / 6)  # 12.2, whatever its sign
    assert weights["clip_ratio/low_mean"] == 0.0  # no lower bound
    whole = ours("gspo", far, with_constants("gspo"))[2]
    assert whole["clip_ratio/high_mean"] == pytest.approx(3 / 6)
    assert whole["clip_ratio/region_mean"] == pytest.approx(3 / 6)
    assert "clip_ratio/low_mean" not in ours("sapo", far, with_constants("sapo"))[2]


def test_metrics_of_the_soft_losses_are_one_on_the_policys_own_samples() -> None:
    own = [replace(FAR, old=FAR.policy), replace(FAR, old=FAR.policy, advantage=-1.0)]
    assert ours("sapo", own, with_constants("sapo"))[2]["sapo/weight_mean"] == pytest.approx(1.0)
    assert ours("vespo", own, with_constants("vespo"))[2]["vespo/phi_mean"] == pytest.approx(1.0)
    off = ours("vespo", [FAR], with_constants("vespo"))[2]["vespo/phi_mean"]
    w = math.prod(FAR.ratios)
    assert off == pytest.approx(w**2 * math.exp(3 * (1 - w)))


def test_the_plain_and_the_corrected_kl_term_by_hand() -> None:
    """Policy 0.5, old 0.4, reference 0.25: k3 = 0.5 - 1 + log 2, corrected times 1.25."""
    token = Sequence(0.0, (math.log(0.5),), (math.log(0.4),), (math.log(0.25),), (0.0,))
    k3 = 0.5 - 1 + math.log(2)
    for corrected, expected in ((False, k3), (True, 1.25 * k3)):
        options = with_constants("dapo", beta=0.1, kl_corrected=corrected)
        loss, _, metrics = ours("dapo", [token], options)
        assert loss == pytest.approx(0.1 * expected)
        assert metrics["kl"] == pytest.approx(expected)
