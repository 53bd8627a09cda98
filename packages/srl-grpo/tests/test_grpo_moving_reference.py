"""The KL term's reference that follows the policy, and runs continued between two refreshes."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from srl_data.command.errors import DataError
from srl_grpo.run.checkpoint import read_state, verify

TREE: dict[str, Any] = {
    "num_steps": 6,
    "model": {"build": {"hidden_size": 32, "num_layers": 1, "intermediate_size": 32}},
    "data": {"template": "bare", "max_prompt_length": 96},
    "synthetic": {"num_problems": 6, "num_heldout": 2, "digits": [2, 3]},
    "rollout": {"batch_size": 2, "group_size": 4, "max_new_tokens": 60, "max_starved_steps": 0},
    "algorithm": {"beta": 0.2, "reference_every": 2},
    "optimizer": {"learning_rate": 3e-3},
    "checkpoint": {"checkpoint_every": 1},
    "tracking": {"tensorboard": False},
}
WHOLE = {"zero_optimization": {"stage3_param_persistence_threshold": 0}}


def changed(**sections: dict[str, Any]) -> dict[str, Any]:
    """`TREE` with sections laid over its own."""
    return TREE | {name: TREE.get(name, {}) | more for name, more in sections.items()}


def untimed(run: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [
        {n: v for n, v in line.items() if "time" not in n and "_per_" not in n} for line in lines
    ]


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return load_file(folder / "model.safetensors")


@pytest.fixture(scope="module")
def unbroken(watched, tmp_path_factory):
    """The run of `TREE`."""
    path = tmp_path_factory.mktemp("moving") / "run"
    watched(TREE, path)
    return path


def test_the_reference_is_the_policy_of_the_last_refresh(unbroken: Path) -> None:
    """What a divergence is from: nothing right after a refresh, and some way a step later."""
    found = [line["kl"] for line in untimed(unbroken)]
    assert [value > 1e-7 for value in found] == [False, True, False, True, False, True]
    for step in range(1, 7):
        refreshed = unbroken / f"step_{step}/trainer/reference"
        last = step // 2 * 2
        if not last:
            assert not refreshed.exists()
            continue
        verify(refreshed.parent.parent)
        expected = weights(unbroken / f"step_{last}")
        assert all(torch.equal(v, expected[k]) for k, v in weights(refreshed).items())
        assert read_state(unbroken / f"step_{step}").stage_state["reference_step"] == last
    assert not (unbroken / "final/trainer/reference").exists()


def test_without_the_option_the_reference_stays_where_the_run_began(watched, tmp_path) -> None:
    seen = watched(changed(algorithm={"reference_every": None}), tmp_path / "run")
    found = [line["kl"] for line in untimed(seen.path)]
    assert all(value > 1e-7 for value in found[1:])
    assert not list(seen.path.glob("step_*/trainer/reference"))


@pytest.fixture(scope="module")
def wholes(watched, tmp_path_factory):
    """Unbroken runs by ZeRO stage, type and place of the KL term, with their configs."""
    made: dict[tuple[Any, ...], tuple[Path, dict[str, Any]]] = {}

    def run(stage: int, dtype: str, in_reward: bool) -> tuple[Path, dict[str, Any]]:
        tree = changed(
            algorithm={"kl_in_reward": in_reward, "ppo_steps": 2},
            engine={"zero_stage": stage, "deepspeed": WHOLE if stage == 3 else {}},
            model={"dtype": dtype},
        )
        tree["num_steps"] = 5
        key = (stage, dtype, in_reward)
        if key not in made:
            made[key] = tmp_path_factory.mktemp("whole") / "run", tree
            watched(tree, made[key][0])
        return made[key]

    return run


@pytest.mark.parametrize(
    ("step", "stage", "dtype", "in_reward"),
    [
        (1, 0, "float32", False),
        (2, 0, "float32", False),
        (3, 0, "float32", False),
        (3, 0, "float32", True),
        (3, 1, "float32", True),
        (3, 2, "float32", False),
        (3, 3, "float32", True),
        (3, 3, "bfloat16", False),
    ],
)
def test_continued_between_two_refreshes_it_is_the_unbroken_run(
    watched, wholes, tmp_path: Path, step, stage, dtype, in_reward
) -> None:
    """Before the first refresh, right after it, and a step later; to the bit."""
    (whole, tree), again = wholes(stage, dtype, in_reward), tmp_path / "again"
    resume = {"checkpoint": {"checkpoint_every": 1, "resume": str(whole / f"step_{step}")}}
    watched(tree | resume, again)
    assert untimed(again) == untimed(whole)[step:]
    for number in range(step + 1, 6):
        for part in ("", "trainer/reference"):
            folders = [run / f"step_{number}" / part for run in (whole, again)]
            assert len({(folder / "model.safetensors").exists() for folder in folders}) == 1
            if (folders[0] / "model.safetensors").exists():
                here, there = map(weights, folders)
                assert all(torch.equal(v, there[k]) for k, v in here.items())


def test_a_frozen_reference_is_the_last_refreshed_one_where_a_run_is_continued_so(
    watched, unbroken: Path, tmp_path: Path
) -> None:
    tree = changed(
        algorithm={"reference_every": None},
        checkpoint={"checkpoint_every": 1, "resume": str(unbroken / "step_4")},
    )
    seen = watched(tree, tmp_path / "run")
    assert [line["kl"] > 1e-7 for line in untimed(seen.path)] == [False, True]
    kept = weights(seen.path / "step_6/trainer/reference")
    assert all(torch.equal(v, weights(unbroken / "step_4")[k]) for k, v in kept.items())


def test_a_checkpoint_without_its_reference_is_refused(watched, unbroken, tmp_path: Path) -> None:
    resume = {"checkpoint_every": 1, "resume": str(unbroken / "step_3")}
    without = changed(algorithm={"beta": 0.0, "reference_every": None}, checkpoint=resume)
    watched(without | {"num_steps": 4}, tmp_path / "without")
    resume = {**resume, "resume": str(tmp_path / "without/step_4")}
    with pytest.raises(DataError, match="refreshed after step 2: it was written with --beta 0"):
        watched(changed(checkpoint=resume), tmp_path / "again")
    shutil.copytree(unbroken, tmp_path / "cut")
    (tmp_path / "cut/step_3/trainer/reference/model.safetensors").unlink()
    with pytest.raises(DataError, match=r"model.safetensors is missing"):
        verify(tmp_path / "cut/step_3")
