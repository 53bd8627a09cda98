"""A config from when there was one loss, grpo, and a normalisation beside it: never misread."""

import pytest
import yaml

from srl_data.command.config import load_config
from srl_data.command.errors import ConfigError
from srl_grpo.config.losses import PUBLISHED
from srl_grpo.config.train import TrainConfig

DAPO, GRPO = "write `loss: dapo`", "write `loss: grpo` and, at the top of the file"
FORMER = [
    ({"loss": "grpo"}, DAPO),
    ({"loss": "grpo", "epsilon_high": 0.2}, DAPO),
    ({"loss": "grpo", "normalisation": "token-mean"}, DAPO),
    ({"normalisation": "token-mean"}, DAPO),
    ({"loss": "grpo", "normalisation": "sequence-mean"}, GRPO),
    ({"normalisation": "sequence-mean"}, GRPO),
]


def of_before(algorithm):
    """A resolved config as it was written when there was one loss."""
    config = TrainConfig.model_validate({"model": {"path": "m"}, "data": {"path": "d.jsonl"}})
    tree = config.model_dump(mode="json")
    del tree["config_version"]
    tree["algorithm"] = {**tree["algorithm"], "epsilon_low": 0.2, "epsilon_high": 0.28, **algorithm}
    return tree


@pytest.mark.parametrize(("algorithm", "now"), FORMER)
def test_a_file_of_before_is_refused_with_what_to_write(tmp_path, algorithm, now) -> None:
    path = tmp_path / "old.yaml"
    for tree in ({"algorithm": algorithm}, of_before(algorithm)):
        path.write_text(yaml.safe_dump(tree))
        with pytest.raises(ConfigError, match="written for an earlier version") as refused:
            load_config(TrainConfig, str(path), {("model", "path"): "m", ("data", "path"): "d"})
        assert now in str(refused.value)
        assert refused.value.exit_code == 2


@pytest.mark.parametrize(("algorithm", "now"), FORMER)
@pytest.mark.parametrize("given", [(), ("--loss", "grpo"), ("--loss", "dapo")])
def test_a_run_of_before_is_not_resumed_under_another_loss(
    call, tmp_path, algorithm, now, given
) -> None:
    run = tmp_path / "run"
    (run / "step_2").mkdir(parents=True)
    (run / "config.yaml").write_text(yaml.safe_dump(of_before(algorithm)))
    for resume in (("--output-dir", run, "--resume", "auto"), ("--resume", run / "step_2")):
        code, _, err = call("train", *resume, *given)
        assert code == 2
        assert str(run / "config.yaml") in err.replace("\n", "")
        assert now in " ".join(err.split())


def test_a_file_of_today_says_grpo_with_its_version(tmp_path) -> None:
    path = tmp_path / "new.yaml"
    start = {("model", "path"): "m", ("data", "path"): "d"}
    for loss in PUBLISHED:
        tree = {"config_version": 2, "algorithm": {"loss": loss}}
        path.write_text(yaml.safe_dump(tree))
        assert load_config(TrainConfig, str(path), start).algorithm.loss == loss
    path.write_text("num_steps: 3\n")
    flags = start | {("algorithm", "loss"): "grpo"}
    assert load_config(TrainConfig, str(path), flags).algorithm.loss == "grpo"


def test_a_resolved_config_says_its_version_and_is_read_back(call, tiny) -> None:
    code, out, _ = call("train", "--config", tiny(), "--loss", "grpo", "--dry-run")
    assert code == 0
    assert "config_version: 2" in out.splitlines()
    tree = yaml.safe_load(out)
    assert tree["algorithm"]["loss"] == "grpo"
    assert TrainConfig.former_file(tree) is None


def test_another_version_is_refused(tmp_path) -> None:
    path = tmp_path / "later.yaml"
    path.write_text("config_version: 3\nmodel: {path: m}\ndata: {path: d}\n")
    with pytest.raises(ConfigError, match="config_version = 3: input should be 2"):
        load_config(TrainConfig, str(path))


def test_the_former_flag_names_the_new_one(call) -> None:
    code, _, err = call("train", "--normalisation", "sequence-mean")
    assert code == 2
    assert "--normalisation is no longer an option" in err
    assert "--loss" in err
    assert "--config-version" not in call("train", "--help")[1]
