"""Folders as the hub's client leaves them, and names of splits and shards in other spellings."""

import gzip
import json

import pytest

from srl_data.command.errors import DataError
from srl_data.splits import open_source, open_splits

ROWS = [{"id": name, "problem": f"P{name}", "answer": "1"} for name in "abc"]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def write_rows(path, rows):
    """Rows in the format that the name tells."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    data = pa.Table.from_pylist(rows)
    if path.suffix == ".parquet":
        pq.write_table(data, path)
    elif path.suffix == ".arrow":
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_stream(file, data.schema) as writer:
            writer.write_table(data)
    elif path.suffix == ".csv":
        table = [",".join(rows[0]), *(",".join(row.values()) for row in rows)]
        write(path, "\n".join(table).encode())
    else:
        write(path, gzip.compress(lines(rows)) if path.suffix == ".gz" else lines(rows))


CARD = """---
license: mit
configs:
- config_name: main
  data_files:
  - split: train
    path: main/train-*
  - split: test
    path: [main/test-*]
- config_name: socratic
  data_files: socratic/*.parquet
---
# A card
"""


def hub_folder(folder, card=CARD):
    folder.mkdir(parents=True, exist_ok=True)
    for subset in ("main", "socratic"):
        (folder / subset).mkdir()
        for split, rows in (("train", ROWS[:2]), ("test", ROWS[2:])):
            name = f"{split}-00000-of-00001.parquet"
            write_rows(folder / subset / name, [{**row, "subset": subset} for row in rows])
    (folder / "README.md").write_text(card)
    (folder / ".gitattributes").write_text("*.parquet filter=lfs")
    write(folder / ".cache/huggingface/download/x.json", b"{}")
    return folder


def test_a_folder_of_the_hub_is_read_as_its_card_says(tmp_path):
    folder = hub_folder(tmp_path / "gsm8k")
    found = open_splits(str(folder), subset="main")
    assert sorted(found.parts) == ["test", "train"]
    assert [row["id"] for _, row in found["train"].read("fail", print)] == ["a", "b"]
    whole = open_source(folder, subset="socratic")
    assert [row["subset"] for _, row in whole.read("fail", print)] == ["socratic"] * 3
    for subset in (None, "other"):
        with pytest.raises(DataError, match="has the subsets main, socratic; choose one"):
            open_splits(str(folder), subset=subset)


def test_a_folder_of_the_hub_without_a_card_is_read_by_its_names(tmp_path):
    folder = hub_folder(tmp_path / "gsm8k", card="# none")
    assert sorted(open_splits(str(folder), subset="main").parts) == ["test", "train"]
    with pytest.raises(DataError, match="name one of its folders: main, socratic"):
        open_splits(str(folder))
    with pytest.raises(DataError, match="has no subset 'other'"):
        open_splits(str(folder), subset="other")


def test_the_cache_of_the_hub_s_client_is_read_at_its_main_revision(tmp_path):
    cache = tmp_path / "datasets--openai--gsm8k"
    for commit in ("a" * 40, "b" * 40):
        hub_folder(cache / "snapshots" / commit)
    write(cache / "refs/main", b"b" * 40)
    assert open_splits(str(cache), subset="main").name.endswith("b" * 40)
    (cache / "refs/main").unlink()
    with pytest.raises(DataError, match=r"holds the snapshots a+, b+; name the folder of one"):
        open_splits(str(cache), subset="main")


def test_the_files_of_a_download_that_is_not_whole_are_refused(tmp_path):
    folder = hub_folder(tmp_path / "gsm8k")
    (folder / "main/train-00000-of-00001.parquet").rename(
        folder / "main/train-00001-of-00002.parquet"
    )
    with pytest.raises(DataError, match="nor a whole set of shards"):
        open_splits(str(folder), subset="main")


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["gsm8k_train.jsonl", "gsm8k_test.jsonl"], ["test", "train"]),
        (["my-set.train.csv", "my-set.val.csv"], ["train", "val"]),
        (["gsm8k-train.arrow", "gsm8k-test.arrow"], ["test", "train"]),
        (["train.jsonl.gz", "test.csv"], ["test", "train"]),
        (["part-0.jsonl", "part-1.jsonl", "part-2.jsonl"], [""]),
        (["0001.parquet", "0002.parquet"], [""]),
        (["part-00001.jsonl.gz"], [""]),
    ],
)
def test_other_names_of_splits_and_of_shards(tmp_path, names, splits):
    for name in names:
        write_rows(tmp_path / name, ROWS)
    found = open_splits(str(tmp_path))
    assert sorted(found.parts) == splits
    count = len(names) if splits == [""] else 1
    assert len(list(found[splits[-1]].read("fail", print))) == 3 * count


@pytest.mark.parametrize(
    "names", [["part-0.jsonl", "part-2.jsonl"], ["aime_2024.jsonl", "aime_2025.jsonl"]]
)
def test_files_that_are_no_whole_series_are_not_taken_for_one(tmp_path, names):
    for name in names:
        write(tmp_path / name, lines(ROWS))
    with pytest.raises(DataError):
        open_source(tmp_path)
