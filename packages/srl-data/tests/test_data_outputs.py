"""Where a command writes: told before anything is read, and never over what is read."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.errors import ConfigError
from srl_data.command.frame import execute
from srl_data.outputs import check_writable
from srl_data.splits import check_outputs

FIELDS = ("--problem-field", "question", "--field", "solution")
COMMANDS = {
    "build": ["build", "s1k", *FIELDS, "--source", "{in}", "--output", "{out}"],
    "stepify": ["stepify", *FIELDS, "--source", "{in}", "--output", "{out}"],
    "pairs": ["pairs", *FIELDS, "--source", "{in}", "--output", "{out}"],
    "dedupe": ["dedupe", "--by", "question", "--source", "{in}", "--output", "{out}"],
    "split": ["split", "--source", "{in}", "--output", "{out}"],
    "grade": ["grade", "{in}", "--reward", "exact", "--output", "{out}"],
    "decontaminate": ["decontaminate", "{in}", "--against", "{in}", "--output", "{out}"],
    "render-eval": ["render-eval", "--source", "{in}", "--model", "{in}", "--output", "{out}"],
    "traces": ["traces", "--model", "m", "--source", "{in}", "--output", "{out}"],
    "synth": ["synth", "arithmetic", "--output", "{out}"],
    "chain": ["synth", "chain", "--output", "{out}"],
    "answers": ["build", "answers", "--source", "{in}", "--output-dir", "{out}"],
}
UNUSABLE = ["folder", "file/below/o.jsonl", "loop", "loop/o.jsonl", "/proc/nosuch/o.jsonl", "long"]


def run(name: str, source: Path, output: Path) -> int:
    words = [word.format(**{"in": source, "out": output}) for word in COMMANDS[name]]
    return execute(cli, "srl-data", words)


@pytest.fixture
def places(tmp_path):
    """Names at which nothing can be written, and a source that must not be looked at before."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "in.jsonl").write_text("{\n")
    return tmp_path


def unusable(place: str, name: str, root: Path) -> Path:
    """The place as the command takes it: `split` and `build` name their files after it."""
    if place == "long":
        return root / ("x" * 240 + ".jsonl")
    if name == "split" and place == "folder":
        (root / "folder_train.jsonl").mkdir()
        return root / "folder.jsonl"
    if name == "split" and place == "loop":
        (root / "loop_train.jsonl").symlink_to("loop_train.jsonl")
        return root / "loop.jsonl"
    if name == "answers" and place == "folder":
        return root / "file"
    return root / place


@pytest.mark.parametrize("place", UNUSABLE)
@pytest.mark.parametrize("name", COMMANDS)
def test_an_output_that_cannot_be_written_is_told_first(name, place, places, capsys):
    before = sorted(places.rglob("*"))
    if name == "answers" and place == "long":
        return  # a folder may have such a name
    output = unusable(place, name, places)
    before = sorted(places.rglob("*"))
    assert run(name, places / "in.jsonl", output) == 2
    (said,) = capsys.readouterr().err.splitlines()
    assert "srl-data: error: " in said
    assert said.endswith(("give another path", "give the name of a file"))
    assert sorted(places.rglob("*")) == before


@pytest.mark.parametrize("output", [".", "..", "/"])
@pytest.mark.parametrize("name", [name for name in COMMANDS if name != "answers"])
def test_a_folder_without_a_name_is_no_output(name, output, places, capsys):
    assert run(name, places / "in.jsonl", Path(output)) == 2
    assert f"{output} is a folder" in capsys.readouterr().err


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in ("grade", "answers")])
def test_a_device_is_no_output(name, places, capsys):
    device = places / ("x_train.jsonl" if name == "split" else "x.jsonl")
    os.mkfifo(device)
    assert run(name, places / "in.jsonl", places / "x.jsonl") == 2
    assert f"{device} is a device or a pipe" in capsys.readouterr().err


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes anywhere")
def test_a_folder_that_is_read_only_is_told(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ConfigError, match="permission denied"):
        check_writable(tmp_path / "o.jsonl")


def test_what_can_be_written_leaves_nothing(tmp_path):
    (tmp_path / "link").symlink_to("target.jsonl")
    (tmp_path / "earlier").write_text("as it was")
    before = sorted(tmp_path.rglob("*"))
    for name in ("a.jsonl", "new/folders/a.jsonl", "link", "earlier"):
        check_writable(tmp_path / name)
    assert sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "earlier").read_text() == "as it was"


ROW = {"question": "What is 1?", "problem": "What is 1?", "solution": "1. One.\n\n2. Two."}


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("stepify", "o.report.json"),
        ("traces", "o.failures.jsonl"),
        ("traces", "o.run.json"),
        ("decontaminate", "o.overlaps.jsonl"),
        ("grade", "o.jsonl"),
        ("render-eval", "o.manifest.json"),
        ("answers", "o.jsonl/val.jsonl"),
    ],
)
def test_no_file_that_a_command_writes_is_its_source(name, written, tmp_path, capsys):
    file = tmp_path / written
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(ROW) + "\n")
    before = file.read_bytes()
    source = file if name != "answers" else f"{file.parent}/*.jsonl"
    assert run(name, source, tmp_path / "o.jsonl") == 2
    assert "would be written over" in capsys.readouterr().err
    assert file.read_bytes() == before


def test_nor_is_the_log_of_a_teacher(tmp_path, capsys):
    file = tmp_path / "o.teacher.jsonl"
    file.write_text(json.dumps(ROW) + "\n")
    words = ["stepify", "--source", str(file), "--output", str(tmp_path / "o.jsonl")]
    assert execute(cli, "srl-data", [*words, "--model", "m"]) == 2
    assert "o.teacher.jsonl would be written over" in capsys.readouterr().err


CARD = "---\nconfigs:\n- config_name: a\n  data_files: inner/deep/*.jsonl\n---\n"


@pytest.mark.parametrize(
    ("file", "refused"),
    [
        ("x.jsonl", True),
        ("data/x.jsonl", True),
        ("train/0000.jsonl", True),
        ("data/test/0000.jsonl", True),
        ("inner/deep/x.jsonl", True),
        ("inner/other/x.jsonl", False),
        ("steps/x.jsonl", False),
    ],
)
def test_a_folders_files_are_those_of_its_splits_and_its_card(file, refused, tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    path = tmp_path / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("{}\n")
    if refused:
        with pytest.raises(ConfigError, match="would be written over"):
            check_outputs([path], tmp_path)
    else:
        check_outputs([path], tmp_path)


def test_all_below_a_saved_folder_is_its_own(tmp_path):
    (tmp_path / "state.json").write_text("{}")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/x.arrow").write_bytes(b"")
    with pytest.raises(ConfigError, match="would be written over"):
        check_outputs([tmp_path / "deep/x.arrow"], tmp_path)


LIMITED = """
import resource, sys
from srl_data.cli import main

resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))  # as a full disk is, for one process
sys.argv = ["srl-data", *sys.argv[1:]]
main()
"""
LONG = {**ROW, "answer": "2", "completion": "x", "pad": "pad " * 25}


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("stepify", "o.jsonl"),
        ("pairs", "o.jsonl"),
        ("dedupe", "o.jsonl"),
        ("grade", "o.jsonl"),
        ("split", "o_train.jsonl"),
        ("build", ".o.jsonl.building/instances"),
        ("synth", "o.jsonl"),
    ],
)
def test_a_full_disk_is_told_with_the_file(name, file, tmp_path):
    rows = [{**LONG, "problem": f"Say {n}", "question": f"What is {n}?"} for n in range(1500)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    words = [word.format(**{"in": tmp_path / "in.jsonl", "out": out / "o.jsonl"})
             for word in COMMANDS[name]]  # fmt: skip
    words += ["--num-problems", "900"] if name == "synth" else []
    done = subprocess.run(
        [sys.executable, "-c", LIMITED, *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    said = f"error: cannot write {out / file}: file size limit reached; free some space"
    assert (done.returncode, said in done.stderr) == (1, True), done.stderr
    assert list(out.iterdir()) == []


def test_a_full_standard_output_is_told(tmp_path):
    source = tmp_path / "in.jsonl"
    source.write_text(json.dumps(LONG) + "\n")
    code = "from srl_data.cli import main; main()"
    for more in ((), ("--output", "/dev/full")):
        with Path("/dev/full").open("wb") as full:
            done = subprocess.run(
                [sys.executable, "-c", code, "grade", source, "--reward", "format", *more],
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                timeout=60,
                check=False,
            )
        what = more[-1] if more else "standard output"
        assert f"cannot write {what}: no space left" in done.stderr
