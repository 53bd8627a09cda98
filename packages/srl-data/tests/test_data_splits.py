"""Native splits: files by their names, shards, folders saved by `datasets`, the hub; refusals."""

import json

import pytest

from srl_data import sources, splits
from srl_data.command.errors import ConfigError, DataError
from srl_data.splits import heldout_split, open_source, open_splits, training_split

ROWS = [{"q": f"q{n}", "a": n} for n in range(6)]


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".json":
        path.write_text(json.dumps(rows))
    elif path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        import pyarrow as pa
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(rows), path)


def rows_of(source):
    return list(source.read("fail", print))


def by_split(found):
    return {name: [row for _, row in rows_of(found[name])] for name in found.parts}


@pytest.mark.parametrize(
    "names",
    [
        ["train.jsonl", "test.jsonl"],
        ["train.parquet", "test.json"],
        ["data/train.jsonl", "data/test.parquet"],
        ["train/0000.parquet", "test/0000.jsonl"],
        ["train-00000-of-00001.parquet", "test-00000-of-00001-0123abcdef.parquet"],
        ["data/train-00000-of-00001.parquet", "data/test-00000-of-00001.parquet"],
    ],
)
def test_a_folder_s_files_are_its_splits(tmp_path, names):
    for name, rows in zip(names, (ROWS[:4], ROWS[4:]), strict=True):
        write(tmp_path / name, rows)
    (tmp_path / "README.md").write_text("# not data")
    (tmp_path / "dataset_infos.json").write_text("{}")
    found = open_splits(str(tmp_path))
    assert by_split(found) == {"train": ROWS[:4], "test": ROWS[4:]}
    assert training_split(found, None) == "train"
    assert heldout_split(found, None, "train") == "test"


def test_only_the_split_that_is_asked_for_is_read_and_a_changed_file_is_seen(tmp_path, monkeypatch):
    hashed = []
    monkeypatch.setattr(sources, "sha256_file", lambda path: hashed.append(path.name) or "0" * 64)
    write(tmp_path / "train.jsonl", ROWS)
    write(tmp_path / "test.jsonl", ROWS)
    for _ in range(2):
        assert len(rows_of(open_splits(str(tmp_path))["train"])) == 6
    assert hashed == ["train.jsonl"]
    write(tmp_path / "train.jsonl", ROWS[:2])
    assert len(rows_of(open_splits(str(tmp_path))["train"])) == 2
    assert hashed == ["train.jsonl"] * 2


def test_shards_are_one_table_whose_rows_are_told_by_file(tmp_path):
    for n in range(3):
        write(tmp_path / f"train-0000{n}-of-00003.jsonl", ROWS[2 * n : 2 * n + 2])
    source = open_splits(str(tmp_path))["train"]
    for _ in range(2):
        assert rows_of(source) == list(enumerate(ROWS))
    assert source.place(3) == f"{tmp_path}/train-00001-of-00003.jsonl:2"
    assert source.origin.name == f"{tmp_path.name}/train"
    first = source.origin.sha256
    write(tmp_path / "train-00002-of-00003.jsonl", ROWS[:2])
    assert open_splits(str(tmp_path))["train"].origin.sha256 != first


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["train-00000-of-00002.jsonl"], "nor a whole set of shards (train-00000-of-00002.jsonl)"),
        (["train.jsonl", "train.parquet"], "the split 'train' is neither one file nor a whole set"),
        (["train.jsonl", "train-00000-of-00001.jsonl"], "the split 'train' is neither one file"),
        (["train.jsonl", "train/0.jsonl"], "the split 'train' twice, as train.jsonl and as a f"),
        (["notes.txt"], "a folder without a data set"),
        (["main/train.jsonl", "socratic/train.jsonl"], "name one of its folders: main, socratic"),
    ],
)
def test_a_folder_that_tells_no_splits_is_refused(tmp_path, names, message):
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        write(tmp_path / name, ROWS) if not name.endswith("txt") else (tmp_path / name).touch()
    with pytest.raises(DataError) as caught:
        open_splits(str(tmp_path))
    assert message in str(caught.value)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_folders_saved_by_datasets_with_and_without_splits(tmp_path):
    import datasets

    data = datasets.Dataset.from_list(ROWS)
    data.save_to_disk(str(tmp_path / "plain"))
    datasets.DatasetDict({"train": data, "validation": data.select([1])}).save_to_disk(
        str(tmp_path / "split")
    )
    plain, split = (open_splits(str(tmp_path / name)) for name in ("plain", "split"))
    assert plain.undivided
    assert by_split(plain) == {"": ROWS}
    assert by_split(split) == {"train": ROWS, "validation": ROWS[1:2]}
    assert heldout_split(split, None, "train") == "validation"
    assert split["train"].place(0) == "split/train, row 1"
    assert split["train"].origin.revision.startswith("fingerprint ")
    again = open_splits(str(tmp_path / "split"))
    assert again["train"].origin == split["train"].origin


def test_a_file_has_no_splits_and_is_held_out_whole(tmp_path):
    write(tmp_path / "x.jsonl", ROWS)
    found = open_splits(str(tmp_path / "x.jsonl"))
    assert training_split(found, None) == ""
    assert heldout_split(found, None, training="") is None
    assert heldout_split(found, None, training=None) == ""
    for choose, flag in (
        (lambda: training_split(found, "train"), "--train-split 'train'"),
        (lambda: heldout_split(found, "test", None), "--eval-split 'test'"),
    ):
        with pytest.raises(ConfigError, match=f"{flag}: .*x.jsonl has no splits; leave it out"):
            choose()


def test_the_held_out_split_is_never_the_one_that_is_trained_on(tmp_path):
    for name in ("train", "dev", "test", "validation"):
        write(tmp_path / f"{name}.jsonl", ROWS)
    found = open_splits(str(tmp_path))
    assert heldout_split(found, None, "train") == "test"
    assert heldout_split(found, None, "test") == "validation"
    assert heldout_split(found, "dev", "train") == "dev"
    assert training_split(found, "dev") == "dev"
    with pytest.raises(ConfigError, match="--eval-split 'dev' is the split that is trained on"):
        heldout_split(found, "dev", "dev")
    with pytest.raises(
        DataError, match=r"no split 'all' \(--train-split\); its splits: dev, test,"
    ):
        training_split(found, "all")


def test_a_source_of_several_splits_is_its_training_split(tmp_path):
    write(tmp_path / "a/train.jsonl", ROWS[:1])
    write(tmp_path / "a/test.jsonl", ROWS[1:])
    write(tmp_path / "b/test.jsonl", ROWS[1:])
    write(tmp_path / "c/one.jsonl", ROWS)
    write(tmp_path / "c/two.jsonl", ROWS)
    assert rows_of(open_source(str(tmp_path / "a"))) == [(0, ROWS[0])]
    assert len(rows_of(open_source(str(tmp_path / "b")))) == 5
    with pytest.raises(DataError, match="has the splits one, two and none is 'train'"):
        open_source(str(tmp_path / "c"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_hub_data_set_comes_by_split_at_one_commit(tmp_path, monkeypatch):
    import datasets

    commit = "c" * 40
    asked = []

    def load_dataset(name, subset, revision):
        asked.append((name, subset, revision))
        if name == "owner/two":
            raise ValueError("Config name is missing. Please pick one among: ['main', 'socratic']")
        table = datasets.Dataset.from_list(ROWS)
        return datasets.DatasetDict({"train": table, "test": table.select([0])})

    monkeypatch.setattr(splits, "resolve_commit", lambda name, revision: revision or commit)
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    found = open_splits("owner/name", None, "main")
    assert asked == [("owner/name", "main", commit)]
    assert by_split(found) == {"train": ROWS, "test": ROWS[:1]}
    assert found["test"].origin.model_dump() == {
        "name": "owner/name:main/test",
        "revision": commit,
        "sha256": None,
    }
    with pytest.raises(DataError, match=r"pick one among: \['main', 'socratic'\]"):
        open_splits("owner/two")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("none.jsonl",), "no such data file: none.jsonl; expected"),
        (("a/b/c",), "no such data file: a/b/c"),
        (("{}", "main"), "revision 'main' is for hub data sets"),
        (("{}", None, "main"), "has no subset 'main'"),
        (("{}/x.xlsx",), "unknown kind of file '.xlsx'"),
    ],
)
def test_names_of_nothing_are_refused(tmp_path, arguments, message):
    (tmp_path / "x.xlsx").touch()
    name, *rest = arguments
    with pytest.raises(DataError) as caught:
        open_splits(name.replace("{}", str(tmp_path)), *rest)
    assert message in str(caught.value)
    assert caught.value.exit_code == 3
