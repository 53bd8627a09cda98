import json
import math
import os
import stat
from pathlib import Path

import pytest

from srl_data.command.errors import CommandError
from srl_data.files import write_json, write_text
from srl_data.records import finite_line


def test_a_pipe_is_not_replaced_by_a_file(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(CommandError, match="device or a pipe"):
        write_text(pipe, "text")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_json_that_utf8_cannot_hold_is_escaped(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", {"name": "\ud800", "text": "é"})
    assert json.loads((tmp_path / "a.json").read_text()) == {"name": "\ud800", "text": "é"}
    write_json(tmp_path / "b.json", {"text": "é"})
    assert "é" in (tmp_path / "b.json").read_text(encoding="utf-8")


def test_a_line_has_null_for_what_json_has_no_number_for() -> None:
    line = finite_line({"a": float("nan"), "b": [1.5, float("inf")], "c": {"d": (-math.inf, 2)}})
    assert json.loads(line) == {"a": None, "b": [1.5, None], "c": {"d": [None, 2]}}
    assert finite_line({"text": "\ud800"}).isascii()
