"""What the tests share: tiny models, made-up groups, a world of one, the command as a user runs it.

No deadline for Hypothesis, since a busy machine is no failure.
"""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch
from hypothesis import settings
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_eval.generate import Completion
from srl_grpo import distributed
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
