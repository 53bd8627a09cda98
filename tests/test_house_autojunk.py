"""The tables of autojunk's cliff are those that `benchmarks/autojunk.py` prints."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def table(*arguments: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / "autojunk.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


def test_the_readmes_table_is_what_the_benchmark_prints() -> None:
    shown = (ROOT / "packages/srl-reward/README.md").read_text(encoding="utf-8")
    assert table() in shown


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set")
def test_the_guides_table_is_what_real_steps_give() -> None:
    shown = (ROOT / "docs/guides/reward.md").read_text(encoding="utf-8")
    assert table("--solutions", f"{os.environ['SRL_TEST_DATA']}/s1k/s1k.json") in shown
