"""The documented zero-shot baseline of a base model, run dry as it stands in the guide."""

import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import yaml

Run = Callable[[str | Sequence[str]], CompletedProcess[str]]
GUIDE = Path(__file__).resolve().parent.parent / "docs/guides/evaluation.md"


@pytest.fixture
def command() -> list[str]:
    """The first command of the guide's section on the baseline."""
    section = GUIDE.read_text(encoding="utf-8").partition("## The zero-shot baseline")[2]
    block = re.search(r"```bash\n(.*?)```", section, re.DOTALL)
    assert block is not None
    return shlex.split(block.group(1).replace("\\\n", " "))


def test_the_recipe_for_a_baseline_asks_for_what_it_says(
    command: list[str], run_inside: Run
) -> None:
    done = run_inside([*command, "--dry-run"])
    assert done.returncode == 0, done
    config = yaml.safe_load(done.stdout)
    assert config["output"]["summary"] == "results/baseline/baseline_results_summary.json"
    assert config["prompt"]["template"] == "r1_zero"
    assert config["prompt"]["num_fewshot"] == 0
    assert config["decoding"]["mode"] == "greedy"
    assert config["decoding"]["stop"] == ["</answer>"]
