"""`srl-data split` (whole questions, seeded, stratified) and `dedupe` (the first of equal ones)."""

import json
from collections import Counter
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.splitting import shares


def write(path: Path, rows) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(*args: object) -> int:
    return execute(cli, "srl-data", list(map(str, args)))


ROWS = [
    {
        "id": f"{i}/{k}",
        "prompt": f"Question  {i}" if k else f" Question {i}",
        "response": "R",
        "meta": {"level": i % 4 if i < 90 else 4, "exact": (i + k) % 3 != 0},
    }
    for i in range(100)
    for k in range(3)
]


def test_whole_questions_go_one_way_and_the_filtered_are_the_correct_ones(tmp_path):
    source = write(tmp_path / "sft.jsonl", ROWS)
    assert run("split", "--source", source, "--val-size", 10) == 0
    train, val = read(tmp_path / "sft_train.jsonl"), read(tmp_path / "sft_val.jsonl")
    assert (len(train), len(val)) == (270, 30)
    held = {row["id"].split("/")[0] for row in val}
    assert len(held) == 10
    assert train == [row for row in ROWS if row["id"].split("/")[0] not in held]
    assert read(tmp_path / "sft_train_filtered.jsonl") == [
        row for row in train if row["meta"]["exact"]
    ]
    manifest = json.loads((tmp_path / "sft_val.manifest.json").read_text())
    assert manifest["counts"]["questions_held_out"] == 10
    assert manifest["records"] == 30


def test_the_seed_decides_and_order_and_other_rows_do_not(tmp_path):
    def held(rows, *args: object) -> set[str]:
        source = write(tmp_path / "a.jsonl", rows)
        assert run("split", "--source", source, "--val-size", 10, *args) == 0
        return {row["prompt"].strip() for row in read(tmp_path / "a_val.jsonl")}

    first = held(ROWS)
    assert held(ROWS) == first
    assert held(ROWS[::-1]) == first
    assert held(ROWS, "--workers", 2) == first
    assert held(ROWS, "--seed", 1) != first
    assert len(held(ROWS[:270]) & first) >= len(first) - 4, "a question's place is its own"


def test_of_each_stratum_the_same_share_is_held_out(tmp_path):
    source = write(tmp_path / "sft.jsonl", ROWS)
    assert run("split", "--source", source, "--val-size", 20, "--stratify", "level") == 0
    val = read(tmp_path / "sft_val.jsonl")
    found = Counter(row["meta"]["level"] for row in val if row["id"].endswith("/0"))
    assert found == {0: 5, 1: 5, 2: 4, 3: 4, 4: 2}


@pytest.mark.parametrize(
    ("groups", "size", "expected"),
    [
        ({"a": 50, "b": 50}, 10, {"a": 5, "b": 5}),
        ({"a": 1, "b": 99}, 10, {"a": 0, "b": 10}),
        ({"a": 5, "b": 5, "c": 5}, 4, {"a": 2, "b": 1, "c": 1}),
        ({"": 7}, 3, {"": 3}),
    ],
)
def test_shares_are_in_proportion_and_add_up(groups, size, expected):
    assert shares(groups, size) == expected


def test_the_names_of_the_parts_come_from_output_or_a_source_that_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "x-00000-of-00002.jsonl", ROWS[:150])
    write(tmp_path / "in" / "x-00001-of-00002.jsonl", ROWS[150:])
    assert run("split", "--source", "in/x-*.jsonl") == 2
    assert run("split", "--source", "in/x-*.jsonl", "--output", "data/sft.jsonl") == 0
    names = {path.name for path in (tmp_path / "data").iterdir() if path.suffix == ".jsonl"}
    assert names == {"sft_train.jsonl", "sft_val.jsonl", "sft_train_filtered.jsonl"}


@pytest.mark.parametrize(
    ("rows", "args", "code", "message"),
    [
        (ROWS, ("--val-size", 100), 2, "leave nothing to train on: there are 100"),
        (ROWS, ("--val-size", 5, "--val-fraction", 0.5), 2, "give one of them"),
        (ROWS, ("--stratify", "nope"), 3, "no column 'nope' (--stratify); its columns:"),
        (ROWS, ("--question-field", "nope"), 3, ":1: no column 'nope'"),
        ([{"x": 1}], (), 3, "name the question's with --question-field"),
        ([], (), 3, "holds no rows"),
        ([{"prompt": f"{i}", "exact": False} for i in range(9)], (), 3, "is graded correct"),
    ],
)
def test_what_cannot_be_split_is_one_line_and_writes_nothing(
    tmp_path, capfd, rows, args, code, message
):
    source = write(tmp_path / "a.jsonl", rows)
    assert run("split", "--source", source, *args) == code
    assert message in capfd.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_part_is_not_written_over_its_source(tmp_path):
    source = write(tmp_path / "a_train.jsonl", ROWS)
    assert run("split", "--source", source, "--output", tmp_path / "a.jsonl") == 2
    assert read(source) == ROWS


def test_records_without_grades_leave_an_earlier_filtered_file_and_say_so(tmp_path, capfd):
    assert run("split", "--source", write(tmp_path / "a.jsonl", ROWS)) == 0
    bare = [{"prompt": row["prompt"]} for row in ROWS]
    assert run("split", "--source", write(tmp_path / "a.jsonl", bare)) == 0
    assert "a_train_filtered.jsonl is of an earlier split" in capfd.readouterr().out


def test_of_equal_records_the_first_is_kept(tmp_path, capfd):
    rows = [
        {"id": "a", "problem": "x  y", "content": "1"},
        {"id": "b", "problem": "x y", "content": "2"},
        {"id": "c", "problem": "x\ny ", "content": "1"},
        {"id": "d", "problem": "X y", "content": "1"},
        {"id": "e", "problem": "caf\u00e9", "content": "1"},
        {"id": "f", "problem": "cafe\u0301", "content": "1"},
    ]
    source, output = write(tmp_path / "a.jsonl", rows), tmp_path / "b.jsonl"
    assert run("dedupe", "--source", source, "--output", output) == 0
    assert [row["id"] for row in read(output)] == ["a", "b", "d", "e"]
    assert "compared by problem, content" in capfd.readouterr().out
    manifest = json.loads((tmp_path / "b.manifest.json").read_text())
    assert manifest["excluded"] == {"duplicate": ["c", "f"]}
    assert manifest["reasons"] == {"duplicate": 2}
    assert run("dedupe", "--source", source, "--output", output, "--by", "problem") == 0
    assert [row["id"] for row in read(output)] == ["a", "d", "e"]
    assert run("dedupe", "--source", source, "--output", source) == 2
    assert run("dedupe", "--source", source, "--output", output, "--by", "nope") == 3


@pytest.mark.parametrize("command", ["split", "build"])
def test_a_question_asked_in_other_case_or_spacing_goes_to_the_same_side(command, tmp_path):
    steps = "1. One first.\n\n2. Two second."
    asked = [(f"Is $x={n}$ é?", f"is  $x \\, = {n}$ e\u0301") for n in range(30)]
    rows = [{"question": text, "solution": steps} for pair in asked for text in pair]
    source, output = tmp_path / "in.jsonl", tmp_path / "o.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = {
        "split": ["split"],
        "build": ["build", "s1k", "--field", "solution"],
    }[command]
    words += ["--source", str(source), "--output", str(output), "--val-size", "12"]
    assert execute(cli, "srl-data", words) == 0
    name = "o_val.jsonl" if command == "split" else "o.val.jsonl"
    column = "question" if command == "split" else "problem"
    lines = (tmp_path / name).read_text().splitlines()
    held = {json.loads(line)[column] for line in lines}
    assert len(held) == 24
    assert all(({one, other} <= held) == (one in held) for one, other in asked)
