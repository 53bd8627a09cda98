"""What a resumed run takes from the config of the run that it continues."""

import json

import pytest
import yaml


@pytest.fixture
def run(call, tiny, tmp_path):
    """A finished run of two steps in `out`, whose config file is gone."""
    config = tiny(optimizer={"learning_rate": 0.25}, engine={"zero_stage": 1})
    code, _, errors = call("train", "--config", config, "--output-dir", "out", "--group-size", 4)
    assert code == 0, errors
    config.unlink()
    return tmp_path / "out"


def plan(shown):
    tree, _, sentence = shown.rpartition("# dry run: ")
    return yaml.safe_load(tree), sentence


@pytest.mark.parametrize(
    "flags",
    [
        ["--resume", "out/step_2"],
        ["--resume", "out"],
        ["--resume", "auto", "--output-dir", "out"],
        ["--resume", "out/step_2", "--output-dir", "other"],
    ],
)
def test_what_is_not_told_is_the_runs_own(call, run, flags):
    code, shown, errors = call("train", *flags, "--num-steps", 3, "--dry-run")
    assert (code, errors) == (0, "")
    tree, sentence = plan(shown)
    before = yaml.safe_load((run / "config.yaml").read_text())
    differing = {
        key: value
        for key, value in tree.items()
        if before[key] != value and key not in ("checkpoint", "output_dir")
    }
    assert differing == {"num_steps": 3}
    assert tree["checkpoint"]["resume"] == flags[1]
    assert "out/config.yaml" in sentence
    assert "resuming out" in sentence
    code, shown, errors = call("train", *flags, "--num-steps", 3)
    assert (code, errors) == (0, "")
    where = run.with_name("other" if "other" in flags else "out")
    told = [line for line in shown.splitlines() if "another config" in line]
    expected = [] if "other" in flags else ["resumed with another config: num_steps: 2 -> 3"]
    assert told == expected
    (line,) = (where / "metrics.jsonl").read_text().splitlines()[-1:]
    assert json.loads(line) | {"step": 3, "learning_rate": 0.25} == json.loads(line)


def test_a_flag_stands_over_a_file_and_the_file_over_the_runs_config(call, run, tmp_path):
    file = tmp_path / "some.yaml"
    file.write_text("optimizer: {learning_rate: 0.5, weight_decay: 0.125}\nseed: 7\n")
    code, shown, _ = call(
        "train", "--resume", "out", "--config", file, "--weight-decay", 0.0625, "--dry-run"
    )
    assert code == 0
    tree, _ = plan(shown)
    assert tree["seed"] == 7
    assert tree["optimizer"]["learning_rate"] == 0.5
    assert tree["optimizer"]["weight_decay"] == 0.0625
    assert tree["rollout"]["group_size"] == 4


@pytest.mark.parametrize(
    ("flags", "key", "gone"),
    [
        (["--model", "some/model"], ("model", "path"), ("model", "build")),
        (["--data", "some.jsonl"], ("data", "path"), ("synthetic",)),
    ],
)
def test_what_is_given_replaces_what_excludes_it(call, run, flags, key, gone):
    code, shown, errors = call("train", "--resume", "out", *flags, "--dry-run")
    assert (code, errors) == (0, "")
    tree, _ = plan(shown)
    assert tree[key[0]][key[1]] == flags[1]
    assert (tree[gone[0]] if len(gone) == 1 else tree[gone[0]][gone[1]]) is None


def test_a_moved_run_goes_on_where_it_lies(call, run):
    moved = run.with_name("moved")
    run.rename(moved)
    code, _, errors = call("train", "--resume", "moved", "--num-steps", 3)
    assert (code, errors) == (0, "")
    assert (moved / "step_3").is_dir()
    assert not run.exists()


def test_what_holds_for_one_start_alone_is_not_taken(call, run):
    path = run / "config.yaml"
    tree = yaml.safe_load(path.read_text())
    tree["launch"] |= {"node_rank": 3, "rdzv_endpoint": "gone:1", "nnodes": 2}
    tree["checkpoint"]["force"] = True
    path.write_text(yaml.safe_dump(tree))
    code, shown, _ = call("train", "--resume", "out", "--dry-run")
    assert code == 0
    found, _ = plan(shown)
    assert found["launch"] | {"node_rank": 0, "rdzv_endpoint": None, "nnodes": 2} == found["launch"]
    assert found["output_dir"] is None
    assert found["checkpoint"]["force"] is False


def test_a_bad_key_of_the_runs_config_is_named_with_its_file(call, run):
    path = run / "config.yaml"
    path.write_text(path.read_text().replace("max_starved_steps: 0", "when_starved: train"))
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3)
    assert code == 2
    assert "out/config.yaml: rollout.when_starved is no longer a key" in errors


def test_without_a_kept_config_the_model_is_asked_for(call, run):
    (run / "config.yaml").unlink()
    code, _, errors = call("train", "--resume", "out")
    assert code == 2
    assert "a model is required" in errors
