"""Pairs that `srl-data pairs` wrote for one template are not trained on under another."""

import json

import pytest
import yaml

from srl_data.cli import cli as data
from srl_data.command.errors import ConfigError
from srl_data.command.frame import execute
from srl_data.prompts import get_template
from srl_data.responses import ResponseForm
from srl_data.splits import open_source
from srl_grpo.data.examples import check_written_for

ROWS = [
    {
        "id": str(n),
        "problem": f"{n}+1=?",
        "answer": str(n + 1),
        "reasoning_content": "One more.",
        "content": f"It is \\boxed{{{n + 1}}}.",
    }
    for n in range(20)
]


@pytest.fixture
def traces(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "traces.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return tmp_path


def srl_data(*argv: str) -> None:
    assert execute(data, "srl-data", list(argv)) == 0


def write_pairs(template: str) -> None:
    """From traces to the pairs to train on, as the guide has it."""
    srl_data("pairs", "--source", "traces.jsonl", "--output", "sft.jsonl", "--template", template)
    srl_data("dedupe", "--source", "sft.jsonl", "--output", "once.jsonl")
    srl_data("decontaminate", "once.jsonl", "--against", "other.jsonl", "--output", "clean.jsonl")
    srl_data("split", "--source", "clean.jsonl", "--output", "sft.jsonl", "--val-size", "3")


def form(template: str, *, thinks: bool = False) -> ResponseForm:
    return ResponseForm(get_template(template), thinks, "")


@pytest.mark.parametrize(
    ("written", "asked", "fits"),
    [
        ("chat", "chat", True),
        ("chat", "question_only", True),
        ("boxed", "chat", True),
        ("r1_zero", "r1_zero", True),
        ("r1_zero", "chat", False),
        ("chat", "r1_zero", False),
        ("own.txt", "r1_zero", False),
        ("own.txt", "boxed", True),
    ],
)
def test_the_template_goes_along_through_every_command_and_another_form_is_refused(
    traces, written, asked, fits
):
    (traces / "own.txt").write_text("Answer in a box: {problem}")
    (traces / "other.jsonl").write_text('{"problem": "Another?"}\n')
    write_pairs(written)
    for name in ("sft.jsonl", "sft_train.jsonl", "sft_val.jsonl", "sft_*.jsonl"):
        source = open_source(name)
        if fits:
            check_written_for(source, form(asked))
            continue
        with pytest.raises(ConfigError, match=f"give --template {written}, or write the pairs"):
            check_written_for(source, form(asked))
        check_written_for(source, form(asked, thinks=True))  # the form is given here
    (traces / "sft_train.manifest.json").unlink()
    check_written_for(open_source("sft_train.jsonl"), form(asked))


def test_a_run_on_pairs_of_another_form_ends_in_one_line(traces, call):
    srl_data("pairs", "--source", "traces.jsonl", "--output", "sft.jsonl", "--template", "r1_zero")
    shape = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}
    (traces / "sft.yaml").write_text(yaml.safe_dump({"model": {"build": shape}}))
    code, _, errors = call(
        "sft",
        "--config",
        "sft.yaml",
        "--data",
        "sft.jsonl",
        "--output-dir",
        "out",
        "--max-seq-len",
        "64",
    )
    assert code == 2, errors
    assert "sft.jsonl: srl-data pairs wrote its responses for --template r1_zero" in errors
    assert not (traces / "out").exists()
