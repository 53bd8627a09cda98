"""From the manifest to the report: which evaluation sets the training data were compared with."""

import json

import pytest

from srl_data.cli import cli as data
from srl_data.command.frame import execute
from srl_data.manifest import read_manifest
from srl_data.splits import open_source
from srl_grpo.report import write_report

SHARED = "what is the sum of all the numbers from one to nine and then two more"


@pytest.fixture
def config(tiny):
    return tiny(
        synthetic=None,
        num_steps=1,
        data={"template": "question_only", "path": "clean.jsonl", "val_path": "<aime>.jsonl"},
        reward={"reward": "boxed_think"},
    )


def write(path, *problems):
    rows = [{"id": str(n), "problem": text, "answer": "1"} for n, text in enumerate(problems)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "train.jsonl", "1+1=?", "1+2=?", "1+3=?", f"{SHARED}, {SHARED}")
    write(tmp_path / "<aime>.jsonl", "1+2=?", SHARED)
    return tmp_path


def page(folder):
    return write_report(folder).read_text(encoding="utf-8")


def test_what_was_left_out_of_the_data_stands_in_the_run_s_report(call, config, files):
    command = ["decontaminate", "train.jsonl", "--output", "clean.jsonl", "--against"]
    assert execute(data, "srl-data", [*command, "<aime>.jsonl"]) == 0
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 0, errors
    record = json.loads((files / "out/sys/data.json").read_text())
    assert record["decontamination"]["<aime>"] == {
        "source": "<aime>.jsonl", "problems": 2, "exact": 1, "ngram": 1, "problems_overlapped": 2,
    }  # fmt: skip
    row = '<tr><th scope="row">&lt;aime&gt;</th><td>2</td><td>1</td><td>1</td></tr>'
    assert row in page(files / "out")
    with (files / "clean.jsonl").open("a") as file:  # no longer what the manifest tells of
        file.write('{"id": "x", "problem": "1+2=?", "answer": "1"}\n')
    code, _, errors = call("train", "--config", config, "--output-dir", "other")
    assert code == 0, errors
    assert "was compared with no evaluation set (srl-data decontaminate)" in page(files / "other")


def test_counts_go_along_where_records_are_read_and_written_again(files):
    for source, output, against in (("train", "a", "<aime>"), ("a", "b", "other")):
        write(files / "other.jsonl", "1+3=?")
        command = ["decontaminate", f"{source}.jsonl", "--output", f"{output}.jsonl"]
        assert execute(data, "srl-data", [*command, "--against", f"{against}.jsonl"]) == 0
    assert set(read_manifest(files / "b.jsonl").decontamination) == {"other"}
    origin = open_source(files / "b.jsonl").origin
    assert {name: each.exact for name, each in origin.decontamination.items()} == {
        "<aime>": 1, "other": 1,
    }  # fmt: skip
    command = ["grade", "b.jsonl", "--reward", "format", "--completion-field", "problem"]
    assert execute(data, "srl-data", [*command, "--output", "graded.jsonl"]) == 0
    assert open_source(files / "graded.jsonl").origin.decontamination == origin.decontamination
