"""Passes over a source: the same bytes from any number of processes, and after a kill."""

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.errors import CommandError, DataError, IncompleteError
from srl_data.command.frame import execute
from srl_data.passes import draft as drafts
from srl_data.passes.draft import draft, draft_of
from srl_data.passes.run import Pass, run_pass
from srl_data.passes.workers import Outcome
from srl_data.splits import open_source

CODE = (
    "from srl_data.passes import draft; draft.COMMIT_SECONDS = 0; "
    "from srl_data.cli import main; main()"
)
COMMAND = [sys.executable, "-c", CODE]


def write(path: Path, rows: list[dict[str, object]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def traces(count: int) -> list[dict[str, object]]:
    return [
        {
            "id": f"q{i}",
            "problem": f"What is {i} + 1?",
            "answer": str(i + 1),
            "reasoning_content": "" if i % 5 == 0 else f"One more than {i}.",
            "content": f"It is \\boxed{{{i + i % 3}}}.",
        }
        for i in range(count)
    ]


def echo(rows):
    outcome = Outcome()
    for position, row in rows:
        if row.get("bad"):
            outcome.refused.append((position, "is bad"))
            continue
        outcome.write("out", json.dumps(row).encode() + b"\n")
        outcome.counts["out"] += 1
    return outcome


def opened():
    return echo


def pass_over(path: Path, output: Path, **options) -> Pass:
    return Pass("srl-data echo", open_source(path), {"out": output}, {"a": 1}, **options)


@pytest.mark.parametrize(
    "args",
    [
        ["pairs", "--source", "in.jsonl", "--output"],
        ["grade", "in.jsonl", "--reward", "exact", "--output"],
        ["dedupe", "--source", "in.jsonl", "--by", "content", "--output"],
    ],
    ids=lambda args: args[0],
)
def test_two_processes_write_the_bytes_of_one(tmp_path, monkeypatch, args):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "in.jsonl", traces(900))
    for workers in ("1", "2"):
        argv = [*args, f"{workers}.jsonl", "--workers", workers]
        assert execute(cli, "srl-data", argv) == 0
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    one, two = (json.loads((tmp_path / f"{n}.manifest.json").read_text()) for n in "12")
    assert {**one, "file": ""} == {**two, "file": ""}
    assert one["records"] > 0
    assert not list(tmp_path.glob(".*"))


def test_a_killed_run_continues_and_ends_with_the_bytes_of_a_whole_one(tmp_path, capfd):
    source = write(tmp_path / "in.jsonl", traces(40_000))
    args = ["pairs", "--source", str(source), "--output"]
    journal = tmp_path / ".b.jsonl.journal"
    with subprocess.Popen(
        [*COMMAND, *args, str(tmp_path / "b.jsonl")], stderr=subprocess.DEVNULL
    ) as process:
        until = time.monotonic() + 120
        while not journal.exists() and process.poll() is None and time.monotonic() < until:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL, "it was killed on its way"
    taken = json.loads(journal.read_text())["tally"]["taken"]
    assert 0 < taken < 40_000
    assert not (tmp_path / "b.jsonl").exists()
    assert execute(cli, "srl-data", [*args, str(tmp_path / "b.jsonl")]) == 0
    assert f"continuing after {taken} rows" in capfd.readouterr().err
    assert execute(cli, "srl-data", [*args, str(tmp_path / "a.jsonl")]) == 0
    assert (tmp_path / "a.jsonl").read_bytes() == (tmp_path / "b.jsonl").read_bytes()
    one, two = (json.loads((tmp_path / f"{n}.manifest.json").read_text()) for n in "ab")
    assert (one["counts"], one["reasons"], one["excluded"]) == (
        two["counts"],
        two["reasons"],
        two["excluded"],
    )
    assert not list(tmp_path.glob(".*"))


def stopped_at(monkeypatch, path, output, position, **options):
    """Run the pass until the chunk that holds a position; everything before is committed."""
    monkeypatch.setattr(drafts, "COMMIT_SECONDS", 0)

    def until(rows):
        if rows[0][0] <= position <= rows[-1][0]:
            raise IncompleteError("stopped")
        return echo(rows)

    with pytest.raises(IncompleteError):
        run_pass(pass_over(path, output, **options), lambda: until)


def test_bad_rows_that_are_skipped_are_told_once_over_a_stop(tmp_path, monkeypatch):
    rows = [{"n": i, "bad": i in (3, 400)} for i in range(600)]
    path = tmp_path / "in.jsonl"
    lines = [json.dumps(row) for row in rows]
    lines[10:10] = ["{"]
    lines[300:300] = ["["]
    path.write_text("\n".join([*lines, "]"]) + "\n")
    whole = run_pass(pass_over(path, tmp_path / "a", on_error="skip"), opened)
    stopped_at(monkeypatch, path, tmp_path / "b", 560, on_error="skip")
    found = run_pass(pass_over(path, tmp_path / "b", on_error="skip"), opened)
    assert found == whole
    assert whole.counts == {"out": 598}, "every good row, the first too"
    assert [line.split(":")[1] for line in whole.skipped.first] == ["11", "4", "301", "403", "603"]
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.mark.parametrize("change", ["source", "options", "draft", "journal"])
def test_what_has_changed_since_begins_anew(tmp_path, monkeypatch, change):
    path = write(tmp_path / "in.jsonl", [{"n": i} for i in range(600)])
    output = tmp_path / "out"
    stopped_at(monkeypatch, path, output, 300)
    part, work = draft_of(output), pass_over(path, output)
    assert part.stat().st_size > 0
    if change == "source":
        work = pass_over(write(path, [{"n": -i} for i in range(600)]), output)
    elif change == "options":
        work = Pass("srl-data echo", open_source(path), {"out": output}, {"a": 2})
    elif change == "draft":
        part.write_bytes(part.read_bytes()[:-1])
    else:
        (tmp_path / ".out.journal").write_text("{")
    assert run_pass(work, opened).counts == {"out": 600}
    assert output.read_bytes().splitlines() == [
        json.dumps(row).encode() for _, row in work.source.read("fail", lambda _: None)
    ]


def test_an_error_leaves_nothing_behind_and_the_earlier_file_as_it_was(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"n": i, "bad": i == 500} for i in range(600)])
    output = tmp_path / "out"
    output.write_text("earlier")
    with pytest.raises(DataError, match=r"in.jsonl:501: is bad; mend the row"):
        run_pass(pass_over(path, output), opened)
    assert output.read_text() == "earlier"
    assert not list(tmp_path.glob(".*"))


def test_one_output_is_written_by_one_process(tmp_path):
    output = tmp_path / "out"
    with draft_of(output).open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        refused = pytest.raises(CommandError, match="another process is writing")
        with refused, draft({"out": output}, "key"):
            raise AssertionError("it is locked")


def test_a_worker_that_dies_ends_the_run_as_resumable(tmp_path):
    path = write(tmp_path / "in.jsonl", [{"n": i} for i in range(600)])
    with pytest.raises(IncompleteError, match="fewer --workers"):
        run_pass(pass_over(path, tmp_path / "out", workers=2), partial(os._exit, 9))
