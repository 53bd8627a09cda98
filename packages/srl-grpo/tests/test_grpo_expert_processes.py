"""Expert iteration by two processes asks and keeps what one does, and learns the same."""

import pytest
import yaml

from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.trackers import read_metrics

pytestmark = pytest.mark.slow

OWN = """
def plain(completions, **_):
    return [float(text.strip() != "" and not set("<|") & set(text)) for text in completions]
"""
CONFIG = {
    "n_ei_steps": 2,
    "model": {"build": {"hidden_size": 32, "num_layers": 1}, "dtype": "float32"},
    "data": {"template": "question_only", "max_prompt_length": 160},
    "synthetic": {"num_problems": 7, "num_heldout": 3, "digits": [2, 2]},
    "rollout": {"batch_size": 5, "group_size": 4, "max_new_tokens": 12, "chunk_size": 4},
    "selection": {"min_reward": 1.0, "rationalise": True},
    "sft": {"batch_size": 4, "epochs": 2, "start_from": "base"},
    "optimizer": {"learning_rate": 1e-3},
    "tracking": {"tensorboard": False},
}


def run(run_command, folder, name: str, *flags: object) -> list[dict[str, float]]:
    options = ("--config", folder / "ei.yaml", "--output-dir", folder / name)
    done = run_command("expert-iteration", *options, *flags)
    assert done.returncode == 0, done.stderr
    return list(read_metrics(folder / name / "metrics.jsonl"))


def test_two_processes_are_one(run_command, tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    tree = {**CONFIG, "reward": {"reward": f"{tmp_path / 'own.py'}:plain"}}
    tree["rollout"]["stop"] = [*"aeiou12345"]
    (tmp_path / "ei.yaml").write_text(yaml.safe_dump(tree))
    one = run(run_command, tmp_path, "one")
    two = run(run_command, tmp_path, "two", "--zero-stage", 3, "--nproc-per-node", 2)
    first, second = (RunDirectory(tmp_path / name) for name in ("one", "two"))
    assert first.kept(1).read_text() == second.kept(1).read_text()
    assert len(list(first.samples(1).iterdir())) == len(list(second.samples(1).iterdir()))
    for before, after in zip(one, two, strict=True):
        assert before.keys() == after.keys()
        assert after["ei/sft_loss"] == pytest.approx(before["ei/sft_loss"], rel=1e-4)
        assert after["ei/filtered_samples"] == before["ei/filtered_samples"]
