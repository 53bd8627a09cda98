"""How long a run of reinforcement learning is: by steps, or by epochs with the refills counted."""

import pytest

from srl_data.command.config import load_config
from srl_data.command.errors import ConfigError
from srl_grpo.config.train import TrainConfig
from srl_grpo.run.checkpoint import verify
from srl_grpo.run.trackers import read_metrics

EPOCHS = {
    "num_steps": None,
    "num_epochs": 2,
    "synthetic": {"num_problems": 3, "num_heldout": 2, "digits": [2, 2]},
}


def config_of(**keys) -> TrainConfig:
    tree = {
        "model": {"path": "m"},
        "data": {"path": "d.jsonl"},
        **keys,
    }
    return TrainConfig.model_validate(tree)


def test_without_a_length_it_is_500_steps():
    assert (config_of().num_steps, config_of().num_epochs) == (500, None)
    assert (config_of(num_epochs=2).num_steps, config_of(num_epochs=2).num_epochs) == (None, 2)


def test_the_number_of_responses_gives_that_of_prompts():
    section = config_of(rollout={"rollout_batch_size": 256, "group_size": 8}).rollout
    assert (section.batch_size, section.group_size) == (32, 8)
    section = config_of(rollout={"rollout_batch_size": 16}).rollout
    assert (section.batch_size, section.group_size) == (4, 4)


@pytest.mark.parametrize(
    ("keys", "told"),
    [
        ({"num_steps": 3, "num_epochs": 2}, "both say how long to train"),
        (
            {"rollout": {"rollout_batch_size": 255, "group_size": 8}},
            "rollout_batch_size 255 is not a multiple of group_size 8; the nearest are 248 and 256",
        ),
        (
            {"rollout": {"rollout_batch_size": 32, "batch_size": 5, "group_size": 8}},
            "rollout_batch_size 32 is not batch_size 5 x group_size 8 = 40",
        ),
        (
            {
                "rollout": {"batch_size": 4, "group_size": 4},
                "engine": {"gradient_accumulation_steps": 3},
            },
            "16 completions cannot be cut into 3 micro-batches of one size",
        ),
    ],
)
def test_a_contradiction_is_refused(tmp_path, keys, told):
    overrides = {("model", "path"): "m", ("data", "path"): "d.jsonl"}
    for name, section in keys.items():
        if isinstance(section, dict):
            overrides |= {(name, key): value for key, value in section.items()}
        else:
            overrides[name,] = section
    with pytest.raises(ConfigError) as refused:
        load_config(TrainConfig, None, overrides)
    assert told in str(refused.value)


def test_epochs_end_a_run_where_their_prompts_are_drawn(call, tiny, tmp_path):
    code, _, err = call("train", "--config", tiny(**EPOCHS), "--output-dir", "out")
    assert code == 0, err
    rows = list(read_metrics(tmp_path / "out/metrics.jsonl"))
    # Random weights: no group has a signal, so each step draws up to its cap of prompts.
    assert [row["epoch"] >= 2 for row in rows] == [*([False] * (len(rows) - 1)), True]
    assert verify(tmp_path / "out/final").step == len(rows)
    code, out, _ = call("train", "--output-dir", "out", "--resume", "auto")
    assert (code, "nothing to do" in out, "--num-epochs above 2" in out) == (0, True, True)
    code, _, err = call("train", "--output-dir", "out", "--resume", "auto", "--num-epochs", 4)
    assert code == 0, err
    assert list(read_metrics(tmp_path / "out/metrics.jsonl"))[-1]["epoch"] >= 4


def test_a_resumed_run_may_change_from_epochs_to_steps(call, tiny, tmp_path):
    assert call("train", "--config", tiny(**EPOCHS), "--output-dir", "out")[0] == 0
    rows = len(list(read_metrics(tmp_path / "out/metrics.jsonl")))
    code, _, err = call("train", "--output-dir", "out", "--resume", "auto", "--num-steps", rows + 2)
    assert code == 0, err
    assert len(list(read_metrics(tmp_path / "out/metrics.jsonl"))) == rows + 2
