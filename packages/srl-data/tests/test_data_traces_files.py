"""Questions in the forms that people have, and outputs that a run finds or leaves."""

import json
import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from srl_data import pace
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.lock import FolderLock
from srl_data.loopback import LoopbackServer, failing
from srl_data.traces.ledger import mend_end

Json = dict[str, object]
SUMS = [{"id": f"q{n}", "problem": f"What is {n}+1?", "answer": str(n + 1)} for n in range(5)]


def ask(server: LoopbackServer, tmp_path: Path, rows: Sequence[object], *more: str) -> int:
    """The exit code of a run over rows."""
    path = tmp_path / "questions.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    words = ["traces", "--source", str(path), "--output", str(tmp_path / "out.jsonl")]
    words += ["--model", "teacher", "--base-url", server.url, "--retry-delay", "0.01"]
    return execute(cli, "srl-data", [*words, *more])


def written(tmp_path: Path) -> list[Json]:
    """The records."""
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]


def test_questions_in_several_forms(tmp_path: Path, chat_server: LoopbackServer) -> None:
    rows: list[Json] = [
        {"question": "What is 1+1?", "answer": "1+1 = <<1+1=2>>2\n#### 2"},
        {"question": "Name a colour.", "answer": None},
        {"question": "What is 2+1?", "answer": 3, "id": 17, "meta": {"grader": "math", "level": 2}},
    ]
    assert ask(chat_server, tmp_path, rows, "--template", "chat") == 0
    kept = [
        (each["id"], each["answer"], each["grader"], each["meta"]) for each in written(tmp_path)
    ]
    assert kept == [
        ("questions-00000", "2", None, {}),
        ("questions-00001", None, None, {}),
        ("17", "3", "math", {"grader": "math", "level": 2}),
    ]
    assert [each["problem"] for each in written(tmp_path)] == [row["question"] for row in rows]


def test_a_chat_is_asked_up_to_its_last_question(
    tmp_path: Path, chat_server: LoopbackServer
) -> None:
    turns = [
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hello."},
        {"from": "human", "value": "And 1+1?"},
        {"role": "assistant", "content": "2"},
    ]
    assert ask(chat_server, tmp_path, [{"messages": turns}]) == 0
    assert [each["content"] for each in chat_server.requests[0]["messages"]] == [  # type: ignore[index]
        *("Hello", "Hello.", "And 1+1?")
    ]
    assert written(tmp_path)[0]["problem"] == "And 1+1?"
    assert ask(chat_server, tmp_path, [{"messages": [turns[1]]}]) == 3


@pytest.mark.parametrize(
    ("rows", "more", "fault"),
    [
        ([], [], "holds no rows"),
        ([{"text": "x"}], [], "has no column 'problem' or 'question' or"),
        ([{"problem": "x"}], ["--problem-field", "body"], "has no column 'body' (--problem-field)"),
        ([{"problem": "x"}, {"problem": " "}], [], "questions.jsonl:2: column 'problem'"),
        ([{"problem": "x"}, {"problem": None}], [], "holds nothing (null), expected a text"),
        ([{"problem": "x"}, {"other": "y"}], [], "questions.jsonl:2: no column 'problem'"),
        ([{"id": "a", "problem": "x"}] * 2, [], "has two questions called 'a'"),
        ([{"problem": "x"}], ["--answer-field", "gold"], "no column 'gold' (--answer-field)"),
        ([{"problem": "x"}], ["--id-field", "name"], "no column 'name' (--id-field)"),
        ([{"problem": "x"}], ["--keep", "level"], "no column 'level' (--keep)"),
        ([{"problem": "x\ud800"}], [], "surrogate"),
        ([{"problem": "x", "meta": {"a": "\ud800"}}], [], "surrogate"),
        ([{"problem": "x", "grader": "vibes"}], [], "unknown grader 'vibes'"),
    ],
)
def test_rows_that_cannot_be_asked_are_refused_before_anything_is(
    tmp_path: Path,
    chat_server: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    rows: list[Json],
    more: list[str],
    fault: str,
) -> None:
    assert ask(chat_server, tmp_path, rows, *more) == 3
    assert fault in capsys.readouterr().err
    assert chat_server.requests == []
    assert not (tmp_path / "out.jsonl").exists()


def test_bad_rows_are_left_out_where_that_is_asked_for(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [SUMS[0], {"problem": ""}, ["no row"], SUMS[1]]
    assert ask(chat_server, tmp_path, rows, "--on-error", "skip") == 0
    assert [each["id"] for each in written(tmp_path)] == ["q0", "q1"]
    assert capsys.readouterr().out.count("left out: ") == 2
    assert ask(chat_server, tmp_path, [{"problem": ""}], "--on-error", "skip") == 3


def test_a_question_that_changed_under_its_id_is_noticed(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ask(chat_server, tmp_path, SUMS) == 0
    changed = [*SUMS[:3], {"id": "q3", "problem": "What is 30+1?"}]
    assert ask(chat_server, tmp_path, changed) == 3
    assert "answers another question 'q3'" in capsys.readouterr().err
    assert ask(chat_server, tmp_path, SUMS[:2]) == 0
    assert "3 answers in the file are to questions not asked now" in capsys.readouterr().out
    assert len(written(tmp_path)) == 5


@pytest.mark.parametrize("torn", [0.1, 0.5, 0.99, 1.0])
def test_a_line_that_a_kill_tore_is_asked_for_again_and_a_whole_one_is_not(
    tmp_path: Path, chat_server: LoopbackServer, torn: float
) -> None:
    assert ask(chat_server, tmp_path, SUMS, "--concurrency", "1") == 0
    path = tmp_path / "out.jsonl"
    whole = path.read_bytes()
    *lines, last = whole.splitlines(keepends=True)
    end = last.rstrip(b"\n")
    path.write_bytes(b"".join(lines) + end[: int(len(end) * torn)])
    before = len(chat_server.requests)
    assert ask(chat_server, tmp_path, SUMS) == 0
    assert path.read_bytes() == whole
    assert len(chat_server.requests) == before + (torn < 1)


def test_the_last_line_is_found_across_blocks(tmp_path: Path) -> None:
    path = tmp_path / "long.jsonl"
    first = json.dumps({"a": "x" * 100_000}).encode() + b"\n"
    for rest in (b"", b"\n", b'{"b": "' + b"y" * 200_000):
        path.write_bytes(first + rest)
        mend_end(path)
        assert path.read_bytes().startswith(first)
        assert len(path.read_bytes().split()) == 2


@pytest.mark.parametrize("content", ['{"id": "a", "problem": "x"}\n', "Dear diary,\n"])
def test_a_file_of_somebody_else_is_left_alone(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str], content: str
) -> None:
    (tmp_path / "out.jsonl").write_text(content)
    assert ask(chat_server, tmp_path, SUMS) == 3
    assert "exists and is not this command's" in capsys.readouterr().err
    assert (tmp_path / "out.jsonl").read_text() == content
    assert chat_server.requests == []
    source = tmp_path / "questions.jsonl"
    words = ["traces", "--source", str(source), "--output", str(source), "--model", "m"]
    assert execute(cli, "srl-data", [*words, "--base-url", chat_server.url]) == 2


def test_two_runs_do_not_ask_for_one_output(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    other = FolderLock("out.jsonl")
    other.take(tmp_path)
    assert ask(chat_server, tmp_path, SUMS) == 1
    assert "out.jsonl is in use by process" in capsys.readouterr().err
    other.release()
    assert ask(chat_server, tmp_path, SUMS) == 0


def test_an_interrupt_keeps_what_came_and_says_how_to_go_on(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    chat_server.delay = 0.05
    rows = [{"id": f"q{n}", "problem": f"What is {n}?"} for n in range(200)]
    output = tmp_path / "out.jsonl"

    def interrupt() -> None:
        while not output.exists() or output.stat().st_size < 1000:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt, daemon=True).start()
    assert ask(chat_server, tmp_path, rows, "--concurrency", "4") == 130
    assert "run the same command again for the others" in capsys.readouterr().err
    kept, before = len(written(tmp_path)), len(chat_server.requests)
    assert 0 < kept < 200
    chat_server.delay = 0
    assert ask(chat_server, tmp_path, rows) == 0
    assert len(chat_server.requests) - before == 200 - kept


def windows(times: Sequence[float], seconds: float) -> int:
    """The most requests within so many seconds."""
    return max(sum(start <= each < start + seconds for each in times) for start in times)


def test_no_minute_holds_more_requests_than_asked_for_retries_included(
    tmp_path: Path, chat_server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "MINUTE", 1.5)
    chat_server.faults = [failing(500)] * 4
    assert ask(chat_server, tmp_path, SUMS, "--rpm", "3") == 0
    assert len(chat_server.times) == 9
    assert chat_server.times[-1] - chat_server.times[0] >= 2.8
    assert windows(chat_server.times, 0.8) <= 3


def test_tokens_of_a_minute_are_bounded_by_what_answers_have_had(
    tmp_path: Path, chat_server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "MINUTE", 1.5)
    rows = [{"problem": f"What is {n}?"} for n in range(12)]
    more = ["--tpm", "40", "--concurrency", "1", "--max-tokens", "5"]
    assert ask(chat_server, tmp_path, rows, *more) == 0  # 8 tokens an answer
    assert windows(chat_server.times, 0.8) <= 5
    assert chat_server.times[-1] - chat_server.times[0] >= 2.8


def test_a_pause_that_the_server_asks_for_is_kept_by_all_requests(
    tmp_path: Path, chat_server: LoopbackServer
) -> None:
    rows = [{"problem": f"What is {n}?"} for n in range(12)]
    chat_server.delay = 0.05
    chat_server.faults = [failing(429, Retry_After="1.5")]
    assert ask(chat_server, tmp_path, rows, "--concurrency", "2") == 0
    first = chat_server.times[0]
    assert len(chat_server.times) == 13
    assert len([each for each in chat_server.times if each < first + 1.5]) <= 3
