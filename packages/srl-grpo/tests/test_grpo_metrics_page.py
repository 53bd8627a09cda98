"""docs/guides/metrics.md has a line for every metric that real runs log, and no line for others."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

import srl_grpo
from srl_data.arithmetic import problems
from srl_data.records import SftPair, write_records

PAGE = Path(__file__).resolve().parents[3] / "docs/guides/metrics.md"
pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="the package alone, without the docs")

BUILD = {"hidden_size": 32, "num_layers": 1, "intermediate_size": 32}
SRL: dict[str, Any] = {
    "num_steps": 2,
    "model": {"build": BUILD},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 2]},
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 60, "max_starved_steps": 0},
    "tracking": {"tensorboard": False},
}
RUNS: dict[str, dict[str, Any]] = {
    "dapo": {
        "algorithm": {
            "beta": 0.1,
            "ppo_steps": 2,
            "sampler_cap": 2.0,
            "overlong_buffer": 20,
            "mask_truncated": True,
        },
        "evaluation": {"eval_every": 1},
        "checkpoint": {"checkpoint_every": 1},
        "reward": {"reward": ["step", "format"]},
    },
    "sapo": {"algorithm": {"loss": "sapo", "beta": 0.1, "kl_in_reward": True}},
    "vespo": {
        "algorithm": {"loss": "vespo", "baseline": "none"},
        "rollout": {**SRL["rollout"], "top_k": 5},
    },
}


def documented() -> list[str]:
    """The names in the first column of the page's tables."""
    rows = re.findall(r"^\| (`.+?) \|", PAGE.read_text("utf-8"), re.MULTILINE)
    return [name for row in rows for name in re.findall(r"`([^`]+)`", row)]


def pattern(name: str) -> re.Pattern[str]:
    """What a documented name stands for: capitals are any part, letters, digits and underscores."""
    return re.compile(re.sub(r"\b[A-Z]+\b", r"[a-z0-9_]+", name))


ELSEWHERE = ("ei/", "eval/pass@", "reward_answer", "sync_difference")
"""Marks of metrics of expert iteration, of several samples, of rewards that tell a part, of vLLM:
their own tests see them logged; here only that the page has them."""


def test_every_name_in_the_code_has_its_line() -> None:
    """Names that are written whole, so also those that no run here logs."""
    literal = re.compile(
        r'"((?:ei|sampling|penalty|sampler_weight|clip_ratio|completions|train)/[a-z0-9_]+)"'
    )
    code = Path(srl_grpo.__file__).parent.rglob("*.py")
    names = {name for path in code for name in literal.findall(path.read_text("utf-8"))}
    assert len(names) > 30
    assert names - set(documented()) == set()


def names_of(run: Path) -> set[str]:
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return {name for line in lines for name in json.loads(line)}


@pytest.fixture(scope="module")
def sampled(watched, tmp_path_factory) -> set[str]:
    """The names that runs of reinforcement learning log."""
    folder = tmp_path_factory.mktemp("metrics")
    found: set[str] = set()
    for name, more in RUNS.items():
        script = {"script": None} if name == "vespo" else {}  # the real engine keeps its sets
        watched({**SRL, **more}, folder / name, **script)
        found |= names_of(folder / name)
    return found


@pytest.fixture
def imitated(call, tmp_path: Path) -> set[str]:
    """The names that supervised runs log, on pairs and on steps of an expert."""
    pairs = [
        SftPair(id=str(n), prompt=f"{n}+1=?", response=str(n + 1), meta={"answer": str(n + 1)})
        for n in range(4)
    ]
    write_records(tmp_path / "pairs.jsonl", pairs)
    steps = [instance for problem in problems(3, 3) for instance in problem.instances()]
    write_records(tmp_path / "steps.jsonl", steps)
    found: set[str] = set()
    for data, template in (("pairs", None), ("steps", "bare")):
        tree = {
            "num_steps": 1,
            "model": {"build": BUILD | {"max_positions": 2048}},
            "data": {"path": f"{data}.jsonl", "val_path": f"{data}.jsonl", "template": template},
            "evaluation": {"eval_every": 1},
            "tracking": {"tensorboard": False},
        }
        (tmp_path / "sft.yaml").write_text(yaml.safe_dump(tree))
        given = ("--max-new-tokens", 4, "--max-seq-len", 1500, "--batch-size", 2)
        if data == "steps":  # the small model's characters are those of these words
            given += ("--thinking-text", "carry")
        code, _, errors = call("sft", "--config", "sft.yaml", "--output-dir", data, *given)
        assert code == 0, errors
        found |= names_of(tmp_path / data)
    return found


def test_every_logged_metric_has_its_line_and_every_line_its_metric(sampled, imitated) -> None:
    logged, patterns = sampled | imitated, {name: pattern(name) for name in documented()}
    untold = {n for n in logged if not any(p.fullmatch(n) for p in patterns.values())}
    assert untold == set(), "logged, and not in docs/guides/metrics.md"
    unseen = {
        n
        for n, p in patterns.items()
        if not any(p.fullmatch(m) for m in logged) and not any(mark in n for mark in ELSEWHERE)
    }
    assert unseen == set(), "in docs/guides/metrics.md, and logged by no run here"


def test_a_metric_has_one_line() -> None:
    names = documented()
    assert len(names) == len(set(names)) > 50
