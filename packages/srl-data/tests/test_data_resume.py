"""Commands of several passes: the bytes of a whole run after any stop, and from two processes."""

import contextlib
import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.passes import chunks
from srl_data.passes import draft as drafts
from srl_data.passes import run as passes

STEPS = "1. **Add** {n} and 1.\n\n2. **See** that it is \\boxed{{{n}}}."
WORDS = " ".join(f"word{n % 7}" for n in range(15))

COMMANDS = {
    "gsm8k": ["build", "gsm8k", "--source", "in", "--eval-n", "40", "--decontaminate", "test",
              "--common", "3", "--output-dir", "out"],
    "answers": ["build", "answers", "--source", "in/train.jsonl", "--sample-n", "90", "--eval-n",
                "9", "--problem-field", "question", "--output-dir", "out"],
    "s1k": ["build", "s1k", "--source", "in/train.jsonl", "--field", "steps", "--sft",
            "--val-size", "20", "--output", "out/o.jsonl"],
    "stepify": ["stepify", "--source", "in/train.jsonl", "--field", "prose", "--limit", "250",
                "--output", "out/o.jsonl"],
    "decontaminate": ["decontaminate", "in/train.jsonl", "--against", "in/test.jsonl", "--common",
                      "90", "--output", "out/o.jsonl"],
    "dedupe": ["dedupe", "--source", "in/train.jsonl", "--by", "prose", "--output", "out/o.jsonl"],
    "split": ["split", "--source", "in/train.jsonl", "--stratify", "level", "--output",
              "out/o.jsonl"],
}  # fmt: skip


def row(n: int) -> dict[str, object]:
    """A question in GSM8K's form, with solutions in steps and in prose; some lack one."""
    shared = WORDS if n % 3 == 0 else f"it is {n}"
    return {
        "question": f"Question {n % 250}: {shared}?",
        "answer": "none" if n % 11 == 0 else f"So.\n#### {n}",
        "steps": "No steps." if n % 7 == 0 else STEPS.format(n=n),
        "prose": f"Say it is {n % 90} pears. We add {n % 90 + 1} more of them. They are many now.",
        "level": n % 2,
    }


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with data, read in small chunks and noted after each."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(chunks, "ROWS", 40)
    monkeypatch.setattr(drafts, "COMMIT_SECONDS", 0)
    (tmp_path / "in").mkdir()
    for name, rows in (("train", range(300)), ("test", range(1000, 1060))):
        text = "".join(json.dumps(row(n)) + "\n" for n in rows)
        (tmp_path / f"in/{name}.jsonl").write_text(text)
    return tmp_path


def run(name: str, *more: str) -> int:
    return execute(cli, "srl-data", [*COMMANDS[name], *more])


def contents(folder: Path) -> dict[str, bytes]:
    """All that a command has written, hidden files too; but for locks, which name processes."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.name != ".lock"]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def whole(folder: Path, name: str, *more: str) -> dict[str, bytes]:
    """What a run without a stop writes; it is put away."""
    assert run(name, *more) == 0
    found = contents(folder / "out")
    assert len(found) > 1
    shutil.rmtree(folder / "out")
    return found


def stop_after(monkeypatch, times: int) -> None:
    """Interrupt the next pass after so many chunks."""
    left = times
    take = passes.take

    def counted(*args):
        nonlocal left
        if left == 0:
            raise KeyboardInterrupt
        left -= 1
        take(*args)

    monkeypatch.setattr(passes, "take", counted)


@pytest.mark.parametrize("name", list(COMMANDS))
def test_a_run_stopped_again_and_again_ends_with_the_bytes_of_a_whole_one(
    folder, name, monkeypatch, capfd
):
    expected = whole(folder, name)
    stops = 0
    while stops < 40:
        with monkeypatch.context() as patch:
            stop_after(patch, 2)
            code = run(name)
        if code == 0:
            break
        assert code == 130
        assert not list((folder / "out").glob("*.manifest.json"))
        stops += 1
    assert stops > 2
    assert contents(folder / "out") == expected
    assert "rows of an earlier run" in capfd.readouterr().err


def stop_before_writing(monkeypatch, name: str) -> None:
    """Interrupt the run when all rows are read, before anything is decided."""

    def stop(*_):
        raise KeyboardInterrupt

    module = "srl_data.answers.command.choose" if name == "gsm8k" else "srl_data.build.hold_out"
    with monkeypatch.context() as patch:
        patch.setattr(module, stop)
        assert run(name) == 130


@pytest.mark.parametrize("name", ["gsm8k", "s1k"])
def test_a_stop_while_the_files_are_written_keeps_what_was_read(folder, name, monkeypatch, capfd):
    expected = whole(folder, name)
    stop_before_writing(monkeypatch, name)
    with monkeypatch.context() as patch:
        stop_after(patch, 0)  # nothing is read again
        assert run(name) == 0
    assert "300 rows were read by an earlier run" in capfd.readouterr().err
    assert contents(folder / "out") == expected


@pytest.mark.parametrize("name", ["gsm8k", "s1k"])
def test_other_settings_take_nothing_of_a_pass_that_is_done(folder, name, monkeypatch):
    expected = whole(folder, name, "--seed", "5")
    stop_before_writing(monkeypatch, name)
    assert run(name, "--seed", "5") == 0
    assert contents(folder / "out") == expected


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("gsm8k", ["--seed", "5"]),
        ("answers", ["--answer-field", "level"]),
        ("s1k", ["--targets", "all"]),
        ("stepify", ["--limit", "200"]),
        ("decontaminate", ["--ngram", "4"]),
    ],
)
def test_other_settings_begin_anew(folder, name, more, monkeypatch):
    expected = whole(folder, name, *more)
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        assert run(name) == 130
    assert run(name, *more) == 0
    assert contents(folder / "out") == expected


@pytest.mark.parametrize("name", ["s1k", "stepify", "decontaminate", "split"])
@pytest.mark.parametrize("changed", ["in/train.jsonl", "in/test.jsonl"])
def test_another_source_begins_anew(folder, name, changed, monkeypatch):
    with monkeypatch.context() as patch:
        stop_after(patch, 3)
        assert run(name) == 130
    lines = Path(changed).read_text().splitlines(keepends=True)
    Path(changed).write_text("".join(lines[1:]))
    assert run(name) == 0
    found = contents(folder / "out")
    shutil.rmtree(folder / "out")
    assert found == whole(folder, name)


@pytest.mark.parametrize("name", ["gsm8k", "s1k", "stepify", "decontaminate"])
def test_an_error_leaves_nothing_between_the_passes(folder, name):
    train = folder / "in/train.jsonl"
    train.write_text(train.read_text() + "{\n")
    assert run(name, *(["--limit", "400"] if name == "stepify" else [])) == 3
    assert [path for path in contents(folder / "out") if "snapshot" not in path] == []


@pytest.mark.parametrize("name", ["gsm8k", "s1k", "stepify", "decontaminate"])
def test_two_workers_write_the_bytes_of_one(folder, name):
    expected = whole(folder, name)
    assert run(name, "--workers", "2") == 0
    assert contents(folder / "out") == expected


CODE = (
    "from srl_data.passes import chunks, draft; chunks.ROWS = 2; draft.COMMIT_SECONDS = 0; "
    "from srl_data.cli import main; main()"
)


def test_half_an_entry_of_a_killed_runs_journal_is_removed(folder):
    expected = whole(folder, "gsm8k")
    left = folder / "out" / "snapshot" / "..train.jsonl.journal.5633.tmp"
    left.parent.mkdir(parents=True)
    left.write_text('{"key": "82')
    assert run("gsm8k") == 0
    assert contents(folder / "out") == expected


def killed_on_its_way(command: list[str], out: Path) -> bool:
    """Start a command and kill it once its journal holds something; False if it ended before."""
    shutil.rmtree(out, ignore_errors=True)
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            with contextlib.suppress(FileNotFoundError):  # it is gone once the run is whole
                if any(journal.read_bytes() for journal in out.glob("**/.*.journal")):
                    break
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
    return process.returncode == -signal.SIGKILL and not list(out.glob("*.manifest.json"))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["gsm8k", "s1k", "stepify", "decontaminate", "split"])
def test_a_killed_process_is_continued(folder, name, capfd):
    expected = whole(folder, name)
    out = folder / "out"
    command = [sys.executable, "-c", CODE, *COMMANDS[name]]
    # On a busy machine it may be done before it is looked at.
    assert any(killed_on_its_way(command, out) for _ in range(10)), "it was never killed on its way"
    assert run(name) == 0
    assert "of an earlier run" in capfd.readouterr().err
    assert contents(out) == expected
