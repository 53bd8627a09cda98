"""The cuts that were judged by eye are still the cuts that are made."""

import importlib.util
import os
import re
from pathlib import Path

import pytest

ROW = re.compile(r"^\| (\S+/\S+) \| (\w+) \| (.+?) \| (right|passable|wrong) \|", re.MULTILINE)


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="needs the real data sets")
def test_the_judged_cuts_are_made(root: Path) -> None:
    spec = importlib.util.spec_from_file_location("draw", root / "scripts" / "draw_stepify.py")
    assert spec is not None
    assert spec.loader is not None
    draw = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(draw)
    made = [
        (name, cut.rule, ", ".join(map(str, cut.rendered.cuts)) or "each line")
        for name, cut in draw.drawn(Path(os.environ["SRL_TEST_DATA"]))
    ]
    page = (root / "docs" / "guides" / "stepify-judged.md").read_text("utf-8")
    assert [row[:3] for row in ROW.findall(page)] == made


def test_the_counts_on_the_page_are_those_of_its_rows(root: Path) -> None:
    page = (root / "docs" / "guides" / "stepify-judged.md").read_text("utf-8")
    judged = [row[3] for row in ROW.findall(page)]
    assert len(judged) == 36
    count = {name: judged.count(name) for name in ("right", "passable", "wrong")}
    told = f"{count['right']} are right, {count['passable']} passable, {count['wrong']} wrong"
    assert told in page
