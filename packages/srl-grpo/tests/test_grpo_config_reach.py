"""Every key of the training config, and what it becomes in a run that is put together from it.

`HELD` has an observation for each key: it looks at what the run did, never at the config. A key
that is added and not held here, or that nothing reads while a run goes on, fails the walk.
"""

import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from rapidfuzz.distance import Levenshtein
from transformers import AutoTokenizer, GenerationConfig

from srl_data.arithmetic import Difficulty, problems, sloppy_stream
from srl_data.command.config import Section, leaves, section_of
from srl_data.command.errors import CommandError
from srl_data.records import SrlInstance
from srl_eval.generate import seed_for
from srl_grpo.config.algorithm import AlgorithmSection
from srl_grpo.config.losses import CONSTANTS
from srl_grpo.config.reward import RewardSection
from srl_grpo.config.sections import LaunchSection
from srl_grpo.config.train import TrainConfig
from srl_grpo.launch import torchrun_arguments
from srl_grpo.rollout.rewards import make_rewards
from srl_grpo.run.trackers import read_metrics
from srl_reward import R1ZeroReward, ratio, render_step_output, strip_step_number

BUILT: dict[str, Any] = {
    "num_steps": 4,
    "seed": 7,
    "model": {
        "attention": "eager",
        "gradient_checkpointing": True,
        "build": {
            "hidden_size": 24,
            "num_layers": 1,
            "num_heads": 3,
            "num_kv_heads": 1,
            "intermediate_size": 40,
            "max_positions": 800,
            "initializer_range": 0.05,
        },
    },
    "data": {"template": "bare", "max_prompt_length": 36},
    "synthetic": {"num_problems": 5, "num_heldout": 3, "digits": [2, 3]},
    "warm_start": {
        "steps": 2,
        "batch_size": 3,
        "num_pairs": 4,
        "learning_rate": 2e-3,
        "forget_carry": 1.0,
        "wrong_digit": 0.5,
    },
    "rollout": {
        "batch_size": 2,
        "group_size": 4,
        "max_new_tokens": 50,
        "temperature": 0.7,
        "top_p": 0.9,
        "top_k": 20,
        "min_p": 0.01,
        "stop": ["?"],
        "chunk_size": 4,
    },
    "algorithm": {"ppo_steps": 2, "train_batch_size": 4, "advantage_eps": 0.25},
    "optimizer": {
        "learning_rate": 1e-3,
        "betas": [0.8, 0.95],
        "weight_decay": 0.05,
        "warmup_steps": 2,
        "schedule": "linear",
        "max_grad_norm": 0.05,
    },
    "engine": {
        "zero_stage": 1,
        "offload_optimizer": True,
        "micro_batch_tokens": 150,
        "deepspeed": {"zero_optimization": {"reduce_bucket_size": 12345}},
    },
    "evaluation": {"eval_every": 2, "eval_limit": 5, "before_after": True},
    "checkpoint": {"checkpoint_every": 1, "keep_last": 2},
    "tracking": {
        "tensorboard": False,
        "wandb": "offline",
        "wandb_project": "p",
        "trackio": True,
        "trackio_project": "q",
        "run_name": "r",
        "logging_steps": 7,
    },
}
"""A model made on the spot, and nothing as it is by default."""

FILES: dict[str, Any] = {
    "num_steps": 1,
    "model": {"dtype": "bfloat16", "revision": "other", "resize_embeddings": True},
    "data": {
        "template": "question_only",
        "max_prompt_length": 600,
        "on_error": "skip",
        "chat_template_kwargs": {"thinks": True},
    },
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 100, "chunk_size": 8},
    "reward": {"autojunk": True, "strip_number": False},
    "engine": {
        "zero_stage": 1,
        "gradient_accumulation_steps": 2,
        "packing": True,
        "shared_prompts": "never",
    },
    "evaluation": {"eval_every": 1},
    "checkpoint": {"checkpoint_every": 0},
}
"""A model and data from files."""

STARVED: dict[str, Any] = {
    "num_steps": 9,
    "model": {
        "attention": "eager",
        "build": {"hidden_size": 16, "num_layers": 1, "max_positions": 800},
    },
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 5},
    "rollout": {
        "batch_size": 3,
        "max_new_tokens": 60,
        "eps_std": 0.3,
        "max_rounds": 2,
        "max_starved_steps": 3,
    },
}
"""Groups whose rewards differ by less than `eps_std`."""

WEIGHED: dict[str, Any] = {
    "num_steps": 1,
    "model": STARVED["model"],
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 5},
    "rollout": {"rollout_batch_size": 8, "group_size": 4, "max_new_tokens": 60},
    "reward": {
        "reward": ["step", "format"],
        "reward_weights": [0.5, 2.0],
        "metric": "levenshtein",
        "max_chars": 12,
    },
    "algorithm": {"aggregation": "normalize_then_sum"},
}
"""Two rewards of SRL instances."""

ANSWERED: dict[str, Any] = {
    **WEIGHED,
    "num_steps": None,
    "num_epochs": 2,
    "data": {"template": "question_only", "max_prompt_length": 96},
    "rollout": {"batch_size": 2, "group_size": 2, "max_new_tokens": 60, "stop": []},
    "reward": {"reward": "answer", "grader": "exact"},
    "algorithm": {},
}
"""The reward of an answer, whose records name a more lenient grader."""

SPLIT: dict[str, Any] = {
    **ANSWERED,
    "data": {
        "template": "question_only",
        "max_prompt_length": 96,
        "train_split": "first",
        "eval_split": "last",
        "train_max_samples": 2,
        "problem_field": "q",
        "answer_field": "key.a",
    },
    "synthetic": None,
    "evaluation": {"eval_every": 1, "eval_samples": 3},
}
"""Problems with answers in a folder of native splits, with columns of their own."""

CHAT = (
    "{% for m in messages %}{{ m['content'] }}{{ eos_token }}{% endfor %}"
    "{% if add_generation_prompt %} {% if thinks %}<think>{% endif %}{% endif %}"
)
"""A chat template that opens a thought where it is told to."""

LONG = [f"{n}. **Ones** " + "".join(f"{n}+{i}={n + i} " for i in range(40)) for n in (1, 2, 3)]


def instance(number: int) -> SrlInstance:
    return SrlInstance(
        id=f"p{number}/1",
        problem=f"{number}+1=?",
        previous_steps=[],
        target_step=LONG[number].strip(),
        step_index=1,
        num_steps=3,
    )


@dataclass
class Runs:
    """The runs that are looked at, each made when it is first asked for."""

    watched: Callable[..., Any]
    folder: Path
    wandb: dict[str, Any] = field(default_factory=dict)
    trackio: dict[str, Any] = field(default_factory=dict)
    read: set[tuple[str, str]] = field(default_factory=set)
    """Class and name of every config field that something read while they went on."""

    @cached_property
    def built(self):
        """The run of `BUILT`."""
        return self.watched(BUILT, self.folder / "built")

    @cached_property
    def resumed(self):
        """The same from its last checkpoint to another step, in a copy of its folder."""
        shutil.copytree(self.built.path, self.folder / "resumed")
        tree = {**BUILT, "num_steps": 5, "checkpoint": {"resume": "auto"}}
        return self.watched(tree, self.folder / "resumed")

    @cached_property
    def starved(self):
        """The run of `STARVED`, which ends before its last step."""
        return self.watched(STARVED, self.folder / "starved", script=alike, ends=CommandError)

    @cached_property
    def apart(self):
        """One step whose sampler lies 0.1 nats from the trainer, as far as the config allows."""
        tree = {**STARVED, "num_steps": 1, "algorithm": {"max_logprob_difference": 0.5}}
        rollout = {"rollout": {**STARVED["rollout"], "eps_std": 0.0}}
        return self.watched({**tree, **rollout}, self.folder / "apart", shift=0.1)

    @cached_property
    def weighed(self):
        """The run of `WEIGHED`."""
        return self.watched(WEIGHED, self.folder / "weighed", script=with_gaps)

    @cached_property
    def answered(self):
        """The run of `ANSWERED`."""
        return self.watched(ANSWERED, self.folder / "answered", script=boxed)

    @cached_property
    def split(self):
        """The run of `SPLIT`."""
        folder = self.folder / "splits"
        folder.mkdir()
        for name, numbers in (("first", range(1, 5)), ("last", range(7, 9)), ("test", range(9))):
            rows = [{"q": f"{n}+1=?", "key": {"a": n + 1}, "more": "x"} for n in numbers]
            lines = (json.dumps(row) + "\n" for row in rows)
            (folder / f"{name}.jsonl").write_text("".join(lines))
        tree = {**SPLIT, "data": {**SPLIT["data"], "path": str(folder)}}
        return self.watched(tree, self.folder / "split", script=boxed)

    @cached_property
    def plain(self):
        """Two steps without a baseline, with a single completion per prompt; final/ alone stays."""
        tree = {**STARVED, "num_steps": 2, "algorithm": {"baseline": "none"}}
        rollout = {"rollout": {**STARVED["rollout"], "group_size": 1}}
        rest = {"optimizer": {"warmup_ratio": 1.0}, "checkpoint": {"save_final_only": True}}
        return self.watched({**tree, **rollout, **rest}, self.folder / "plain")

    @cached_property
    def files(self):
        """The run of `FILES`, with the starved run's model."""
        tree = files_config(self.folder, self.starved.path / "step_3")
        return self.watched(tree, self.folder / "files", script=long_steps)


@pytest.fixture(scope="module")
def runs(watched, tmp_path_factory) -> Iterator[Runs]:
    found = Runs(watched, tmp_path_factory.mktemp("reach"))
    with pytest.MonkeyPatch.context() as patch:
        record_reading(patch, found.read)
        record_wandb(patch, found.wandb)
        record_trackio(patch, found.trackio)
        yield found


def long_steps(prompt, sample: int) -> tuple[str, bool]:
    target = str(prompt.columns["target_step"])
    text = [target, target[:-40] + "7", "2. carry", target[5:]][sample]
    return render_step_output("carry", text).removeprefix("<think>"), True


def alike(prompt, sample: int) -> tuple[str, bool]:
    """The expert's step once, and three times nearly so."""
    target = str(prompt.columns["target_step"])
    return render_step_output("carry", target if sample == 0 else target[:-1]), True


def boxed(prompt, sample: int) -> tuple[str, bool]:
    """The answer as the record spells it, and as a number with a decimal point."""
    answer = str(prompt.columns["answer"])
    return f"\\boxed{{{answer if sample == 0 else answer + '.0'}}}", True


def with_gaps(prompt, sample: int) -> tuple[str, bool]:
    """The expert's step, without some of its characters, and no step at all."""
    target = str(prompt.columns["target_step"])
    texts = [target, target[:6] + target[8:], target[:-2]]
    return (render_step_output("carry", texts[sample]) if sample < 3 else "no"), True


def each_reward(seen) -> list[dict[str, float]]:
    """The rewards of every completion of a run's first step."""
    return [row["rewards"] for row in seen.records(1)]


def levenshtein_of_12(row: dict[str, Any]) -> float:
    """Similarity of a row's step by 12 characters; what is not read counts as unlike."""
    a, b = (strip_step_number(row[name]) for name in ("action", "target"))
    share = 24 / (len(a) + len(b))
    return Levenshtein.normalized_similarity(a[:12], b[:12]) * share


def record_reading(patch: pytest.MonkeyPatch, read: set[tuple[str, str]]) -> None:
    plain = Section.__getattribute__

    def reading(self: Section, name: str) -> object:
        if name in type(self).model_fields:
            read.add((type(self).__name__, name))
        return plain(self, name)

    patch.setattr(Section, "__getattribute__", reading)


def record_wandb(patch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    import wandb

    class Board:
        def define_metric(self, *_: object, **__: object) -> None: ...
        def log(self, data: dict[str, float]) -> None:
            asked.setdefault("rows", []).append(data)

        def finish(self) -> None: ...

    def init(**options: object) -> Board:
        asked.setdefault("options", options)
        return Board()

    patch.setattr(wandb, "init", init)


def record_trackio(patch: pytest.MonkeyPatch, asked: dict[str, Any]) -> None:
    """What trackio is asked; that it does so is test_grpo_tracking's to see."""
    import trackio

    class NoRuns:
        def runs(self, _project: str) -> list[object]:
            return []

    patch.setattr(trackio, "Api", NoRuns)
    patch.setattr(trackio, "init", lambda **options: asked.setdefault("options", options))
    patch.setattr(trackio, "log", lambda _row, step: asked.setdefault("steps", []).append(step))
    patch.setattr(trackio, "finish", lambda: None)


def files_config(folder: Path, checkpoint: Path) -> dict[str, Any]:
    """`FILES` with a model folder whose template opens a thought, and data with a bad line."""
    model = folder / "model"
    shutil.copytree(checkpoint, model)
    tokenizer = AutoTokenizer.from_pretrained(model)
    tokenizer.add_tokens(["never", "seen"])
    tokenizer.save_pretrained(model)
    GenerationConfig(eos_token_id=[tokenizer.eos_token_id, 5]).save_pretrained(model)
    for name, numbers in (("train", (0, 1)), ("val", (2,))):
        lines = [instance(n).model_dump_json() for n in numbers]
        (folder / f"{name}.jsonl").write_text("\n".join([lines[0], "{}", *lines[1:]]) + "\n")
    (folder / "chat.jinja").write_text(CHAT)
    tree = {**FILES, "model": {**FILES["model"], "path": str(model)}}
    paths = {"path": "train.jsonl", "val_path": "val.jsonl", "chat_template": "chat.jinja"}
    given = {key: str(folder / name) for key, name in paths.items()}
    return {**tree, "data": {**FILES["data"], **given}}


def rates(seen) -> list[float]:
    """The learning rate of each optimizer step after the warm start."""
    return [step.rate for step in seen.steps[seen.warm_steps :]]


def shapes(seen) -> list[int]:
    """Tokens, padding included, of each forward pass of an update."""
    return [ids.numel() for ids in seen.forwards[seen.warm_forwards :]]


def warm_rows(seen) -> list[str]:
    """The texts of the warm start, as its model read them, each once."""
    tokenizer = seen.trainer.tokenizer
    rows = [row for ids in seen.forwards[: seen.warm_forwards] for row in ids.tolist()]
    return sorted({tokenizer.decode(row, skip_special_tokens=True) for row in rows})


def stream_rows(**errors: float) -> list[str]:
    """The same from the stream itself."""
    found = islice(sloppy_stream(7, Difficulty(2, 3), **errors), 4)
    return sorted(
        f"{i.problem}\n" + "".join(f"{s}\n" for s in i.previous_steps) + response
        for i, response in found
    )


def trained_rows(runs: Runs) -> list[dict[str, Any]]:
    """The records of the first batch of two rewards that were trained on."""
    return [row for row in runs.weighed.records(1) if row["kept"]]


def advantages_of(runs: Runs, step: float, form: float) -> list[float]:
    """What normalising both rewards of groups of four and then their weighted sum gives."""
    rows = trained_rows(runs)
    total = np.zeros((len(rows) // 4, 4))
    for name, weight in (("step", step), ("format", form)):
        values = np.array([row["rewards"][name] for row in rows]).reshape(-1, 4)
        centred = values - values.mean(axis=1, keepdims=True)
        total += weight * centred / (values.std(axis=1, ddof=1, keepdims=True) + 1e-4)
    return list(((total - total.mean()) / (total.std(ddof=1) + 1e-4)).flatten())


def zero_reward(**options: float) -> R1ZeroReward:
    """The reward `r1_zero` as a run makes it."""
    (part,) = make_rewards(RewardSection(reward=("r1_zero",), **options)).parts
    assert isinstance(part.reward, R1ZeroReward)
    return part.reward


def expert_prompts() -> list[str]:
    """Problems of the synthetic training set, in its order."""
    return [p.problem for p in problems(7, 5, Difficulty(2, 3), "train")]


def problems_asked(prompts) -> list[str]:
    """Each prompt's problem, once."""
    return list(dict.fromkeys(prompt.columns["problem"] for prompt in prompts))


def similarity(runs: Runs, **options: bool) -> list[float]:
    """Rewards that the samples of the first group of the run from files should have."""
    rows = runs.files.records(1)[:4]
    pairs = [(str(row["action"]), str(row["target"]).strip()) for row in rows]
    if options.get("strip_number"):
        pairs = [(strip_step_number(a), strip_step_number(b)) for a, b in pairs]
    return [ratio(a, b, autojunk=options["autojunk"]) for a, b in pairs]


def fitting(runs: Runs, split, count: int, limit: int | None = None) -> list[str]:
    """Ids of the first `limit` instances of a set whose prompts have 36 tokens or less."""
    every = [i for p in problems(7, count, Difficulty(2, 3), split) for i in p.instances()]
    tokenizer = runs.built.trainer.tokenizer
    texts = ["\n".join([i.problem, *i.previous_steps, ""]) for i in every[:limit]]
    return [
        i.id for i, text in zip(every, texts, strict=False) if len(tokenizer.encode(text)) <= 36
    ]


def torchrun(**options) -> list[str]:
    return torchrun_arguments(LaunchSection(**options), ["train"])


def after(flag: str, arguments: list[str]) -> str:
    return arguments[arguments.index(flag) + 1]


def advantage_of(row: dict[str, Any], rows: list[dict[str, Any]], eps: float) -> float:
    rewards = torch.tensor([r["reward"] for r in rows if r["id"] == row["id"]])
    return float((row["reward"] - rewards.mean()) / (rewards.std() + eps))


Held = Callable[[Runs], tuple[object, object]]
"""What was found of a key, and what it has to be."""

HOSTS = {"nproc_per_node": 3, "nnodes": 2, "node_rank": 1, "rdzv_endpoint": "host:29"}

HELD: dict[str, Held] = {
    "output_dir": lambda r: (r.built.trainer.directory.path, r.built.path),
    "num_steps": lambda r: ([m["step"] for m in r.built.metrics], [1, 2, 3, 4]),
    "num_epochs": lambda r: (
        [row["epoch"] >= 2 for row in read_metrics(r.answered.path / "metrics.jsonl")][-2:],
        [False, True],
    ),
    "seed": lambda r: (
        r.built.rollouts[0].seeds,
        [seed_for(7, "rollout", 0, 0, 0, sample) for sample in range(4)],
    ),
    "model.path": lambda r: (
        str(r.files.path.with_name("model")) in {path for path, _ in r.files.loads},
        True,
    ),
    "model.revision": lambda r: (
        {how.get("revision") for _, how in r.files.loads} & {"other"},
        {"other"},
    ),
    "model.dtype": lambda r: (
        {v.dtype for v in r.files.start.values()} | {v.dtype for v in r.built.start.values()},
        {torch.bfloat16, torch.float32},
    ),
    # Of a model from a folder (its supervised stage's) and of one made on the spot.
    "model.attention": lambda r: (
        {model_config(r)._attn_implementation, r.starved.engine.model.config._attn_implementation},
        {"eager"},
    ),
    "model.resize_embeddings": lambda r: (
        r.files.start["model.embed_tokens.weight"].shape[0],
        r.starved.start["model.embed_tokens.weight"].shape[0] + 2,
    ),
    "model.gradient_checkpointing": lambda r: (
        # Ids are embedded once; the one layer runs again in the backward pass.
        r.built.layers,
        2 * len(shapes(r.built)),
    ),
    "model.build.hidden_size": lambda r: (model_config(r).hidden_size, 24),
    "model.build.num_layers": lambda r: (model_config(r).num_hidden_layers, 1),
    "model.build.num_heads": lambda r: (model_config(r).num_attention_heads, 3),
    "model.build.num_kv_heads": lambda r: (model_config(r).num_key_value_heads, 1),
    "model.build.intermediate_size": lambda r: (model_config(r).intermediate_size, 40),
    "model.build.max_positions": lambda r: (model_config(r).max_position_embeddings, 800),
    "model.build.initializer_range": lambda r: (model_config(r).initializer_range, 0.05),
    "model.build.alphabet": lambda r: (
        r.built.trainer.tokenizer.tokenize("<think>borrow 1+"),
        ["<think>", "borrow ", "1", "+"],
    ),
    "data.path": lambda r: ([p.id for p in r.files.trainer.prompts], ["p0/1", "p1/1"]),
    "data.val_path": lambda r: ([p.id for p in r.files.trainer.held_out.prompts], ["p2/1"]),
    "data.train_split": lambda r: (
        {p.columns["problem"] for p in r.split.trainer.prompts}
        <= {f"{n}+1=?" for n in range(1, 5)},
        True,
    ),
    "data.eval_split": lambda r: (
        [p.columns["problem"] for p in r.split.trainer.held_out.prompts],
        ["7+1=?", "8+1=?"],
    ),
    "data.train_max_samples": lambda r: (len(r.split.trainer.prompts), 2),
    "data.problem_field": lambda r: (
        [p.text for p in r.split.trainer.prompts],
        ["1+1=?", "2+1=?"],
    ),
    "data.answer_field": lambda r: (
        [p.columns["answer"] for p in r.split.trainer.prompts],
        ["2", "3"],
    ),
    "data.template": lambda r: (
        ["\n" in run.trainer.prompts[0].text for run in (r.built, r.files)],
        [True, False],  # bare ends its lines, question_only has none
    ),
    "data.chat_template": lambda r: (
        [p.text.removesuffix("<think>") for p in r.files.trainer.prompts],
        ["0+1=?<|end|> ", "1+1=?<|end|> "],
    ),
    "data.chat_template_kwargs": lambda r: (
        [p.text.endswith("<think>") for p in r.files.trainer.prompts],
        [True, True],
    ),
    "data.max_prompt_length": lambda r: (
        [p.id for p in r.built.trainer.prompts],
        fitting(r, "train", count=5),
    ),
    "data.on_error": lambda r: (len(r.files.metrics), 1),  # else the line `{}` ends the run
    "synthetic.num_problems": lambda r: (
        problems_asked(r.built.trainer.prompts),
        expert_prompts(),
    ),
    "synthetic.num_heldout": lambda r: (
        {p.columns["problem"] for p in r.built.trainer.held_out.prompts}
        <= {p.problem for p in problems(7, 3, Difficulty(2, 3), "heldout")},
        True,
    ),
    "synthetic.digits": lambda r: (
        {len(p.columns["problem"]) for p in r.built.trainer.prompts},
        {len("12+34=?"), len("123+456=?")},
    ),
    "warm_start.steps": lambda r: (r.built.warm_steps, 2),
    "warm_start.batch_size": lambda r: (
        [row["examples"] for row in read_metrics(r.built.path / "sft/metrics.jsonl")],
        [3, 3],
    ),
    "warm_start.num_pairs": lambda r: (len(warm_rows(r.built)), 4),
    "warm_start.learning_rate": lambda r: ([s.rate for s in r.built.steps[:2]], [2e-3, 1e-3]),
    "warm_start.forget_carry": lambda r: (
        warm_rows(r.built),
        stream_rows(carry_error=1.0, digit_error=0.5),
    ),
    "warm_start.wrong_digit": lambda r: (
        warm_rows(r.built) != stream_rows(carry_error=1.0, digit_error=0.05),
        True,
    ),
    "rollout.batch_size": lambda r: (
        len({p for c in r.built.rollouts if c.weights_version == 1 for p in c.prompts}),
        2,
    ),
    "rollout.rollout_batch_size": lambda r: (
        sum(row["kept"] for row in r.weighed.records(1)),
        8,
    ),
    "rollout.group_size": lambda r: (
        {c.prompts.count(p) for c in r.built.rollouts for p in c.prompts},
        {4},
    ),
    "rollout.max_new_tokens": lambda r: (
        {c.sampling.max_new_tokens for c in r.built.engine.calls},
        {50},
    ),
    "rollout.temperature": lambda r: ({c.sampling.temperature for c in r.built.rollouts}, {0.7}),
    "rollout.top_p": lambda r: ({c.sampling.top_p for c in r.built.rollouts}, {0.9}),
    "rollout.top_k": lambda r: ({c.sampling.top_k for c in r.built.rollouts}, {20}),
    "rollout.min_p": lambda r: ({c.sampling.min_p for c in r.built.rollouts}, {0.01}),
    "rollout.stop": lambda r: ({c.sampling.stop for c in r.built.rollouts}, {("?",)}),
    "rollout.chunk_size": lambda r: (max(len(c.prompts) for c in r.built.engine.calls), 4),
    "rollout.eps_std": lambda r: (
        {(row["reward"] > 0.9, row["kept"]) for row in r.starved.records(1)},
        {(True, False)},
    ),
    "rollout.max_rounds": lambda r: (
        [len(r.starved.records(1)), r.starved.metrics[0]["sampling/rounds"]],
        [2 * 3 * 4, 2],
    ),
    "algorithm.max_logprob_difference": lambda r: ([m["step"] for m in r.apart.metrics], [1]),
    "rollout.max_starved_steps": lambda r: ([m["step"] for m in r.starved.metrics], [1, 2, 3]),
    "reward.reward": lambda r: (
        [sorted(run.records(1)[0]["rewards"]) for run in (r.built, r.weighed, r.answered)],
        [["step"], ["format", "step"], ["answer"]],
    ),
    "reward.reward_weights": lambda r: (
        [row["reward"] for row in r.weighed.records(1)],
        [
            0.5 * row["rewards"]["step"] + 2 * row["rewards"]["format"]
            for row in r.weighed.records(1)
        ],
    ),
    "reward.metric": lambda r: (
        [row["rewards"]["step"] for row in r.weighed.records(1)[:3]],
        pytest.approx([levenshtein_of_12(row) for row in r.weighed.records(1)[:3]]),
    ),
    "reward.max_chars": lambda r: (
        [row["rewards"]["step"] < 1.0 for row in r.weighed.records(1) if row["exact"]],
        [True, True],
    ),
    "reward.grader": lambda r: ([row["reward"] for row in r.answered.records(1)], [1.0, 0.0] * 2),
    "reward.format_weight": lambda _: (zero_reward(format_weight=0.5).format_weight, 0.5),
    "reward.answer_weight": lambda _: (zero_reward(answer_weight=2).answer_weight, 2.0),
    "reward.autojunk": lambda r: (
        [row["reward"] for row in r.files.records(1)[:4]],
        similarity(r, autojunk=True),
    ),
    "reward.strip_number": lambda r: (
        [row["reward"] for row in r.files.records(1)[:4]]
        != similarity(r, autojunk=True, strip_number=True),
        True,
    ),
    "algorithm.aggregation": lambda r: (
        [row["advantage"] for row in trained_rows(r)],
        pytest.approx(advantages_of(r, 0.5, 2.0)),
    ),
    "algorithm.loss": lambda r: (r.files.metrics[0]["loss"] != 0.0, True),
    "algorithm.use_base_kl": lambda _: (
        AlgorithmSection.model_validate({"use_base_kl": True}).beta,
        0.02,
    ),
    "algorithm.ppo_steps": lambda r: (len(rates(r.built)), 4 * 2 * 2),
    "algorithm.train_batch_size": lambda r: (len(set(rates(r.built))) and len(rates(r.built)), 16),
    "algorithm.baseline": lambda r: (
        [(row["advantage"], row["kept"]) for row in r.plain.records(1)],
        [(row["reward"], True) for row in r.plain.records(1)],
    ),
    "algorithm.advantage_eps": lambda r: (
        [row["advantage"] for row in r.built.records(1)],
        pytest.approx(
            [advantage_of(row, r.built.records(1), 0.25) for row in r.built.records(1)], rel=1e-5
        ),
    ),
    "optimizer.learning_rate": lambda r: (max(rates(r.built)), 1e-3),
    "optimizer.betas": lambda r: ({s.betas for s in r.built.steps[2:]}, {(0.8, 0.95)}),
    "optimizer.weight_decay": lambda r: ({s.weight_decay for s in r.built.steps[2:]}, {0.05}),
    "optimizer.warmup_ratio": lambda r: (rates(r.plain), [5e-7, 1e-6]),
    "optimizer.warmup_steps": lambda r: (rates(r.built)[::4][:2], [5e-4, 1e-3]),
    "optimizer.schedule": lambda r: (rates(r.built)[::4][2:], [1e-3, 5e-4]),
    "optimizer.max_grad_norm": lambda r: (
        [s.grad_norm for s in r.built.steps[2:]],
        pytest.approx([0.05] * 16, rel=1e-3),
    ),
    "engine.zero_stage": lambda r: (r.built.settings[0]["zero_optimization"]["stage"], 1),
    "engine.micro_batch_tokens": lambda r: (100 < max(shapes(r.built)) <= 150, True),
    "engine.gradient_accumulation_steps": lambda r: (len(r.files.forwards), 2),
    # Several of the eight completions share a row.
    "engine.packing": lambda r: (sum(len(ids) for ids in r.files.forwards) < 8, True),
    # Four completions of each prompt, every one of them with its own copy of it.
    "engine.shared_prompts": lambda r: (r.files.metrics[0]["update/shared_ratio"] <= 1, True),
    "engine.offload_optimizer": lambda r: (
        r.built.settings[0]["zero_optimization"]["offload_optimizer"]["device"],
        "cpu",
    ),
    "engine.deepspeed": lambda r: (
        r.built.settings[0]["zero_optimization"]["reduce_bucket_size"],
        12345,
    ),
    "evaluation.eval_every": lambda r: (
        [m["step"] for m in r.built.metrics if "eval/reward" in m],
        [2, 4],
    ),
    "evaluation.eval_limit": lambda r: (
        [p.id for p in r.built.trainer.held_out.prompts],
        fitting(r, "heldout", count=3, limit=5),
    ),
    "evaluation.eval_samples": lambda r: (
        ["eval/pass@3" in run.metrics[-1] for run in (r.split, r.built)],
        [True, False],
    ),
    "evaluation.before_after": lambda r: (
        [(run.path / "summary.json").is_file() for run in (r.built, r.files)],
        [True, False],
    ),
    "checkpoint.checkpoint_every": lambda r: (
        [sorted(p.name for p in run.path.glob("step_*")) for run in (r.built, r.files)],
        [["step_2", "step_3", "step_4"], ["step_1"]],
    ),
    "checkpoint.save_final_only": lambda r: (
        sorted(p.name for p in r.plain.path.iterdir() if (p / "MANIFEST.json").is_file()),
        ["final"],
    ),
    "checkpoint.keep_last": lambda r: ((r.built.path / "step_1").exists(), False),
    "checkpoint.resume": lambda r: (
        ([c.weights_version for c in r.resumed.rollouts][:1], len(r.resumed.metrics)),
        ([5], 5),
    ),
    "tracking.tensorboard": lambda r: (
        [(run.path / "tensorboard").is_dir() for run in (r.built, r.files)],
        [False, True],
    ),
    "tracking.wandb": lambda r: (r.built and r.wandb["options"]["mode"], "offline"),
    "tracking.wandb_project": lambda r: (r.built and r.wandb["options"]["project"], "p"),
    "tracking.trackio": lambda r: (r.built and "options" in r.trackio, True),
    "tracking.trackio_project": lambda r: (r.built and r.trackio["options"]["project"], "q"),
    "tracking.run_name": lambda r: (
        r.built and [asked["options"]["name"] for asked in (r.wandb, r.trackio)],
        ["r", "r"],
    ),
    "tracking.logging_steps": lambda r: (  # of four: the first, and 2 and 4, which are evaluated
        r.built and r.trackio["steps"][:3],
        [1, 2, 4],
    ),
    "launch.nproc_per_node": lambda _: (after("--nproc-per-node", torchrun(**HOSTS)), "3"),
    "launch.nnodes": lambda _: (after("--nnodes", torchrun(**HOSTS)), "2"),
    "launch.node_rank": lambda _: (after("--node-rank", torchrun(**HOSTS)), "1"),
    "launch.rdzv_endpoint": lambda _: (after("--rdzv-endpoint", torchrun(**HOSTS)), "host:29"),
}

ELSEWHERE = {
    "config_version",
    "algorithm.beta",
    "algorithm.sampler_cap",
    *(f"algorithm.{name}" for name in CONSTANTS),
    "algorithm.advantage_scale",
    "algorithm.kl_estimator",
    "algorithm.kl_corrected",
    "algorithm.kl_in_reward",
    "algorithm.reference_every",
    "algorithm.mask_truncated",
    "algorithm.overlong_buffer",
    "algorithm.overlong_length",
    "algorithm.overlong_penalty",
    "algorithm.sampler_floor",
    "algorithm.sampler_correction",
    "evaluation.chain_start",
    "checkpoint.force",
    "data.revision",
    "data.subset",
    "rollout.backend",
    "rollout.use_vllm",
    "rollout.vllm.gpu_memory_utilization",
    "rollout.vllm.tensor_parallel_size",
    "rollout.vllm.enable_sleep",
    "rollout.vllm.sleep_level",
    "rollout.vllm.weight_transfer",
}
"""The version of config files, held in `test_grpo_former_loss.py`; keys of the loss and of chains,
in `test_grpo_wiring.py` and `test_grpo_loss_wiring.py` by what they do to a run; constants of the
losses, in `test_grpo_loss_constants.py`; what is subtracted from rewards and who is not trained on,
in `test_grpo_penalties.py`; the reference, in `test_grpo_moving_reference.py`; the one that lets a
run go on with other inputs, in `test_grpo_inputs.py`; what is asked of a hub, in
`test_grpo_data_parts.py`; what samples, in `test_grpo_colocated.py` and, where it stands, in
`test_grpo_placement.py`."""


def model_config(runs: Runs):
    return runs.built.trainer.engine.policy.model.config


@pytest.mark.parametrize("key", HELD)
def test_a_key_becomes_what_it_says(runs: Runs, key: str) -> None:
    found, expected = HELD[key](runs)
    assert found == expected


def test_every_key_is_held_by_an_observation() -> None:
    keys = {leaf.key for leaf in leaves(TrainConfig)}
    assert keys - HELD.keys() - ELSEWHERE == set(), "new keys: hold them here by what they do"
    assert (HELD.keys() | ELSEWHERE) - keys == set(), "keys that are gone"


BEFORE = {leaf.key for leaf in leaves(TrainConfig) if leaf.path[0] == "launch"} | {
    "config_version",  # of files alone
    "algorithm.use_base_kl",  # becomes a beta when the config is made
    "rollout.use_vllm",  # becomes a backend
}
"""Keys that are used up before a run begins; `HELD` says by what."""


def owner(path: tuple[str, ...]) -> str:
    """The name of the section class that a key's field belongs to."""
    model: type[Section] = TrainConfig
    for name in path[:-1]:
        inner = section_of(model.model_fields[name].annotation)
        assert inner is not None
        model = inner
    return model.__name__


def test_every_key_is_read_while_a_run_goes_on(runs: Runs) -> None:
    assert runs.resumed and runs.files and runs.split  # noqa: PT018 - made where they are not yet
    unread = [
        leaf.key
        for leaf in leaves(TrainConfig)
        if leaf.key not in BEFORE and (owner(leaf.path), leaf.path[-1]) not in runs.read
    ]
    assert unread == []


def test_end_tokens_of_the_generation_config_end_completions(runs: Runs) -> None:
    eos = runs.files.trainer.tokenizer.eos_token_id
    assert {call.sampling.stop_token_ids for call in runs.files.engine.calls} == {(eos, 5)}
    assert {call.sampling.stop_token_ids for call in runs.built.engine.calls} == {(eos,)}


def test_the_reward_is_told_which_completions_were_cut_off(runs: Runs) -> None:
    rows = runs.built.records(1)
    assert [row["finish_reason"] for row in rows[:4]] == ["stop", "length", "stop", "stop"]
    assert [row["reward"] == -1.0 for row in rows[:4]] == [False, True, False, True]
    assert {row["reason"] for row in rows if row["finish_reason"] == "length"} == {"truncated"}


def test_the_reward_is_told_that_the_prompt_opened_the_thought(runs: Runs) -> None:
    assert all(prompt.think_prefilled for prompt in runs.files.trainer.prompts)
    rows = runs.files.records(1)
    assert [row["reason"] for row in rows] == [None] * len(rows)
    assert [row["thinking"].strip() for row in rows] == ["carry"] * len(rows)
