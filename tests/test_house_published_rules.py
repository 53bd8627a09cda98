"""The table of the two sets of rules is the one that `benchmarks/published_rules.py` prints."""

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("math_verify")
pytest.importorskip("pylatexenc")
ROOT = Path(__file__).resolve().parent.parent


def test_the_table_is_what_the_benchmark_prints_and_each_row_differs() -> None:
    command = [sys.executable, str(ROOT / "benchmarks" / "published_rules.py")]
    found = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    assert found in (ROOT / "docs/benchmarks/published-rules.md").read_text(encoding="utf-8")
    cells = [row.split(" | ") for row in found.splitlines()[2:]]
    assert {(row[-3], row[-2]) for row in cells} == {("1", "0"), ("0", "1")}
