import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from srl_grpo.objective import logprobs as module
from srl_grpo.objective.kept import Kept
from srl_grpo.objective.logprobs import LogprobHead, chunks, linear_logprobs, reference_logprobs


class LargestOutput(TorchDispatchMode):
    """Records the most elements that any operator inside returns in one tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, (tuple, list)) else (result,):
            if isinstance(item, Tensor):
                self.numel = max(self.numel, item.numel())
        return result


def inputs(count: int, vocabulary: int, width: int, seed: int, dtype: torch.dtype = torch.float32):
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(count, width, generator=generator).to(dtype).requires_grad_()
    weight = torch.randn(vocabulary, width, generator=generator).to(dtype).requires_grad_()
    bias = torch.randn(vocabulary, generator=generator).to(dtype).requires_grad_()
    targets = torch.randint(vocabulary, (count,), generator=generator)
    return hidden, weight, bias, targets


def fold(hidden: Tensor, weight: Tensor, bias: Tensor) -> tuple[Tensor, Tensor]:
    """Hidden states and weights of the same logits, the bias as one more column."""
    ones = torch.ones(len(hidden), 1, dtype=hidden.dtype)
    return torch.cat([hidden, ones], 1), torch.cat([weight, bias[:, None]], 1)


@pytest.fixture
def rows_at_once(monkeypatch):
    """Makes chunks of so many rows of a vocabulary."""

    def force(rows: int, vocabulary: int) -> None:
        monkeypatch.setattr(module, "LOGIT_BYTES", 4 * vocabulary * rows)

    return force


def test_probabilities_by_hand():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[math.log(3.0)], [0.0]])
    logprob, entropy = linear_logprobs(hidden, weight, None, torch.tensor([0]))
    assert logprob.item() == pytest.approx(math.log(0.75), abs=1e-6)
    expected = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert entropy.item() == pytest.approx(expected, abs=1e-6)


def test_temperature_divides_the_logits():
    hidden, weight = torch.tensor([[1.0]]), torch.tensor([[2 * math.log(3.0)], [0.0]])
    logprob, _ = linear_logprobs(hidden, weight, None, torch.tensor([1]), temperature=2.0)
    assert logprob.item() == pytest.approx(math.log(0.25), abs=1e-6)


@given(
    count=st.integers(1, 9),
    vocabulary=st.integers(2, 12),
    rows=st.integers(1, 9),
    tile=st.integers(1, 9),
    temperature=st.sampled_from([0.3, 1.0, 2.5]),
    with_bias=st.booleans(),
    seed=st.integers(0, 999),
)
def test_values_and_gradients_equal_the_reference(
    count, vocabulary, rows, tile, temperature, with_bias, seed
):
    hidden, weight, bias, targets = inputs(count, vocabulary, 5, seed)
    upstream = torch.randn(count, generator=torch.Generator().manual_seed(seed + 1))
    leaves = [hidden, weight, bias] if with_bias else [hidden, weight]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOGIT_BYTES", 4 * vocabulary * rows)
        patch.setattr(module, "TILE_BYTES", 4 * vocabulary * tile)
        assert len(list(chunks(count, vocabulary))) == math.ceil(count / rows)
        found, entropy = linear_logprobs(
            hidden, weight, bias if with_bias else None, targets, temperature
        )
        slopes = torch.autograd.grad(found, leaves, upstream)
    whole = fold(hidden, weight, bias) if with_bias else (hidden, weight)
    expected, expected_entropy = reference_logprobs(*whole, targets, temperature)
    expected_slopes = torch.autograd.grad(expected, leaves, upstream)
    # Float32 differences of logits that a low temperature makes as large as 50.
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(entropy, expected_entropy, rtol=1e-5, atol=4e-4)
    assert not entropy.requires_grad
    for slope, expected_slope in zip(slopes, expected_slopes, strict=True):
        torch.testing.assert_close(slope, expected_slope, rtol=1e-4, atol=4e-4)


def test_gradients_match_finite_differences(rows_at_once):
    rows_at_once(2, 6)
    hidden, weight, bias, targets = inputs(5, 6, 3, 0)
    upstream = torch.tensor([1.0, -2.0, 0.5, 0.0, 3.0])

    def value(*leaves: Tensor) -> float:
        return float((linear_logprobs(*leaves, targets, 0.7)[0].double() * upstream).sum())

    leaves = [hidden, weight, bias]
    slopes = torch.autograd.grad(linear_logprobs(*leaves, targets, 0.7)[0], leaves, upstream)
    with torch.no_grad():
        for leaf, slope in zip(leaves, slopes, strict=True):
            for place in range(leaf.numel()):
                flat = leaf.view(-1)
                was = flat[place].item()
                flat[place] = was + 1e-2
                above = value(*leaves)
                flat[place] = was - 1e-2
                below = value(*leaves)
                flat[place] = was
                assert slope.view(-1)[place].item() == pytest.approx(
                    (above - below) / 2e-2, abs=2e-3
                )


PRODUCTS = ("aten::mm", "aten::addmm", "aten::addmm_")


def products(call) -> int:
    """Matrix products that a call makes."""
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as seen:
        call()
    return sum(e.count for e in seen.key_averages() if e.key in PRODUCTS)


@pytest.mark.parametrize(("rows", "expected"), [(20, 2), (19, 2 * 3)])
def test_logits_that_fit_into_memory_are_not_computed_again(rows_at_once, rows, expected):
    rows_at_once(rows, 50)
    hidden, weight, _, targets = inputs(20, 50, 8, 4)
    found, _ = linear_logprobs(hidden, weight, None, targets)
    assert products(found.sum().backward) == expected


def test_a_second_backward_pass_is_refused_and_not_wrong():
    hidden, weight, _, targets = inputs(6, 9, 4, 5)
    found, _ = linear_logprobs(hidden, weight, None, targets)
    found.sum().backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        found.sum().backward()


@pytest.mark.parametrize("rows", [1, 3, 64])
def test_bfloat16_stays_near_the_float32_reference(rows_at_once, rows):
    rows_at_once(rows, 50)
    hidden, weight, _, targets = inputs(20, 50, 32, 3, torch.bfloat16)
    found, entropy = linear_logprobs(hidden, weight, None, targets)
    found.sum().backward()
    exact_hidden = hidden.detach().float().requires_grad_()
    exact_weight = weight.detach().float().requires_grad_()
    expected, expected_entropy = reference_logprobs(exact_hidden, exact_weight, targets, 1.0)
    expected.sum().backward()
    assert found.dtype == entropy.dtype == torch.float32
    # Logits are rounded to bfloat16 before the softmax: 8 bits of values up to about 20.
    torch.testing.assert_close(found, expected, rtol=0.02, atol=0.1)
    torch.testing.assert_close(entropy, expected_entropy, rtol=0.02, atol=0.1)
    for leaf, exact in ((hidden, exact_hidden), (weight, exact_weight)):
        assert leaf.grad.dtype == torch.bfloat16
        error = (leaf.grad.float() - exact.grad).norm() / exact.grad.norm()
        assert error.item() < 0.03


def test_large_logits_stay_finite():
    hidden = torch.tensor([[100.0]], requires_grad=True)
    weight = torch.tensor([[10.0], [-10.0]])
    logprobs, entropy = linear_logprobs(hidden, weight, None, torch.tensor([1]))
    logprobs.backward()
    assert (logprobs.item(), entropy.item()) == (-2000.0, 0.0)
    assert hidden.grad.item() == pytest.approx(-20.0)


def test_no_tokens_give_no_values_and_zero_gradients():
    hidden, weight, bias, targets = inputs(0, 7, 4, 0)
    found, entropy = linear_logprobs(hidden, weight, bias, targets)
    assert found.shape == entropy.shape == (0,)
    found.sum().backward()
    # Gradients of zero, not of None: under ZeRO-3 every rank reduces the same parameters.
    assert torch.equal(weight.grad, torch.zeros(7, 4))
    assert torch.equal(bias.grad, torch.zeros(7))


def test_whole_logits_never_exist(rows_at_once):
    count, vocabulary, width = 64, 512, 8
    rows_at_once(4, vocabulary)
    hidden, weight, bias, targets = inputs(count, vocabulary, width, 1)
    with LargestOutput() as seen:
        found, _ = linear_logprobs(hidden, weight, bias, targets)
        found.sum().backward()
    # The largest thing is the weight's gradient; the logits would be 8 times as large.
    assert seen.numel == vocabulary * width
    kept = Kept.of(torch.arange(count * 100).int() % vocabulary, torch.full((count,), 100))
    with LargestOutput() as masked:
        linear_logprobs(hidden, weight, bias, targets, 1.0, kept)[0].sum().backward()
    assert masked.numel == vocabulary * width
    with LargestOutput() as plain:
        reference_logprobs(hidden, weight, targets, 1.0)
    assert plain.numel == count * vocabulary


@given(st.integers(0, 50), st.integers(1, 40), st.integers(1, 4000))
def test_chunks_tile_the_range_within_the_budget(count, vocabulary, budget):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LOGIT_BYTES", budget)
        parts = list(chunks(count, vocabulary))
    assert [place for part in parts for place in range(count)[part]] == list(range(count))
    for part in parts:
        rows = part.stop - part.start
        assert rows == 1 or rows * vocabulary * 4 <= budget


def test_the_head_shares_its_parameters_and_still_gives_logits():
    linear = nn.Linear(4, 6)
    head = LogprobHead.of(linear)
    assert head.weight is linear.weight
    assert head.bias is linear.bias
    hidden = torch.randn(2, 3, 4)
    assert torch.equal(head(hidden), linear(hidden))
    assert LogprobHead.of(nn.Linear(4, 6, bias=False)).bias is None


class Products(TorchDispatchMode):
    """Counts products that are added to a gradient, and tensors as large as the head's."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size, self.added, self.large = size, 0, 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.added += func.overloadpacket is torch.ops.aten.addmm_
        self.large += func.overloadpacket is torch.ops.aten.zeros_like and (
            result.numel() == self.size
        )
        return result


@pytest.mark.parametrize("frozen", [True, False])
def test_a_frozen_head_pays_for_no_gradient_of_its_own(frozen):
    hidden, weight, bias, targets = inputs(5, 11, 4, seed=3)
    expected, *_ = torch.autograd.grad(
        linear_logprobs(hidden, weight, bias, targets)[0].sum(), [hidden, weight, bias]
    )
    weight.requires_grad_(not frozen)
    bias.requires_grad_(not frozen)
    logprobs, _ = linear_logprobs(hidden, weight, bias, targets)
    with Products(weight.numel()) as products:
        logprobs.sum().backward()
    assert torch.equal(hidden.grad, expected)
    assert (products.added, products.large) == ((1, 0) if frozen else (2, 1))


def test_autocast_changes_nothing():
    hidden, weight, bias, targets = inputs(5, 11, 4, seed=3)
    plain, _ = linear_logprobs(hidden, weight, bias, targets)
    expected = torch.autograd.grad(plain.sum(), [hidden, weight, bias])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found, _ = linear_logprobs(hidden, weight, bias, targets)
        gradients = torch.autograd.grad(found.sum(), [hidden, weight, bias])
    assert torch.equal(found, plain)
    assert all(map(torch.equal, gradients, expected))
