"""Rows that share prompts, beside padded rows: the same logits, tokens and log-probabilities."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import (
    DeepseekV3Config,
    DeepseekV3ForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from srl_eval.generate import Completion, Sampling, TransformersEngine, seed_for
from srl_eval.generate import packed_products as packed
from srl_eval.generate.packed_products import linear_layers, packed_products
from srl_eval.generate.padded_rows import PaddedRows
from srl_eval.generate.running_rows import RunningRows
from srl_eval.generate.shared_cache import blocks_of
from srl_eval.generate.shared_check import shared_layers
from srl_eval.generate.shared_rows import SharedRows, passes_of

CPU = torch.device("cpu")
VOCABULARY = 31
KINDS = ("llama", "qwen2", "gemma", "gpt2")


def model_of(
    kind: str, heads: int, kv_heads: int, layers: int, dtype: torch.dtype
) -> PreTrainedModel:
    torch.manual_seed(7)
    width = 8 * heads
    shape = {
        "vocab_size": VOCABULARY,
        "hidden_size": width,
        "intermediate_size": 24,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "max_position_embeddings": 64,
        "initializer_range": 0.4,
    }
    ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
    model: PreTrainedModel
    if kind == "llama":
        model = LlamaForCausalLM(LlamaConfig(**shape))
    elif kind == "qwen2":
        model = Qwen2ForCausalLM(Qwen2Config(**shape))
    elif kind == "gemma":
        model = GemmaForCausalLM(GemmaConfig(**shape, **ends, head_dim=8))
    elif kind == "gemma2":
        model = Gemma2ForCausalLM(Gemma2Config(**shape, **ends, head_dim=8))
    elif kind == "mistral":
        model = MistralForCausalLM(MistralConfig(**shape, sliding_window=8))
    elif kind == "deepseek":
        model = DeepseekV3ForCausalLM(DeepseekV3Config(**shape))
    else:
        config = GPT2Config(
            vocab_size=VOCABULARY,
            n_positions=64,
            n_embd=width,
            n_layer=layers,
            n_head=heads,
            **ends,
        )
        config.initializer_range = 0.4
        model = GPT2LMHeadModel(config)
    for module in model.modules():
        if dtype == torch.float64 and type(module).__name__.endswith("RMSNorm"):
            module.forward = partial(exact_norm, module)  # transformers' own rounds to float32
    return model.eval().to(dtype)


def exact_norm(module: torch.nn.Module, values: torch.Tensor) -> torch.Tensor:
    return values * (values.square().mean(-1, keepdim=True) + 1e-6).rsqrt() * (0.5 + module.weight)


@st.composite
def models(draw: st.DrawFn, dtype: torch.dtype = torch.float32) -> PreTrainedModel:
    kv_heads = draw(st.integers(1, 3))
    heads = kv_heads * draw(st.integers(1, 3))
    return model_of(draw(st.sampled_from(KINDS)), heads, kv_heads, draw(st.integers(1, 3)), dtype)


PROMPT = st.lists(st.integers(3, VOCABULARY - 1), min_size=1, max_size=20)
GROUPS = st.lists(st.tuples(PROMPT, st.integers(1, 5)), min_size=1, max_size=6)


def rows_of(groups: list[tuple[list[int], int]]) -> list[list[int]]:
    return [prompt for prompt, size in groups for _ in range(size)]


def padded_only(model: PreTrainedModel, decoder: object = None) -> TransformersEngine:
    """An engine that has found that its model cannot share."""
    engine = TransformersEngine(model, pad_token_id=0, decoder=decoder)  # type: ignore[arg-type]
    engine._sharing.layers = lambda: None  # type: ignore[method-assign]
    return engine


def sharing(model: PreTrainedModel, decoder: object = None) -> TransformersEngine:
    engine = TransformersEngine(model, pad_token_id=0, decoder=decoder)  # type: ignore[arg-type]
    assert shared_layers(model, CPU) is not None
    return engine


class Letters:
    """A tokenizer of letters, so that strings can end a completion."""

    def decode(self, ids: list[int], **_options: object) -> str:
        return "".join(chr(ord("a") + token % 26) for token in ids)


def run_in_step(first: RunningRows, second: RunningRows, seed: int) -> float:
    """The greatest difference of logits while rows are fed tokens and let go, the same ones."""
    worst = float((first.logits_BV - second.logits_BV).abs().max())
    rng = np.random.default_rng(seed)
    for _ in range(5):
        count = len(first.rows)
        tokens = torch.from_numpy(rng.integers(3, VOCABULARY, count))
        ends = torch.from_numpy(rng.random(count) < 0.25)
        for rows in (first, second):
            rows.ended |= ends
        left = [rows.retire(tokens) for rows in (first, second)]
        assert torch.equal(*left)
        if not len(left[0]):
            break
        logits = [rows.step(left[0]) for rows in (first, second)]
        worst = max(worst, float((logits[0] - logits[1]).abs().max()))
    return worst


def check_logits(
    model: PreTrainedModel, groups: list[tuple[list[int], int]], seed: int, bound: float
) -> None:
    """Both kinds of rows have the same logits, up to `bound` relative to the largest plus 1."""
    layers = shared_layers(model, CPU)
    assert layers is not None
    prompts = rows_of(groups)
    with torch.no_grad():
        padded = PaddedRows(model, prompts, 6, 0, CPU)
        worst = run_in_step(padded, SharedRows(model, prompts, 6, layers, CPU), seed)
        assert worst <= bound * (1 + float(padded.logits_BV.abs().max()))


@settings(deadline=None, max_examples=25)
@given(model=models(torch.float64), groups=GROUPS, seed=st.integers(0, 1 << 30))
def test_logits_are_those_of_padded_rows_in_float64(
    model: PreTrainedModel, groups: list[tuple[list[int], int]], seed: int
) -> None:
    check_logits(model, groups, seed, 1e-12)


@settings(deadline=None, max_examples=25)
@given(model=models(torch.float32), groups=GROUPS, seed=st.integers(0, 1 << 30))
def test_logits_are_those_of_padded_rows_in_float32(
    model: PreTrainedModel, groups: list[tuple[list[int], int]], seed: int
) -> None:
    check_logits(model, groups, seed, 1e-5)


SAMPLINGS = st.sampled_from(
    [
        Sampling(9, 0.0),
        Sampling(9, 0.0, stop_token_ids=(4, 9, 11)),
        Sampling(9, 1.0, stop_token_ids=(4, 9, 11, 17)),
        Sampling(9, 0.8, top_p=0.9, top_k=7, stop_token_ids=(5,)),
        Sampling(9, 1.3, stop=("e", "hk")),
        Sampling(9, 1.0, min_p=0.05, top_p=0.95, record_kept=True, stop_token_ids=(4, 6, 20)),
    ]
)


@settings(deadline=None, max_examples=25)
@given(model=models(torch.float64), groups=GROUPS, sampling=SAMPLINGS)
def test_completions_are_those_of_padded_rows(
    model: PreTrainedModel, groups: list[tuple[list[int], int]], sampling: Sampling
) -> None:
    prompts = rows_of(groups)
    seeds = [seed_for(3, row) for row in range(len(prompts))]
    expected = padded_only(model, Letters()).generate(prompts, sampling, seeds)
    found = sharing(model, Letters()).generate(prompts, sampling, seeds)
    for one, other in zip(found, expected, strict=True):
        alike(one, other)


def alike(one: Completion, other: Completion, bound: float = 1e-5) -> None:
    assert one.token_ids == other.token_ids
    assert (one.finish_reason, one.stop_string) == (other.finish_reason, other.stop_string)
    assert one.logprobs == pytest.approx(other.logprobs, abs=bound)  # kept in float32
    assert (one.kept and one.kept.sets) == (other.kept and other.kept.sets)


@pytest.mark.parametrize("kind", ["mistral", "gemma2", "deepseek"])
def test_models_that_cannot_share_are_sampled_from_padded_rows(kind: str) -> None:
    model = model_of(kind, 4, 4 if kind == "deepseek" else 2, 2, torch.float32)
    assert shared_layers(model, CPU) is None
    prompts = [[5, 6, 7], [5, 6, 7], [8]]
    done = TransformersEngine(model, pad_token_id=0).generate(prompts, Sampling(4, 0.0), [0, 1, 2])
    assert done[0].token_ids == done[1].token_ids


def test_a_model_that_reads_its_mask_is_found_out() -> None:
    """Whoever reads the mask gets NaN, so that it is not taken for one that can share."""
    model = model_of("llama", 4, 2, 2, torch.float32)
    assert shared_layers(model, CPU) == 2
    model.model.layers[1].register_forward_pre_hook(
        lambda _module, args, kwargs: (
            (
                (args[0] + 0 * kwargs["attention_mask"].nan_to_num(1.0).sum(), *args[1:])
                if kwargs.get("attention_mask") is None
                else (args[0] + kwargs["attention_mask"].float().mean(), *args[1:]),
                kwargs,
            )
            if kwargs.get("attention_mask") is not None
            else None
        ),
        with_kwargs=True,
    )
    assert shared_layers(model, CPU) is None


def test_the_attention_is_plain_again_after_a_call_and_after_a_failed_one() -> None:
    model = model_of("llama", 4, 2, 2, torch.float32)
    runner = sharing(model)
    runner.generate([[5, 6]], Sampling(2), [0])
    assert model.config._attn_implementation == "sdpa"
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError):
        runner.generate([[5, 6]], Sampling(2), [0])
    assert model.config._attn_implementation == "sdpa"
    assert model(torch.tensor([[4, 5]])).logits.shape == (1, 2, VOCABULARY)


@given(
    st.lists(st.tuples(st.integers(1, 3000), st.integers(1, 64)), min_size=1, max_size=40),
)
def test_blocks_hold_every_prompt_once_and_little_padding(prompts: list[tuple[int, int]]) -> None:
    lengths, sizes = zip(*prompts, strict=True)
    blocks = blocks_of(lengths, sizes)
    assert sorted(p for block in blocks for p in block) == list(range(len(prompts)))
    needed = sum(length * size for length, size in prompts)
    padded = sum(
        len(block) * max(lengths[p] for p in block) * max(sizes[p] for p in block)
        for block in blocks
    )
    assert padded <= 1.3 * needed + 1000 * len(blocks)


def test_passes_hold_every_text_and_as_many_as_fit() -> None:
    texts = [[1] * n for n in (5, 2040, 3, 4, 5000, 2)]
    passes = [[len(text) for text in part] for part in passes_of(texts)]
    assert passes == [[5, 2040, 3], [4], [5000], [2]]


def test_packed_products_are_the_plain_ones_and_leave_no_trace(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("qwen2", 4, 2, 2, torch.float32)
    ids = torch.tensor([[3, 4, 5], [6, 7, 8]])
    with torch.no_grad():
        plain = model(ids).logits
        with packed_products(model, 2, 16):
            assert all("forward" in layer.__dict__ for layer in linear_of(model))
            inside = model(ids).logits
            model.lm_head.weight.mul_(2)  # what is packed is what was there
            assert torch.equal(model(ids).logits, inside)
        bound = 1e-5 * (1 + 2 * float(plain.abs().max()))  # float32 logits, doubled below
        assert inside == pytest.approx(plain, abs=bound)
        assert not torch.equal(model(ids).logits, inside)
    assert len(linear_layers(model)) == len(linear_of(model)) == 15
    sampling, seeds = Sampling(16), [1, 2, 3]
    prompts = [[5, 6], [5, 6], [9]]
    found = TransformersEngine(model, pad_token_id=0).generate(prompts, sampling, seeds)
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 1 << 40)
    for one, other in zip(
        found,
        TransformersEngine(model, pad_token_id=0).generate(prompts, sampling, seeds),
        strict=True,
    ):
        alike(one, other, bound)


def linear_of(model: PreTrainedModel) -> list[torch.nn.Linear]:
    return [module for module in model.modules() if isinstance(module, torch.nn.Linear)]


@pytest.mark.parametrize(("rows", "tokens"), [(129, 64), (8, 15)])
def test_packing_that_would_not_gain_is_left_out(
    rows: int, tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("qwen2", 4, 2, 1, torch.float32)
    with packed_products(model, rows, tokens):
        assert not any("forward" in layer.__dict__ for layer in linear_of(model))


class Copied(TorchDispatchMode):
    """Counts the elements that are selected into new tensors."""

    count = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if func.overloadpacket in (torch.ops.aten.index, torch.ops.aten.index_select):
            self.count += result.numel()
        return result


@pytest.mark.parametrize("kind", ["shared", "padded"])
def test_letting_rows_go_copies_what_is_filled_and_not_the_room_for_more(kind: str) -> None:
    model = model_of("llama", 4, 2, 2, torch.float32)
    prompts, new = [[5, 6, 7]] * 4, 5000
    rows = (
        SharedRows(model, prompts, new, 2, CPU)
        if kind == "shared"
        else PaddedRows(model, prompts, new, 0, CPU)
    )
    with torch.no_grad():
        rows.step(torch.full((4,), 9))
        rows.ended[:2] = True
        with Copied() as copied:
            tokens = rows.retire(torch.full((4,), 9))
        rows.step(tokens)
    layer_of_rows = rows.cache.layers[0]
    own = layer_of_rows.own if kind == "shared" else layer_of_rows
    assert own._key_buffer.shape[-2] <= 256 + 3
    filled = 4 if kind == "padded" else 1
    assert copied.count <= 2 * 2 * own.keys[..., :filled, :].numel() + 64  # and the rows' places


def test_prompts_that_all_stay_are_not_copied() -> None:
    model = model_of("llama", 4, 2, 1, torch.float32)
    with torch.no_grad():
        rows = SharedRows(model, [[5, 6]] * 4 + [[7, 8, 9]] * 4, 4, 1, CPU)
        before = [keys.data_ptr() for keys, _ in rows.cache.shared[0].prompts]
        for ended in (slice(0, 3), slice(0, 2)):  # rows of either prompt stay, then of one
            rows.ended[ended] = True
            rows.retire(torch.zeros(len(rows.rows), dtype=torch.long))
            after = [keys.data_ptr() for keys, _ in rows.cache.shared[0].prompts]
            assert (after == before) == (ended.stop == 3)


def test_products_that_would_not_be_the_plain_ones_are_not_packed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("qwen2", 4, 2, 1, torch.float32)

    def packs() -> bool:
        with packed_products(model, 8, 64):
            return any("forward" in layer.__dict__ for layer in linear_of(model))

    assert packs()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert not packs()
    monkeypatch.setattr(torch.backends.mkldnn, "enabled", False)
    assert not packs()


class Marked(torch.Tensor):
    """A weight whose products are its own affair."""


class OwnForward(torch.nn.Linear):
    def forward(self, values: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(values)


def test_only_plain_weights_of_plain_layers_are_packed() -> None:
    plain, double_bias = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)
    double_bias.bias = torch.nn.Parameter(torch.zeros(4, dtype=torch.float64))
    marked = torch.nn.Linear(4, 4)
    marked.weight = torch.nn.Parameter(torch.ones(4, 4).as_subclass(Marked))
    layers = torch.nn.ModuleList([plain, double_bias, marked, OwnForward(4, 4)])
    assert linear_layers(layers) == [plain]


def test_as_many_weights_as_the_least_are_packed(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = torch.nn.Linear(4, 4)
    for least, is_packed in ((16, True), (17, False)):
        monkeypatch.setattr(packed, "LEAST_WEIGHTS", least)
        with packed_products(layer, 8, 64):
            assert ("forward" in layer.__dict__) == is_packed


def test_the_engine_shares_prompts_and_packs_where_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("llama", 4, 2, 2, torch.float32)
    runner = sharing(model)
    runner.generate([[5]], Sampling(1), [0])  # the trial, which takes both kinds of rows
    seen: list[tuple[str, bool]] = []
    model.lm_head.register_forward_hook(
        lambda head, *_: seen.append((model.config._attn_implementation, "forward" in vars(head)))
    )
    runner.generate([[5, 6], [5, 6], [9]], Sampling(16), [1, 2, 3])
    assert seen == [("shared_rollouts", False)] + [("shared_rollouts", True)] * 15


def test_an_error_in_mid_decode_leaves_the_model_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("llama", 4, 2, 2, torch.float32)
    runner = sharing(model)
    runner.generate([[5]], Sampling(1), [0])
    model.train()
    model.model.layers[0].eval()
    training = [module.training for module in model.modules()]
    calls: list[bool] = []

    def fail(*_: object) -> None:
        calls.append(any("forward" in vars(layer) for layer in linear_of(model)))
        if len(calls) == 5:
            raise ZeroDivisionError

    handle = model.model.layers[1].register_forward_pre_hook(fail)
    with pytest.raises(ZeroDivisionError):
        runner.generate([[5, 6], [9]], Sampling(16), [1, 2])
    handle.remove()
    assert calls == [False, True, True, True, True]
    assert model.config._attn_implementation == "sdpa"
    assert not any("forward" in vars(module) for module in linear_of(model))
    assert [module.training for module in model.modules()] == training


def test_weights_changed_in_place_are_those_that_are_sampled_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(packed, "LEAST_WEIGHTS", 0)
    model = model_of("llama", 4, 2, 2, torch.float32)
    runner = sharing(model)
    work = [[5, 6], [5, 6], [9]], Sampling(16), [1, 2, 3]
    before = runner.generate(*work)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1.1)
    after = runner.generate(*work)
    assert after == sharing(model).generate(*work)
    assert after != before


def test_an_engine_follows_the_attention_of_its_model() -> None:
    model = model_of("llama", 4, 2, 2, torch.float32)
    runner = sharing(model)
    work = [[5, 6], [5, 6], [9]], Sampling(6, 0.0), [1, 2, 3]
    expected = runner.generate(*work)
    for attention in ("eager", "sdpa"):
        model.set_attn_implementation(attention)
        for one, other in zip(runner.generate(*work), expected, strict=True):
            alike(one, other, 1e-4)


def test_the_reason_for_padded_rows_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    model = model_of("mistral", 4, 2, 2, torch.float32)
    with caplog.at_level("INFO", logger="srl_eval"):
        runner = TransformersEngine(model, pad_token_id=0)
        for _ in range(2):
            runner.generate([[5, 6]], Sampling(2), [0])
    (told,) = caplog.messages
    assert "MistralForCausalLM samples from padded rows: not all of its layers" in told


def test_threads_take_turns_with_an_engine() -> None:
    model = model_of("llama", 4, 2, 2, torch.float32).train()
    runner = sharing(model)
    runner.generate([[5]], Sampling(1), [0])
    running: list[int] = []

    def once_at_a_time(*_: object) -> None:
        running.append(threading.get_ident())
        time.sleep(0.001)  # so that another thread would come between

    model.model.register_forward_pre_hook(once_at_a_time)
    work = [[5, 6], [5, 6], [9]], Sampling(8), [1, 2, 3]
    with ThreadPoolExecutor(3) as pool:
        first, *rest = pool.map(lambda _: runner.generate(*work), range(3))
    assert rest == [first, first]
    assert len(list(groupby(running))) == len(set(running))
    assert model.training
