"""The public functions, called one after the other as a script or a notebook does."""

import subprocess
import sys

import pytest

RUNS = """
import sys
import yaml
from srl_grpo import TrainConfig, train

tree = yaml.safe_load(open(sys.argv[1]))
for folder in ("first", "second"):
    train(TrainConfig.model_validate({**tree, "output_dir": folder}))
"""


@pytest.mark.parametrize("stage", [0, 3])
def test_a_process_trains_twice_to_the_same_weights(tiny, environment, tmp_path, stage):
    config = tiny(engine={"zero_stage": stage})
    done = subprocess.run(
        [sys.executable, "-c", RUNS, config],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    first, second = (tmp_path / name / "final/model.safetensors" for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()
