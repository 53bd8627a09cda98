"""The page of overlaps is what its script writes, and the guide shows its pairs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs/benchmarks/overlaps.md"


def test_the_guide_shows_the_page_s_ten_pairs() -> None:
    text = PAGE.read_text(encoding="utf-8")
    start = text.index("| training | evaluation | share |")
    table = text[start : text.index("\n\n", start)]
    assert len(table.splitlines()) == 2 + 10
    assert table in (ROOT / "docs/guides/splits.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="needs SRL_TEST_DATA")
def test_the_page_is_what_the_script_writes(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    command = [sys.executable, str(ROOT / "benchmarks/overlaps.py"), "--output", str(page)]
    subprocess.run(command, check=True, timeout=240)
    assert page.read_text(encoding="utf-8") == PAGE.read_text(encoding="utf-8")
