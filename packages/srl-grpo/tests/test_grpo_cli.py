import json
import resource
import shutil

import pytest
import yaml

from srl_data.command.config import preset_names
from srl_data.records import SrlInstance
from srl_grpo.run.checkpoint import steps_of, verify
from srl_grpo.toy.characters import alphabet_named
from srl_grpo.toy.model import character_tokenizer

RECORD = SrlInstance(
    id="p/2", problem="12+34", previous_steps=["1. **Ones** 2+4+0=06"], step_index=2,
    num_steps=3, target_step="2. **Tens** 1+3+0=04",
)  # fmt: skip


@pytest.fixture
def data_file(tmp_path):
    """Writes a file of instances; with `spoiled`, that line (from 1) is no record."""

    def write(lines=20, spoiled=None):
        rows = [RECORD.model_dump_json()] * lines
        if spoiled is not None:
            rows[spoiled - 1] = '{"id": "p/2", "problem": '
        path = tmp_path / "data.jsonl"
        path.write_text("".join(row + "\n" for row in rows))
        return path

    return write


def assert_one_line(errors, *parts):
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    assert lines[0].startswith("srl-grpo: error: ")
    for part in parts:
        assert part in lines[0]


@pytest.mark.parametrize("preset", preset_names("srl_grpo.presets"))
def test_every_preset_is_valid_and_says_what_it_would_do(call, preset):
    code, shown, errors = call("train", "--config", preset, "--dry-run")
    assert (code, errors) == (0, "")
    assert "train " in shown
    assert "ZeRO-" in shown


def test_flags_stand_over_the_file_and_the_file_over_defaults(call, tiny):
    code, shown, _ = call(
        "train", "--config", tiny(), "--group-size", 4, "--learning-rate", 0.5, "--dry-run"
    )
    assert code == 0
    resolved = yaml.safe_load(shown.split("\n\n")[0].split("train a small")[0])
    assert resolved["rollout"]["group_size"] == 4
    assert resolved["optimizer"]["learning_rate"] == 0.5
    assert resolved["rollout"]["max_new_tokens"] == 8
    assert resolved["rollout"]["max_rounds"] == 8


def test_an_unknown_key_is_refused_with_the_nearest_known_one(call, tiny):
    code, _, errors = call("train", "--config", tiny(rollout={"grup_size": 4}), "--dry-run")
    assert code == 2
    assert_one_line(errors, "unknown key 'rollout.grup_size'", "'rollout.group_size'")


def test_an_unknown_preset_is_refused_with_the_nearest_known_one(call):
    code, _, errors = call("train", "--config", "quikstart", "--dry-run")
    assert code == 2
    assert_one_line(errors, "'quikstart'", "did you mean 'quickstart'?")


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--chunk-size", 3], ["chunk_size 3 must be a multiple", "give --chunk-size 2 or 4"]),
        (["--chunk-size", 4, "--group-size", 6], ["group_size 6", "give --chunk-size 6"]),
        (["--when-starved", "fail"], ["--when-starved", "--max-starved-steps", "1 for the former"]),
        (["--group-size", 1], ["rollout.group_size = 1", "--group-size"]),
        (["--temperature", 0], ["rollout.temperature = 0", "greater than or equal to 0.000001"]),
        (["--zero-stage", 4], ["engine.zero_stage = 4", "--zero-stage"]),
        (["--offload-optimizer"], ["needs ZeRO", "--zero-stage 1, 2 or 3"]),
        (["--model", "x"], ["either a model (--model) or a model.build section, not both"]),
        (["--data", "x.jsonl"], ["both --data and a synthetic section"]),
        (["--deepspeed", "{zero_optimization: {stage: 1}}"], ["zero_optimization.stage"]),
        (["--deepspeed", "{bf16: {enabled: true}, fp16: {}}"], ["may not set bf16, fp16"]),
        (["--learning-rate", "nan"], ["learning_rate"]),
    ],
)
def test_values_that_cannot_be_are_refused_before_anything_is_loaded(call, tiny, flags, parts):
    code, _, errors = call("train", "--config", tiny(), *flags)
    assert code == 2
    assert_one_line(errors, *parts)


@pytest.mark.parametrize(
    ("section", "flags"),
    [
        ({"micro_batch_tokens": 100}, ["--gradient-accumulation-steps", 2]),
        ({"gradient_accumulation_steps": 2}, ["--micro-batch-tokens", 100]),
        ({"gradient_accumulation_steps": 2, "micro_batch_tokens": 100}, []),
        ({}, ["--gradient-accumulation-steps", 2, "--micro-batch-tokens", 100]),
    ],
)
def test_accumulation_and_a_token_budget_are_not_both_given(call, tiny, section, flags):
    code, _, errors = call("train", "--config", tiny(engine=section), *flags)
    assert code == 2
    assert_one_line(errors, "gradient_accumulation_steps is 2", "micro_batch_tokens 100")


def test_no_model_and_no_data_are_told(call):
    code, _, errors = call("train", "--data", "x.jsonl")
    assert code == 2
    assert_one_line(errors, "a model is required: give --model")


@pytest.mark.parametrize("last", [[], ["--dry-run"]])
def test_an_empty_model_name_as_of_an_unset_variable_is_refused(call, last):
    code, _, errors = call("train", "--model", "", "--data", "x.jsonl", *last)
    assert code == 2
    assert_one_line(errors, "model.path = ''", "at least 1 character", "(--model)")


def test_a_missing_data_file_is_named(call, tiny, tmp_path):
    config = tiny(synthetic=None, data={"path": str(tmp_path / "none.jsonl")})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 3
    assert_one_line(errors, "none.jsonl")
    assert not (tmp_path / "out").exists()


def test_a_malformed_line_is_named_by_its_number(call, tiny, data_file, tmp_path):
    config = tiny(synthetic=None, data={"path": str(data_file(spoiled=17))})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 3
    assert_one_line(errors, "data.jsonl", "17")
    assert not (tmp_path / "out").exists()


def test_a_malformed_line_can_be_left_out_and_is_listed(call, tiny, data_file):
    config = tiny(synthetic=None, data={"path": str(data_file(spoiled=17))}, num_steps=1)
    code, shown, errors = call(
        "train", "--config", config, "--output-dir", "out", "--on-error", "skip"
    )
    assert (code, errors) == (0, "")
    assert "17" in shown.split("step 1/1")[0]


def test_empty_data_is_told(call, tiny, data_file):
    config = tiny(synthetic=None, data={"path": str(data_file(lines=0))})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 3
    assert_one_line(errors, "data.jsonl", "no records")


def test_empty_data_is_told_by_a_dry_run_too(call, tiny, data_file):
    config = tiny(synthetic=None, data={"path": str(data_file(lines=0))})
    code, _, errors = call("train", "--config", config, "--dry-run")
    assert code == 3
    assert_one_line(errors, "data.jsonl", "no records")


def test_a_folder_that_cannot_be_made_is_told_before_anything_is_loaded(call, tiny, tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    config = tiny(synthetic=None, data={"path": "none.jsonl"})
    code, _, errors = call("train", "--config", config, "--output-dir", loop / "out")
    assert code == 2
    assert_one_line(errors, "cannot write", "loop/out", "links lead in a circle", "another path")


def test_a_file_in_the_place_of_the_folder_is_told(call, tiny, tmp_path):
    (tmp_path / "out").write_text("mine")
    code, _, errors = call("train", "--config", tiny(), "--output-dir", "out")
    assert code == 2
    assert_one_line(errors, "--output-dir out is a file")
    assert (tmp_path / "out").read_text() == "mine"


def test_prompts_that_are_all_too_long_are_told_as_that(call, tiny, data_file):
    path = data_file(lines=3)
    config = tiny(synthetic=None, data={"path": str(path), "max_prompt_length": 4})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 3
    assert_one_line(errors, "all 3 prompts are longer than 4 tokens; raise --max-prompt-length")


def test_too_long_prompts_are_left_out_and_counted(call, tiny, data_file):
    path = data_file(lines=2)
    long = RECORD.model_copy(update={"problem": "1" * 90})
    path.write_text(path.read_text() + long.model_dump_json() + "\n")
    config = tiny(synthetic=None, data={"path": str(path)}, num_steps=1)
    code, shown, _ = call("train", "--config", config, "--output-dir", "out")
    assert code == 0
    assert "1 prompts over 96 tokens left out" in shown


@pytest.mark.parametrize("kind", ["nothing", "a file", "an empty folder", "a broken one"])
def test_a_model_path_that_is_none_is_told(call, tiny, tmp_path, kind):
    path = tmp_path / "models" / "m"
    path.parent.mkdir()
    if kind == "a file":
        path.write_text("x")
    elif kind != "nothing":
        path.mkdir()
    if kind == "a broken one":
        character_tokenizer(alphabet_named("arithmetic")).save_pretrained(path)
        (path / "config.json").write_text('{"model_type": "qwen2", "vocab_size": 41}')
        (path / "model.safetensors").write_bytes(b"half")
    config = tiny(model={"path": str(path), "build": None})
    code, _, errors = call("train", "--config", config, "--output-dir", "out")
    assert code == 3
    assert_one_line(errors, str(path))


def test_lengths_over_the_models_window_are_refused_with_the_flags_to_lower(call, tiny):
    code, _, errors = call(
        "train", "--config", tiny(), "--max-new-tokens", 200, "--output-dir", "out"
    )
    assert code == 2
    assert_one_line(errors, "96 + max_new_tokens 200 exceeds the model's 256", "--max-new-tokens")


def test_a_run_leaves_all_its_records_and_its_folder_is_not_reused(call, tiny, tmp_path):
    out = tmp_path / "out"
    arguments = ("train", "--config", tiny(evaluation={"before_after": True}))
    code, shown, errors = call(*arguments, "--output-dir", out)
    assert (code, errors) == (0, "")
    assert "step 2/2" in shown
    there = {path.name for path in out.iterdir()}
    assert there >= {"config.yaml", "metrics.jsonl", "rollouts", "sys", "step_2", "report.html"}
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in metrics] == [1, 2]
    assert metrics[1]["learning_rate"] == 1e-6
    summary = json.loads((out / "summary.json").read_text())
    assert summary.keys() >= {"before", "after", "seconds"}
    names = {"reward", "exact", "invalid", "greedy_reward", "greedy_exact", "final_answer"}
    assert summary["before"].keys() == summary["after"].keys() == names
    assert verify(out / "step_2").step == 2

    code, _, errors = call(*arguments, "--output-dir", out)
    assert code == 2
    assert_one_line(errors, str(out))

    code, _, errors = call(
        *arguments, "--output-dir", out, "--resume", "auto", "--zero-stage", 1, "--num-steps", 3
    )
    assert code == 2
    assert_one_line(errors, "--zero-stage 0, this run has 1")

    state = out / "step_2" / "trainer" / "state.json"
    state.write_text(state.read_text()[:-9])
    code, _, errors = call(*arguments, "--output-dir", out, "--resume", out / "step_2")
    assert code == 3
    assert_one_line(errors, "state.json", "the manifest says")


def test_a_run_of_another_number_of_processes_is_not_continued(call, tiny, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert call("train", "--config", tiny(num_steps=1), "--output-dir", out)[0] == 0
    manifest = json.loads((out / "step_1" / "MANIFEST.json").read_text())
    state = out / "step_1" / "trainer" / "state.json"
    state.write_text(state.read_text().replace('"world_size": 1', '"world_size": 4'))
    del manifest["files"]["trainer/state.json"]
    (out / "step_1" / "MANIFEST.json").write_text(json.dumps(manifest))
    code, _, errors = call("train", "--config", tiny(), "--output-dir", out, "--resume", "auto")
    assert code == 2
    assert_one_line(errors, "the number of processes 4, this run has 1")


def test_a_checkpoint_folder_cut_short_is_no_checkpoint(call, tiny, tmp_path):
    (tmp_path / "step_7").mkdir()
    (tmp_path / "step_7" / "config.json").write_text("{}")
    code, _, errors = call("train", "--config", tiny(), "--resume", tmp_path / "step_7")
    assert code == 3
    assert_one_line(errors, "step_7", "no MANIFEST.json", "cut short")


@pytest.mark.slow
def test_a_full_disk_leaves_one_line_and_the_checkpoint_before(run_command, tiny, tmp_path):
    out = tmp_path / "out"
    config = tiny(checkpoint={"checkpoint_every": 1}, model={"build": {}})
    arguments = ["train", "--config", config, "--output-dir", out]
    assert run_command(*arguments).returncode == 0
    shutil.rmtree(out / "step_2")
    kept = {p: p.read_bytes() for p in (out / "step_1").rglob("*") if p.is_file()}
    weights = (out / "step_1" / "model.safetensors").stat().st_size
    limit = weights // 2

    def fill_disk() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    result = run_command(*arguments, "--resume", "auto", before=fill_disk)
    assert result.returncode == 1
    lines = [line for line in result.stderr.splitlines() if line.startswith("srl-grpo: error")]
    assert len(lines) == 1
    assert "cannot write the checkpoint" in lines[0]
    assert "Traceback" not in result.stderr
    assert steps_of(out) == [1]
    verify(out / "step_1")
    assert {p: p.read_bytes() for p in kept} == kept

    assert run_command(*arguments, "--resume", "auto").returncode == 0
    assert steps_of(out) == [1, 2]
    verify(out / "step_2")


def test_the_deepspeed_launcher_may_put_its_rank_before_the_command(call, tiny):
    code, _, _ = call("--local_rank=0", "train", "--config", tiny(), "--dry-run")
    assert code == 0
