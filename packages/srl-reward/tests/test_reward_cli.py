"""`srl-reward score`: values, streaming, each bad line and exit code."""

import io
import itertools
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path

import pytest

from srl_reward._jsonl import BATCH_BYTES, DataError, read_batches
from srl_reward._progress import Progress
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
        ('{"completion": "x", "target_step": 5}', "in.jsonl:2: column 'target_step' holds 5 (int)"),
        (
            '{"completion": "x", "target_step": "x", "truncated": "no"}',
            "in.jsonl:2: column 'truncated' holds 'no' (str), expected True, False or None",
        ),
        ('{"completion": ' + "[" * 100_000, "in.jsonl:2: JSON nested too deeply"),
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
    assert "no such folder" in capsys.readouterr().err


def run(*args: str, **options: object) -> "subprocess.CompletedProcess[bytes]":
    command = [sys.executable, "-m", "srl_reward.cli", *args]
    return subprocess.run(command, capture_output=True, timeout=60, check=False, **options)  # type: ignore[call-overload, no-any-return]


def test_the_version_is_the_packages() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout.decode()) == (
        0,
        f"srl-reward, version {version('srl-reward')}\n",
    )


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ([], 2, "the following arguments are required: COMMAND (see srl-reward --help)"),
        (["score"], 2, "the following arguments are required: FILE.jsonl (see srl-reward score"),
        (["score", "none.jsonl"], 3, "no such data file: none.jsonl"),
        (["score", "."], 3, "expected a JSON Lines file, found a folder: ."),
        (["score", "-"], 3, "standard input holds no records; expected one JSON object a line"),
        (["score", "-", "-o", "."], 2, "--output . is a folder, expected a file"),
        (["score", "-", "-o", "no/x"], 1, "no such folder"),
    ],
)
def test_each_error_is_one_line_in_the_houses_form(
    tmp_path: Path, args: list[str], code: int, message: str
) -> None:
    done = run(*args, cwd=tmp_path, stdin=subprocess.DEVNULL)
    error = done.stderr.decode()
    assert error.startswith("srl-reward: error: ")
    assert message in error
    assert (done.returncode, error.count("\n"), done.stdout) == (code, 1, b"")


def test_a_bad_environment_is_a_usage_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SRL_REWARD_THREADS", "many")
    assert main(["score", write(tmp_path / "in.jsonl", GOOD)]) == 2
    assert "SRL_REWARD_THREADS is" in capsys.readouterr().err


def test_a_byte_order_mark_and_crlf_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + b"\r\n".join([json.dumps(GOOD).encode()] * 2) + b"\r\n")
    assert main(["score", str(path)]) == 0
    out = capsys.readouterr().out
    assert [json.loads(line)["reward"] for line in out.splitlines()] == [1.0, 1.0]


def test_lone_surrogates_and_nan_come_back_as_they_were(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "in.jsonl"
    path.write_text('{"completion": "\\ud800", "target_step": "x", "loss": NaN}\n')
    assert main(["score", str(path)]) == 0
    assert capsys.readouterr().out.startswith(
        '{"completion": "\\ud800", "target_step": "x", "loss": NaN, "reward": -1.0'
    )


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_once(tmp_path: Path) -> None:
    name = write(tmp_path / "in.jsonl", GOOD)
    command = [sys.executable, "-m", "srl_reward.cli", "score", name]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=60)
    assert (done.returncode, done.stderr.decode().count("\n")) == (1, 1)
    assert b"No space left" in done.stderr


def test_a_reader_that_leaves_ends_the_run_quietly(tmp_path: Path) -> None:
    name = write(tmp_path / "in.jsonl", *[GOOD] * 5_000)
    command = [sys.executable, "-m", "srl_reward.cli", "score", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert (process.wait(60), process.stderr.read()) == (1, b"")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_device_or_link_is_written_to_not_replaced(tmp_path: Path) -> None:
    name = write(tmp_path / "in.jsonl", GOOD)
    (tmp_path / "real.jsonl").write_text("old")
    link = tmp_path / "link.jsonl"
    link.symlink_to(tmp_path / "real.jsonl")
    assert main(["score", name, "-o", str(link)]) == 0
    assert link.is_symlink()
    assert json.loads((tmp_path / "real.jsonl").read_text())["reward"] == 1.0
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with ThreadPoolExecutor(1) as executor:
        text = executor.submit(pipe.read_text)
        assert main(["score", name, "-o", str(pipe)]) == 0
    assert json.loads(text.result())["reward"] == 1.0
    assert pipe.is_fifo()


def test_memory_is_bounded_by_bytes_not_only_by_lines(tmp_path: Path) -> None:
    long = {**GOOD, "completion": "x" * (BATCH_BYTES // 2)}
    path = Path(write(tmp_path / "in.jsonl", long, long, long, GOOD))
    with path.open("rb") as source:
        assert [len(batch) for batch in read_batches(source, "x")] == [2, 2]


def test_a_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("srl_reward._jsonl.LINE_BYTES", 10)
    with pytest.raises(DataError, match="x:1: longer than 10 bytes"):
        list(read_batches(io.BytesIO(b"\0" * 100), "x"))


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_a_pipe_plain_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    for stream in (io.StringIO(), Terminal()):
        times = itertools.chain([0.0], itertools.repeat(20.0))
        monkeypatch.setattr("srl_reward._progress.time.monotonic", times.__next__)
        monkeypatch.setattr(sys, "stderr", stream)
        progress = Progress(200, records_on_stdout=False)
        progress.add(1_000, 100)
        progress.close()
        if isinstance(stream, Terminal):
            assert (
                "\r━━━━━━━━━━━━╌╌╌╌╌╌╌╌╌╌╌╌  50%  1,000 pairs, 50 pairs/s\x1b[K"
                in stream.getvalue()
            )
        else:
            assert stream.getvalue() == "50%, 1,000 pairs, 50 pairs/s\n"


def test_an_interrupt_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("srl_reward.cli._score_batch", interrupt)
    assert main(["score", write(tmp_path / "in.jsonl", GOOD)]) == 130
    assert capsys.readouterr().err == "srl-reward: error: interrupted\n"


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


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("We look at the cases:\n1. n is even\n2. n is odd", "several_steps"),
        ("2. so </think> it is", "misplaced_think"),
        ("2.", "empty_action"),
    ],
)
def test_a_target_that_can_never_be_rewarded_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str, fault: str
) -> None:
    path = tmp_path / "in.jsonl"
    bad = {"completion": f"<think>x</think>\n{target}", "target_step": target}
    path.write_text(f"{json.dumps(GOOD)}\n{json.dumps(bad)}\n")
    assert main(["score", str(path)]) == 3
    error = capsys.readouterr().err
    assert f"in.jsonl:2: target_step {target[:40]!r} can never be rewarded" in error
    assert f"({fault})" in error
    assert main(["score", "--reward", "format", str(path)]) == 0
