"""The transformers engine on tiny random models: right, seeded, and leaving no trace."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from transformers import (
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

from srl_eval.generate import Engine, Sampling, Ticket, TransformersEngine, seed_for

VOCABULARY = 37
STOP = 3


def sizes() -> dict[str, int]:
    return {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 48,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 96,
    }


def make(kind: str, attention: str = "sdpa", std: float = 0.4) -> PreTrainedModel:
    torch.manual_seed(11)
    model: PreTrainedModel
    shape = sizes()
    if kind == "qwen2":
        config = Qwen2Config(**shape, initializer_range=std)
        model: PreTrainedModel = Qwen2ForCausalLM._from_config(
            config, attn_implementation=attention
        )
    elif kind == "llama":
        config = LlamaConfig(**shape, initializer_range=std)
        model = LlamaForCausalLM._from_config(config, attn_implementation=attention)
    elif kind == "mistral":
        config = MistralConfig(**shape, initializer_range=std, sliding_window=8)
        model = MistralForCausalLM._from_config(config, attn_implementation=attention)
    else:
        config = GPT2Config(vocab_size=VOCABULARY, n_positions=96, n_embd=32, n_layer=2, n_head=4)
        config.initializer_range = std
        model = GPT2LMHeadModel._from_config(config, attn_implementation=attention)
    return model.eval()


def engine(model: PreTrainedModel, chunk_size: int = 64) -> TransformersEngine:
    return TransformersEngine(model, pad_token_id=0, chunk_size=chunk_size)


def tried(model: PreTrainedModel) -> TransformersEngine:
    """An engine that has already tried how its model takes prompts, which is done once."""
    runner = engine(model)
    runner.generate([[5]], Sampling(1), [0])
    return runner


def some_prompts(count: int, seed: int = 0, shortest: int = 1) -> list[list[int]]:
    rng = np.random.default_rng(seed)
    return [rng.integers(4, VOCABULARY, rng.integers(shortest, 14)).tolist() for _ in range(count)]


def seeds(count: int) -> list[int]:
    return [seed_for(1, row) for row in range(count)]


def reference_greedy(model: PreTrainedModel, prompt: Sequence[int], length: int) -> list[int]:
    """transformers' own generation of one prompt, with no batch and no padding."""
    out = model.generate(
        torch.tensor([list(prompt)]),
        attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
        do_sample=False,
        max_new_tokens=length,
        eos_token_id=STOP,
        pad_token_id=0,
    )
    ids: list[int] = out[0, len(prompt) :].tolist()
    return ids


def reference_logprobs(
    model: PreTrainedModel, prompt: Sequence[int], tokens: Sequence[int], temperature: float
) -> list[float]:
    """A forward pass over prompt and completion at once."""
    with torch.no_grad():
        logits = model(torch.tensor([[*prompt, *tokens]])).logits[0, len(prompt) - 1 : -1]
    logprobs = (logits.float() / temperature).log_softmax(-1)
    picked: list[float] = logprobs.gather(-1, torch.tensor(tokens)[:, None])[:, 0].tolist()
    return picked


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize("kind", ["qwen2", "llama", "gpt2", "mistral"])
def test_greedy_equals_generate_of_transformers(kind: str, attention: str) -> None:
    model = make(kind, attention)
    prompts = some_prompts(24)
    got = engine(model).generate(prompts, Sampling(20, 0.0, stop_token_ids=(STOP,)), seeds(24))
    expected = [reference_greedy(model, prompt, 20) for prompt in prompts]
    assert [list(c.token_ids) for c in got] == expected
    assert {c.finish_reason for c in got} == {"stop", "length"}


@pytest.mark.parametrize("kind", ["qwen2", "gpt2"])
@pytest.mark.parametrize("temperature", [0.0, 0.7, 1.0])
def test_logprobs_equal_a_teacher_forced_pass(kind: str, temperature: float) -> None:
    model = make(kind)
    prompts = some_prompts(16)
    sampling = Sampling(24, temperature, stop_token_ids=(STOP,))
    for prompt, done in zip(
        prompts, engine(model).generate(prompts, sampling, seeds(16)), strict=True
    ):
        expected = reference_logprobs(model, prompt, done.token_ids, temperature or 1.0)
        assert done.logprobs == pytest.approx(expected, abs=2e-5)


def test_a_row_draws_the_same_wherever_it_stands_in_the_chunk() -> None:
    runner = engine(make("qwen2"))
    prompts, sampling = some_prompts(16), Sampling(16, stop_token_ids=(STOP,))
    forward = runner.generate(prompts, sampling, seeds(16))
    backward = runner.generate(prompts[::-1], sampling, seeds(16)[::-1])
    assert [c.token_ids for c in backward[::-1]] == [c.token_ids for c in forward]
    assert [c.finish_reason for c in backward[::-1]] == [c.finish_reason for c in forward]


def test_the_same_chunk_again_is_exactly_the_same() -> None:
    runner = engine(make("qwen2"), chunk_size=8)
    prompts, sampling = some_prompts(20), Sampling(16, stop_token_ids=(STOP,))
    whole = runner.generate(prompts, sampling, seeds(20))
    assert runner.generate(prompts, sampling, seeds(20)) == whole
    assert runner.generate(prompts[8:16], sampling, seeds(20)[8:16]) == whole[8:16]


def test_rows_draw_the_same_alone_as_in_company() -> None:
    model = make("qwen2")
    prompts, sampling = some_prompts(12), Sampling(16, stop_token_ids=(STOP,))
    together = engine(model).generate(prompts, sampling, seeds(12))
    alone = engine(model, chunk_size=1).generate(prompts, sampling, seeds(12))
    assert [c.token_ids for c in alone] == [c.token_ids for c in together]


def test_another_seed_gives_another_row() -> None:
    runner = engine(make("qwen2", std=0.05))
    done = runner.generate([[5, 6]] * 32, Sampling(12), seeds(32))
    assert len({c.token_ids for c in done}) == 32


def test_equal_neighbours_are_prefilled_once_and_come_out_alike() -> None:
    model = make("qwen2")
    runner = tried(model)
    seen: list[int] = []
    model.register_forward_pre_hook(
        lambda _module, _args, kwargs: seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    prompts = some_prompts(4)
    groups = [prompt for prompt in prompts for _ in range(4)]
    sampling = Sampling(10, stop_token_ids=(STOP,))
    grouped = runner.generate(groups, sampling, seeds(16))
    assert seen[0] == sum(map(len, prompts))
    assert seen[1] == 16
    shuffled = [row for start in range(4) for row in range(start, 16, 4)]
    seen.clear()
    apart = runner.generate(
        [groups[row] for row in shuffled], sampling, [seeds(16)[row] for row in shuffled]
    )
    assert seen[0] == sum(map(len, groups))
    by_row = dict(zip(shuffled, apart, strict=True))
    for row, done in enumerate(grouped):
        assert by_row[row].token_ids == done.token_ids
        assert by_row[row].logprobs == pytest.approx(done.logprobs, abs=1e-5)


def test_ended_rows_leave_the_batch() -> None:
    model = make("qwen2")
    runner = tried(model)
    sizes_seen: list[int] = []
    model.register_forward_pre_hook(
        lambda _m, _a, kwargs: sizes_seen.append(kwargs["input_ids"].numel()), with_kwargs=True
    )
    sampling = Sampling(64, stop_token_ids=tuple(range(3, 12)))
    done = runner.generate(some_prompts(32), sampling, seeds(32))
    assert all(c.token_ids[-1] in range(3, 12) for c in done if c.finish_reason == "stop")
    assert sizes_seen == sorted(sizes_seen, reverse=True)
    assert sizes_seen[-1] < 16
    spent, needed = sum(sizes_seen[1:]), sum(len(c.token_ids) for c in done)
    assert spent < 1.5 * needed


def test_stop_token_is_the_last_and_only_there() -> None:
    done = engine(make("qwen2")).generate(
        some_prompts(40), Sampling(30, stop_token_ids=(STOP, 9)), seeds(40)
    )
    stopped = [c for c in done if c.finish_reason == "stop"]
    cut = [c for c in done if c.finish_reason == "length"]
    assert stopped
    assert cut
    assert all(c.token_ids[-1] in {STOP, 9} for c in stopped)
    assert not any({STOP, 9} & set(c.token_ids[:-1]) for c in stopped)
    assert all(len(c.token_ids) == 30 and not {STOP, 9} & set(c.token_ids) for c in cut)
    assert all(len(c.logprobs) == len(c.token_ids) for c in done)


def test_long_generation_crosses_the_block_of_uniforms() -> None:
    shape = sizes() | {"max_position_embeddings": 1024}
    torch.manual_seed(0)
    model = Qwen2ForCausalLM(Qwen2Config(**shape, initializer_range=0.4)).eval()
    done = engine(model).generate([[5, 6, 7], [8]], Sampling(600), seeds(2))
    for prompt, one in zip([[5, 6, 7], [8]], done, strict=True):
        expected = reference_logprobs(model, prompt, one.token_ids, 1.0)
        assert one.logprobs == pytest.approx(expected, abs=1e-4)


def test_training_goes_on_after_generation() -> None:
    model = make("qwen2")
    model.train()
    model.model.layers[0].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    engine(model).generate(some_prompts(4), Sampling(4), seeds(4))
    assert model.training
    assert not model.model.layers[0].training
    assert model.model.layers[1].training
    loss = model(torch.tensor([[4, 5, 6]]), labels=torch.tensor([[4, 5, 6]])).loss
    loss.backward()
    assert all(p.grad is not None for p in model.parameters())
    assert not any(p.is_inference() for p in model.parameters())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_small_models_run_on_one_thread_and_the_setting_is_restored() -> None:
    model = make("qwen2")
    runner = tried(model)
    seen: list[int] = []
    model.register_forward_pre_hook(lambda *_: seen.append(torch.get_num_threads()))
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        runner.generate([[5]], Sampling(2), [0])
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
    assert seen == [1, 1]


def test_dropout_is_off_while_sampling() -> None:
    torch.manual_seed(0)
    config = Qwen2Config(**sizes(), attention_dropout=0.9, initializer_range=0.4)
    model = Qwen2ForCausalLM(config)
    model.train()
    runner = engine(model)
    first = runner.generate(some_prompts(8), Sampling(8), seeds(8))
    assert runner.generate(some_prompts(8), Sampling(8), seeds(8)) == first


def test_weights_version_is_stamped_at_submission() -> None:
    runner = engine(make("qwen2"))
    assert isinstance(runner, Engine)
    runner.weights_version = 7
    ticket = runner.submit([[5]], Sampling(2), [0])
    runner.weights_version = 8
    assert runner.collect(ticket)[0].weights_version == 7
    with pytest.raises(KeyError, match="not outstanding"):
        runner.collect(ticket)
    with pytest.raises(KeyError, match="not outstanding"):
        runner.collect(Ticket(10**9, 1))


def test_no_work_is_no_completions() -> None:
    assert engine(make("qwen2")).generate([], Sampling(2), []) == []


def test_a_prompt_that_leaves_no_room_is_refused_with_its_numbers() -> None:
    runner = engine(make("qwen2"))
    with pytest.raises(ValueError, match=r"prompt 1 has 90 tokens and max_new_tokens is 7, .* 97"):
        runner.generate([[5], [5] * 90], Sampling(7), [0, 1])
    assert len(runner.generate([[5] * 90], Sampling(6), [0])[0].token_ids) == 6


def test_bad_work_is_refused() -> None:
    runner = engine(make("qwen2"))
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        runner.generate([[5], []], Sampling(2), [0, 1])
    with pytest.raises(ValueError, match="2 prompts, 1 seeds"):
        runner.generate([[5], [6]], Sampling(2), [0])
    with pytest.raises(ValueError, match="chunk_size is 0"):
        engine(make("qwen2"), chunk_size=0)


def test_a_broken_model_is_reported() -> None:
    model = make("qwen2")
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="nan at new token 0"):
        engine(model).generate([[5]], Sampling(2), [0])


def test_bfloat16_weights_give_float32_logprobs() -> None:
    model = make("qwen2", std=0.1).to(torch.bfloat16)
    done = engine(model).generate([[5, 6]] * 3, Sampling(6), seeds(3))
    expected = reference_logprobs(model, [5, 6], done[0].token_ids, 1.0)
    assert done[0].logprobs == pytest.approx(expected, abs=0.05)
    values = torch.tensor([value for c in done for value in c.logprobs])
    assert (values != values.bfloat16().float()).float().mean() > 0.9, "rounded to bfloat16"
