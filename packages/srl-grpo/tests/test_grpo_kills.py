"""Runs killed at random instants, also in the middle of their writing, and resumed each time.

`scripts/kill_runs.py --kills 20` does the same with twenty.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def kill_runs() -> ModuleType:
    path = Path(__file__).parents[3] / "scripts" / "kill_runs.py"
    if not path.is_file():
        pytest.skip("the script is the checkout's")
    spec = importlib.util.spec_from_file_location("kill_runs", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_runs"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("stage", ["rlvr", "sft", "train", "expert-iteration"])
def test_a_run_killed_again_and_again_ends_as_the_unbroken_one(kill_runs, stage, tmp_path):
    told = kill_runs.kill_and_compare(stage, 3, seed=5, folder=tmp_path)
    assert len(told) == 4
