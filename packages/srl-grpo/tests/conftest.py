"""What the tests share: tiny models, made-up groups, a world of one, the command as a user runs it.

Also whole runs put together from a config and watched while they go (`watched`): a scripted engine
writes the completions, and hooks of torch and DeepSpeed tell what the config became.

No deadline for Hypothesis, since a busy machine is not a failure.
"""

import copy
import itertools
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from subprocess import CompletedProcess
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import yaml
from hypothesis import settings
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook
from transformers import Qwen2Config, Qwen2ForCausalLM

from srl_data.command.frame import execute
from srl_data.lock import FolderLock
from srl_eval.generate import Completion, Sampling
from srl_grpo.cli import cli
from srl_grpo.config.train import TrainConfig
from srl_grpo.learner import distributed
from srl_grpo.learner.distributed import World
from srl_grpo.learner.engine import prepare_deepspeed
from srl_grpo.rollout.groups import Group, Scored
from srl_reward import render_step_output

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


@pytest.fixture(scope="module")  # not of the session: tests of other folders end it in between
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


Written = tuple[str, bool]
"""What a script writes for a completion: its text, and whether it ends by itself."""
Script = Callable[[Any, int], Written]
"""Of a prompt (its text where it is none of the data's) and the sample's number in its group."""


def mixed(prompt, sample: int) -> Written:
    """The expert's step, one that is cut off, one that is nearly right, one without a format."""
    if isinstance(prompt, str):
        return "no", True
    target = str(prompt.columns["target_step"])
    right = render_step_output("carry", target)
    wrong = render_step_output("carry", target[:-3] + "9")
    if prompt.think_prefilled:
        right, wrong = (text.removeprefix("<think>") for text in (right, wrong))
    return [(right, True), (right, False), (wrong, True), ("no", True)][sample % 4]


@dataclass(frozen=True)
class Call:
    """One request to the engine."""

    prompts: list[tuple[int, ...]]
    sampling: Sampling
    seeds: list[int]
    weights_version: int
    completions: list[Completion]


@dataclass
class ScriptedEngine:
    """Records what is asked and answers by script, with the model's true log-probabilities."""

    model: Any
    tokenizer: Any
    chunk_size: int
    weights_version: int
    prompts: Mapping[tuple[int, ...], Any]
    script: Script
    shift: float = 0.0
    """Added to the log-probabilities, as if by a sampler that is not the trainer."""
    calls: list[Call] = field(default_factory=list)

    def generate(
        self, prompts: Sequence[Sequence[int]], sampling: Sampling, seeds: Sequence[int]
    ) -> list[Completion]:
        rows = [tuple(prompt) for prompt in prompts]
        members = [n for _, run in itertools.groupby(rows) for n, _ in enumerate(run)]
        done = [self.complete(*row, sampling) for row in zip(rows, members, strict=True)]
        self.calls.append(Call(rows, sampling, list(seeds), self.weights_version, done))
        return done

    def complete(self, prompt: tuple[int, ...], member: int, sampling: Sampling) -> Completion:
        asked = self.prompts.get(prompt) or self.tokenizer.decode(list(prompt))
        text, ends = self.script(asked, member)
        ids = self.tokenizer.encode(text, add_special_tokens=False)
        ids += [self.tokenizer.eos_token_id] if ends else []
        reason = "stop" if ends else "length"
        values = self.logprobs(prompt, ids, sampling.temperature or 1.0)
        return Completion(tuple(ids), values, reason, self.weights_version)

    @torch.no_grad()
    def logprobs(
        self, prompt: Sequence[int], ids: Sequence[int], temperature: float
    ) -> tuple[float, ...]:
        logits_TV = self.model(torch.tensor([[*prompt, *ids]]), use_cache=False).logits[0].float()
        table_NV = (logits_TV / temperature).log_softmax(-1)[len(prompt) - 1 : -1]
        found = table_NV.gather(-1, torch.tensor(ids)[:, None])[:, 0] + self.shift
        return tuple(found.tolist())


@dataclass(frozen=True)
class OptimizerStep:
    """What a real optimizer was told at one of its steps."""

    rate: float
    betas: tuple[float, float]
    weight_decay: float
    dtypes: set[torch.dtype]
    grad_norm: float


def parts_of(session, stage) -> SimpleNamespace:
    """What tests look at of a run, wherever it is kept."""
    return SimpleNamespace(
        session=session,
        stage=stage,
        state=session.state,
        progress=stage.progress,
        engine=session.engine,
        directory=session.directory,
        tokenizer=session.model.tokenizer,
        prompts=stage.source.prompts,
        rollout=stage.source.rollout,
        held_out=stage.held_out,
    )


@dataclass
class Watched:
    """One run and all that was seen of it."""

    path: Path
    trainer: Any = None
    engine: Any = None
    start: dict[str, torch.Tensor] = field(default_factory=dict)
    """The policy's weights before the first step."""
    steps: list[OptimizerStep] = field(default_factory=list)
    forwards: list[torch.Tensor] = field(default_factory=list)
    """The ids of every forward pass that takes gradients, repeated ones included."""
    settings: list[dict[str, Any]] = field(default_factory=list)
    """What DeepSpeed was given."""
    loads: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    """Models and tokenizers asked of transformers."""
    layers: int = 0
    """Passes of a decoder layer that take gradients, after the warm start."""
    warm_steps: int = 0
    warm_forwards: int = 0

    @property
    def rollouts(self) -> list[Call]:
        """The calls that sample for training: those of several completions per prompt."""
        return [call for call in self.engine.calls if call.prompts[:1] * 2 == call.prompts[:2]]

    @property
    def evaluations(self) -> list[Call]:
        """The other calls."""
        return [call for call in self.engine.calls if call not in self.rollouts]

    @property
    def metrics(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in (self.path / "metrics.jsonl").read_text().splitlines()]

    def records(self, step: int) -> list[dict[str, Any]]:
        return list(self.trainer.directory.read_rollouts(step))


Watch = Callable[..., Watched]


def hooks_of(seen: Watched, patch: pytest.MonkeyPatch) -> list[Any]:
    """Hooks that write into `seen`: torch's own are global, DeepSpeed and loading are patched."""
    prepare_deepspeed()
    import deepspeed
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def on_step(optimizer: torch.optim.Optimizer, *_: object) -> None:
        for group in optimizer.param_groups:
            grads = [p.grad for p in group["params"] if p.grad is not None]
            dtypes = {p.dtype for p in group["params"]}
            norm = float(torch.nn.utils.get_total_norm(grads)) if grads else 0.0
            told = group["lr"], tuple(group["betas"]), group["weight_decay"]
            seen.steps.append(OptimizerStep(*told, dtypes, norm))

    def on_forward(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
        if torch.is_grad_enabled() and isinstance(module, torch.nn.Embedding):
            seen.forwards.append(inputs[0].detach().clone())
        elif torch.is_grad_enabled() and type(module).__name__.endswith("DecoderLayer"):
            seen.layers += 1

    real = deepspeed.initialize

    def initialize(*args, **kwargs):
        seen.settings.append(copy.deepcopy(kwargs["config"]))
        return real(*args, **kwargs)

    patch.setattr(deepspeed, "initialize", initialize)
    for loader in (AutoModelForCausalLM, AutoTokenizer):

        def load(path: str, *args, _real=loader.from_pretrained, **kwargs):
            seen.loads.append((str(path), kwargs))
            return _real(path, *args, **kwargs)

        patch.setattr(loader, "from_pretrained", load)
    return [
        register_optimizer_step_pre_hook(on_step),
        register_module_forward_pre_hook(on_forward),
    ]


@pytest.fixture(scope="module")
def watched(world: World) -> Watch:
    """Runs a config to its end, as the command does, with a scripted engine; tells what was seen.

    `script` writes the completions, `shift` moves their log-probabilities; without `script` the
    real engine samples. `before` is called with the trainer before the first step. `ends` is the
    error that the run is to end with.
    """

    def run(
        tree: Mapping[str, Any],
        path: Path,
        script: Script | None = mixed,
        shift: float = 0.0,
        before: Callable[[Any], None] = lambda _trainer: None,
        ends: type[Exception] | None = None,
    ) -> Watched:
        from srl_grpo.stages.running import train_and_compare
        from srl_grpo.stages.train import open_run

        config = TrainConfig.model_validate({**tree, "output_dir": path})
        seen = Watched(path)
        with pytest.MonkeyPatch.context() as patch:
            hooks, lock = hooks_of(seen, patch), FolderLock()
            try:
                with open_run(config, world, held=lock) as (session, stage, comparison):
                    trainer = seen.trainer = parts_of(session, stage)
                    seen.warm_steps, seen.warm_forwards = len(seen.steps), len(seen.forwards)
                    seen.layers = 0
                    model = trainer.engine.policy.model
                    seen.start = {n: p.detach().clone() for n, p in model.named_parameters()}
                    if script is not None:
                        trainer.rollout.engine = scripted(trainer, script, shift)
                    seen.engine = trainer.rollout.engine
                    before(trainer)
                    with pytest.raises(ends) if ends else nullcontext():
                        train_and_compare(session, stage, comparison)
            finally:
                lock.release()
                for hook in hooks:
                    hook.remove()
        return seen

    return run


def scripted(trainer, script: Script, shift: float) -> ScriptedEngine:
    """The scripted engine in the place of the trainer's own."""
    engine = trainer.rollout.engine
    held_out = trainer.held_out.prompts if trainer.held_out else []
    known = {tuple(prompt.ids): prompt for prompt in [*held_out, *trainer.prompts]}
    return ScriptedEngine(
        engine.model,
        trainer.tokenizer,
        engine.chunk_size,
        engine.weights_version,
        known,
        script,
        shift,
    )
