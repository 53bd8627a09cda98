"""Reinforcement learning on data with native splits: parts, columns, hubs, resuming, refusals."""

import gzip
import json

import pytest

from srl_data import splits
from srl_grpo.config.sections import DataSection
from srl_grpo.data.parts import open_part
from srl_grpo.run.checkpoint import read_state


def write_rows(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def rows_of(numbers, **more):
    return [{"question": f"{n}+1=?", "gold": n + 1, "level": "easy", **more} for n in numbers]


FIELDS = ["--problem-field", "question", "--answer-field", "gold"]


@pytest.fixture
def config(tiny):
    return tiny(
        synthetic=None,
        num_steps=1,
        data={"template": "question_only"},
        reward={"reward": "boxed_think"},
        evaluation={"eval_every": 1},
    )


@pytest.fixture
def folder(tmp_path):
    write_rows(tmp_path / "set/train-00000-of-00002.parquet", rows_of(range(10, 16)))
    write_rows(tmp_path / "set/train-00001-of-00002.parquet", rows_of(range(16, 20)))
    write_rows(tmp_path / "set/test-00000-of-00001.parquet", rows_of(range(20, 23)))
    return tmp_path / "set"


def test_a_run_on_native_splits_trains_on_one_and_evaluates_on_the_other(call, config, folder):
    code, _, errors = call(
        "train", "--config", config, "--data", folder, *FIELDS, "--output-dir", "out"
    )
    assert code == 0, errors
    inputs = read_state(folder.parent / "out/step_1").inputs
    assert (inputs.train_prompts, inputs.val_prompts) == (10, 3)
    source = open_part(DataSection(path=folder), "train")
    assert inputs.train_sha256 == source.origin.sha256
    code, _, errors = call("train", "--resume", "out", "--num-steps", 2)
    assert code == 0, errors
    write_rows(folder / "test-00000-of-00001.parquet", rows_of(range(20, 22)))
    code, _, errors = call("train", "--resume", "out", "--num-steps", 3)
    assert code == 2
    assert "the held-out data's sha256" in errors


def test_the_first_prompt_of_a_dry_run_comes_from_the_training_split(call, config, folder):
    flags = ["--data", folder, *FIELDS, "--dry-run"]
    code, shown, errors = call("train", "--config", config, *flags)
    assert code == 0, errors
    assert "# first prompt, of 'row-00000': 6 tokens" in shown
    assert "# | 10+1=?" in shown


def test_a_glob_of_packed_shards_is_data_like_any_other(call, config, tmp_path):
    for number in range(2):
        rows = "".join(json.dumps(row) + "\n" for row in rows_of(range(10 + number, 20, 2)))
        (tmp_path / f"part-{number}.jsonl.gz").write_bytes(gzip.compress(rows.encode()))
    (tmp_path / "val.csv").write_text("question,gold\n1+1=?,2\n")
    data = ["--data", tmp_path / "part-*.jsonl.gz", "--val-data", tmp_path / "val.csv", *FIELDS]
    code, shown, errors = call("train", "--config", config, *data, "--dry-run")
    assert code == 0, errors
    assert "of 'row-00000'" in shown
    code, _, errors = call("train", "--config", config, *data, "--output-dir", "out")
    assert code == 0, errors
    inputs = read_state(tmp_path / "out/step_1").inputs
    assert (inputs.train_prompts, inputs.val_prompts) == (10, 1)


@pytest.mark.parametrize(
    ("flags", "code", "message"),
    [
        (
            ["--data", "set"],
            3,
            "this row has the columns gold, level, question; name theirs with --problem-field",
        ),
        (
            ["--data", "set", "--problem-field", "question"],
            3,
            "no column 'answer' (--answer-field)",
        ),
        (["--data", "set", *FIELDS, "--train-split", "all"], 3, "no split 'all' (--train-split)"),
        (["--data", "set", *FIELDS, "--eval-split", "dev"], 3, "its splits: test, train"),
        (["--data", "set", *FIELDS, "--eval-split", "train"], 2, "is the split that is trained on"),
        (["--data", "one", *FIELDS], 3, "one has no held-out split, which evaluation needs"),
        (["--data", "one.jsonl", *FIELDS], 2, "evaluation needs held-out data: give --val-data"),
        (["--data", "none", *FIELDS], 3, "no such data file: none"),
        (
            ["--data", "bad", *FIELDS],
            3,
            "bad/train.jsonl:2: column 'gold' (--answer-field) holds n",
        ),
        (["--data", "set", "--problem-field", "gold", "--answer-field", "gold"], 2, "name two col"),
        (
            ["--data", "set", *FIELDS, "--data-revision", "x"],
            3,
            "revision 'x' is for hub data sets",
        ),
        (["--data", "set", *FIELDS, "--reward", "step"], 3, "one of the prompt-answer records"),
        (["--data", "grader", *FIELDS], 3, "grader/train.jsonl:1: unknown grader 'maths'"),
    ],
)
def test_what_cannot_be_is_one_clear_line(call, config, folder, flags, code, message):
    rows = rows_of([1, 2])
    write_rows(folder.parent / "one/train.jsonl", rows)
    write_rows(folder.parent / "one.jsonl", rows)
    write_rows(folder.parent / "bad/train.jsonl", [rows[0], {**rows[1], "gold": None}])
    write_rows(folder.parent / "grader/train.jsonl", rows_of([1], grader="maths"))
    for name in ("bad", "grader"):
        write_rows(folder.parent / f"{name}/test.jsonl", rows)
    found, _, errors = call("train", "--config", config, *flags, "--output-dir", "out")
    assert found == code, errors
    assert message in " ".join(errors.split())
    assert "Traceback" not in errors


def test_options_of_data_that_is_read_are_refused_for_data_made_on_the_spot(call, tiny):
    code, _, errors = call("train", "--config", tiny(), "--train-split", "x", *FIELDS, "--dry-run")
    assert code == 2
    assert (
        "data.problem_field, data.answer_field, data.train_split: for data that is read" in errors
    )


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_hub_data_set_is_asked_for_its_revision_and_subset(call, config, folder, monkeypatch):
    import datasets

    commit, asked = "d" * 40, []

    def load_dataset(name, subset, revision):
        asked.append((name, subset, revision))
        tables = {"train": rows_of(range(4)), "test": rows_of(range(4, 6))}
        return datasets.DatasetDict(
            {name: datasets.Dataset.from_list(rows) for name, rows in tables.items()}
        )

    monkeypatch.setattr(splits, "resolve_commit", lambda name, revision: commit)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    flags = ["--data", "owner/name", "--data-revision", "v1", "--data-subset", "main"]
    code, _, errors = call("train", "--config", config, *flags, *FIELDS, "--output-dir", "out")
    assert code == 0, errors
    assert set(asked) == {("owner/name", "main", commit)}
    inputs = read_state(folder.parent / "out/step_1").inputs
    assert (inputs.train_sha256, inputs.train_prompts, inputs.val_prompts) == (commit, 4, 2)
