"""`srl-data build math`: the archive's folders, a download's subsets, MATH-500 apart from train."""

import json
import os
import shutil
from pathlib import Path

import pytest

from srl_data.answers.math_folder import math500_print, math500_prints
from srl_data.manifest import read_manifest
from srl_data.records import PromptAnswer, read_records

REAL = Path(os.environ.get("SRL_TEST_DATA", "none"))


def read(path):
    return [record.model_dump() for record in read_records(path, PromptAnswer)]


def math_row(n, box="\\boxed{%d}", words=None):
    problem = words or f"What is ${n}+{n}$? It is problem number {n} of the set."
    return {"problem": problem, "level": "Level 5", "type": "Algebra", "solution": box % n}


def math_folder(folder, train, test):
    for part, rows in (("train", train), ("test", test)):
        for number, row in enumerate(rows):
            path = folder / part / ("algebra" if number % 2 else "geometry") / f"{number}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(json.dumps(row, indent=1))
    return folder


@pytest.fixture
def five_hundred(monkeypatch):
    """MATH-500 as a test's own problems."""
    mine = frozenset(math500_print(math_row(n)["problem"]) for n in (102, 103, 7))
    monkeypatch.setattr("srl_data.answers.command.math500_prints", lambda: mine)


def test_math_s_folders_become_train_test_and_math500(build, tmp_path, five_hundred):
    rows = [math_row(n, box) for n, box in enumerate(["\\boxed{%d}", "$\\boxed %d$."] * 6)]
    rows[3]["solution"] = "No box."
    math_folder(tmp_path / "MATH", rows, [math_row(n) for n in range(100, 105)])
    code, out, err = build("math", "--source", "MATH")
    assert code == 0, err
    folder = tmp_path / "artifacts/math"
    train, test, kept_apart = (read(folder / f"{n}.jsonl") for n in ("train", "test", "math500"))
    assert [each["id"] for each in train[:5]] == [
        *(f"train/algebra/{n}.json" for n in (1, 5, 9, 11)), "train/geometry/0.json",
    ]  # fmt: skip
    assert len(train) == 10  # one has no box, one is of MATH-500
    assert {each["problem"] for each in kept_apart} == {math_row(n)["problem"] for n in (102, 103)}
    assert len(test) == 5
    assert (train[1]["answer"], train[1]["meta"]["level"], train[1]["meta"]["type"]) == (
        "5", "Level 5", "Algebra",
    )  # fmt: skip
    assert read_manifest(folder / "train.jsonl").reasons == {"no_box": 1, "math500": 1}
    assert "train and math500: 0 questions in common" in out
    shutil.rmtree(tmp_path / "MATH")
    (tmp_path / "MATH").mkdir()
    (tmp_path / "MATH").rmdir()
    assert build("math", "--source", tmp_path / "MATH")[0] == 0  # the snapshot has it


def test_a_damaged_file_of_math_s_folders_is_named(build, tmp_path):
    math_folder(tmp_path / "MATH", [math_row(n) for n in range(4)], [])
    (tmp_path / "MATH/train/algebra/1.json").write_text("{")
    code, _, err = build("math", "--source", "MATH")
    assert code == 3
    assert "train/algebra/1.json: not JSON" in err
    code, out, err = build("math", "--source", "MATH", "--on-error", "skip")
    assert code == 0, err
    assert "left out: MATH/train/algebra/1.json" in out.replace("\n", " ")
    for _ in range(2):  # from the snapshot, which knows of it
        manifest = read_manifest(tmp_path / "artifacts/math/train.jsonl")
        assert manifest.reasons == {"malformed_row": 1}
        assert build("math", "--source", "MATH", "--on-error", "skip")[0] == 0


def test_math_s_subsets_of_a_download_are_one_set(build, tmp_path, five_hundred):
    from srl_data.answers.opening import SUBJECTS

    for number, subject in enumerate(SUBJECTS):
        (tmp_path / "h" / subject).mkdir(parents=True)
        for split, first in (("train", 10), ("test", 100)):
            line = json.dumps(math_row(first + number))
            (tmp_path / f"h/{subject}/{split}.jsonl").write_text(line)
    code, _, err = build("math", "--source", "h", "--output-dir", "a")
    assert code == 0, err
    assert len(read(tmp_path / "a/train.jsonl")) == len(read(tmp_path / "a/test.jsonl")) == 7
    assert len(read(tmp_path / "a/math500.jsonl")) == 2


@pytest.mark.skipif(not REAL.is_dir(), reason="needs SRL_TEST_DATA")
def test_math500_is_known_by_its_problems():
    with (REAL / "math500/test.jsonl").open() as file:
        found = {math500_print(json.loads(line)["problem"]) for line in file}
    assert found == math500_prints()
    assert len(found) == 500
