"""`srl-data stepify --model`: a teacher on loopback, whose answers are checked and asked again."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.http_client import RequestError
from srl_data.manifest import read_manifest
from srl_data.stepify.command import stepify
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.outcome import Outcome
from srl_data.stepify.teacher_check import read_titles, rewrite_fault
from srl_data.stepify.teacher_config import TeacherSection

Server = Handler = Setting = Any  # the server's classes live in conftest.py
PROSE = (
    "The shelf holds 12 red books. It holds 8 blue books too. "
    "So there are $12+8=20$ books in 4 rows."
)
GOOD = (
    "1. **Count the red books** The shelf holds 12 red books.\n\n"
    "2. **Count the blue books** It holds 8 blue books too.\n\n"
    "3. **Add** So there are $12+8=20$ books in 4 rows, that is \\boxed{20}."
)
KEY = "sk-very-secret-0123456789"


def run(tmp_path: Path, url: str, rows: int = 1, text: str = PROSE, **teacher: Setting) -> Outcome:
    """The outcome of a run over so many rows."""
    source = tmp_path / "in.jsonl"
    made = [{"problem": f"Books {n}?", "solution": text, "answer": "20"} for n in range(rows)]
    source.write_text("".join(json.dumps(row) + "\n" for row in made), "utf-8")
    section = TeacherSection(**{"model": "m", "base_url": url, **teacher})
    return stepify(
        StepifyConfig(
            source=str(source),
            output=tmp_path / "out.jsonl",
            answer_field="answer",
            teacher=section,
        )
    )


def written(tmp_path: Path) -> list[dict[str, Any]]:
    """The records."""
    return [json.loads(line) for line in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]


def test_a_teacher_writes_the_steps(tmp_path: Path, chat_server: Server) -> None:
    chat_server.answer = lambda _: GOOD
    run(tmp_path, chat_server.url)
    (record,) = written(tmp_path)
    assert record["solution"] == GOOD
    assert record["meta"]["cut_by"] == "teacher"
    system, user = chat_server.requests[0]["messages"]
    assert "Invent nothing" in system["content"]
    assert user["content"] == f"Problem:\nBooks 0?\n\nSolution:\n{PROSE}"


def test_thinking_and_a_fence_around_an_answer_are_taken_off(
    tmp_path: Path, chat_server: Server
) -> None:
    chat_server.answer = lambda _: f"<think>Steps.</think>\n```markdown\n{GOOD}\n```"
    run(tmp_path, chat_server.url)
    assert written(tmp_path)[0]["solution"] == GOOD


FAULTS = {
    "plain prose": ("teacher_numbers", PROSE),
    "a gap in the numbers": ("teacher_numbers", GOOD.replace("3.", "4.")),
    "words before the steps": ("teacher_numbers", f"Here you are:\n\n{GOOD}"),
    "no titles": ("teacher_numbers", re.sub(r"\*\*.*?\*\* ", "", GOOD)),
    "a summary": ("teacher_length", "1. **Red** 12.\n2. **All** \\boxed{20}."),
    "a treatise": (
        "teacher_length",
        GOOD.replace("12 red books.", "12 red books. " + "Yes. " * 99),
    ),
    "no box": ("teacher_answer", GOOD.replace("\\boxed{20}", "20")),
    "a box in each step": ("teacher_answer", GOOD.replace("8 blue", "\\boxed{8} blue")),
    "another answer": ("teacher_answer", GOOD.replace("\\boxed{20}", "\\boxed{21}")),
    "a lost number": ("teacher_lost", GOOD.replace("in 4 rows", "in rows")),
    "a lost formula": ("teacher_lost", GOOD.replace("$12+8=20$", "12 and 8, so 20")),
}


@pytest.mark.parametrize(("reason", "text"), FAULTS.values(), ids=FAULTS)
def test_what_does_not_do_is_asked_for_again_with_the_reason(
    tmp_path: Path, chat_server: Server, reason: str, text: str
) -> None:
    fault = rewrite_fault(PROSE, "20", text, (2, 100))
    assert fault is not None
    assert fault.reason == reason
    answers = iter([text, GOOD])
    chat_server.answer = lambda _: next(answers)
    outcome = run(tmp_path, chat_server.url)
    assert written(tmp_path)[0]["solution"] == GOOD
    assert outcome.asked == 2
    *_, given, complaint = chat_server.requests[1]["messages"]
    assert given == {"role": "assistant", "content": text}
    assert fault.words in complaint["content"]


@pytest.mark.parametrize(("reason", "text"), FAULTS.values(), ids=FAULTS)
def test_what_never_does_is_left_out_with_the_reason(
    tmp_path: Path, chat_server: Server, reason: str, text: str
) -> None:
    chat_server.answer = lambda body: GOOD if "Books 1?" in str(body["messages"]) else text
    outcome = run(tmp_path, chat_server.url, rows=2, tries=2)
    assert outcome.excluded == {reason: ["in-00000"]}
    assert len(chat_server.requests) == 3
    manifest = read_manifest(tmp_path / "out.jsonl")
    assert manifest is not None
    assert manifest.reasons == {reason: 1}


def test_an_equal_answer_in_another_writing_does() -> None:
    pytest.importorskip("math_verify")  # without the extra answers are compared as they are written
    text = GOOD.replace("\\boxed{20}", "\\boxed{20.0}")
    assert rewrite_fault(PROSE, "20", text, (2, 100)) is None


def titles_for(body: dict[str, Any]) -> str:
    """A title for each step that is shown."""
    count = len(re.findall(r"^\d+\. ", body["messages"][1]["content"], re.MULTILINE))
    return "\n".join(f"{n}. Move {n}" for n in range(1, count + 1))


def test_titles_alone_leave_the_texts_as_they_are(tmp_path: Path, chat_server: Server) -> None:
    chat_server.answer = titles_for
    run(tmp_path, chat_server.url, titles=True)
    assert written(tmp_path)[0]["solution"] == (
        "1. **Move 1**\nThe shelf holds 12 red books.\n\n"
        "2. **Move 2**\nIt holds 8 blue books too.\n\n"
        "3. **Move 3**\nSo there are $12+8=20$ books in 4 rows."
    )


def test_titles_that_there_are_are_not_asked_for(tmp_path: Path, chat_server: Server) -> None:
    run(tmp_path, chat_server.url, text=GOOD, titles=True)
    assert written(tmp_path)[0]["solution"] == GOOD
    assert chat_server.requests == []


@pytest.mark.parametrize(
    "text", ["1. One", "1. One\n3. Two", "Sure:\n1. One\n2. Two", "1. One\n2. " + "x" * 99, ""]
)
def test_titles_that_are_not_one_for_each_step_are_refused(text: str) -> None:
    assert not isinstance(read_titles(text, 2), list)


def test_many_are_asked_at_once_and_stand_in_order(tmp_path: Path, chat_server: Server) -> None:
    chat_server.answer = lambda _: GOOD
    chat_server.delay = 0.02
    run(tmp_path, chat_server.url, rows=30, concurrency=6)
    assert [record["id"] for record in written(tmp_path)] == [f"in-{n:05d}" for n in range(30)]
    assert 2 <= chat_server.most <= 6


def test_a_run_that_was_ended_asks_only_for_what_is_missing(
    tmp_path: Path, chat_server: Server
) -> None:
    chat_server.answer = lambda _: GOOD

    def dies(handler: Handler) -> None:
        handler.send(401, b"the key was withdrawn")

    fine: list[Callable[[Handler], None]] = [lambda handler: handler.chat(GOOD)] * 5
    chat_server.faults = [*fine, dies]
    with pytest.raises(RequestError, match="the key was withdrawn"):
        run(tmp_path, chat_server.url, rows=8, concurrency=1)
    assert not (tmp_path / "out.jsonl").exists()
    with (tmp_path / "out.teacher.jsonl").open("ab") as log:
        log.write(b'{"request": "half a li')  # a process that was killed while it wrote
    outcome = run(tmp_path, chat_server.url, rows=8, concurrency=1)
    assert outcome.asked == 3
    assert len(written(tmp_path)) == 8
    asked = [str(request["messages"]) for request in chat_server.requests]
    assert len(asked) - len(set(asked)) == 1, "only the one that failed is asked twice"


def test_a_server_that_fails_to_the_end_leaves_its_rows_out(
    tmp_path: Path, chat_server: Server
) -> None:
    chat_server.answer = lambda _: GOOD
    chat_server.faults = [lambda handler: handler.send(400, b"too long")]
    outcome = run(tmp_path, chat_server.url, rows=2, concurrency=1)
    assert outcome.excluded == {"teacher_failed": ["in-00000"]}


def test_nothing_that_does_is_an_error(tmp_path: Path, chat_server: Server) -> None:
    with pytest.raises(DataError, match="teacher_numbers: 1"):
        run(tmp_path, chat_server.url, tries=1)


def test_the_key_goes_to_the_server_and_into_no_file_or_line(
    tmp_path: Path,
    chat_server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SRL_DATA_API_KEY", KEY)
    chat_server.answer = lambda _: GOOD
    run(tmp_path, chat_server.url)
    assert chat_server.headers[0]["Authorization"] == f"Bearer {KEY}"
    chat_server.faults = [lambda handler: handler.send(403, f"{KEY} is not known".encode())]
    (tmp_path / "out.teacher.jsonl").unlink()
    words = ["stepify", "--source", str(tmp_path / "in.jsonl"), "--model", "m"]
    words += ["--base-url", chat_server.url, "--output", str(tmp_path / "again.jsonl")]
    assert execute(cli, "srl-data", words) == 1
    assert execute(cli, "srl-data", [*words, "--dry-run"]) == 0
    shown = capsys.readouterr()
    assert "set the key in the environment variable SRL_DATA_API_KEY" in shown.err
    assert KEY not in shown.out + shown.err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) >= 4
    assert not [path for path in files if KEY.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--titles"], "--titles asks a teacher for them; name it with --model"),
        (["--model", "m", "--base-url", "host"], "is no address"),
        (["--model", "m", "--base-url", "https://me:hunter2@host"], "holds a user or password"),
        (["--concurrency", "0"], "greater than or equal to 1"),
    ],
)
def test_a_teacher_that_cannot_be_asked_is_refused(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["stepify", "--source", "s.jsonl", "--output", "o.jsonl", *words]
    assert execute(cli, "srl-data", given) == 2
    assert fault in capsys.readouterr().err
