"""The losses that TRL has too, against its own `_compute_loss`, value and gradient.

TRL's is run on a stand-in for its trainer that hands it log-probabilities; what it normalises by is
made that of one global batch.
"""

import math
import warnings
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.objective.importance import SamplerWeights
from srl_grpo.objective.loss import KINDS, policy_loss
from srl_grpo.objective.normalisation import token_weights
from srl_grpo.objective.options import LossOptions
from srl_grpo.objective.tokens import Tokens

trl = pytest.importorskip("trl", reason="TRL is in the development group")
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from trl.trainer.grpo_trainer import GRPOTrainer

LENGTHS, LONGEST = [5, 2, 7, 1], 8
ADVANTAGES = [1.3, -0.7, -1.9, 0.4]
TRL_NAMES = {
    **{name: (name, "token") for name in ("grpo", "bnpo", "dapo", "dr_grpo", "sapo", "cispo")},
    "grpo_clip": ("grpo", "token"),
    "gspo": ("grpo", "sequence"),
    "luspo": ("luspo", "sequence"),
    "vespo": ("vespo", "token"),
}


def table(seed: int, scale: float, around: Tensor | None = None) -> Tensor:
    """Log-probabilities in rows padded to the longest, of a seed."""
    noise = torch.randn(4, 7, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -(noise.abs() + 0.2) if around is None else around + scale * noise


POLICY = table(0, 1.0)
OLD, REFERENCE, SAMPLER = (table(seed, 0.4, POLICY) for seed in (1, 2, 3))
MASK = torch.tensor([[float(place < n) for place in range(7)] for n in LENGTHS]).double()


def by_trl(name: str, o: LossOptions, is_ratio: Tensor | None) -> tuple[Tensor, Tensor]:
    """TRL's loss of the batch and its gradient by the log-probabilities."""
    policy = POLICY.clone().requires_grad_()
    loss_type, level = TRL_NAMES[name]
    # TRL's epsilon_high of CISPO is the bound itself, not its distance from 1.
    high = 1 + o.epsilon_high if name == "cispo" else o.epsilon_high
    arguments = SimpleNamespace(
        delta=o.clip_delta,
        use_bias_correction_kl=o.kl_corrected,
        steps_per_generation=1,
        **{key: getattr(o, key) for key in vars(o) if key.startswith(("sapo", "vespo"))},
    )
    stand_in = SimpleNamespace(
        args=arguments,
        loss_type=loss_type,
        importance_sampling_level=level,
        beta=o.beta,
        epsilon_low=o.epsilon_low,
        epsilon_high=high,
        max_completion_length=LONGEST,
        use_vllm=is_ratio is not None,
        vllm_importance_sampling_correction=is_ratio is not None,
        current_gradient_accumulation_steps=1,
        model=SimpleNamespace(training=True),
        accelerator=SimpleNamespace(
            num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x
        ),
        get_gamma_weights=GRPOTrainer.get_gamma_weights,
        _get_per_token_logps_and_entropies=lambda *_, **__: (
            policy,
            torch.zeros_like(policy),
            None,
        ),
        _metrics={"train": _Lists()},
        top_entropy_quantile=1.0,
        off_policy_mask_threshold=None,
        aux_loss_enabled=False,
        _entropy_bonus_enabled=False,
    )
    inputs = {
        "prompt_ids": torch.zeros(4, 1, dtype=torch.long),
        "prompt_mask": torch.ones(4, 1, dtype=torch.long),
        "completion_ids": torch.zeros(4, 7, dtype=torch.long),
        "completion_mask": MASK,
        "advantages": torch.tensor(ADVANTAGES, dtype=torch.float64),
        "old_per_token_logps": OLD,
        "ref_per_token_logps": REFERENCE,
        "num_items_in_batch": torch.tensor(float(sum(LENGTHS))),
        "importance_sampling_ratio": is_ratio,
    }
    loss = GRPOTrainer._compute_loss(stand_in, None, inputs)
    loss.backward()
    assert policy.grad is not None
    return loss.detach(), policy.grad[MASK.bool()]


class _Lists(dict[str, list[float]]):
    def __missing__(self, key: str) -> list[float]:
        return self.setdefault(key, [])


def by_us(name: str, options: LossOptions) -> tuple[Tensor, Tensor]:
    """The same over flat tokens."""
    policy = POLICY.clone().requires_grad_()
    weights = token_weights(LENGTHS, KINDS[name].normalisation, LONGEST)
    keep, lengths = MASK.bool(), torch.tensor(LENGTHS)
    tokens = Tokens(
        policy[keep],
        OLD[keep],
        torch.tensor(ADVANTAGES, dtype=torch.float64).repeat_interleave(lengths),
        torch.tensor(weights, dtype=torch.float64).repeat_interleave(lengths),
        torch.arange(4).repeat_interleave(lengths),
        REFERENCE[keep],
        SAMPLER[keep],
    )
    loss, _ = policy_loss(name, tokens, options)
    loss.backward()
    assert policy.grad is not None
    return loss.detach(), policy.grad[keep]


def assert_same(name: str, options: LossOptions, is_ratio: Tensor | None = None) -> None:
    torch.testing.assert_close(
        by_us(name, options), by_trl(name, options, is_ratio), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("name", TRL_NAMES)
def test_value_and_gradient_are_trls(name: str) -> None:
    own = AlgorithmSection(loss=name).constants
    if "epsilon_low" not in own:
        return assert_same(name, LossOptions(**own))
    # TRL's CISPO has no lower bound. A range of its own for each, so that some tokens are cut.
    low = 1.0 if name == "cispo" else 0.1
    for high in (0.15, 0.3):
        assert_same(name, LossOptions(epsilon_low=low, epsilon_high=high))
    return assert_same(name, LossOptions(**own))


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo", "gspo", "luspo"])
def test_the_two_sided_clip_is_trls(name: str) -> None:
    assert_same(name, LossOptions(0.1, 0.15, clip_delta=1.2))


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("name", ["grpo", "bnpo", "dapo", "dr_grpo", "cispo", "sapo", "vespo"])
def test_the_kl_term_is_trls_plain_and_corrected(name: str, corrected: bool) -> None:
    own = AlgorithmSection(loss=name).constants
    assert_same(name, LossOptions(**own, beta=0.3, kl_corrected=corrected))


@pytest.mark.parametrize(
    ("name", "correction"),
    [
        (name, correction)
        for name in ("grpo", "dapo", "gspo", "sapo", "vespo")
        for correction in ("token_truncate", "token_mask", "sequence_truncate")
        if not (name == "vespo" and correction.startswith("sequence"))  # both refuse it
    ],
)
def test_the_samplers_correction_is_trls(name: str, correction: str) -> None:
    """With TRL's ratios: per token, or the product over a sequence, cut to the bounds or to 0."""
    log_ratio = (OLD - SAMPLER) * MASK
    if correction.startswith("sequence"):
        log_ratio = log_ratio.sum(-1, keepdim=True)
    ratio = log_ratio.exp()
    cut = ratio.clamp(0.7, 1.2)
    if correction.endswith("mask"):
        cut = ratio.masked_fill((ratio < 0.7) | (ratio > 1.2), 0.0)
    own = AlgorithmSection(loss=name).constants
    options = LossOptions(**own, sampler=SamplerWeights(1.2, 0.7, correction))
    assert_same(name, options, cut)


def test_what_the_two_forms_of_the_kl_term_make_in_a_small_case() -> None:
    """One token, ratio 1.1, k3: the corrected form is 1.1 times the plain one."""
    tokens = Tokens(*(torch.tensor([math.log(p)]) for p in (0.55, 0.5)), *[torch.ones(1)] * 2)
    tokens = Tokens(
        tokens.logprobs_N,
        tokens.old_logprobs_N,
        tokens.advantages_N,
        tokens.weights_N,
        reference_logprobs_N=torch.tensor([math.log(0.4)]),
    )
    k3 = 0.4 / 0.55 - math.log(0.4 / 0.55) - 1
    for corrected, factor in ((False, 1.0), (True, 1.1)):
        options = LossOptions(beta=0.1, kl_corrected=corrected)
        loss, _ = policy_loss("dapo", tokens, options)
        assert loss.item() == pytest.approx(-1.1 + 0.1 * factor * k3, rel=1e-5)
