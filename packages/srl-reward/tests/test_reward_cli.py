"""`srl-reward score`: values, streaming, each bad line and exit code."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest

from srl_reward.cli import main

GOOD = {"id": "a", "completion": "<think>é</think>2. x", "target_step": "2. x"}
BAD = {"id": "b", "completion": "x", "target_step": "2. x"}


def write(path: Path, *records: object) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_rewards_and_reasons_are_added_in_order(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = write(tmp_path / "in.jsonl", GOOD, BAD, {**GOOD, "target_step": None})
    assert main(["score", name]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert rows == [
        {**GOOD, "reward": 1.0, "reason": None, "exact": True},
        {**BAD, "reward": -1.0, "reason": "missing_think", "exact": False},
        {**GOOD, "target_step": None, "reward": None, "reason": None, "exact": None},
    ]


def test_columns_and_options_reach_the_reward(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = {"out": "a</think>abcd", "expert": "abce", "prompt": "Q <think>"}
    name = write(tmp_path / "in.jsonl", record, {**record, "finish_reason": "length"})
    options = ["--completion", "out", "--target", "expert", "--metric", "levenshtein"]
    assert main(["score", name, *options]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["reward"] for row in rows] == [0.75, -1.0]
    answer = write(tmp_path / "a.jsonl", {"completion": r"\boxed{033}", "answer": "33"})
    assert main(["score", answer, "--reward", "answer", "--grader", "aime"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == 1.0


def test_standard_input_is_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = io.TextIOWrapper(io.BytesIO((json.dumps(GOOD) + "\n\n").encode()))
    monkeypatch.setattr(sys, "stdin", source)
    assert main(["score", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["reward"] == 1.0


def test_an_output_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "out.jsonl"
    assert main(["score", write(tmp_path / "in.jsonl", GOOD), "-o", str(target)]) == 0
    assert json.loads(target.read_text())["reward"] == 1.0
    bad = tmp_path / "bad.jsonl"
    bad.write_text("{}\n")
    target.write_text("old")
    assert main(["score", str(bad), "-o", str(target)]) == 3
    assert target.read_text() == "old"
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "bad.jsonl",
        "in.jsonl",
        "out.jsonl",
    ]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", "in.jsonl:2: not JSON:"),
        ("[1]", "in.jsonl:2: list, expected an object"),
        ('{"completion": "x"}', "in.jsonl:2: no field 'target_step', only ['completion']"),
        ('{"completion": 5, "target_step": "x"}', "in.jsonl:2: 'completion' is neither"),
        ("\x00", "in.jsonl:2: not JSON:"),
    ],
)
def test_a_bad_line_is_refused_with_file_line_and_reason(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], line: str, message: str
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + line + "\n")
    assert main(["score", str(path)]) == 3
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_missing_input_usage_and_failures_have_their_codes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", str(tmp_path / "none.jsonl")]) == 3
    assert main(["score", str(tmp_path)]) == 3
    with pytest.raises(SystemExit) as usage:
        main(["score"])
    assert usage.value.code == 2
    nowhere = tmp_path / "no" / "where.jsonl"
    assert main(["score", write(tmp_path / "in.jsonl", GOOD), "-o", str(nowhere)]) == 1
    assert "no such file" in capsys.readouterr().err


def test_an_interrupt_ends_with_130(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("srl_reward.cli._score_batch", interrupt)
    assert main(["score", write(tmp_path / "in.jsonl", GOOD)]) == 130


def test_the_package_imports_fast_and_light() -> None:
    code = (
        "import time, sys; s = time.process_time(); import srl_reward, srl_reward.cli; "
        "print(time.process_time() - s, 'torch' in sys.modules, 'rapidfuzz' in sys.modules, "
        "'math_verify' in sys.modules)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout.split()
        for _ in range(3)
    ]
    assert {tuple(run[1:]) for run in runs} == {("False", "False", "False")}
    # 50 ms is the aim on an idle machine; processor time and the bound leave room for a busy one.
    assert min(float(run[0]) for run in runs) < 0.12
