"""What may change where a run of sft is resumed, and what may not; the quickstart's first stage."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from srl_grpo.run.checkpoint import steps_of, verify
from srl_grpo.run.trackers import read_metrics

BUILD = {"hidden_size": 16, "num_layers": 1, "num_heads": 2, "num_kv_heads": 1}


@pytest.fixture
def sft(call, tmp_path):
    """Runs `sft` on 21 sums, 5 per step, in `out`: exit code, output, errors."""
    lines = [
        json.dumps({"id": str(n), "prompt": f"{n}+1=?", "response": str(n + 1)}) for n in range(21)
    ]
    (tmp_path / "pairs.jsonl").write_text("\n".join(lines) + "\n")
    tree = {
        "model": {"build": BUILD},
        "num_epochs": 1,
        "batch_size": 5,
        "data": {"path": str(tmp_path / "pairs.jsonl"), "max_seq_len": 64},
        "engine": {"gradient_accumulation_steps": 1},
        "checkpoint": {"save_final_only": False, "checkpoint_every": 2},
        "tracking": {"tensorboard": False},
    }
    (tmp_path / "sft.yaml").write_text(yaml.safe_dump(tree))

    def run(*flags):
        return call("sft", "--config", "sft.yaml", "--output-dir", "out", *flags)

    return run


def examples(folder: Path) -> list[float]:
    return [row["examples"] for row in read_metrics(folder / "out/metrics.jsonl")]


def test_more_epochs_train_on_every_example_as_often(sft, tmp_path):
    assert sft()[0] == 0
    assert examples(tmp_path) == [5, 5, 5, 5, 1]
    code, _, err = sft("--resume", "auto", "--num-epochs", 2)
    assert code == 0, err
    assert examples(tmp_path) == [5, 5, 5, 5, 1, 5, 5, 5, 5, 1]


@pytest.mark.parametrize("flags", [("--batch-size", 20), ("--batch-size", 1)])
def test_another_number_of_examples_per_step_is_refused(sft, tmp_path, flags):
    assert sft()[0] == 0
    for step in (4, 5):
        shutil.rmtree(tmp_path / "out" / f"step_{step}")
    shutil.rmtree(tmp_path / "out/final")
    code, _, err = sft("--resume", "auto", *flags)
    assert code == 2
    assert "the run takes 5 examples per step, and the config now asks for" in err
    assert steps_of(tmp_path / "out") == [2]


def test_the_best_checkpoint_is_that_of_the_lowest_held_out_loss(sft, tmp_path):
    held_out = ("--val-data", tmp_path / "pairs.jsonl", "--eval-steps", 1, "--max-new-tokens", 2)
    assert sft(*held_out, "--lr", 1e-3)[0] == 0
    best = json.loads((tmp_path / "out/best.json").read_text())
    losses = [row["eval/loss"] for row in read_metrics(tmp_path / "out/metrics.jsonl")]
    assert best["metric"] == "eval/loss"
    assert best["value"] == min(losses)
    assert best["step"] == 1 + losses.index(min(losses))
    code, _, err = sft("--resume", "auto", "--num-epochs", 2, "--save-final-only", *held_out)
    assert code == 0, err
    assert not (tmp_path / "out/best.json").exists()


def test_a_finished_run_asked_to_compare_has_nothing_to_compare_with(sft, tmp_path):
    flags = ("--save-final-only", "--val-data", tmp_path / "pairs.jsonl", "--max-new-tokens", 2)
    assert sft(*flags)[0] == 0
    code, out, err = sft("--resume", "auto", "--before-after", *flags)
    assert (code, "nothing to do" in out) == (0, True), err


WARM = {"warm_start": {"steps": 2, "batch_size": 4}}


def test_the_first_stage_takes_its_own_batch_whatever_the_update_accumulates(call, tiny, tmp_path):
    engine = {"gradient_accumulation_steps": 2}
    code, _, err = call("train", "--config", tiny(**WARM, engine=engine), "--output-dir", "out")
    assert code == 0, err
    rows = list(read_metrics(tmp_path / "out/sft/metrics.jsonl"))
    assert [row["examples"] for row in rows] == [4, 4]
    assert yaml.safe_load((tmp_path / "out/sft/config.yaml").read_text())["engine"] | {} == {
        **yaml.safe_load((tmp_path / "out/config.yaml").read_text())["engine"],
        "packing": True,
        "micro_batch_tokens": 2048,
        "gradient_accumulation_steps": None,
    }


def test_a_first_stage_of_other_options_is_not_taken_for_this_run_s(call, tiny, tmp_path):
    config = tiny(**WARM)
    assert call("train", "--config", config, "--output-dir", "out")[0] == 0
    for left in ("step_2", "final"):
        shutil.rmtree(tmp_path / "out" / left)
    kept = verify(tmp_path / "out/sft/final")
    again = ("train", "--config", config, "--output-dir", "out", "--resume", "auto")
    code, _, err = call(*again, "--seed", 7)
    assert code == 2
    assert "seed: 42 -> 7" in err
    code, _, err = call(*again)
    assert code == 0, err
    assert verify(tmp_path / "out/sft/final") == kept


def test_a_folder_with_a_first_stage_is_named_as_the_user_named_it(call, tiny, tmp_path):
    config = tiny(**WARM)
    assert call("train", "--config", config, "--output-dir", "out")[0] == 0
    code, _, err = call("train", "--config", config, "--output-dir", "out")
    assert code == 2
    assert "--output-dir out already holds a run" in err
    shutil.rmtree(tmp_path / "out/sft")
    code, _, err = call("train", "--config", config, "--output-dir", "out")
    assert (code, (tmp_path / "out/sft").exists()) == (2, False)  # refused before it trains
