"""Every shipped preset resolves, says what it would do, and is what the guides say of it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

from srl_data.command.config import dump_yaml, load_config, preset_names, validate
from srl_grpo.config.losses import PUBLISHED
from srl_grpo.config.train import TrainConfig

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
PRESETS = preset_names("srl_grpo.presets")


def preset(name: str) -> TrainConfig:
    return load_config(TrainConfig, name, presets="srl_grpo.presets")


def test_the_promised_presets_are_shipped() -> None:
    assert {"quickstart", "smoke_test", "srl_qwen7b", "srl_qwen7b_paper"} <= set(PRESETS)


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_runs_dry_and_prints_a_config_that_reads_back_equal(
    name: str, run_inside: Run
) -> None:
    done = run_inside(["srl-grpo", "train", "--config", name, "--dry-run"])
    assert done.returncode == 0, done
    shown = validate(yaml.safe_load(done.stdout), TrainConfig, name)
    assert shown == preset(name)
    assert dump_yaml(shown) in done.stdout
    assert "# dry run: would train" in done.stdout


def test_flags_stand_over_the_preset_and_the_preset_over_defaults(run_inside: Run) -> None:
    command = ["srl-grpo", "train", "--config", "srl_qwen7b", "--num-steps", "7", "--dry-run"]
    done = run_inside(command)
    shown = yaml.safe_load(done.stdout)
    assert (shown["num_steps"], shown["rollout"]["batch_size"], shown["seed"]) == (7, 4, 42)


def test_the_smoke_test_has_every_part_of_the_quickstart() -> None:
    whole, short = preset("quickstart"), preset("smoke_test")
    assert short.model == whole.model
    assert short.data.template == whole.data.template
    assert short.synthetic is not None
    assert whole.synthetic is not None
    for config in (whole, short):
        assert config.warm_start.steps
        assert config.evaluation.before_after
        assert config.evaluation.eval_every < config.num_steps
        assert config.checkpoint.checkpoint_every < config.num_steps
    assert short.num_steps < whole.num_steps


def test_the_7b_preset_is_the_setting_that_its_readme_states() -> None:
    config = preset("srl_qwen7b")
    assert config.model.path == "Qwen/Qwen2.5-7B-Instruct"
    assert (config.rollout.batch_size, config.rollout.group_size) == (4, 4)
    assert (config.num_steps, config.checkpoint.checkpoint_every) == (500, 100)


@pytest.mark.parametrize("name", ["srl_qwen7b", "srl_qwen7b_paper"])
def test_the_7b_presets_take_one_optimizer_step_per_batch_as_the_guide_says(name: str) -> None:
    config = preset(name)
    assert config.algorithm.ppo_steps == 1
    assert config.train_batch_size == config.rollout.batch_size * config.rollout.group_size


def test_the_paper_preset_has_what_the_guide_takes_from_the_paper() -> None:
    config = preset("srl_qwen7b_paper")
    assert (config.rollout.batch_size, config.rollout.group_size) == (512, 8)
    assert (config.optimizer.learning_rate, config.optimizer.warmup_steps) == (5e-7, 0)
    assert (config.rollout.temperature, config.algorithm.beta) == (1.0, 0.0)
    assert (config.data.max_prompt_length, config.rollout.max_new_tokens) == (4096, 2048)
    assert (config.reward.autojunk, config.num_steps) == (False, 500)
    assert config.algorithm.loss == "dapo"
    constants = PUBLISHED["dapo"].constants
    assert (constants["epsilon_low"], constants["epsilon_high"]) == (0.2, 0.28)
    assert config.launch.nproc_per_node == 8


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("path", ["configs/{}.yaml", "./configs/{}.yml", "{}.yaml"])
def test_a_path_in_configs_means_the_preset_where_no_such_file_is(
    name: str, path: str, run_inside: Run
) -> None:
    given = path.format(name)
    done = run_inside(["srl-grpo", "train", "--config", given, "--dry-run"])
    assert done.returncode == 0, done
    assert validate(yaml.safe_load(done.stdout), TrainConfig, name) == preset(name)
    assert f"no file {given}, so it is the shipped preset {name}" in done.stderr


def test_a_file_goes_before_the_preset_of_its_name(run_inside: Run, tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "quickstart.yaml").write_text("num_steps: 9\nmodel: {path: m}\n")
    words = ["srl-grpo", "train", "--config", "configs/quickstart.yaml", "--data", "d.jsonl"]
    done = run_inside([*words, "--dry-run"])
    shown = yaml.safe_load(done.stdout)
    assert (shown["num_steps"], shown["data"]["path"], done.stderr) == (9, "d.jsonl", "")


@pytest.mark.parametrize("path", ["configs/quikstart.yaml", "mine/quickstart.yaml"])
def test_another_path_is_refused_with_the_nearest_preset(path: str, run_inside: Run) -> None:
    done = run_inside(["srl-grpo", "train", "--config", path, "--dry-run"])
    assert done.returncode == 2
    assert f"--config '{path}' is neither a file nor a shipped preset" in done.stderr
    assert "did you mean 'quickstart'?" in done.stderr
