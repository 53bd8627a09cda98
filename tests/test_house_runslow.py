"""`pytest --runslow` runs the slow tests too; `-m` on the command line goes before it."""

import subprocess
import sys
from pathlib import Path

# Quick to import, with slow tests and others.
FILE = "packages/srl-reward/tests/test_sequence_properties.py"


def collected(root: Path, *arguments: str) -> set[str]:
    """The tests that pytest would run."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", *arguments],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode in (0, 5), done.stdout + done.stderr
    return {line for line in done.stdout.splitlines() if "::" in line}


def test_runslow_takes_the_slow_ones_in(root: Path) -> None:
    everything, quick = collected(root, FILE, "-m", ""), collected(root, FILE)
    assert 0 < len(quick) < len(everything)
    assert collected(root, FILE, "--runslow") == everything
    assert collected(root, "--runslow", "-m", "not slow", FILE) == quick
