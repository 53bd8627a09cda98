"""Every key of the config of expert iteration is read while a run goes on."""

import json

import yaml

from srl_data.arithmetic import problems
from srl_data.command.config import Section, leaves, section_of
from srl_data.records import write_records
from srl_grpo.config.expert import ExpertConfig
from srl_grpo.run.trackers import read_metrics

TREE = {
    "n_ei_steps": 1,
    "model": {
        "build": {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1},
    },
    "data": {"template": "question_only", "max_prompt_length": 160},
    "rollout": {"batch_size": 4, "group_size": 4, "max_new_tokens": 12},
    "reward": {"reward": "own.py:written"},
    "selection": {"min_reward": 1.0, "rationalise": True},
    "optimizer": {"warmup_ratio": 0.5},
    "evaluation": {"before_after": True},
    "tracking": {"tensorboard": False},
}
TREE["rollout"]["stop"] = [*"aeiou12345"]
OWN = """
def written(completions, **_):
    return [float(bool(text.strip())) for text in completions]
"""


def owner(path: tuple[str, ...]) -> str:
    """A key as the class of its section and its name there."""
    kind: type[Section] = ExpertConfig
    for part in path[:-1]:
        inner = section_of(kind.model_fields[part].annotation)
        assert inner is not None
        kind = inner
    return f"{kind.__name__}.{path[-1]}"


def test_every_key_is_read_by_a_run(call, tmp_path, monkeypatch):
    found = [problem.prompt_answer() for problem in problems(3, 6, split="train")]
    write_records(tmp_path / "train.jsonl", found[:4])
    write_records(tmp_path / "val.jsonl", found[4:])
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "ei.yaml").write_text(yaml.safe_dump(TREE))
    read, plain = set(), Section.__getattribute__

    def reading(self, name):
        read.add(f"{type(self).__name__}.{name}")
        return plain(self, name)

    monkeypatch.setattr(Section, "__getattribute__", reading)
    data = ("--data", "train.jsonl", "--val-data", "val.jsonl")
    code, _, err = call("expert-iteration", "--config", "ei.yaml", *data, "--output-dir", "out")
    monkeypatch.undo()
    assert code == 0, err
    unread = {leaf.key for leaf in leaves(ExpertConfig) if owner(leaf.path) not in read}
    # Of chains of steps, of rounds with nothing right, of trackers that are off, of other hosts and
    # other rewards.
    assert unread <= {
        "synthetic.num_problems",
        "synthetic.num_heldout",
        "synthetic.digits",
        "model.resize_embeddings",
        "evaluation.chain_start",
        "checkpoint.keep_last",
        "selection.when_none_right",
        "tracking.wandb_project",
        "tracking.trackio_project",
        "tracking.run_name",
        "launch.node_rank",
        "launch.rdzv_endpoint",
        *(f"launch.{name}" for name in ("nproc_per_node", "nnodes")),
        *(f"reward.{name}" for name in ("metric", "max_chars", "autojunk", "strip_number")),
    }, unread
    (row,) = read_metrics(tmp_path / "out/metrics.jsonl")
    summary = json.loads((tmp_path / "out/summary.json").read_text())
    assert summary["after"]["accuracy"] == row["ei/eval_accuracy"]
