"""A thousand questions to a teacher that fails in every way, killed twice and continued.

`scripts/kill_traces.py` does the same with ten kills.
"""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "kill_traces.py"


@pytest.fixture
def kill_traces() -> ModuleType:
    spec = importlib.util.spec_from_file_location("kill_traces", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["kill_traces"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_questions_end_answered_or_accounted_for(
    kill_traces: ModuleType, tmp_path: Path
) -> None:
    told = kill_traces.kill_and_check(tmp_path, questions=1000, kills=2, concurrency=64)
    assert len(told) == 2 + 1 + 3
    print("\n".join(told))
