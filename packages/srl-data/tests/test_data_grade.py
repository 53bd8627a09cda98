"""`srl-data grade`: values, selection, streaming, each bad line and exit code."""

import io
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from srl_data import grader
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.passes import chunks
from srl_data.records import numbered_lines
from srl_data.splits import open_source

GOOD = {"id": "a", "completion": "<think>é</think>2. x", "target_step": "2. x"}
BAD = {"id": "b", "completion": "x", "target_step": "2. x"}
COMMAND = [sys.executable, "-c", "from srl_data.cli import main; main()", "grade"]


def write(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def run(capfdbinary, *args: str) -> tuple[int, list[dict[str, object]], str]:
    code = execute(cli, "srl-data", ["grade", *args])
    out, err = capfdbinary.readouterr()
    if "--output" in args:
        return code, [], out.decode() + err.decode()
    return code, [json.loads(line) for line in out.splitlines()], err.decode()


def test_rewards_and_reasons_are_added_in_order(tmp_path, capfdbinary):
    name = write(tmp_path / "in.jsonl", GOOD, BAD, {**GOOD, "target_step": None})
    code, rows, err = run(capfdbinary, name)
    assert code == 0
    assert rows == [
        {**GOOD, "reward": 1.0, "reason": None, "exact": True},
        {**BAD, "reward": -1.0, "reason": "missing_think", "exact": False},
        {**GOOD, "target_step": None, "reward": None, "reason": None, "exact": None},
    ]
    assert "2 of 3 records graded: mean reward 0.0000, exact 50.0%" in err
    assert "missing_think 1" in err


def test_columns_and_options_reach_the_reward(tmp_path, capfdbinary):
    record = {"out": "a</think>abcd", "expert": "abce", "prompt": "Q <think>"}
    name = write(tmp_path / "in.jsonl", record, {**record, "finish_reason": "length"})
    options = ["--completion-field", "out", "--target-field", "expert", "--metric", "levenshtein"]
    _, rows, _ = run(capfdbinary, name, *options)
    assert [row["reward"] for row in rows] == [0.75, -1.0]
    step = {"completion": "<think>a</think>1. " + "ab" * 300, "target_step": "2. " + "ab" * 300}
    name = write(tmp_path / "steps.jsonl", step)
    assert run(capfdbinary, name)[1][0]["reward"] == 1.0
    assert run(capfdbinary, name, "--no-strip-number")[1][0]["reward"] < 1.0
    edited = {**step, "target_step": "2. c" + "ab" * 300}
    name = write(tmp_path / "edited.jsonl", edited)
    assert run(capfdbinary, name)[1][0]["reward"] > 0.99
    assert run(capfdbinary, name, "--autojunk")[1][0]["reward"] < 0.1
    assert run(capfdbinary, name, "--max-chars", "20")[1][0]["reward"] < 0.1


@pytest.mark.parametrize(
    ("reward", "completion", "gold"),
    [
        ("aime", r"\boxed{033}", "33"),
        ("exact", r"\boxed{x}", "x"),
        ("gsm8k", "#### 1,000", "1000"),
        ("boxed_think", r"<think>a</think>\boxed{x}", "x"),
        ("r1_zero", "<think>a</think> <answer>x</answer>", "x"),
        ("question_only", r"so \boxed{x}", "x"),
    ],
)
def test_every_reward_is_reached_by_its_name(tmp_path, capfdbinary, reward, completion, gold):
    if reward in ("r1_zero", "question_only"):
        pytest.importorskip("math_verify")
    right = {"completion": completion, "answer": gold}
    wrong = {"completion": completion, "answer": "7"}
    name = write(tmp_path / "in.jsonl", right, wrong)
    _, rows, _ = run(capfdbinary, name, "--reward", reward)
    assert [row["exact"] for row in rows] == [True, False]


def test_a_grader_whose_library_is_missing_is_one_line(tmp_path, capfdbinary, monkeypatch):
    monkeypatch.setattr("srl_reward.grading.find_spec", lambda _name: None)
    name = write(tmp_path / "in.jsonl", {"completion": r"\boxed{x}", "answer": "x"})
    assert execute(cli, "srl-data", ["grade", str(name), "--reward", "question_only"]) == 1
    assert b"the grader 'math' needs math-verify" in capfdbinary.readouterr().err


def test_keep_writes_only_what_is_good_enough(tmp_path, capfdbinary):
    near = {**GOOD, "id": "c", "completion": "<think>a</think>2. xy"}
    name = write(tmp_path / "in.jsonl", GOOD, BAD, near, {**GOOD, "target_step": None})
    _, exact, _ = run(capfdbinary, name, "--mode", "keep")
    _, good, _ = run(capfdbinary, name, "--mode", "keep", "--min-reward", "0.5")
    assert [row["id"] for row in exact] == ["a"]
    assert [row["id"] for row in good] == ["a", "c"]


def test_a_reward_of_the_users_own_gets_every_field(tmp_path, capfdbinary):
    file = tmp_path / "mine.py"
    file.write_text(
        "def length(completions, bonus, **columns):\n"
        "    assert sorted(columns) == ['id', 'self_']\n"
        "    return [None if b is None else len(c) + b for c, b in zip(completions, bonus)]\n"
    )
    name = write(
        tmp_path / "in.jsonl",
        {"id": "a", "completion": "xyz", "bonus": 2, "self_": 1, "self": 2, "completions": 3},
        {"id": "b", "completion": "xyz", "bonus": None},
    )
    code, rows, _ = run(capfdbinary, name, "--reward", f"{file}:length")
    assert (code, [row["reward"] for row in rows]) == (0, [5.0, None])


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def f(completions, **_): return [1.0]", "returned 1 values for 2 completions"),
        ("def f(completions, **_): return ['a'] * len(completions)", "returned 'a', expected a nu"),
        ("def f(completions, **_): return [float('nan')] * len(completions)", "returned nan"),
    ],
)
def test_a_reward_of_the_users_own_that_returns_nonsense_is_named(
    tmp_path, capfdbinary, body, message
):
    (tmp_path / "mine.py").write_text(body)
    name = write(tmp_path / "in.jsonl", GOOD, GOOD)
    code, rows, err = run(capfdbinary, name, "--reward", f"{tmp_path / 'mine.py'}:f")
    if "1 values" in message:  # one line at a time it is right: the batch is then graded so
        assert (code, len(rows)) == (0, 2)
    else:
        assert (code, rows) == (3, [])
        assert message in err


def test_an_output_file_appears_only_when_complete_and_has_a_manifest(tmp_path, capfdbinary):
    target = tmp_path / "out.jsonl"
    name = write(tmp_path / "in.jsonl", GOOD, BAD)
    assert run(capfdbinary, name, "--output", str(target))[0] == 0
    assert [json.loads(line)["reward"] for line in target.read_text().splitlines()] == [1.0, -1.0]
    manifest = json.loads((tmp_path / "out.manifest.json").read_text())
    assert manifest["counts"] == {
        "read": 2,
        "graded": 2,
        "exact": 1,
        "written": 2,
        "skipped": 0,
        "reason missing_think": 1,
    }
    assert manifest["options"]["reward"] == "step"
    before = target.read_bytes()
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    assert run(capfdbinary, str(bad), "--output", str(target))[0] == 3
    assert target.read_bytes() == before
    assert not list(tmp_path.glob(".*"))


LINES = [
    ("{", "not JSON:"),
    ("[1]", "expected a JSON object, found list"),
    ('{"completion": "x"}', "no field 'target_step', only completion"),
    ('{"completion": 5, "target_step": "x"}', "completions[0] is 5 (int)"),
    ("\x00", "not JSON:"),
    ('{"completion": "x", "target_step": 5}', "column 'target_step' holds 5 (int)"),
    (
        '{"completion": "x", "target_step": "x", "truncated": "no"}',
        "column 'truncated' holds 'no' (str), expected True, False or None",
    ),
    ('{"completion": ' + "[" * 100_000, "nested too deeply"),
]


@pytest.mark.parametrize(("line", "message"), LINES)
def test_a_bad_line_is_refused_or_skipped_with_file_line_and_reason(
    tmp_path, capfdbinary, line, message
):
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n" + json.dumps(GOOD) + "\n")
    code, _, err = run(capfdbinary, str(path))
    assert code == 3
    assert f"{path}:2: {message}" in err
    code, rows, err = run(capfdbinary, str(path), "--on-error", "skip")
    assert (code, [row["reward"] for row in rows]) == (0, [1.0, 1.0])
    assert f"left out: {path}:2: {message}" in err


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        (["none.jsonl"], 3, "no such data file: none.jsonl"),
        (["."], 3, ". is a folder without a data set"),
        (["-"], 3, "-: no record to grade"),
        (["-", "--output", "."], 2, ". is a folder; give the name of a file"),
        (["-", "--reward", "boxed_thin"], 2, "did you mean 'boxed_think'?"),
        (["-", "--reward", "format", "--metric", "indel"], 2, "'format' takes no option metric"),
        (["-", "--reward", "aime", "--grader", "math"], 2, "'aime' takes no option grader"),
        (["-", "--reward", "format", "--target-field", "x"], 2, "reads no target"),
        (["-", "--reward", "no_such_module:f"], 2, "No module named 'no_such_module'"),
        (["-", "--reward", "json:f"], 2, "there is no 'f' in json"),
        (["-", "--reward", "json:JSONDecoder"], 2, "expected a function"),
        (["-", "--reward", "no.py:f"], 2, "no such file: no.py"),
        (["-", "--min-reward", "1"], 2, "give --mode keep with it"),
    ],
)
def test_each_error_is_one_line(tmp_path, args, code, message):
    done = subprocess.run(
        [*COMMAND, *args],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=60,
    )
    lines = [line for line in done.stderr.decode().splitlines() if "error:" in line]
    assert (done.returncode, done.stdout, len(lines)) == (code, b"", 1)
    assert message in lines[0]


def test_a_bad_environment_is_a_usage_error(tmp_path, monkeypatch, capfdbinary):
    monkeypatch.setenv("SRL_REWARD_THREADS", "many")
    code, _, err = run(capfdbinary, write(tmp_path / "in.jsonl", GOOD))
    assert code == 2
    assert "SRL_REWARD_THREADS is" in err


def test_standard_input_a_byte_order_mark_and_crlf_are_read(tmp_path):
    content = b"\xef\xbb\xbf" + b"\r\n".join([json.dumps(GOOD).encode()] * 2) + b"\r\n\r\n"
    done = subprocess.run([*COMMAND, "-"], input=content, capture_output=True, check=True)
    assert [json.loads(line)["reward"] for line in done.stdout.splitlines()] == [1.0, 1.0]


def test_lone_surrogates_and_nan_come_back_as_they_were(tmp_path, capfdbinary):
    path = tmp_path / "in.jsonl"
    path.write_text('{"completion": "\\ud800", "target_step": "x", "loss": NaN}\n')
    assert execute(cli, "srl-data", ["grade", str(path)]) == 0
    assert capfdbinary.readouterr().out.startswith(
        b'{"completion": "\\ud800", "target_step": "x", "loss": NaN, "reward": -1.0'
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once(tmp_path):
    name = write(tmp_path / "in.jsonl", GOOD)
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [*COMMAND, name], stdout=full, stderr=subprocess.PIPE, check=False, timeout=60
        )
    assert done.returncode == 1
    assert done.stderr.decode().count("no space left") == 1
    assert b"Traceback" not in done.stderr


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path):
    name = write(tmp_path / "in.jsonl", *[GOOD] * 5_000)
    with subprocess.Popen(
        [*COMMAND, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 1
        assert b"Traceback" not in process.stderr.read()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_or_link_is_written_to_not_replaced(tmp_path, capfdbinary):
    name = write(tmp_path / "in.jsonl", GOOD)
    (tmp_path / "real.jsonl").write_text("old")
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "real.jsonl")
    assert run(capfdbinary, name, "--output", str(link))[0] == 0
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["reward"] == 1.0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as executor:
        text = executor.submit(pipe.read_text)
        assert run(capfdbinary, name, "--output", str(pipe))[0] == 0
    assert json.loads(text.result())["reward"] == 1.0
    assert pipe.is_fifo()


def test_memory_is_bounded_by_bytes_not_only_by_records(tmp_path, monkeypatch):
    monkeypatch.setattr(chunks, "CHARS", 100)
    lines = [json.dumps({"completion": "x" * 60}).encode() + b"\n"] * 3 + [b"{}\n"]
    (tmp_path / "x.jsonl").write_bytes(b"".join(lines))
    source = open_source(tmp_path / "x.jsonl")
    found = chunks.read_chunks(source, "fail")
    assert [len(chunk.rows) for chunk in found] == [2, 2]
    assert len(list(numbered_lines(io.BytesIO(b"".join(lines)), Path("x")))) == 4


def test_many_records_are_graded_in_batches_with_the_values_of_one_by_one(tmp_path, capfdbinary):
    records = [
        {"completion": f"<think>a</think>1. {'ab' * (i % 7)}c", "target_step": "1. ababc"}
        for i in range(chunks.ROWS * 2 + 3)
    ]
    _, rows, _ = run(capfdbinary, write(tmp_path / "in.jsonl", *records))
    assert len(rows) == len(records)
    alone = [
        run(capfdbinary, write(tmp_path / "one.jsonl", r))[1][0]["reward"] for r in records[:7]
    ]
    assert [row["reward"] for row in rows] == [alone[i % 7] for i in range(len(records))]


def test_an_interrupt_ends_with_130(monkeypatch, tmp_path, capfdbinary):
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(grader, "count", interrupt)
    code, _, err = run(capfdbinary, write(tmp_path / "in.jsonl", GOOD))
    assert code == 130
    assert "interrupted" in err
