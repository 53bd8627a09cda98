"""What the tests share: tiny models, made-up groups, a world of one, the command as a user runs it.

No deadline for Hypothesis, since a busy machine is no failure.
"""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
import yaml
from hypothesis import settings
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_data.command import execute
from srl_eval.generate import Completion
from srl_grpo import distributed
from srl_grpo.cli import cli
from srl_grpo.distributed import World
from srl_grpo.groups import Group, Scored

settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")

torch.set_num_threads(1)  # tiny tensors: threads would only wait for each other

MakeModel = Callable[..., Qwen2ForCausalLM]
MakeGroup = Callable[..., Group]
Run = Callable[..., CompletedProcess[str]]


@pytest.fixture(scope="session")
def tiny_model() -> MakeModel:
    """Makes a seeded Qwen2 of two thousand parameters, the same one each time."""

    def make(seed: int = 0, **changes: object) -> Qwen2ForCausalLM:
        options: dict[str, object] = {
            "vocab_size": 23,
            "hidden_size": 16,
            "intermediate_size": 24,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 64,
            "initializer_range": 0.3,
            "tie_word_embeddings": True,
            "bos_token_id": None,
            "eos_token_id": 0,
            "pad_token_id": 1,
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return Qwen2ForCausalLM(Qwen2Config(**(options | changes)))

    return make


@pytest.fixture(scope="session")
def make_group() -> MakeGroup:
    """Makes a group from rewards and, if they matter, prompt and completion ids."""

    def make(
        rewards: Sequence[float],
        prompt: Sequence[int] = (5, 6),
        completions: Sequence[Sequence[int]] | None = None,
        **scored: object,
    ) -> Group:
        texts = completions or [(7, 0)] * len(rewards)
        members = tuple(
            Scored(Completion(tuple(ids), (-1.0,) * len(ids), "stop", 0), "", reward, **scored)
            for ids, reward in zip(texts, rewards, strict=True)
        )
        return Group(0, tuple(prompt), members)

    return make


@pytest.fixture(scope="session")
def world() -> Iterator[World]:
    """A world of one process."""
    yield distributed.start()
    distributed.stop()


TINY = {
    "num_steps": 2,
    "model": {"build": {"hidden_size": 16, "num_heads": 2, "num_kv_heads": 1, "num_layers": 1}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 8, "num_heldout": 2, "digits": [2, 2]},
    "rollout": {
        "batch_size": 2,
        "group_size": 2,
        "max_new_tokens": 8,
        "chunk_size": 4,
        # Its weights are random: no output is valid, and no step makes an update.
        "max_starved_steps": 0,
    },
    "tracking": {"tensorboard": False},
}
"""A run of a second."""


@pytest.fixture
def call(monkeypatch, capsys, tmp_path, world):
    """Runs `srl-grpo` in this process, in an empty folder: exit code, standard output, errors."""
    monkeypatch.setattr(distributed, "start", lambda: world)
    monkeypatch.setattr(distributed, "stop", lambda: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("COLUMNS", "120")

    def run(*arguments):
        words = [str(argument) for argument in arguments]
        monkeypatch.setattr(sys, "argv", ["srl-grpo", *words])
        capsys.readouterr()
        code = execute(cli, "srl-grpo", words)
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return run


@pytest.fixture
def tiny(tmp_path):
    """Writes a config of a run of a second; sections given are laid over it."""

    def write(**changes):
        tree = json.loads(json.dumps(TINY))
        for name, section in changes.items():
            if section is None:
                tree.pop(name)
            elif isinstance(section, dict):
                tree[name] = tree.get(name, {}) | section
            else:
                tree[name] = section
        path = tmp_path / "tiny.yaml"
        path.write_text(yaml.safe_dump(tree))
        return path

    return write


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """This process's environment without colours, hub or GPU, with a wide terminal."""
    return {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "NO_COLOR": "1",
        "COLUMNS": "120",
        "CUDA_VISIBLE_DEVICES": "",
        "OMP_NUM_THREADS": "1",
    }


@pytest.fixture(scope="session")
def run_command(environment: dict[str, str]) -> Run:
    """Run `srl-grpo` with arguments in a process of its own, to its end."""

    def run(*arguments: object, before: Callable[[], None] | None = None) -> CompletedProcess[str]:
        return subprocess.run(
            [Path(sys.executable).with_name("srl-grpo"), *map(str, arguments)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=280,
            stdin=subprocess.DEVNULL,
            preexec_fn=before,
            check=False,
        )

    return run
