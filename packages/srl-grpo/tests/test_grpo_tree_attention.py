"""The attention of a tree against one with a mask of the whole row, and where there is no tree."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import scaled_dot_product_attention
from transformers import GenerationConfig

from srl_eval.generate.attention_kernels import CPU, PLAIN, kernel_for
from srl_grpo.learner import tree_attention
from srl_grpo.learner.attention import implementation
from srl_grpo.learner.batch import MicroBatch
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.tree_attention import (
    NAME,
    Tree,
    attention_forward,
    mask_of,
    parts_of,
    tree_attention_on,
)
from srl_grpo.learner.trie import trie_of

IDS = st.integers(0, 2)
PAIRS = st.lists(
    st.tuples(
        st.lists(IDS, min_size=1, max_size=9).map(tuple), st.lists(IDS, max_size=9).map(tuple)
    ),
    min_size=1,
    max_size=9,
)
SMALL = st.sampled_from([0, 2, 5, 12, 128])
GROUP = [((5, 6, 7), (8, 9)), ((5, 6, 7), (8, 2, 3)), ((4,), (3,)), ((5, 6, 7), ())]


def seen_by(tree):
    """Which token sees which, by the beginnings that they stand for; shape T x T."""
    count = len(tree.ids)
    sees = torch.zeros(count, count, dtype=torch.bool)
    for place in range(count):
        for branch in tree.branches:
            if branch.start <= place < branch.stop:
                sees[place, branch.start : min(branch.end, place + 1)] = True
    return sees


def drawn(count, heads=4, key_heads=2, width=8, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(count)
    shapes = [(heads, count, width), *[(key_heads, count, width)] * 2, (count, heads, width)]
    tensors = [torch.randn(shape, generator=generator).to(device, dtype) for shape in shapes]
    return [tensor.requires_grad_(place < 3) for place, tensor in enumerate(tensors)]


def by_mask(query, key, value, sees):
    out = scaled_dot_product_attention(
        query[None], key[None], value[None], attn_mask=sees, enable_gqa=True
    )
    return out[0].transpose(0, 1)


def differences(pairs, tensors, device="cpu"):
    tree = trie_of(pairs)
    *inputs, grad = tensors
    found = tree_attention.tree_attention(*inputs, Tree(tree.branches))
    wide = [t.detach().double().requires_grad_() for t in inputs]
    right = by_mask(*wide, seen_by(tree).to(device))
    got = torch.autograd.grad(found, inputs, grad)
    expected = torch.autograd.grad(right, wide, grad.double())
    return [
        float((x.detach().double() - y.detach()).norm() / y.norm().clamp(min=1).detach())
        for x, y in zip((found, *got), (right, *expected), strict=True)
    ]


@given(PAIRS, SMALL)
def test_a_tree_is_what_a_mask_of_the_whole_row_makes(pairs, small):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_attention, "SMALL", small)
        assert max(differences(pairs, drawn(len(trie_of(pairs).ids)))) < 1e-13


@pytest.mark.parametrize(("dtype", "limit"), [(torch.float32, 2e-6), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize("small", [0, 128])
def test_shorter_types_lie_within_their_rounding(monkeypatch, dtype, limit, small):
    monkeypatch.setattr(tree_attention, "SMALL", small)
    pairs = [((1,) * 40, tuple(range(n, n + 30))) for n in range(2, 9)] + GROUP
    assert max(differences(pairs, drawn(len(trie_of(pairs).ids), dtype=dtype))) < limit


@given(PAIRS, SMALL)
def test_parts_are_each_pair_once(pairs, small):
    tree = trie_of(pairs)
    count = len(tree.ids)
    times = torch.zeros(count, count)
    first = torch.zeros(count)
    for part in parts_of(tree.branches, small):
        size = part.queries.stop - part.queries.start
        if part.first:
            first[part.queries] += 1
            assert times[part.queries].sum() == 0 or not part.causal
        seen = torch.ones(size, part.keys.stop - part.keys.start)
        if part.causal:
            seen = seen.tril()
        if part.mask is not None:
            seen = (part.mask == 0).float()
        times[part.queries, part.keys] += seen
    assert torch.equal(times, seen_by(tree).float())
    assert first.eq(1).all()


def test_small_neighbours_are_one_masked_part():
    branches = trie_of(GROUP).branches
    (part,) = parts_of(branches, 128)
    assert torch.equal(mask_of(branches) == 0, seen_by(trie_of(GROUP)))
    assert part.mask is not None
    assert all(part.mask is None for part in parts_of(branches, 0))


@pytest.mark.parametrize("causal", [True, False])
def test_the_kernel_of_the_cpu_is_the_obvious_one(causal):
    torch.manual_seed(0)
    query, key, value, grad = torch.randn(4, 2, 3, 17, 8, dtype=torch.float64)
    rest = causal, None, 0.3
    out, lse = PLAIN.forward(query, key, value, *rest)
    found = CPU.forward(query, key, value, *rest)
    torch.testing.assert_close(found, (out, lse))
    right = PLAIN.backward(grad, query, key, value, out, lse, *rest)
    torch.testing.assert_close(CPU.backward(grad, query, key, value, *found, *rest), right)
    leaves = [tensor.clone().requires_grad_() for tensor in (query, key, value)]
    plain = scaled_dot_product_attention(*leaves, is_causal=causal, scale=0.3)
    torch.testing.assert_close(torch.autograd.grad(plain, leaves, grad), right)


def test_a_pass_without_a_tree_is_the_plain_one(tiny_model):
    model = tiny_model()
    batch = MicroBatch.of_rows([((5, 6, 7), (8, 9)), ((5,), (6,))])
    plain, _ = Policy(model)(batch)
    short = torch.tensor([[1, 1, 5, 6], [3, 4, 5, 6]])
    seen = torch.tensor([[0, 0, 1, 1], [1, 1, 1, 1]])
    greedy = GenerationConfig(max_new_tokens=6, do_sample=False)
    written = model.generate(short, attention_mask=seen, generation_config=greedy)
    with tree_attention_on(model):
        assert implementation(model) == NAME
        again, _ = Policy(model)(batch)
        assert torch.equal(again, plain)
        more = model.generate(short, attention_mask=seen, generation_config=greedy)
        assert torch.equal(more, written)
    assert implementation(model) == "sdpa"


def test_the_plain_attention_is_back_after_an_error(tiny_model):
    model = tiny_model()
    with pytest.raises(ZeroDivisionError), tree_attention_on(model):
        raise ZeroDivisionError
    assert implementation(model) == "sdpa"


def test_a_tree_needs_its_attention(tiny_model):
    with pytest.raises(AssertionError, match="tree_attention_on"):
        Policy(tiny_model())(MicroBatch.of_tree(GROUP))


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"dropout": 0.1}, "dropout"),
        ({"softcap": 30.0}, "softcap"),
        ({"s_aux": torch.zeros(2)}, "s_aux"),
        ({"is_causal": False}, "no causal mask"),
    ],
)
def test_what_a_tree_does_not_compute_is_refused_by_name(options, named):
    tensors = [t[None] for t in drawn(6)[:3]]
    tree = Tree(trie_of(GROUP[:1]).branches)
    with pytest.raises(NotImplementedError, match=f"^Identity has {named}$"):
        attention_forward(torch.nn.Identity(), *tensors, None, tree=tree, **options)


def test_longest_texts_of_a_tree_are_checked_as_padded_rows():
    rows = MicroBatch.of_tree(GROUP).left_padded()
    assert rows.input_ids_BT.tolist() == [[0, 5, 6, 7, 8, 2, 3]]
    assert rows.targets_N.tolist() == [8, 2, 3]
    assert rows.tree is None


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("dtype", "limit"), [(torch.bfloat16, 2e-2), (torch.float16, 4e-3), (torch.float32, 1e-5)]
)
def test_a_tree_on_a_gpu_is_what_a_mask_of_the_whole_row_makes(dtype, limit):
    pairs = [((1,) * 400, tuple(range(n, n + 96))) for n in range(2, 9)] + GROUP
    tensors = drawn(len(trie_of(pairs).ids), width=64, dtype=dtype, device="cuda")
    tensors = [t.detach().requires_grad_(place < 3) for place, t in enumerate(tensors)]
    assert kernel_for(tensors[0]).masks is (dtype == torch.float32)
    assert max(differences(pairs, tensors, "cuda")) < limit
