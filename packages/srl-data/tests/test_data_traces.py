"""`srl-data traces` against a server on loopback: what is asked, kept, and asked again."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.loopback import (
    USUAL_FAULTS,
    LoopbackHandler,
    LoopbackServer,
    chat_reply,
    failing,
)
from srl_data.manifest import read_manifest
from srl_data.traces.record import Trace

Json = dict[str, object]
FAST = ["--retry-delay", "0.01"]


def write_questions(tmp_path: Path, rows: Sequence[Json] | int) -> Path:
    """A file of questions."""
    path = tmp_path / "questions.jsonl"
    if isinstance(rows, int):
        rows = [{"id": f"q{n}", "problem": f"What is {n}+1?", "answer": n + 1} for n in range(rows)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    return path


def ask(server: LoopbackServer, tmp_path: Path, *more: str) -> int:
    """The exit code of a run over the questions that were written."""
    words = ["traces", "--infile", str(tmp_path / "questions.jsonl"), "--model", "deepseek-chat"]
    words += ["--outfile", str(tmp_path / "out.jsonl"), "--base-url", server.url, *FAST]
    return execute(cli, "srl-data", [*words, *more])


def read(path: Path) -> list[Json]:
    """The objects of a file of lines."""
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def asked(server: LoopbackServer) -> list[str]:
    """The last message of each request."""
    return [request["messages"][-1]["content"] for request in server.requests]  # type: ignore[index]


def test_a_record_holds_the_question_and_all_of_the_answer(
    tmp_path: Path, chat_server: LoopbackServer
) -> None:
    row = {"id": "a", "problem": "What is 1+1?", "answer": "2", "meta": {"level": 3}, "kind": "sum"}
    write_questions(tmp_path, [row])
    usage = {"prompt_tokens": 40, "completion_tokens": 9, "prompt_cache_hit_tokens": 10}
    details = {"completion_tokens_details": {"reasoning_tokens": 5}}
    chat_server.answer = lambda _: chat_reply(
        "\\boxed{2}", {**usage, **details}, reasoning_content="One and one."
    )
    options = ["--temperature", "0.6", "--top-p", "0.95", "--max-tokens", "99", "--seed", "7"]
    options += ["--extra", "{top_k: 20}", "--system", "Be brief.", "--keep", "kind"]
    assert ask(chat_server, tmp_path, *options) == 0
    (record,) = read(tmp_path / "out.jsonl")
    assert len(str(record.pop("request"))) == 16
    assert record == {
        "id": "a",
        "problem": "What is 1+1?",
        "answer": "2",
        "grader": None,
        "sample": 0,
        "model": "deepseek-chat",
        "reasoning_content": "One and one.",
        "content": "\\boxed{2}",
        "finish_reason": "stop",
        "usage": {
            "prompt_tokens": 40,
            "completion_tokens": 9,
            "cached_tokens": 10,
            "reasoning_tokens": 5,
        },
        "cost": pytest.approx((30 * 0.28 + 10 * 0.028 + 9 * 0.42) / 1e6, abs=1e-15),
        "meta": {"level": 3, "kind": "sum"},
    }
    (request,) = chat_server.requests
    assert 0 <= request.pop("seed") < 2**31  # type: ignore[operator]
    assert request == {
        "path": "/v1/chat/completions",
        "model": "deepseek-chat",
        "messages": [
            {"role": "system", "content": "Be brief."},
            {
                "role": "user",
                "content": "What is 1+1?\n\nReason step by step and give the final answer inside "
                "\\boxed{}.",
            },
        ],
        "temperature": 0.6,
        "max_tokens": 99,
        "top_p": 0.95,
        "top_k": 20,
    }


def test_a_second_run_asks_only_for_what_is_missing(
    tmp_path: Path, chat_server: LoopbackServer
) -> None:
    write_questions(tmp_path, 6)
    chat_server.fault_of = lambda body: failing(400, b"too long") if "2+1" in str(body) else None
    assert ask(chat_server, tmp_path, "--concurrency", "2") == 0, "what is refused is accounted for"
    failures = read(tmp_path / "out.failures.jsonl")
    assert [(each["id"], each["reason"], each["status"]) for each in failures] == [
        ("q2", "refused", 400)
    ]
    chat_server.fault_of = lambda _: None
    before = len(chat_server.requests)
    assert ask(chat_server, tmp_path) == 0
    assert len(chat_server.requests) == before + 1
    assert "2+1" in asked(chat_server)[-1]
    assert ask(chat_server, tmp_path, "--samples", "3") == 0
    assert len(chat_server.requests) == before + 1 + 12
    records = [Trace.model_validate(record) for record in read(tmp_path / "out.jsonl")]
    expected = [(f"q{n}", sample) for n in range(6) for sample in range(3)]
    assert [(each.id, each.sample) for each in records] == expected, "in the questions' order"
    manifest = read_manifest(tmp_path / "out.jsonl")
    assert manifest is not None
    assert manifest.counts["answers"] == manifest.records == 18


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        (["--temperature", "0.5"], "asked with temperature None, now it is 0.5"),
        (["--template", "chat"], "asked with template 'boxed/1', now it is 'chat/1'"),
        (["--system", "Hm."], "asked with system None"),
        (["--extra", "{top_k: 3}"], "asked with extra {}"),
        (["--model", "other"], "asked with model 'deepseek-chat', now it is 'other'"),
    ],
)
def test_answers_asked_for_in_another_way_are_not_mixed(
    tmp_path: Path,
    chat_server: LoopbackServer,
    capsys: pytest.CaptureFixture[str],
    more: list[str],
    fault: str,
) -> None:
    write_questions(tmp_path, 1)
    assert ask(chat_server, tmp_path) == 0
    assert ask(chat_server, tmp_path, *more) == 2
    assert fault in capsys.readouterr().err
    assert ask(chat_server, tmp_path, "--max-tokens", "9", "--concurrency", "3") == 0


def routed(handler: LoopbackHandler) -> None:
    """An error under status 200."""
    handler.reply({"error": {"code": 429, "message": "slow down"}})


@pytest.mark.parametrize("fault", [*USUAL_FAULTS, routed])
def test_what_may_pass_is_asked_again(
    tmp_path: Path, chat_server: LoopbackServer, fault: object
) -> None:
    write_questions(tmp_path, 1)
    chat_server.faults = [fault, fault]  # type: ignore[list-item]
    assert ask(chat_server, tmp_path) == 0
    assert len(chat_server.requests) == 3
    assert [record["content"] for record in read(tmp_path / "out.jsonl")] == ["an answer"]


def unlike(content: str | None, reason: str, reasoning: str = "Hm.") -> object:
    """A reply that ends for another reason."""
    reply = chat_reply(content, reasoning_content=reasoning)
    reply["choices"][0]["finish_reason"] = reason  # type: ignore[index]
    return reply


@pytest.mark.parametrize(
    ("reply", "reason", "requests", "code"),
    [
        (unlike("", "stop"), "empty", 3, 4),
        (unlike(None, "tool_calls"), "empty", 3, 4),
        (unlike("half", "insufficient_system_resource"), "empty", 3, 4),
        (unlike("", "length"), "cut_in_thinking", 1, 0),
        (unlike("", "content_filter"), "filtered", 1, 0),
        ({"choices": []}, "unreadable", 1, 4),
        (["choices"], "unreadable", 1, 4),
    ],
    ids=["empty", "a call", "broken off", "cut", "filtered", "no choice", "a list"],
)
def test_replies_without_an_answer_are_failures_with_their_reason_and_cost(
    tmp_path: Path,
    chat_server: LoopbackServer,
    reply: object,
    reason: str,
    requests: int,
    code: int,
) -> None:
    write_questions(tmp_path, 2)
    chat_server.answer = lambda body: reply if "0+1" in str(body) else "an answer"
    assert ask(chat_server, tmp_path, "--max-retries", "2") == code
    assert len(chat_server.requests) == requests + 1
    failures = read(tmp_path / "out.failures.jsonl")
    assert [each["reason"] for each in failures if each["given_up"]] == [reason]
    billed = [each["cost"] for each in failures if each["cost"] is not None]
    assert len(billed) == (0 if reason == "unreadable" else requests)
    manifest = read_manifest(tmp_path / "out.jsonl")
    assert manifest is not None
    assert manifest.excluded == {reason: ["q0"]}
    assert manifest.counts["prompt_tokens"] == 3 * (len(billed) + 1)


def test_nothing_answered_is_an_error(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_questions(tmp_path, 3)
    chat_server.answer = lambda _: unlike("", "length")
    assert ask(chat_server, tmp_path) == 1
    assert "none of 3 questions was answered (cut_in_thinking: 3)" in capsys.readouterr().err


@pytest.mark.parametrize("status", [401, 402, 403, 404, 301])
def test_what_every_question_would_meet_ends_the_run(
    tmp_path: Path, chat_server: LoopbackServer, status: int
) -> None:
    write_questions(tmp_path, 500)
    chat_server.fault_of = lambda body: failing(status) if "7+1" in str(body) else None
    assert ask(chat_server, tmp_path, "--concurrency", "4") == 1
    assert len(chat_server.requests) < 20
    kept = len(read(tmp_path / "out.jsonl"))
    assert kept >= 7, "answers under way are kept"
    chat_server.fault_of = lambda _: None
    before = len(chat_server.requests)
    assert ask(chat_server, tmp_path, "--limit", "30") == 0
    assert len(chat_server.requests) - before == 30 - kept


def test_a_server_that_answers_nobody_is_left_alone(
    tmp_path: Path, chat_server: LoopbackServer, capsys: pytest.CaptureFixture[str]
) -> None:
    write_questions(tmp_path, 500)
    chat_server.fault_of = lambda _: failing(503, b"busy")
    more = ["--max-retries", "1", "--max-failures", "10", "--concurrency", "4"]
    assert ask(chat_server, tmp_path, *more) == 4
    assert "10 questions in a row got no answer, the last with" in capsys.readouterr().err
    assert len(chat_server.requests) <= 2 * (10 + 4)


def echoing(handler: LoopbackHandler) -> None:
    """An answer that repeats the key."""
    said = handler.headers["Authorization"]
    handler.chat(f"You sent {said}", reasoning_content=f"Hm, {said}")


def test_a_key_that_a_teacher_repeats_stands_in_no_file_or_line(
    tmp_path: Path,
    chat_server: LoopbackServer,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    key = 'sk-"very"-secret\\0123456789'
    monkeypatch.setenv("DEEPSEEK_API_KEY", key)
    write_questions(tmp_path, 4)
    refusing = [failing(status, f"{key} is not known".encode()) for status in (400, 500)]
    chat_server.faults = [echoing, *refusing]
    assert ask(chat_server, tmp_path, "--concurrency", "1") == 0
    chat_server.faults = [failing(401, key.encode())]
    assert ask(chat_server, tmp_path) == 1
    chat_server.faults = [echoing]
    assert ask(chat_server, tmp_path, "--dry-run") == 0
    assert all(head["Authorization"] == f"Bearer {key}" for head in chat_server.headers)
    shown = capfd.readouterr()
    assert "set the key in the environment variable DEEPSEEK_API_KEY" in shown.err
    spelt = [key, json.dumps(key)[1:-1]]
    files = [path.read_text("utf-8") for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 5
    for text in [*files, shown.out, shown.err]:
        assert not [each for each in spelt if each in text]
    assert any("You sent Bearer ***" in text for text in files)


def test_a_key_that_is_a_word_takes_no_word_out_of_an_answer(
    tmp_path: Path, chat_server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SRL_DATA_API_KEY", "EMPTY")
    chat_server.answer = lambda _: "The set is EMPTY."
    write_questions(tmp_path, 1)
    assert ask(chat_server, tmp_path) == 0
    assert chat_server.headers[0]["Authorization"] == "Bearer EMPTY"
    assert read(tmp_path / "out.jsonl")[0]["content"] == "The set is EMPTY."


def test_a_key_that_a_server_needs_is_asked_for_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("DEEPSEEK_API_KEY", raising=False)
    write_questions(tmp_path, 1)
    words = ["traces", "--source", str(tmp_path / "questions.jsonl"), "--model", "deepseek-chat"]
    assert execute(cli, "srl-data", [*words, "--output", str(tmp_path / "o.jsonl")]) == 2
    assert "set it in the environment variable DEEPSEEK_API_KEY" in capsys.readouterr().err
    assert not (tmp_path / "o.jsonl").exists()
