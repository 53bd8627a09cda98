"""What the workspace's own tests share: the checkout, and two ways to run a command."""

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

import pytest
import yaml

os.environ["HF_HUB_OFFLINE"] = "1"  # before anything reads it: a test never asks a hub

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]


def words_of(command: str | Sequence[str]) -> list[str]:
    """A command's words, as a shell would part them."""
    return shlex.split(command) if isinstance(command, str) else list(command)


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def smollm2(root: Path, pytestconfig: pytest.Config) -> Path:
    """SmolLM2-135M-Instruct in float32, de-quantised from Q4_1, for tests marked `model`.

    The folder that `SRL_TEST_MODEL` names, or one in pytest's cache; made where there is none.
    """
    named = os.environ.get("SRL_TEST_MODEL")
    folder = Path(named) if named else pytestconfig.cache.mkdir("smollm2") / "float32"
    done = subprocess.run(
        [sys.executable, root / "scripts" / "get_small_model.py", "--output", folder],
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """This process's environment without colours, and with a wide terminal."""
    return {**os.environ, "NO_COLOR": "1", "COLUMNS": "120"}


@pytest.fixture
def run_command(tmp_path: Path, environment: dict[str, str]) -> Run:
    """Run a console script of the workspace as a user would, in an empty folder."""

    def run(command: str | Sequence[str]) -> CompletedProcess[str]:
        program, *arguments = words_of(command)
        done = subprocess.run(
            [Path(sys.executable).with_name(program), *arguments],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=240,
            stdin=subprocess.DEVNULL,
            check=False,
        )
        return CompletedProcess([program, *arguments], done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture
def run_inside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """Run a command in this process, in an empty folder: quick, for what loads nothing heavy."""
    from srl_data.cli import cli as data
    from srl_data.command.frame import execute
    from srl_eval.cli import cli as evaluation
    from srl_grpo.cli import cli as training

    groups = {"srl-data": data, "srl-eval": evaluation, "srl-grpo": training}

    def run(command: str | Sequence[str]) -> CompletedProcess[str]:
        program, *arguments = words_of(command)
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        code = execute(groups[program], program, arguments)
        shown = capsys.readouterr()
        return CompletedProcess([program, *arguments], code, shown.out, shown.err)

    return run


SMALL_VLLM_RUN: dict[str, Any] = {
    "num_steps": 4,
    "seed": 3,
    "model": {
        "dtype": "float32",
        # Heads of size 64: vLLM has no kernel for the smoke test's.
        "build": {"hidden_size": 128, "num_heads": 2, "num_kv_heads": 2, "num_layers": 2},
    },
    "data": {"template": "bare", "max_prompt_length": 128},
    "synthetic": {"num_problems": 20, "digits": [2, 2]},
    "warm_start": {"steps": 30, "batch_size": 32},
    "rollout": {
        "batch_size": 2,
        "group_size": 4,
        "max_new_tokens": 32,
        "max_starved_steps": 0,
        "backend": "vllm",
    },
    "optimizer": {"learning_rate": 1e-3},
    "checkpoint": {"checkpoint_every": 2},
    "tracking": {"tensorboard": False},
}


@pytest.fixture(scope="session")
def vllm_run() -> Callable[..., str]:
    """Writes the config of a small run with vLLM, sections laid over it, and gives its path."""

    def written(folder: Path, **sections: Any) -> str:  # noqa: ANN401 - whatever a section holds
        tree = json.loads(json.dumps(SMALL_VLLM_RUN))
        for name, section in sections.items():
            tree[name] = tree.get(name, {}) | section if isinstance(section, dict) else section
        path = folder / "run.yaml"
        path.write_text(yaml.safe_dump(tree))
        return str(path)

    return written
