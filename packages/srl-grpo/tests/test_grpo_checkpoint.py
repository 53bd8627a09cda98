import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompt_record import PromptRecord, read_record
from srl_grpo.config.sections import CheckpointSection, EngineSection, OptimizerSection
from srl_grpo.learner.engine import TrainingEngine
from srl_grpo.learner.policy import Policy
from srl_grpo.learner.updater import UpdateOptions, Updater
from srl_grpo.objective.loss import PolicyLoss
from srl_grpo.rollout.algorithm import GroupRelative, samples_of
from srl_grpo.run.checkpoint import (
    MANIFEST,
    FileEntry,
    Manifest,
    TrainerState,
    check_fit,
    find_resume,
    load_checkpoint,
    mark_best,
    newest,
    prune,
    read_manifest,
    read_state,
    rewind,
    save_checkpoint,
    seal,
    steps_of,
    verify,
)
from srl_grpo.toy.model import character_tokenizer

ALPHABET = list("abcdefghijklmnopqrstu")


def fake_checkpoint(run: Path, step: int) -> Path:
    """A sealed folder of two small files."""
    folder = run / f"step_{step}"
    (folder / "trainer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights of step %d" % step)
    (folder / "trainer" / "state.json").write_text(TrainerState(step=step).model_dump_json())
    seal(folder, step)
    return folder


def make_engine(model, world, stage=0):
    return TrainingEngine(Policy(model), EngineSection(zero_stage=stage), OptimizerSection(), world)


def step_once(engine, world, group, step):
    options = UpdateOptions(batch_size=64, token_budget=1000, max_logprob_difference=0)
    updater = Updater(engine, PolicyLoss(), options, 1)
    updater(samples_of([group], GroupRelative()), step, 1e-2)


def weights_of(engine):
    return {n: t.clone() for n, t in engine.model_state().items()}


@pytest.fixture
def saved(tmp_path, tiny_model, world, make_group):
    """Trains a step, writes a checkpoint; gives the folder and the live engine."""

    def save(stage=0):
        engine = make_engine(tiny_model(), world, stage)
        step_once(engine, world, make_group([0.0, 1.0, 0.3]), 0)
        state = TrainerState(
            step=1, stage="rl", stage_state={"position": 7}, num_tokens=50, zero_stage=stage
        )
        tokenizer, record = character_tokenizer(ALPHABET), PromptRecord(name="bare", version=1)
        return save_checkpoint(tmp_path, engine, tokenizer, record, state, world), engine

    return save


@pytest.mark.parametrize("stage", [0, 2])
def test_training_goes_on_from_a_checkpoint_bit_for_bit(saved, world, make_group, stage):
    folder, unbroken = saved(stage)
    group = make_group([1.0, 0.0, 0.5], [9, 10], [(11, 0), (12, 13, 0), (14, 0)])
    step_once(unbroken, world, group, 1)

    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    resumed = make_engine(model, world, stage)
    load_checkpoint(folder, resumed, world)
    before = weights_of(resumed)
    step_once(resumed, world, group, 1)

    expected, found = weights_of(unbroken), weights_of(resumed)
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    assert any(not torch.equal(before[name], found[name]) for name in found)


def test_the_random_state_comes_back(saved, world, tiny_model):
    torch.manual_seed(5)
    folder, engine = saved()
    expected = torch.rand(3)
    torch.manual_seed(6)
    load_checkpoint(folder, engine, world)
    assert torch.equal(torch.rand(3), expected)


def test_plain_transformers_loads_it_with_equal_logits(saved):
    folder, engine = saved()
    ids = torch.tensor([[3, 4, 5, 6]])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        assert torch.equal(model(input_ids=ids).logits, engine.policy.model(input_ids=ids).logits)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.decode(tokenizer.encode("badge")) == "badge"
    assert tokenizer.eos_token_id == 0
    assert read_record(folder) == PromptRecord(name="bare", version=1)


def test_a_checkpoint_is_whole_and_holds_its_counters(saved):
    folder, _ = saved()
    manifest = verify(folder)
    there = {p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file()}
    assert set(manifest.files) == there - {MANIFEST}
    assert (manifest.step, folder.name) == (1, "step_1")
    assert read_state(folder).stage_state == {"position": 7}
    assert [p.name for p in folder.parent.iterdir()] == ["step_1"]


@pytest.mark.parametrize("stage", [0, 2])
def test_code_inside_a_state_file_is_refused_and_not_run(saved, world, tmp_path, stage):
    folder, engine = saved(stage)
    witness = tmp_path / "it ran"

    class Malicious:
        def __reduce__(self):
            return (os.mkdir, (str(witness),))

    for victim in sorted((folder / "trainer" / "zero").glob("*.pt")):
        kept = victim.read_bytes()
        torch.save({"module": Malicious()}, victim)
        (folder / MANIFEST).unlink()
        seal(folder, 1)
        verify(folder)
        with pytest.raises(DataError, match="holds more than training state, not loaded"):
            load_checkpoint(folder, engine, world)
        assert not witness.exists()
        victim.write_bytes(kept)


def test_another_number_of_processes_is_refused(saved, world):
    folder, engine = saved()
    state = read_state(folder).model_copy(update={"world_size": 2})
    with pytest.raises(ConfigError, match="the number of processes 2, this run has 1"):
        check_fit(folder, state, engine.zero_stage, world.size)


def test_another_zero_stage_is_refused(saved, world):
    folder, engine = saved()
    state = read_state(folder).model_copy(update={"zero_stage": 3})
    with pytest.raises(ConfigError, match="--zero-stage 3, this run has 0"):
        check_fit(folder, state, engine.zero_stage, world.size)


def test_what_is_left_of_a_broken_write_is_cleared_away(saved, tmp_path):
    left = tmp_path / ".step_1.tmp"
    left.mkdir()
    (left / "half a file").write_text("x")
    folder, _ = saved()
    assert not left.exists()
    assert "half a file" not in verify(folder).files


def test_a_missing_file_is_named(tmp_path):
    folder = fake_checkpoint(tmp_path, 1)
    (folder / "model.safetensors").unlink()
    with pytest.raises(DataError, match=r"not a whole checkpoint: model\.safetensors is missing"):
        verify(folder)


def test_a_truncated_file_is_named_with_both_sizes(tmp_path):
    folder = fake_checkpoint(tmp_path, 1)
    os.truncate(folder / "model.safetensors", 4)
    with pytest.raises(DataError, match=r"safetensors has 4 bytes, the manifest says 17"):
        verify(folder)


def test_a_flipped_byte_is_found_where_contents_are_read(tmp_path):
    folder = fake_checkpoint(tmp_path, 1)
    (folder / "model.safetensors").write_bytes(b"weights of step 2")
    verify(folder, contents=False)
    with pytest.raises(DataError, match=r"model\.safetensors does not match its checksum"):
        verify(folder)


@pytest.mark.parametrize("name", ["../outside", "trainer/../../outside", "/etc/hostname"])
def test_a_manifest_that_names_files_outside_is_refused(tmp_path, name):
    folder = fake_checkpoint(tmp_path, 1)
    (tmp_path / "outside").write_text("x")
    manifest = Manifest(step=1, files={name: FileEntry(bytes=1, sha256="0" * 64)})
    (folder / MANIFEST).write_text(manifest.model_dump_json())
    with pytest.raises(DataError, match="names a file outside the checkpoint"):
        verify(folder)


@pytest.mark.parametrize(
    ("text", "reason"),
    [('{"step": 1', "damaged"), ('{"step": 1}', "damaged"), ('{"step": -1, "files": {}}', "dama")],
)
def test_a_damaged_manifest_is_told_in_one_line(tmp_path, text, reason):
    folder = fake_checkpoint(tmp_path, 1)
    (folder / MANIFEST).write_text(text)
    with pytest.raises(DataError, match=reason) as caught:
        read_manifest(folder)
    assert "\n" not in str(caught.value)


def test_folders_without_manifest_and_half_written_ones_are_no_checkpoints(tmp_path):
    fake_checkpoint(tmp_path, 2)
    shutil.copytree(tmp_path / "step_2", tmp_path / ".step_4.tmp")
    shutil.copytree(tmp_path / "step_2", tmp_path / "step_3")
    (tmp_path / "step_3" / MANIFEST).unlink()
    shutil.copytree(tmp_path / "step_2", tmp_path / "step_9_copy")
    assert steps_of(tmp_path) == [2]
    assert newest(tmp_path) == tmp_path / "step_2"
    with pytest.raises(DataError, match=f"it has no {MANIFEST}"):
        read_manifest(tmp_path / "step_3")


def test_steps_are_ordered_as_numbers(tmp_path):
    for step in (9, 100, 20):
        fake_checkpoint(tmp_path, step)
    assert steps_of(tmp_path) == [9, 20, 100]
    assert newest(tmp_path) == tmp_path / "step_100"


def test_pruning_keeps_the_newest_and_the_best(tmp_path):
    for step in (1, 2, 3, 4, 5):
        fake_checkpoint(tmp_path, step)
    prune(tmp_path, keep_last=2, best_step=2)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["step_2", "step_4", "step_5"]
    assert all(verify(tmp_path / f"step_{step}").step == step for step in (2, 4, 5))
    prune(tmp_path, keep_last=None, best_step=None)
    assert steps_of(tmp_path) == [2, 4, 5]


def test_auto_finds_the_newest_whole_checkpoint(tmp_path):
    assert find_resume("auto", tmp_path / "new") is None
    for step in (1, 2, 3):
        fake_checkpoint(tmp_path, step)
    os.truncate(tmp_path / "step_3" / "model.safetensors", 0)
    (tmp_path / "step_2" / "trainer" / "state.json").write_text("changed")
    assert find_resume("auto", tmp_path) == tmp_path / "step_1"


def test_auto_needs_to_know_where(tmp_path):
    with pytest.raises(ConfigError, match="--resume auto needs --output-dir"):
        find_resume("auto", None)


def test_a_run_folder_or_a_step_folder_can_be_named(tmp_path):
    for step in (1, 2):
        fake_checkpoint(tmp_path, step)
    assert find_resume(str(tmp_path), None) == tmp_path / "step_2"
    assert find_resume(str(tmp_path / "step_1"), None) == tmp_path / "step_1"
    renamed = (tmp_path / "step_1").rename(tmp_path / "the good one")
    assert find_resume(str(renamed), None) == renamed


def test_a_named_broken_checkpoint_is_refused_rather_than_replaced_by_another(tmp_path):
    for step in (1, 2):
        fake_checkpoint(tmp_path, step)
    os.truncate(tmp_path / "step_2" / "model.safetensors", 0)
    with pytest.raises(DataError, match="has 0 bytes"):
        find_resume(str(tmp_path / "step_2"), None)


def test_a_folder_without_checkpoints_is_refused(tmp_path):
    with pytest.raises(DataError, match="neither a checkpoint nor a run folder that holds one"):
        find_resume(str(tmp_path), None)
    with pytest.raises(DataError, match="no checkpoint folder at"):
        find_resume(str(tmp_path / "step_7"), None)


def test_damaged_counters_are_told(tmp_path):
    folder = fake_checkpoint(tmp_path, 1)
    (folder / "trainer" / "state.json").write_text('{"step": "many"}')
    with pytest.raises(DataError, match="cannot read the trainer's state"):
        read_state(folder)


def test_the_best_checkpoint_is_marked(tmp_path):
    mark_best(tmp_path, TrainerState(best_step=40, best_value=0.5))
    assert json.loads((tmp_path / "best.json").read_text()) == {
        "step": 40,
        "metric": "eval/reward",
        "value": 0.5,
        "path": "step_40",
    }


def test_going_on_from_an_earlier_step_sets_later_checkpoints_aside(tmp_path: Path) -> None:
    for step in (2, 4, 6):
        folder = tmp_path / f"step_{step}"
        folder.mkdir()
        seal(folder, step)
    mark_best(tmp_path, TrainerState(best_step=6, best_value=0.9))
    state = TrainerState(step=4, best_step=2, best_value=0.5)
    rewind(tmp_path, state, CheckpointSection())
    assert steps_of(tmp_path) == [2, 4]
    assert (tmp_path / "abandoned_step_6" / "MANIFEST.json").is_file()
    assert json.loads((tmp_path / "best.json").read_text())["step"] == 2
    rewind(tmp_path, TrainerState(step=4), CheckpointSection())
    assert not (tmp_path / "best.json").exists()


def test_resuming_where_every_checkpoint_is_damaged_says_so_and_starts_nothing(tmp_path) -> None:
    folder = tmp_path / "step_2"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    seal(folder, 2)
    (folder / "model.safetensors").write_bytes(b"damaged")
    with pytest.raises(DataError, match=r"model.safetensors does not match its checksum"):
        find_resume("auto", tmp_path)
