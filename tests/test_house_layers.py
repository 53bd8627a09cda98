"""What may import what: between packages, and before a command has parsed its arguments."""

import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path

import pytest

PACKAGES = ("srl_data", "srl_eval", "srl_grpo", "srl_reward")
HEAVY = ("torch", "transformers", "datasets", "deepspeed", "lm_eval", "vllm", "pandas")

HELP = [
    ["srl-data", "--help"],
    ["srl-data", "build", "s1k", "--help"],
    ["srl-data", "synth", "arithmetic", "--help"],
    ["srl-data", "inspect", "--help"],
    ["srl-data", "grade", "--help"],
    ["srl-eval", "--help"],
    ["srl-eval", "aime24", "--help"],
    ["srl-grpo", "--help"],
    ["srl-grpo", "train", "--help"],
    ["srl-grpo", "report", "--help"],
    ["srl-grpo", "train", "--config", "quickstart", "--dry-run"],
]


def modules_after(code: str, arguments: Sequence[str] = ()) -> set[str]:
    """Top-level modules loaded in a fresh interpreter once `code` has run."""
    program = f"""
import atexit, sys
atexit.register(lambda: print("\\n".join(["", "@@", *sys.modules])))
{code}
"""
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return {name.partition(".")[0] for name in done.stdout.rpartition("@@")[2].split()}


def test_import_linter_finds_the_layers_kept(root: Path) -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def modules_of(package: str) -> set[str]:
    """What is loaded once every module of a package is, but for those over optional engines."""
    return modules_after(f"""
import importlib, pkgutil, {package}
for module in pkgutil.walk_packages({package}.__path__, "{package}."):
    if not module.name.endswith(("__main__", ".vllm", ".verl", ".trl")):
        importlib.import_module(module.name)
""")


@pytest.mark.parametrize("package", ["srl_reward", "srl_data"])
def test_rewards_and_data_never_load_torch(package: str) -> None:
    assert "torch" not in modules_of(package)


def test_evaluation_never_loads_deepspeed() -> None:
    loaded = modules_of("srl_eval")
    assert "torch" in loaded
    assert "deepspeed" not in loaded


@pytest.mark.parametrize("command", HELP, ids=" ".join)
def test_a_command_parses_before_it_loads_anything_heavy(command: Sequence[str]) -> None:
    module = command[0].replace("-", "_")
    start = f"""
import sys
sys.argv[0] = {command[0]!r}
from {module}.cli import main
try:
    main()
except SystemExit as stop:
    assert not stop.code, stop.code
"""
    assert modules_after(start, command[1:]) & set(HEAVY) == set()


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_there_and_stated_once(package: str) -> None:
    module = import_module(package)
    names = module.__all__
    assert sorted(set(names)) == sorted(names)
    assert [name for name in names if not hasattr(module, name)] == []
    assert module.__doc__
