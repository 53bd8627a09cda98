"""Real data sets become examples: GSM8K, s1K and MATH, in every form that a user may have."""

import json
import os
from pathlib import Path

import pytest

from srl_data.build import BuildConfig, build
from srl_data.command.errors import DataError
from srl_data.pairs import read_pairs
from srl_data.prompt_format import open_prompts
from srl_data.prompt_record import ChatOptions
from srl_data.prompts import get_template
from srl_grpo.config.sft_data import SftDataSection
from srl_grpo.data.examples import load_examples
from srl_grpo.data.parts import open_part
from srl_grpo.toy.characters import CharacterCoder, character_core
from srl_reward import extract_boxed, parse_step_output

pytestmark = pytest.mark.skipif(
    "SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set"
)


@pytest.fixture(scope="module")
def folder():
    return Path(os.environ["SRL_TEST_DATA"])


def coder_of(*texts):
    """A tokenizer of the characters in the texts, so that nothing is unknown."""
    marks = ["<think>", "</think>"]
    return CharacterCoder(
        character_core([*marks, *sorted(set("".join(texts)) | set("0123456789"))])
    )


def load(data, coder, template="question_only", part="train", limit=None):
    notes = []
    prompts = open_prompts(coder, get_template(template), ChatOptions())
    return load_examples(data, part, prompts, 0, notes.append, limit), notes


def rows_of(path):
    if path.suffix == ".json":
        return json.loads(path.read_text(encoding="utf-8"))
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def write_lines(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture(scope="module")
def gsm8k(folder):
    return {name: rows_of(folder / f"gsm8k/{name}.jsonl") for name in ("train", "test")}


@pytest.fixture(scope="module")
def forms(folder, gsm8k, tmp_path_factory):
    """GSM8K as a folder of JSON Lines, of Parquet shards, and saved by `datasets`."""
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = tmp_path_factory.mktemp("gsm8k")
    (place / "parquet").mkdir()
    half = len(gsm8k["train"]) // 2
    for name, rows in {
        "train-00000-of-00002": gsm8k["train"][:half],
        "train-00001-of-00002": gsm8k["train"][half:],
        "test-00000-of-00001": gsm8k["test"],
    }.items():
        pq.write_table(pa.Table.from_pylist(rows), place / f"parquet/{name}.parquet")
    saved = {name: datasets.Dataset.from_list(rows) for name, rows in gsm8k.items()}
    datasets.DatasetDict(saved).save_to_disk(str(place / "saved"))
    return {"jsonl": folder / "gsm8k", "parquet": place / "parquet", "saved": place / "saved"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("form", ["jsonl", "parquet", "saved"])
def test_gsm8k_by_its_native_splits(forms, gsm8k, form):
    coder = coder_of(*(row[key] for row in gsm8k["train"] + gsm8k["test"] for key in row))
    data = SftDataSection(
        path=str(forms[form]),
        prompt_field="question",
        response_field="answer",
        answer_field="answer",
        grader="gsm8k",
    )
    for part, split in (("train", "train"), ("eval", "test")):
        source = open_part(data, part)
        assert sum(1 for _ in read_pairs(source, data.fields, "pair")) == len(gsm8k[split])
        found, notes = load(data, coder, part=part, limit=100)
        assert notes == []
        for example, row in zip(found.examples, gsm8k[split][:100], strict=True):
            assert (
                coder.decode(list(example.prompt_ids), skip_special_tokens=False)
                == (row["question"])
            )
            assert (
                coder.decode(list(example.response_ids[:-1]), skip_special_tokens=False)
                == (row["answer"])
            )
            assert example.response_ids[-1] == 0
            assert example.columns["answer"] == row["answer"]


def test_gsm8k_s_lines_as_steps_and_as_whole_solutions(folder, gsm8k, tmp_path):
    write_lines(tmp_path / "gsm8k.jsonl", gsm8k["train"][:400])
    config = BuildConfig(
        source=str(tmp_path / "gsm8k.jsonl"),
        field="answer",
        steps="gsm8k",
        targets="all",
        val_size=20,
        output=tmp_path / "o.jsonl",
    )
    build(config)
    texts = [row[key] for row in gsm8k["train"] for key in row]
    coder = coder_of(*texts, "\\boxed{} The answer is", "I work out what comes next.")
    data = SftDataSection(path=str(config.output), val_path=str(tmp_path / "o.val.jsonl"))
    found, notes = load(data, coder, "bare", limit=500)
    assert len(found.examples) + found.dropped == 500
    assert notes[-1] == (
        "500 responses of o.jsonl begin with a fixed thinking part, 'I work out what comes next.'"
    )
    for example in found.examples:
        written = coder.decode(list(example.response_ids[:-1]), skip_special_tokens=False)
        assert parse_step_output(written).action == example.columns["target_step"]
    whole = data.model_copy(update={"unit": "solution"})
    held_out, _ = load(whole, coder, part="eval")
    assert len(held_out.examples) == 20
    for example in held_out.examples:
        written = coder.decode(list(example.response_ids[:-1]), skip_special_tokens=False)
        assert extract_boxed(written) == example.columns["answer"]


def test_s1k_s_reference_solutions_and_the_thinking_that_it_does_not_have(folder):
    rows = rows_of(folder / "s1k/s1k.json")
    coder = coder_of(*(row[key] for row in rows for key in ("problem", "solution")))
    data = SftDataSection(
        path=str(folder / "s1k/s1k.json"), prompt_field="problem", response_field="solution"
    )
    found, notes = load(data, coder)
    lengths = [len(row["problem"]) + len(row["solution"]) + 1 for row in rows]
    assert found.dropped == sum(length > 2048 for length in lengths) > 0
    assert len(found.examples) == 1000 - found.dropped
    kept = f"{len(found.examples)} kept"
    assert notes == [f"{found.dropped} examples over 2048 tokens left out of s1k.json, {kept}"]
    ids = [str(row["id"]) for row, length in zip(rows, lengths, strict=True) if length <= 2048]
    assert [each.id for each in found.examples] == ids
    with pytest.raises(DataError, match=r"s1k.json, row 1: column 'thinking' .* is blank"):
        load(data.model_copy(update={"thinking_field": "thinking"}), coder)


def test_math_by_its_solutions_and_by_its_answers(folder):
    rows = rows_of(folder / "math500/test.jsonl")
    coder = coder_of(*(str(value) for row in rows for value in row.values()))
    data = SftDataSection(
        path=str(folder / "math500"),
        train_split="test",
        prompt_field="problem",
        response_field="solution",
        answer_field="answer",
        max_seq_len=100_000,
    )
    found, notes = load(data, coder)
    assert (len(found.examples), notes) == (500, [])
    assert [each.columns["answer"] for each in found.examples] == [row["answer"] for row in rows]
    assert {each.columns["grader"] for each in found.examples} == {"math"}
    assert load(data, coder, part="eval")[0] is None


def test_math_s_answers_of_which_some_are_not_there(folder):
    rows = rows_of(folder / "math_train/math.json")
    texts = [str(row[key]) for row in rows for key in ("problem", "answer")]
    data = SftDataSection(
        path=str(folder / "math_train/math.json"), prompt_field="problem", response_field="answer"
    )
    blank = [n for n, row in enumerate(rows, start=1) if not row["answer"]]
    with pytest.raises(DataError) as caught:
        load(data, coder_of(*texts))
    assert f"math.json, row {blank[0]}: column 'answer' (--response-field) holds nothing" in str(
        caught.value
    )
    skipping = data.model_copy(update={"on_error": "skip", "max_seq_len": 100_000})
    source = open_part(skipping, "train")
    skipped = []
    found = list(read_pairs(source, data.fields, "pair", "skip", skipped.append))
    assert (len(found), len(skipped)) == (7474 - len(blank), len(blank))


def test_gsm8k_as_chats(gsm8k, tmp_path):
    rows = gsm8k["train"][:50]
    path = tmp_path / "chats.jsonl"
    messages = [
        [
            {"role": "user", "content": row["question"]},
            {"role": "assistant", "content": row["answer"]},
        ]
        for row in rows
    ]
    write_lines(path, [{"messages": chat, "source": "gsm8k"} for chat in messages])
    coder = coder_of(*(row[key] for row in rows for key in row), "User: Assistant:\n")
    found, _ = load(SftDataSection(path=str(path)), coder, "chat")
    for example, row in zip(found.examples, rows, strict=True):
        assert example.text == f"User: {row['question']}\n\nAssistant:"
        assert example.columns == {"problem": row["question"]}
