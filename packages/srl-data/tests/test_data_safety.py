"""No command writes over its source, disturbs another run, hangs, or writes nothing in silence."""

import json
import subprocess
import sys
from multiprocessing import Process
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.files import atomic_writer
from srl_data.lock import LockedError
from srl_data.manifest import Source, read_manifest
from srl_data.overlap import whole_text
from srl_data.passes.draft import draft, draft_of
from srl_data.passes.index import key_index
from srl_data.passes.kept import work_folder
from srl_data.records import MAX_DEPTH, parse_object
from srl_data.splits import of_table

STEPS = "1. **One** first.\n\n2. **Two** second.\n\n3. **Three** third."


def run(*words: object) -> int:
    return execute(cli, "srl-data", [str(word) for word in words])


def write_rows(path: Path, count: int = 6) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "question": f"What is {n} plus {n}?",
            "solution": STEPS,
            "answer": str(2 * n),
            "level": "a",
        }
        for n in range(count)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


FIELDS = ("--problem-field", "question", "--field", "solution")
COMMANDS = {
    "build": ("build", "s1k", *FIELDS, "--answer-field", "answer", "--val-size", "2"),
    "stepify": ("stepify", *FIELDS),
    "dedupe": ("dedupe", "--by", "question"),
    "split": ("split",),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_source_is_not_written_over_whatever_it_is_called_by(name, tmp_path, capsys):
    file = write_rows(tmp_path / "d/x.jsonl" if name != "split" else tmp_path / "d/x_train.jsonl")
    before = file.read_bytes()
    for source in (file, file.parent, f"{file.parent}/*.jsonl"):
        assert run(*COMMANDS[name], "--source", source, "--output", tmp_path / "d/x.jsonl") == 2
        assert "would be written over" in capsys.readouterr().err
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_nor_is_it_by_an_output_that_is_named_after_another(tmp_path, capsys):
    file = write_rows(tmp_path / "y.val.jsonl")
    before = file.read_bytes()
    assert run(*COMMANDS["build"], "--source", file, "--output", tmp_path / "y.jsonl") == 2
    assert "y.val.jsonl would be written over" in capsys.readouterr().err
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", COMMANDS)
def test_nor_is_it_by_a_manifest(name, tmp_path, capsys):
    part = "x_train" if name == "split" else "x"
    file = write_rows(tmp_path / f"{part}.manifest.json")
    before = file.read_bytes()
    assert run(*COMMANDS[name], "--source", file, "--output", tmp_path / "x.jsonl") == 2
    assert f"{part}.manifest.json would be written over" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_parts_keep_all_of_their_sources_name(tmp_path):
    for version in ("v1", "v2"):
        file = write_rows(tmp_path / f"sft.{version}.jsonl")
        assert run(*COMMANDS["split"], "--source", file, "--val-size", "1") == 0
    assert (tmp_path / "sft.v1_train.jsonl").is_file()
    assert (tmp_path / "sft.v2_train.jsonl").is_file()


def test_a_second_run_leaves_the_first_ones_folder_alone(tmp_path):
    output = tmp_path / "a.jsonl"
    with work_folder(output) as folder:
        (folder / "half").write_text("done")
        with pytest.raises(LockedError, match="is in use by process"), work_folder(output):
            pytest.fail("two at once")
        assert (folder / "half").read_text() == "done"
    assert list(tmp_path.iterdir()) == []


def test_an_index_is_its_runs_alone_and_a_dead_runs_is_removed(tmp_path):
    output = tmp_path / "a.jsonl"
    dead = tmp_path / ".a.jsonl.1.keys"
    dead.write_bytes(b"left")
    with key_index(output) as first:
        assert not dead.exists()
        first.add([(b"k", "", 5)])
        other = Process(target=open_and_close, args=(output,))
        other.start()
        other.join()
        assert other.exitcode == 0
        assert first.path.exists()
        assert first.first(b"k") == 5
    assert list(tmp_path.iterdir()) == []


def open_and_close(output: Path) -> None:
    with key_index(output) as index:
        index.add([(b"k", "", 9)])


DYING = """
import os, signal, struct, sys
from functools import partial

from srl_data.command.errors import IncompleteError
from srl_data.passes.chunks import Chunk
from srl_data.passes.workers import outcomes


def dying(rows):
    if rows[0][0]:
        return rows
    frame = sys._getframe()
    while "result_queue" not in frame.f_locals:
        frame = frame.f_back
    pipe = frame.f_locals["result_queue"]._writer.fileno()
    os.write(pipe, struct.pack("!i", 1000) + b"half of it")
    os.kill(os.getpid(), signal.SIGKILL)


def opened():
    return dying


if __name__ == "__main__":
    chunks = [Chunk([(number, {})]) for number in range(8)]
    try:
        list(outcomes(chunks, opened, 2))
    except IncompleteError as error:
        print("told:", error)
"""


def test_a_worker_that_is_killed_as_it_hands_over_a_result_ends_the_run(tmp_path):
    script = tmp_path / "dying.py"
    script.write_text(DYING)
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=30, check=False
    )
    assert "told: a worker process ended" in done.stdout, done.stderr
    assert done.returncode == 0


def test_records_that_are_all_skipped_are_no_output(tmp_path, capsys):
    file, output = write_rows(tmp_path / "in.jsonl"), tmp_path / "out.jsonl"
    words = ("dedupe", "--by", "nosuch", "--on-error", "skip", "--source", file)
    assert run(*words, "--output", output) == 3
    assert "all 6 rows were skipped" in capsys.readouterr().err
    assert not output.exists()


@pytest.mark.parametrize("depth", [MAX_DEPTH, 900, 100_000])
def test_what_is_nested_too_deeply_is_refused(depth):
    line = '{"v": ' + "[" * depth + "]" * depth + "}"
    with pytest.raises(ValueError, match="nested too deeply"):
        parse_object(line.encode())


def nested(depth: int) -> str:
    """A record of so many levels, itself among them."""
    return '{"question": "a", "v": ' + "[" * (depth - 1) + "]" * (depth - 1) + "}"


@pytest.mark.parametrize("name", ["x.json", "x.jsonl", "saved"])
@pytest.mark.parametrize("depth", [MAX_DEPTH, MAX_DEPTH + 1, 900, 100_000])
@pytest.mark.parametrize("workers", [1, 2])
def test_one_depth_is_allowed_in_all_formats(name, depth, workers, tmp_path, monkeypatch, capsys):
    file = tmp_path / name
    if name == "saved":
        if depth > 900:
            return  # pyarrow makes no such table
        table = of_table([json.loads(nested(depth))], Source(name="x"))
        monkeypatch.setattr("srl_data.dedupe.open_source", lambda *_: table)
    else:
        file.write_text(nested(depth) if name == "x.jsonl" else f"[{nested(depth)}]")
    words = ("dedupe", "--by", "question", "--source", file, "--output", tmp_path / "o.jsonl")
    code = run(*words, "--workers", workers)
    said = capsys.readouterr().err
    assert (code, "nested too deeply" in said) == ((0, False) if depth == MAX_DEPTH else (3, True))


def test_an_item_nested_too_deeply_is_skipped_where_that_is_asked_for(tmp_path, capsys):
    file, output = tmp_path / "x.json", tmp_path / "o.jsonl"
    file.write_text(f"[{nested(300)}, {nested(3)}]")
    words = ("dedupe", "--by", "question", "--source", file, "--output", output)
    assert run(*words, "--on-error", "skip") == 0
    assert "x.json, row 1: nested too deeply" in capsys.readouterr().err
    assert len(output.read_text().splitlines()) == 1


def test_many_lists_side_by_side_are_a_record():
    deep = '{"v": ' + "[" * (MAX_DEPTH - 1) + "]" * (MAX_DEPTH - 1) + "}"
    assert parse_object(deep.encode())
    assert parse_object(b'{"v": [' + b"[]," * 999 + b"[]]}")["v"] == [[]] * 1000


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("x.jsonl.bz2", b"BZh9" + bytes(60), "damaged"),
        ("x.csv", b'"a,b\n1,2\n', "the names of the columns cannot be read"),
    ],
)
def test_damaged_files_are_named(name, content, reason, tmp_path, capsys):
    file = tmp_path / name
    file.write_bytes(content)
    assert run("dedupe", "--by", "a", "--source", file, "--output", tmp_path / "o.jsonl") == 3
    said = capsys.readouterr().err
    assert name in said
    assert reason in said


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("What is 1 + 1 ?", "whatis1+1"),
        ("Why?!. \n", "why"),
        ("a. b. ", "a.b"),
        (r"x\!!", "x"),
        (r"\left( y \right)...", "(y)"),
        ("", ""),
    ],
)
def test_a_text_is_compared_without_its_last_stop(text, whole):
    assert whole_text(text) == whole


def test_a_long_run_of_stops_is_looked_at_once():
    assert whole_text("!" * 300_000 + "a") == "!" * 300_000 + "a"


NUMBERS = (
    '{"prompt": "a", "response": "b", "loss": NaN, "meta": {"max": Infinity, "min": -Infinity}}'
)


@pytest.mark.parametrize(
    ("words", "written"),
    [
        (("dedupe", "--output", "o.jsonl"), "o.jsonl"),
        (("split", "--val-size", "1", "--output", "o.jsonl"), "o_train.jsonl"),
        (("decontaminate", "--against", "bench.jsonl", "--output", "o.jsonl"), "o.jsonl"),
    ],
    ids=lambda words: words[0],
)
def test_numbers_that_json_lacks_pass_through_and_are_read_again(
    words, written, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    lines = [NUMBERS.replace('"a"', f'"Question {n}"') for n in range(3)]
    lines = [line[:-1] + ', "answer": "b"}' for line in lines]
    Path("in.jsonl").write_text("\n".join(lines) + "\n")
    Path("bench.jsonl").write_text('{"problem": "Another"}\n')
    source = ("in.jsonl",) if words[0] == "decontaminate" else ("--source", "in.jsonl")
    assert run(words[0], *source, *words[1:]) == 0, capsys.readouterr().err
    text = Path(written).read_text()
    assert '"loss": NaN, "meta": {"max": Infinity, "min": -Infinity}' in text
    assert run("dedupe", "--source", written, "--output", "again.jsonl") == 0
    assert Path("again.jsonl").read_text() == text


def test_manifests_are_read_whatever_is_named_in_them(tmp_path):
    file, output = tmp_path / "in.jsonl", tmp_path / "o.jsonl"
    file.write_text('{"prompt": "a"}\n{"id": "\\ud800", "prompt": "a"}\n')
    assert run("dedupe", "--source", file, "--output", output) == 0
    assert read_manifest(output).excluded == {"duplicate": ["\ud800"]}
    assert run("inspect", output) in (0, 3)


def test_a_stratum_that_is_no_text_refuses_its_row(tmp_path, capsys):
    file, output = write_rows(tmp_path / "in.jsonl"), tmp_path / "o.jsonl"
    file.write_text(file.read_text() + '{"question": "What?", "level": "\\ud800"}\n')
    words = ("split", "--source", file, "--stratify", "level", "--output", output)
    assert run(*words) == 3
    said = capsys.readouterr().err
    assert "in.jsonl:7: column 'level' (--stratify) holds half of a surrogate pair; mend" in said
    assert run(*words, "--on-error", "skip") == 0
    assert len((tmp_path / "o_train.jsonl").read_text().splitlines()) == 5


def test_an_id_that_no_terminal_can_show_is_escaped(tmp_path):
    file, output = tmp_path / "in.jsonl", tmp_path / "o.jsonl"
    row = {"problem": "a", "content": "b"}
    rows = [row, {**row, "id": "\ud800", "finish_reason": "length"}]
    file.write_text("".join(json.dumps(each) + "\n" for each in rows))
    code = "from srl_data.cli import main; main()"
    words = [sys.executable, "-c", code, "pairs", "--source", file, "--output", output]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, "\\ud800" in done.stdout) == (0, True), done.stderr


@pytest.mark.parametrize("extra", ["{a: .nan}", "{a: 2020-01-01}"])
def test_fields_of_a_request_that_json_lacks_are_refused(extra, tmp_path, capsys):
    file = write_rows(tmp_path / "in.jsonl")
    words = ("traces", "--source", file, "--output", tmp_path / "o.jsonl", "--model", "m")
    assert run(*words, "--extra", extra, "--dry-run") == 2
    assert "holds what JSON lacks" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"a": "x\ty"}', "not JSON: Invalid control character at column 9"),
        (b'{"a": "x', "not JSON: Unterminated string starting at column 7"),
    ],
)
def test_what_is_wrong_with_a_line_is_said_once(line, reason, tmp_path):
    with pytest.raises(ValueError, match=reason):
        parse_object(line)


@pytest.mark.parametrize(
    ("words", "row", "reason"),
    [
        (("dedupe", "--by", "a"), {"a": None}, "column 'a' holds nothing (null), expected a value"),
        (("dedupe", "--by", "a"), {"b": 1}, "no column 'a'; its columns: b"),
        (("split", "--stratify", "a"), {"prompt": "x", "a": [1]}, "holds '[1]' (a list), expected"),
        (("split", "--stratify", "a"), {"prompt": "x"}, "no column 'a' (--stratify)"),
    ],
)
def test_a_column_that_is_null_or_a_list_is_not_said_to_be_missing(
    words, row, reason, tmp_path, capsys
):
    file = tmp_path / "in.jsonl"
    file.write_text(json.dumps(row) + "\n")
    assert run(*words, "--source", file, "--output", tmp_path / "o.jsonl") == 3
    assert reason in capsys.readouterr().err


def test_drafts_of_parts_that_are_not_written_now_are_removed(tmp_path):
    file = write_rows(tmp_path / "in.jsonl")
    left = [".o.val.jsonl.draft", ".o.sft.jsonl.draft", ".x_train_filtered.jsonl.draft"]
    others = [".o.test.jsonl.draft", ".x_val.jsonl.1.tmp.gz"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    build = (*COMMANDS["build"][:-2], "--val-size", "0")
    assert run(*build, "--source", file, "--output", tmp_path / "o.jsonl") == 0
    assert run("split", "--source", file, "--output", tmp_path / "x.jsonl") == 0
    assert sorted(path.name for path in tmp_path.glob(".*")) == sorted(others)


def test_a_draft_that_a_run_of_its_own_continues_is_kept(tmp_path):
    file = write_rows(tmp_path / "in.jsonl")
    for name in (".x_train_filtered.jsonl.draft", ".x_train_filtered.jsonl.journal"):
        (tmp_path / name).write_text("half")
    assert run("split", "--source", file, "--output", tmp_path / "x.jsonl") == 0
    assert len(list(tmp_path.glob(".x_train_filtered*"))) == 2


def test_a_draft_that_is_being_written_is_kept(tmp_path):
    path = tmp_path / "x.jsonl"
    with draft({"other": path}, None), draft({"mine": tmp_path / "y.jsonl"}, None, [path]):
        pass
    assert path.is_file()


@pytest.mark.parametrize("earlier", [b"", b"half"])
def test_where_the_second_output_is_held_the_first_is_as_it_was(earlier, tmp_path):
    first, second = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    if earlier:
        draft_of(first).write_bytes(earlier)
    with draft({"held": second}, None):
        refused = pytest.raises(LockedError, match="another process is writing")
        with refused, draft({"first": first, "second": second}, "key"):
            pytest.fail("it is held")
        assert draft_of(first).exists() == bool(earlier)
        assert not earlier or draft_of(first).read_bytes() == earlier


def test_temporaries_of_killed_processes_are_removed_and_no_others(tmp_path):
    file, output = write_rows(tmp_path / "in.jsonl"), tmp_path / "o.jsonl"
    left = [".o.jsonl.77.tmp", ".o.manifest.json.77.tmp", ".o.report.json.77.tmp"]
    others = [".o.jsonl.x.tmp", ".p.jsonl.77.tmp"]
    for name in (*left, *others):
        (tmp_path / name).write_text("half")
    words = (*COMMANDS["stepify"], "--source", file, "--output", output)
    with atomic_writer(output) as writing:
        writing.write(b"{}\n")
        assert run(*words) == 0
    assert sorted(path.name for path in tmp_path.glob(".*")) == others
    assert output.read_bytes() == b"{}\n"


@pytest.mark.parametrize("command", ["dedupe", "split", "stepify", "taught", "build"])
def test_a_second_run_on_an_output_is_refused_before_it_reads(command, tmp_path, capsys):
    file, output = tmp_path / "in.jsonl", tmp_path / "x.jsonl"
    write_rows(file)
    held = tmp_path / "x_train.jsonl" if command == "split" else output
    more = ("--model", "m", "--base-url", "http://127.0.0.1:9/v1") if command == "taught" else ()
    words = COMMANDS["stepify" if command == "taught" else command]
    with draft({"first": held}, None) if command != "build" else work_folder(output):
        assert run(*words, "--source", file, "--output", output, *more) == 1
        said = capsys.readouterr().err
        assert "another process is writing" in said or "is in use by process" in said
        assert "rows in" not in said, "it has not read its source"


@pytest.mark.parametrize("value", ["inf", "nan"])
@pytest.mark.parametrize(
    "words",
    [
        ("traces", "--model", "m", "--temperature"),
        ("traces", "--model", "m", "--budget"),
        ("stepify", "--model", "m", "--temperature"),
        ("grade", "in.jsonl", "--mode", "keep", "--min-reward"),
    ],
)
def test_numbers_that_json_lacks_are_no_options(words, value, tmp_path, capsys):
    source = () if words[0] == "grade" else ("--source", tmp_path / "in.jsonl")
    assert run(*words, value, *source, "--output", tmp_path / "o.jsonl") == 2
    assert "finite number" in capsys.readouterr().err
