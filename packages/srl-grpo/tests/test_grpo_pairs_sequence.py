"""From questions to a run: build, traces (a teacher on loopback), grade, pairs, split, sft."""

import json
import re
from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen2Config, Qwen2ForCausalLM

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.loopback import LoopbackServer, chat_reply
from srl_data.rendering import number_of
from srl_grpo.run.trackers import read_metrics

COUNT = 12


def model_folder(folder: Path) -> Path:
    """A tiny model whose tokenizer writes every text, a byte a token."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    names = ["<|end|>", "<|pad|>", *alphabet]
    core = Tokenizer(models.BPE({name: n for n, name in enumerate(names)}, []))
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core, eos_token="<|end|>", pad_token="<|pad|>"
    )
    tokenizer.save_pretrained(folder)
    config = Qwen2Config(
        vocab_size=len(names) + 6,
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=1024,
        eos_token_id=0,
        pad_token_id=1,
        bos_token_id=None,
        tie_word_embeddings=True,
    )
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


def math_folder(folder: Path) -> Path:
    """MATH as its archive has it: a file for each problem."""
    for split in ("train", "test"):
        for number in range(COUNT):
            path = folder / split / "algebra" / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            row = {
                "problem": f"What is {number}+{len(split)}?",
                "solution": f"It is \\boxed{{{number + len(split)}}}.",
                "level": "Level 1",
                "type": "Algebra",
            }
            path.write_text(json.dumps(row))
    return folder


def teacher(body: dict[str, object]) -> object:
    """Adds, and is wrong about multiples of four."""
    first, second = map(int, re.findall(r"\d+", str(body["messages"]))[:2])
    said = first + second + (first % 4 == 0)
    return chat_reply(f"so \\boxed{{{said}}}.", reasoning_content=f"{first} and {second}.")


def data(*words: object) -> None:
    assert execute(cli, "srl-data", list(map(str, words))) == 0


def rows(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_whole_sequence_from_questions_to_a_run_and_its_prompts(call, tmp_path, monkeypatch):
    pytest.importorskip("math_verify")
    monkeypatch.setenv("SRL_DATA_API_KEY", "secret-key")
    data("build", "math", "--source", math_folder(tmp_path / "MATH"), "--output-dir", "math")
    with LoopbackServer(answer=teacher).running() as server:
        asked = ("--model", "m", "--base-url", server.url, "--samples", 2, "--temperature", 1)
        data("traces", "--source", "math/train.jsonl", "--output", "traces.jsonl", *asked)
    data("grade", "traces.jsonl", "--output", "graded.jsonl", "--reward", "math")
    data("pairs", "--source", "graded.jsonl", "--output", "sft.jsonl", "--template", "r1_zero")
    data("split", "--source", "sft.jsonl", "--val-size", 3)

    sft, train = rows(tmp_path / "sft.jsonl"), rows(tmp_path / "sft_train.jsonl")
    assert (len(sft), len(train), len(rows(tmp_path / "sft_val.jsonl"))) == (24, 18, 6)
    assert rows(tmp_path / "sft_train_filtered.jsonl") == [
        row for row in train if int(re.findall(r"\d+", row["prompt"])[0]) % 4
    ]
    assert sum(row["meta"]["exact"] for row in sft) == 18
    assert re.fullmatch(r"<think>.+</think> <answer>so .+</answer>", sft[2]["response"])
    written = (path for path in tmp_path.rglob("*") if path.is_file())
    assert not any(b"secret-key" in path.read_bytes() for path in written)

    parts = ("--data", "sft_train_filtered.jsonl", "--val-data", "sft_val.jsonl")
    model = ("--model", model_folder(tmp_path / "base"), "--num-steps", 2)
    form = ("--template", "r1_zero", "--max-seq-len", 1000, "--max-new-tokens", 4)
    code, _, err = call("sft", *model, *parts, *form, "--output-dir", "out")
    assert code == 0, err
    steps = list(read_metrics(tmp_path / "out/metrics.jsonl"))
    assert sum("examples" in row for row in steps) == 2

    model = ("--model", "out/final", "--infile", "sft_val.jsonl")
    for workers in (1, 2):
        data("render-eval", *model, "--outfile", f"eval{workers}.jsonl", "--workers", workers)
    found = rows(tmp_path / "eval1.jsonl")
    assert (tmp_path / "eval1.jsonl").read_bytes() == (tmp_path / "eval2.jsonl").read_bytes()
    assert len(found) == 6
    for row in found:
        first, second = map(int, re.findall(r"\d+", row["problem"]))
        assert row["prompt"].endswith(f"User: {row['problem']}\n\nAssistant: <think>")
        assert (row["gold"], row["gold_num"]) == (str(first + second), first + second)
    manifest = json.loads((tmp_path / "eval1.manifest.json").read_text())
    assert manifest["options"]["prompt_format"]["name"] == "r1_zero"
    assert manifest["counts"]["gold_num"] == 6


@pytest.mark.parametrize(
    ("gold", "number"),
    [
        ("18", 18),
        ("1{,}000", 1000),
        ("-3.5", -3.5),
        (r"\frac{1}{2}", 0.5),
        ("3/4", 0.75),
        (r"\left( 3, \frac{\pi}{2} \right)", None),
        ("x^2", None),
        (r"\sqrt{2}", None),
        ("1e999", None),
        ("(B)", None),
    ],
)
def test_a_gold_that_is_a_number_has_its_value(gold, number):
    assert number_of(gold) == number
