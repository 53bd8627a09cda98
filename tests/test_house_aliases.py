"""Other tools' spellings of flags: each is the canonical flag, shown once in the help."""

import re

import pytest
import yaml

from srl_data.cli import cli as data
from srl_data.command.config import Section, leaves
from srl_data.command.frame import execute
from srl_data.traces.config import TracesConfig
from srl_eval.cli import cli as evaluate
from srl_eval.config import EvalConfig
from srl_grpo.cli import cli as train
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.config.sft import SftConfig
from srl_grpo.config.train import TrainConfig

TRAIN = {
    "multi-objective-aggregation": ("algorithm.aggregation", "sum_then_normalize"),
    "lr": ("optimizer.learning_rate", "0.5"),
    "gradient-accumulation-steps": ("engine.gradient_accumulation_steps", "2"),
    "sft-checkpoint": ("model.path", "m"),
    "sampling-temperature": ("rollout.temperature", "0.5"),
    "eval-steps": ("evaluation.eval_every", "7"),
    "saving-steps": ("checkpoint.checkpoint_every", "7"),
    "test-max-samples": ("evaluation.eval_limit", "7"),
    "attn-implementation": ("model.attention", "eager"),
    "kl-penalty": ("algorithm.beta", "0.5"),
    "soft-punish-cache": ("algorithm.overlong_buffer", "7"),
}
EVAL = {
    "model-id": ("model.model", "m"),
    "eval-path": ("data.data_path", "d.jsonl"),
    "out-dir": ("output.output_dir", "o"),
    "tp-size": ("backend.tensor_parallel_size", "2"),
    "gpu-mem-util": ("backend.gpu_memory_utilization", "0.5"),
}
SFT = {
    "lr": ("optimizer.learning_rate", "0.5"),
    "gradient-accumulation-steps": ("engine.gradient_accumulation_steps", "2"),
    "sft-checkpoint": ("model.path", "m"),
    "eval-steps": ("evaluation.eval_every", "7"),
    "saving-steps": ("checkpoint.checkpoint_every", "7"),
    "test-max-samples": ("evaluation.eval_limit", "7"),
    "attn-implementation": ("model.attention", "eager"),
    "sampling-temperature": ("generation.temperature", "0.5"),
}
EXPERT = {
    "lr": ("optimizer.learning_rate", "0.5"),
    "gradient-accumulation-steps": ("engine.gradient_accumulation_steps", "2"),
    "sft-checkpoint": ("model.path", "m"),
    "sampling-temperature": ("rollout.temperature", "0.5"),
    "group-size": ("rollout.group_size", "7"),
    "eval-steps": ("evaluation.eval_every", "7"),
    "saving-steps": ("checkpoint.checkpoint_every", "7"),
    "test-max-samples": ("evaluation.eval_limit", "7"),
    "attn-implementation": ("model.attention", "eager"),
}
VLLM = {
    "vllm-gpu-memory-utilization": ("rollout.vllm.gpu_memory_utilization", "0.4"),
    "vllm-tensor-parallel-size": ("rollout.vllm.tensor_parallel_size", "2"),
}
"""Of what samples by vLLM, and needs `--use-vllm` beside it."""
TRACES = {
    "infile": ("source", "i.jsonl"),
    "outfile": ("output", "o.jsonl"),
    "workers": ("pace.concurrency", "7"),
    "rpm": ("pace.requests_per_minute", "7.5"),
    "tpm": ("pace.tokens_per_minute", "7.5"),
}
TRACES_ARGS = ["traces", "--dry-run", "--source", "a.jsonl", "--output", "b.jsonl"]
EXPERT_ARGS = ["expert-iteration", "--dry-run", "--data", "d", "--val-data", "v"]
SFT_ARGS = ["sft", "--dry-run", "--data", "d", "--val-data", "v"]
TRAIN_ARGS = ["train", "--dry-run", "--data", "d", "--val-data", "v"]
EVAL_ARGS = ["aime24", "--dry-run", "--backend", "vllm"]
CASES = [
    *((train, TRAIN_ARGS, name, *case) for name, case in TRAIN.items()),
    *((train, SFT_ARGS, name, *case) for name, case in SFT.items()),
    *((train, EXPERT_ARGS, name, *case) for name, case in EXPERT.items()),
    *((evaluate, EVAL_ARGS, name, *case) for name, case in EVAL.items()),
    *((data, TRACES_ARGS, name, *case) for name, case in TRACES.items()),
]


def resolved(cli, args, capsys) -> dict[str, object]:
    """The config that a dry run prints, by dotted names."""
    code = execute(cli, "srl", args)
    out, err = capsys.readouterr()
    assert code == 0, err

    def flat(tree: dict[str, object], prefix: str = "") -> dict[str, object]:
        found: dict[str, object] = {}
        for key, value in tree.items():
            found |= (
                flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
            )
        return found

    lines = [line for line in out.splitlines() if not line.startswith("#")]
    return flat(yaml.safe_load("\n".join(lines)))


WITH_BETA = {
    "mask-truncated-completions": ("algorithm.mask_truncated", True, ()),
    "use-kl-in-reward": ("algorithm.kl_in_reward", True, ()),
    "ref-model-sync-steps": ("algorithm.reference_every", 512, ("512",)),
}
"""Switches, and keys that need another flag beside them."""


@pytest.mark.parametrize("name", WITH_BETA)
def test_an_alias_beside_a_beta_sets_the_canonical_key(name: str, capsys) -> None:
    key, expected, value = WITH_BETA[name]
    args = [*TRAIN_ARGS, "--model", "m", "--beta", "0.1", f"--{name}", *value]
    assert resolved(train, args, capsys)[key] == expected


@pytest.mark.parametrize("args", [TRAIN_ARGS, EXPERT_ARGS], ids=["train", "expert-iteration"])
@pytest.mark.parametrize("name", VLLM)
def test_an_alias_beside_vllm_sets_the_canonical_key(name: str, args: list[str], capsys) -> None:
    key, value = VLLM[name]
    found = resolved(train, [*args, "--model", "m", "--use-vllm", f"--{name}", value], capsys)
    assert str(found[key]) == value
    assert found["rollout.backend"] == "vllm"


def with_model(args: list[str], name: str) -> list[str]:
    return args if name in ("sft-checkpoint", "model-id") else [*args, "--model", "m"]


@pytest.mark.parametrize("spelling", ["--{}", "--{}_"])
@pytest.mark.parametrize(("cli", "args", "name", "key", "value"), CASES)
def test_an_alias_sets_the_canonical_key(cli, args, name, key, value, spelling, capsys):
    flag = "--" + name.replace("-", "_") if spelling.endswith("_") else f"--{name}"
    found = resolved(cli, [*with_model(args, name), flag, value], capsys)
    assert str(found[key]) == value


def declared(model: type[Section]) -> dict[str, str]:
    return {alias: leaf.key for leaf in leaves(model) for alias in leaf.aliases}


def test_the_tables_above_are_all_the_aliases_there_are():
    named = {name: key for name, (key, *_) in (TRAIN | WITH_BETA | VLLM).items()}
    assert declared(TrainConfig) == named
    assert declared(SftConfig) == {name: key for name, (key, _) in SFT.items()}
    assert declared(ExpertConfig) == {name: key for name, (key, _) in (EXPERT | VLLM).items()}
    assert declared(TracesConfig) == {name: key for name, (key, _) in TRACES.items()}
    assert declared(EvalConfig) == {name: key for name, (key, _) in EVAL.items()}


@pytest.mark.parametrize(
    ("cli", "command", "model"),
    [
        (train, "train", TrainConfig),
        (train, "sft", SftConfig),
        (train, "expert-iteration", ExpertConfig),
        (evaluate, "aime24", EvalConfig),
    ],
)
def test_the_help_shows_an_alias_once_beside_its_flag(cli, command, model, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    assert execute(cli, "srl", [command, "--help"]) == 0
    text = capsys.readouterr().out
    for leaf in leaves(model):
        for alias in leaf.aliases:
            assert len(re.findall(rf"--{alias}\b(?!-)", text)) == 1
            (line,) = [line for line in text.splitlines() if f"--{alias}" in line]
            assert f"--{leaf.flag}" in line


@pytest.mark.parametrize(
    ("cli", "args", "nearest"),
    [
        (train, [*TRAIN_ARGS, "--learning-rat", "1"], "--learning-rate"),
        (train, [*TRAIN_ARGS, "--sampling-temprature", "1"], "--sampling-temperature"),
        (train, [*TRAIN_ARGS, "--saving_step", "1"], "--saving-steps"),
        (train, [*SFT_ARGS, "--num-epoch", "1"], "--num-epochs"),
        (evaluate, [*EVAL_ARGS, "--gpu-mem-utl", "1"], "--gpu-mem-util"),
    ],
)
def test_a_wrong_flag_names_the_nearest_right_one(cli, args, nearest, capsys):
    assert execute(cli, "srl", args) == 2
    assert nearest in capsys.readouterr().err


def test_underscores_are_dashes_in_every_flag_and_choices_stay_as_they_are(capsys):
    args = ["--model", "m", "--batch_size", "8", "--attention", "flash_attention_2"]
    found = resolved(train, [*TRAIN_ARGS, *args], capsys)
    assert (found["rollout.batch_size"], found["model.attention"]) == (8, "flash_attention_2")


def test_use_base_kl_gives_beta_a_value_where_none_is_given(capsys):
    args = [*TRAIN_ARGS, "--model", "m", "--use-base-kl"]
    assert resolved(train, args, capsys)["algorithm.beta"] == 0.02
    assert resolved(train, [*args, "--kl-penalty", "0.1"], capsys)["algorithm.beta"] == 0.1
    assert resolved(train, args[:-1], capsys)["algorithm.beta"] == 0.0
    assert execute(train, "srl", [*args, "--beta", "0"]) == 2
    assert "use_base_kl is on and beta is 0" in capsys.readouterr().err
