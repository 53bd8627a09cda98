"""Standard streams whose reader is gone, in real processes."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import sys
from pathlib import Path
from srl_data.command.streams import fill_closed_descriptors, lasting_streams
fill_closed_descriptors()
with lasting_streams():
    for number in range(2000):
        print("line", number, "±" * 30)
        print("line", number, file=sys.stderr)
    if sys.stdout is not None:
        sys.stdout.flush()
Path(sys.argv[1]).write_text("done")
"""


def run(done, shell, **environment):
    command = f"'{sys.executable}' -c \"$PROGRAM\" '{done}' {shell}"
    return subprocess.run(
        ["bash", "-c", command],
        env=os.environ | {"PROGRAM": PROGRAM} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "shell",
    [
        "| head -n 1",
        "2>&1 | head -n 1",
        "2>&1 >/dev/null | head -n 1",
        ">&-",
        "2>&-",
        ">&- 2>&- <&-",
        ">/dev/full",
        ">/dev/full 2>&1",
    ],
)
def test_work_goes_on_to_its_end_whoever_reads(tmp_path, shell):
    result = run(tmp_path / "done", f"{shell}; exit ${{PIPESTATUS[0]}}")
    assert result.returncode == 0, result.stderr[-500:]
    assert (tmp_path / "done").read_text() == "done"
    assert "Exception ignored" not in result.stderr


def test_characters_that_the_terminal_lacks_are_question_marks(tmp_path):
    result = run(tmp_path / "done", "", PYTHONIOENCODING="ascii")
    assert result.returncode == 0
    assert result.stdout.splitlines()[0] == "line 0 " + "?" * 30


def test_an_error_that_nobody_can_read_keeps_its_exit_code():
    command = f"'{sys.executable}' -m srl_data.cli build nonsense"
    program = (
        "import rich_click as click\n"
        "from srl_data.command.frame import run\n"
        "from srl_data.command.errors import DataError\n"
        "@click.command()\n"
        "def program():\n"
        "    raise DataError('no data')\n"
        "run(program, 'program')\n"
    )
    command = f"'{sys.executable}' -c \"$PROGRAM\" 2>/dev/full"
    result = subprocess.run(
        ["bash", "-c", command], env=os.environ | {"PROGRAM": program}, check=False
    )
    assert result.returncode == 3
