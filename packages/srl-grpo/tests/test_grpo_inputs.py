"""Resuming with other data, another model, or without the reference of the KL term."""

import shutil

import pytest

from srl_data.records import SrlInstance
from srl_grpo.config.sections import BuildSection
from srl_grpo.run.checkpoint import read_state
from srl_grpo.toy.model import build_model


def instances(numbers):
    return [
        SrlInstance(
            id=f"p{n}/2", problem=f"{n}+34", previous_steps=["1. **Ones** 2+4+0=06"], step_index=2,
            num_steps=3, target_step="2. **Tens** 1+3+0=04",
        ) for n in numbers
    ]  # fmt: skip


def write(path, numbers):
    path.write_text("".join(row.model_dump_json() + "\n" for row in instances(numbers)))


@pytest.fixture
def files(tmp_path):
    write(tmp_path / "train.jsonl", range(10, 30))
    write(tmp_path / "val.jsonl", range(40, 46))
    return tmp_path


@pytest.fixture
def started(call, tiny, files):
    """A run of two steps on files, with held-out data."""
    config = tiny(synthetic=None, evaluation={"eval_every": 1})
    flags = ["--data", "train.jsonl", "--val-data", "val.jsonl", "--output-dir", "out"]
    code, _, errors = call("train", "--config", config, *flags)
    assert code == 0, errors
    return files


def snapshot(folder):
    return {p: p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.mark.parametrize(
    ("file", "numbers", "parts"),
    [
        ("train.jsonl", range(10, 13), ["the training data's sha256", "number of prompts 20 -> 3"]),
        ("train.jsonl", range(11, 31), ["the training data's sha256"]),
        ("train.jsonl", range(29, 9, -1), ["the training data's sha256"]),
        ("val.jsonl", range(40, 44), ["the held-out data's sha256", "held-out prompts 6 -> 4"]),
    ],
)
def test_other_data_is_refused_with_the_difference(call, started, file, numbers, parts):
    before = snapshot(started / "out")
    write(started / file, numbers)
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3)
    assert code == 2
    assert errors.count("\n") == 1
    for part in [*parts, "--force", "out/step_2"]:
        assert part in errors
    assert snapshot(started / "out") == before
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3, "--force")
    assert (code, errors) == (0, "")
    # What was forced is what the run has now.
    assert call("train", "--resume", "out", "--num-steps", 4)[0] == 0


def test_prompts_left_out_by_another_limit_are_other_data(call, started):
    (long,) = instances([10**30])
    path = started / "train.jsonl"
    path.write_text(path.read_text() + long.model_dump_json() + "\n")
    flags = ["--config", started / "tiny.yaml", "--data", "train.jsonl", "--eval-every", 0]
    assert call("train", *flags, "--output-dir", "new")[0] == 0
    kept = read_state(started / "new/step_2").inputs.train_prompts
    assert kept == 21
    code, _, errors = call("train", "--resume", "new", "--num-steps", 3, "--max-prompt-length", 40)
    assert code == 2, errors
    assert "its number of prompts 21 -> 20" in errors


def test_the_same_data_elsewhere_and_less_evaluation_are_no_difference(call, started):
    (started / "train.jsonl").rename(started / "moved.jsonl")
    flags = ["--data", "moved.jsonl", "--eval-limit", 2]
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3, *flags)
    assert (code, errors) == (0, "")
    flags = ["--data", "moved.jsonl", "--eval-every", 0]
    assert call("train", "--resume", "out", "--num-steps", 4, *flags)[0] == 0


def test_other_options_of_data_made_on_the_spot_are_refused(call, tiny, tmp_path):
    assert call("train", "--config", tiny(), "--output-dir", "out")[0] == 0
    for flags, part in (
        (["--num-problems", 9], "'num_problems': 9"),
        (["--seed", 7], "'seed': 7"),
        (["--digits", "[2, 3]"], "'digits': [2, 3]"),
    ):
        code, _, errors = call("train", "--resume", "out", "--num-steps", 3, *flags)
        assert code == 2
        assert "the data made on the spot" in errors
        assert part in errors


@pytest.fixture
def model_folder(tmp_path):
    def make(name, seed=3):
        build = BuildSection(hidden_size=16, num_heads=2, num_kv_heads=1, num_layers=1)
        model, tokenizer = build_model(build, seed)
        model.save_pretrained(tmp_path / name)
        tokenizer.save_pretrained(tmp_path / name)
        return tmp_path / name

    return make


def test_another_model_or_revision_is_refused(call, tiny, model_folder):
    model_folder("m")
    model_folder("other")
    config = tiny(model={"path": "m", "build": None})
    assert call("train", "--config", config, "--output-dir", "out")[0] == 0
    for flags, part in (
        (["--model", "other"], "the model "),
        (["--revision", "v2"], "the model's revision None -> v2"),
    ):
        code, _, errors = call("train", "--resume", "out", "--num-steps", 3, *flags)
        assert code == 2
        assert part in errors


KL = {"beta": 0.5}


@pytest.fixture
def with_kl(call, tiny, tmp_path):
    """A run with a KL term whose rewards differ: a warm-started model, three steps in `a`."""
    config = tiny(
        algorithm=KL,
        num_steps=3,
        warm_start={"steps": 30, "batch_size": 8},
        optimizer={"learning_rate": 1e-2},
        checkpoint={"checkpoint_every": 1},
        rollout={"batch_size": 2, "group_size": 4, "max_new_tokens": 16, "max_starved_steps": 0,
                 "eps_std": 0.0},
    )  # fmt: skip
    code, _, errors = call("train", "--config", config, "--output-dir", "a")
    assert code == 0, errors
    return tmp_path


def resumed(call, *flags):
    code, _, errors = call("train", *flags)
    assert (code, errors) == (0, "")


def test_the_reference_goes_along_to_another_folder_and_on_from_there(call, with_kl):
    whole = (with_kl / "a/reference/model.safetensors").read_bytes()
    resumed(call, "--resume", "a/step_1", "--output-dir", "b", "--num-steps", 2)
    assert (with_kl / "b/reference/model.safetensors").read_bytes() == whole
    assert (with_kl / "b/metrics.jsonl").is_file()
    # Only the fork is left: it stands on its own, also for the next one.
    shutil.rmtree(with_kl / "a")
    resumed(call, "--resume", "b/step_2", "--output-dir", "c", "--num-steps", 3)
    assert (with_kl / "c/reference/model.safetensors").read_bytes() == whole


def test_the_reference_is_found_behind_a_fork_without_a_kl_term(call, with_kl):
    resumed(call, "--resume", "a/step_1", "--output-dir", "b", "--num-steps", 2, "--beta", 0)
    assert not (with_kl / "b/reference").exists()
    resumed(call, "--resume", "b/step_2", "--output-dir", "c", "--num-steps", 3, "--beta", 0.5)
    assert (with_kl / "c/reference").is_dir()


def test_the_reference_is_found_from_a_checkpoint_that_was_moved_out(call, with_kl):
    (with_kl / "elsewhere").mkdir()
    shutil.copytree(with_kl / "a/step_1", with_kl / "elsewhere/step_1")
    shutil.copy(with_kl / "a/config.yaml", with_kl / "elsewhere/config.yaml")
    resumed(call, "--resume", "elsewhere/step_1", "--output-dir", "b", "--num-steps", 2)
    assert (with_kl / "b/reference").is_dir()


def test_a_missing_reference_is_told_with_the_places_and_what_to_do(call, with_kl):
    shutil.rmtree(with_kl / "a/reference")
    for flags in (["--resume", "a", "--num-steps", 4], ["--resume", "a", "--output-dir", "b"]):
        code, _, errors = call("train", *flags, "--num-steps", 4)
        assert code == 3
        assert errors.count("\n") == 1
        assert "the reference model of its KL term is not in" in errors
        assert str(with_kl / "a/reference") in errors
        assert "--beta 0" in errors


def test_another_model_in_the_references_place_is_refused(call, tiny, model_folder, tmp_path):
    model_folder("m", seed=3)
    config = tiny(model={"path": "m", "build": None}, algorithm=KL)
    assert call("train", "--config", config, "--output-dir", "out")[0] == 0
    start = read_state(tmp_path / "out/step_2").start
    model_folder("m", seed=4)
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3)
    assert code == 3
    assert "m is not the model that this run began with" in errors
    model_folder("m", seed=3)
    resumed(call, "--resume", "out", "--num-steps", 3)
    assert read_state(tmp_path / "out/step_3").start == start
