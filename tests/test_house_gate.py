"""The gate, `.ci/run`: what it runs side by side, what it says of it, and how it is interrupted.

Its own script, with stages in the place of the real ones that say their name and end at once.
"""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

BODY = "if ! command -v uv"
"""Where the script's functions end and its work begins."""

pytestmark = pytest.mark.skipif(
    not (Path(__file__).parents[1] / ".ci/run").exists(), reason="tests run away from the checkout"
)


@pytest.fixture
def gate(tmp_path: Path):
    """Writes the gate with stages that print their name, but for those given, as shell commands."""
    text = (Path(__file__).parents[1] / ".ci/run").read_text()

    def write(**stages: str) -> list[str]:
        path = tmp_path / ".ci/run"
        path.parent.mkdir()
        path.write_text(text)
        path.chmod(0o755)
        known = subprocess.check_output([path, "--list"], text=True).split()
        bodies = {name: f"echo this is {name}" for name in known} | stages
        functions = "".join(f"{name}() {{ {body}; }}\n" for name, body in bodies.items())
        assert text.count(BODY) == 1
        path.write_text(text.replace(BODY, functions + BODY))
        return [str(path)]

    return write


def run(command: list[str], *stages: str) -> tuple[int, str]:
    done = subprocess.run(
        [*command, *stages], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def test_the_slow_stage_runs_beside_the_others_and_speaks_after_them(gate, tmp_path):
    met, waits = tmp_path / "met", "for _ in {1..300}; do [[ -e met ]] && break; sleep 0.1; done"
    code, said = run(gate(slow=f"{waits}; [[ -e met ]]; echo this is slow", wheels=f"touch {met}"))
    assert code == 0, said
    assert said.index("=== slow: runs beside") < said.index("=== lint ===")
    assert said.index("--- wheels: exit code 0") < said.index("this is slow")
    assert said.count("this is slow") == said.count("=== stages ===") == 1
    assert "\nok      slow " in said
    assert "FAILED" not in said


@pytest.mark.parametrize("name", ["slow", "lint", "wheels"])
def test_one_failed_stage_fails_the_gate_and_hides_no_other(gate, name):
    command = gate(**{name: "echo why; false"})
    stages = subprocess.check_output([*command, "--list"], text=True).split()
    code, said = run(command)
    assert code == 1
    assert f"\nFAILED  {name} " in said
    assert "(exit code 1)" in said
    assert "why" in said
    assert said.count("\nok      ") == len(stages) - 1
    assert "\nok      quickstart " in said


def test_what_is_beside_writes_into_the_folder_that_is_removed_at_the_end(gate, tmp_path):
    code, said = run(gate(slow="echo where: $scratch"))
    assert code == 0
    (inner,) = [line for line in said.splitlines() if line.startswith("where: ")]
    folder = Path(inner.removeprefix("where: "))
    assert folder.parent.name.startswith("srl-ci.")  # so that a stage that is killed leaves nothing
    assert not folder.parent.exists()


def test_nothing_runs_where_the_environment_cannot_be_installed(gate):
    code, said = run(gate(install="false"))
    assert code == 1
    assert "this is" not in said


def test_stages_that_are_named_run_one_after_the_other(gate):
    code, said = run(gate(), "slow", "lint")
    assert code == 0
    assert said.index("this is slow") < said.index("=== lint ===") < said.index("this is lint")


def test_no_tests_is_no_failure_but_an_unfinished_test_run_is(gate):
    body = "pytest_within 9 bash -c 'exit 5'; pytest_within 1 sleep 30"
    code, said = run(gate(slow=body), "slow")
    assert code == 1
    assert "FAILED  slow" in said
    assert "(exit code 124)" in said


@pytest.mark.parametrize("stage", ["tests", "slow"])
def test_an_interrupt_ends_the_stages_on_both_sides(gate, tmp_path, stage):
    """As Ctrl-C does: the signal goes to the whole group in the foreground."""
    slow = "touch slow-runs; pytest_within 600 sleep 601"
    others = {"tests": "touch tests-run; pytest_run sleep 602"} if stage == "tests" else {}
    command = gate(slow=slow, **others)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    running = subprocess.Popen(
        ["env", "--default-signal=INT", *command],  # whatever ran the tests may have it ignored
        stdout=subprocess.DEVNULL,
        env={**os.environ, "TMPDIR": str(scratch)},
        start_new_session=True,
    )
    wanted = {"slow-runs", "tests-run"} if others else {"slow-runs"}
    await_files(tmp_path, wanted)
    time.sleep(1)  # the commands behind them have begun, too
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) == 130
    assert list(scratch.iterdir()) == []
    left = subprocess.run(["pgrep", "-f", "^sleep 60[12]$"], capture_output=True, check=False)
    assert left.stdout == b""


def await_files(folder: Path, names: set[str]) -> None:
    """Wait until files are there, or fail."""
    end = time.monotonic() + 30
    while not all((folder / name).exists() for name in names):
        assert time.monotonic() < end, f"not all of {names}"
        time.sleep(0.1)
