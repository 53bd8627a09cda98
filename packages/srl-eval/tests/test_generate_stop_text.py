"""Stop strings by value, on a tiny model: across tokens, characters, chunks and engines."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

from srl_eval.generate import Completion, Sampling, TransformersEngine, completion_text
from srl_eval.generate.server import read_completion
from srl_eval.generate.stop_text import ended
from srl_eval.generate.text import decoded
from srl_eval.generate.vllm import VllmEngine

PROMPTS = [[row % 7 + 40, row % 3 + 60] for row in range(24)]
SEEDS = list(range(24))
END = 0


class Pieces:
    """A tokenizer whose tokens are texts of several characters."""

    pieces = ("", "a", "b\n\nc", "\n", "##", "# ab", "\n\n", "Us", "er:", "é", " ", "b", "\nUser")

    def decode(self, token_ids: list[int], /, *, skip_special_tokens: bool) -> str:
        assert not skip_special_tokens
        return "".join(self.pieces[token] for token in token_ids)


def first_end(ids: list[int], sampling: Sampling, decoder: object) -> tuple[int | None, str | None]:
    """The obvious reference: decode every beginning of the row whole."""
    for length, token in enumerate(ids, 1):
        if token in sampling.stop_token_ids:
            return length, None
        text = decoded(ids[:length], decoder)  # type: ignore[arg-type]
        found = [(text.index(stop), stop) for stop in sampling.stop if stop in text]
        if found:
            return length, min(found)[1]
    return None, None


@pytest.fixture(scope="module")
def model(model_folder: Path) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_pretrained(model_folder).eval()


def engine(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, chunk_size: int = 8
) -> TransformersEngine:
    return TransformersEngine(model, pad_token_id=1, chunk_size=chunk_size, decoder=tokenizer)


def free(model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, length: int = 40):
    """What the model writes where nothing ends it."""
    return engine(model, tokenizer).generate(PROMPTS, Sampling(length), SEEDS)


def written(rows: list[Completion], tokenizer: PreTrainedTokenizerFast) -> tuple[str, ...]:
    """Strings that stand in some of the rows: of two and three tokens, one of a whole character."""
    texts = [decoded(list(row.token_ids), tokenizer) for row in rows]
    pairs = [text[9:11] for text in texts[:3]] + [text[20:23] for text in texts[3:6]]
    return (*(stop for stop in pairs if "\ufffd" not in stop), texts[6][5])


@pytest.mark.parametrize("chunk_size", [1, 8, 64])
def test_a_row_ends_with_the_token_that_completes_a_stop_string(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast, chunk_size: int
) -> None:
    whole = free(model, tokenizer)
    stops = written(whole, tokenizer)
    assert any(len(tokenizer.encode(stop)) > 1 for stop in stops)
    sampling = Sampling(40, stop=stops)
    got = engine(model, tokenizer, chunk_size).generate(PROMPTS, sampling, SEEDS)
    assert sum(row.finish_reason == "stop" for row in got) >= 5
    assert any(row.finish_reason == "length" for row in got)
    for row, full in zip(got, whole, strict=True):
        length, stop = first_end(list(full.token_ids), sampling, tokenizer)
        expected = full.token_ids[:length]
        assert (row.token_ids, row.stop_string) == (expected, stop)
        assert row.logprobs == pytest.approx(full.logprobs[:length])
        assert row.finish_reason == ("length" if length is None else "stop")
        text = decoded(list(expected), tokenizer)
        assert completion_text(row, tokenizer) == (text if stop is None else text.split(stop)[0])


def test_looking_seldom_ends_rows_at_the_same_token(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    sampling = Sampling(40, stop=written(free(model, tokenizer), tokenizer))
    each = engine(model, tokenizer, 24)
    seldom = engine(model, tokenizer, 24)
    seldom._check_every = 8  # as on a GPU
    left, right = (each.generate(PROMPTS, sampling, SEEDS) for each in (each, seldom))
    assert [row.token_ids for row in left] == [row.token_ids for row in right]
    assert [row.stop_string for row in left] == [row.stop_string for row in right]


def test_a_string_that_only_the_last_token_completes_ends_the_row(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    (full,) = engine(model, tokenizer).generate(PROMPTS[:1], Sampling(12), SEEDS[:1])
    text = decoded(list(full.token_ids), tokenizer)
    (row,) = engine(model, tokenizer).generate(PROMPTS[:1], Sampling(12, stop=(text,)), SEEDS[:1])
    assert (row.token_ids, row.finish_reason, row.stop_string) == (full.token_ids, "stop", text)
    assert completion_text(row, tokenizer) == ""


def test_a_stop_token_before_the_string_ends_the_row(
    model: Qwen3ForCausalLM, tokenizer: PreTrainedTokenizerFast
) -> None:
    (full,) = engine(model, tokenizer).generate(PROMPTS[:1], Sampling(12), SEEDS[:1])
    stop = decoded(list(full.token_ids[6:8]), tokenizer)
    sampling = Sampling(12, stop_token_ids=(full.token_ids[3],), stop=(stop,))
    (row,) = engine(model, tokenizer).generate(PROMPTS[:1], sampling, SEEDS[:1])
    assert row == Completion(full.token_ids[:4], row.logprobs, "stop", 0)
    assert completion_text(row, tokenizer) == decoded(list(full.token_ids[:3]), tokenizer)


@settings(max_examples=300)
@given(
    st.lists(st.integers(0, len(Pieces.pieces) - 1), max_size=30),
    st.lists(
        st.sampled_from(["\n\n", "\n\nUser:", "###", "# ", "é ", "a", "ab", "bb\n"]),
        min_size=1,
        max_size=3,
        unique=True,
    ),
    st.sets(st.integers(0, 12), max_size=1),
)
def test_the_window_finds_what_whole_texts_hold(
    ids: list[int], stops: list[str], ends: set[int]
) -> None:
    sampling = Sampling(30, stop_token_ids=tuple(ends), stop=tuple(stops))
    decoder = Pieces()
    assert ended(ids, sampling, decoder) == first_end(ids, sampling, decoder)


def test_of_two_strings_the_one_that_begins_first_ends_the_text() -> None:
    decoder = Pieces()
    for stops in (("\n\n", "b\n\nc"), ("b\n\nc", "\n\n")):
        sampling = Sampling(9, stop=stops)
        assert ended([1, 2, 1], sampling, decoder) == (2, "b\n\nc")
        row = Completion((1, 2), (-1.0, -1.0), "stop", 0, "b\n\nc")
        assert completion_text(row, decoder) == "a"


def test_text_behind_the_string_in_its_token_is_no_part_of_the_answer() -> None:
    row = Completion((1, 2), (-1.0, -1.0), "stop", 0, "\n\n")
    assert completion_text(row, Pieces()) == "ab"


def test_thinking_is_no_shelter(tokenizer: PreTrainedTokenizerFast) -> None:
    ids = tokenizer.encode("<think>a\n\nb</think>c", add_special_tokens=False)
    length, stop = ended(ids, Sampling(99, stop=("\n\n",)), tokenizer)
    assert (decoded(ids[:length], tokenizer), stop) == ("<think>a\n\n", "\n\n")


def test_an_engine_without_a_tokenizer_refuses_stop_strings(model: Qwen3ForCausalLM) -> None:
    with pytest.raises(ValueError, match=r"stop strings \('x',\) need the engine's decoder"):
        TransformersEngine(model, pad_token_id=1).generate([[5]], Sampling(2, stop=("x",)), [0])


def test_an_empty_stop_string_is_refused() -> None:
    with pytest.raises(ValueError, match=r"stop is .* expected texts that are not empty"):
        Sampling(2, stop=("x", ""))


def reply(ids: list[int], finish_reason: str) -> dict[str, object]:
    logprobs = {"token_logprobs": [-0.5] * len(ids)}
    return {"choices": [{"token_ids": ids, "logprobs": logprobs, "finish_reason": finish_reason}]}


def test_a_servers_answer_is_cut_where_the_string_is_complete() -> None:
    sampling, decoder = Sampling(4, stop_token_ids=(END,), stop=("\n\nUser",)), Pieces()
    for ids in ([1, 3, 12], [1, 3, 12, 8]):
        assert read_completion(reply(ids, "stop"), sampling, 0, decoder) == Completion(
            (1, 3, 12), (-0.5,) * 3, "stop", 0, "\n\nUser"
        )
    with pytest.raises(ValueError, match="which is not a stop token"):
        read_completion(reply([1, 3], "stop"), sampling, 0, decoder)


def test_vllms_answer_is_cut_where_the_string_is_complete() -> None:
    steps = [{token: SimpleNamespace(logprob=-0.5)} for token in (1, 3, 12, 8)]
    best = SimpleNamespace(token_ids=[1, 3, 12, 8], logprobs=steps)
    vllm = VllmEngine(SimpleNamespace(), decoder=Pieces())  # type: ignore[arg-type]
    output = SimpleNamespace(outputs=[best])
    assert vllm._completion(output, Sampling(4, stop=("\n\nUser",))) == Completion(  # type: ignore[arg-type]
        (1, 3, 12), (-0.5,) * 3, "stop", 0, "\n\nUser"
    )
