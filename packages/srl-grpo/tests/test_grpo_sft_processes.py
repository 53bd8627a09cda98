"""Supervised fine-tuning by two processes is that of one, under every ZeRO stage and packed."""

import json

import pytest
import yaml

from srl_grpo.run.trackers import read_metrics

pytestmark = pytest.mark.slow

CONFIG = {
    "num_epochs": 1,
    "batch_size": 4,
    "model": {"build": {"hidden_size": 32, "num_layers": 1}, "dtype": "float32"},
    "engine": {"gradient_accumulation_steps": 2},
    "optimizer": {"learning_rate": 1e-3},
    "evaluation": {"eval_every": 2},
    "generation": {"max_new_tokens": 6},
    "tracking": {"tensorboard": False},
}
COMPARED = {"train/loss", "grad_norm", "eval/loss"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Nineteen sums: the last batch, of three, is smaller than two processes' two micro-batches."""
    path = tmp_path_factory.mktemp("processes")
    lines = [
        json.dumps({"id": str(n), "prompt": f"{n}+{7 * n}=?", "response": str(8 * n) * (n % 4 + 1)})
        for n in range(1, 20)
    ]
    (path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    data = {"path": str(path / "pairs.jsonl"), "max_seq_len": 64}
    tree = {**CONFIG, "data": {**data, "val_path": data["path"]}}
    (path / "sft.yaml").write_text(yaml.safe_dump(tree))
    return path


def metrics(run_command, folder, name: str, *flags: object) -> list[dict[str, float]]:
    done = run_command(
        "sft", "--config", folder / "sft.yaml", "--output-dir", folder / name, *flags
    )
    assert done.returncode == 0, done.stderr
    return list(read_metrics(folder / name / "metrics.jsonl"))


@pytest.mark.parametrize("flags", [(), ("--zero-stage", 2, "--packing"), ("--zero-stage", 3)])
def test_two_processes_are_one(run_command, folder, flags):
    one = metrics(run_command, folder, f"one{len(flags)}{flags[-1:]}")
    two = metrics(
        run_command, folder, f"two{len(flags)}{flags[-1:]}", *flags, "--nproc-per-node", 2
    )
    assert [row["examples"] for row in two] == [8, 8, 3]
    for before, after in zip(one, two, strict=True):
        assert before.keys() == after.keys()
        for name in before.keys() & COMPARED:
            assert after[name] == pytest.approx(before[name], rel=2e-6)
    assert "eval/loss" in two[1]
