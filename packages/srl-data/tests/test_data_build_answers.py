"""Splits of problems with answers: GSM8K, MATH, NuminaMath-CoT, and any set by its columns."""

import json
import os
import shutil
from pathlib import Path

import pytest

from srl_data import splits
from srl_data.held_out import Smallest, question_place
from srl_data.manifest import read_manifest
from srl_data.records import PromptAnswer, read_records

REAL = Path(os.environ.get("SRL_TEST_DATA", "none"))


def gsm8k(n, answer="1,000"):
    return {"question": f"Question {n}? How many?", "answer": f"It is <<1+1=2>>2.\n#### {answer}"}


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def read(path):
    return [record.model_dump() for record in read_records(path, PromptAnswer)]


@pytest.fixture
def source(tmp_path):
    write(tmp_path / "g/train.jsonl", [gsm8k(n) for n in range(60)])
    write(tmp_path / "g/test.jsonl", [gsm8k(n, "$2.50") for n in range(100, 110)])
    return tmp_path / "g"


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_gsm8k_becomes_three_files_and_the_same_bytes_again(build, source, tmp_path):
    for name in ("a", "b"):
        code, out, err = build("gsm8k", "--source", source, "--output-dir", name, "--eval-n", 20)
        assert code == 0, err
    assert "a/train.jsonl: 40 records" in out.replace("b/", "a/")
    assert "train and test: 0 questions in common" in out
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    train, val, test = (read(tmp_path / f"a/{name}.jsonl") for name in ("train", "val", "test"))
    assert [len(part) for part in (train, val, test)] == [40, 20, 10]
    assert {each["answer"] for each in train + val} == {"1000"}
    assert {each["answer"] for each in test} == {"2.5"}
    assert {each["grader"] for each in train} == {"gsm8k"}
    assert train[0]["meta"]["solution"].startswith("It is <<1+1=2>>2.")
    assert not {each["problem"] for each in train} & {each["problem"] for each in val}
    manifest = read_manifest(tmp_path / "a/train.jsonl")
    assert manifest.command == "srl-data build gsm8k"
    assert manifest.source.sha256 is not None
    assert "source" not in manifest.options


def test_what_is_held_out_does_not_depend_on_the_rows_around_it(build, source, tmp_path):
    build("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 20)
    rows = [gsm8k(n) for n in range(60)]
    write(tmp_path / "h/train.jsonl", rows[::-1])
    build("gsm8k", "--source", tmp_path / "h", "--output-dir", "b", "--eval-n", 20)
    problems = [{each["problem"] for each in read(tmp_path / f"{n}/val.jsonl")} for n in "ab"]
    assert problems[0] == problems[1]
    build("gsm8k", "--source", source, "--output-dir", "c", "--eval-n", 20, "--seed", 1)
    assert {each["problem"] for each in read(tmp_path / "c/val.jsonl")} != problems[0]


def test_a_question_that_is_asked_twice_is_on_one_side(build, tmp_path):
    rows = [gsm8k(n // 2) for n in range(60)]
    rows[1]["question"] += "  "
    write(tmp_path / "g/train.jsonl", rows)
    assert build("gsm8k", "--source", "g", "--output-dir", "a", "--eval-n", 7)[0] == 0
    train, val = (read(tmp_path / f"a/{name}.jsonl") for name in ("train", "val"))
    assert (len(train), len(val)) == (46, 14)
    assert not {each["problem"].strip() for each in train} & {
        each["problem"].strip() for each in val
    }


def test_the_seeded_numbers_are_the_smallest_distinct_ones():
    numbers = [question_place(f"q{n % 50}", 1) for n in range(200)]
    for size in (0, 1, 7, 50, 99):
        smallest = Smallest(size)
        for number in numbers:
            smallest.add(number)
        assert smallest.ordered() == sorted(set(numbers))[:size]


def test_a_later_run_reads_the_snapshot_alone_and_proves_it(build, source, tmp_path):
    arguments = ("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 5)
    assert build(*arguments)[0] == 0
    before = contents(tmp_path / "a")
    shutil.rmtree(source)
    assert build(*arguments)[0] == 0
    assert contents(tmp_path / "a") == before
    path = tmp_path / "a/snapshot/train.jsonl"
    path.write_text(path.read_text().replace("1,000", "1,001", 1))
    code, _, err = build(*arguments)
    assert code == 3
    assert "train.jsonl was changed after the snapshot was taken" in err
    assert contents(tmp_path / "a") == before
    path.unlink()
    assert "of the snapshot is missing" in build(*arguments)[2]


def test_a_source_that_is_no_longer_what_the_snapshot_holds_is_refused(build, source):
    arguments = ("--output-dir", "a", "--eval-n", 5)
    assert build("gsm8k", "--source", source, *arguments)[0] == 0
    write(source / "train.jsonl", [gsm8k(n) for n in range(61)])
    code, _, err = build("gsm8k", "--source", source, *arguments)
    assert code == 3
    assert "the split 'train' is not what the snapshot a/snapshot was taken from" in err
    code, _, err = build("gsm8k", "--source", source, *arguments, "--snapshot-dir", "other")
    assert code == 0, err
    code, _, err = build("gsm8k", *arguments)
    assert code == 3
    assert "is a snapshot of g, not of openai/gsm8k, subset main at main" in err


def test_a_snapshot_that_was_not_finished_is_taken_again(build, source, tmp_path):
    arguments = ("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 5)
    assert build(*arguments)[0] == 0
    before = contents(tmp_path / "a")
    (tmp_path / "a/snapshot/SNAPSHOT.json").unlink()
    (tmp_path / "a/snapshot/train.jsonl").write_text("half")
    assert build(*arguments)[0] == 0
    assert contents(tmp_path / "a") == before


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_hub_is_asked_once_at_one_commit(build, tmp_path, monkeypatch):
    import datasets

    asked = []

    def load_dataset(name, subset, revision, cache_dir):
        asked.append((name, subset, revision, cache_dir))
        parts = {"train": [gsm8k(n) for n in range(9)], "test": [gsm8k(9)]}
        return datasets.DatasetDict(
            {split: datasets.Dataset.from_list(rows) for split, rows in parts.items()}
        )

    monkeypatch.setattr(splits, "resolve_commit", lambda name, revision: f"{revision}-commit")
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    for _ in range(2):
        code, _, err = build("gsm8k", "--eval-n", 3, "--cache-dir", "cache")
        assert code == 0, err
    assert asked == [("openai/gsm8k", "main", "main-commit", "cache")]
    manifest = read_manifest(tmp_path / "artifacts/gsm8k/val.jsonl")
    assert (manifest.source.name, manifest.source.revision) == (
        "openai/gsm8k:main/train",
        "main-commit",
    )
    code, _, err = build("gsm8k", "--eval-n", 3, "--revision", "v2", "--cache-dir", "cache")
    assert code == 3
    assert "is a snapshot of openai/gsm8k, subset main at main, not of" in err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--eval-n", 60], 2, "--eval-n 60 leaves nothing to train on: there are 60 questions"),
        (["--eval-n", -1], 2, "eval_n = -1"),
        (["--output-dir", "g"], 2, "--output-dir g is the folder of the source"),
        (["--snapshot-dir", "g"], 2, "--snapshot-dir g is the folder of the source"),
        (["--revision", "v1"], 3, "revision 'v1' is for hub data sets"),
        (["--subset", "socratic"], 3, "has no subset 'socratic'"),
        (["--problem-field", "text"], 3, "no row of g gives a problem with an answer (missing_pro"),
        (["--messages-field", "m", "--solution-field", "s"], 2, "gives both problem and solution"),
        (["--decontaminate", "math500"], 2, "is for build math"),
        (["--decontaminate", "none.jsonl"], 3, "no such data file: none.jsonl"),
        (["--source", "none/x.jsonl"], 3, "no such data file"),
    ],
)
def test_what_cannot_be_is_one_clear_line(build, source, tmp_path, arguments, code, message):
    before = {}
    assert build("gsm8k", "--source", "g", "--output-dir", "a", "--eval-n", 5)[0] == 0
    before = contents(tmp_path / "a")
    (tmp_path / "a/snapshot").rename(tmp_path / "old")
    found, _, err = build("gsm8k", "--source", "g", "--output-dir", "a", *arguments)
    assert found == code, err
    assert message in err
    assert len([line for line in err.splitlines() if "error:" in line]) == 1
    assert contents(tmp_path / "a") == before


def test_files_of_an_earlier_build_do_not_stay_beside_the_new_ones(build, source, tmp_path):
    arguments = ("gsm8k", "--source", source, "--output-dir", "a")
    assert build(*arguments, "--eval-n", 5, "--decontaminate", "test")[0] == 0
    (tmp_path / "a/notes.jsonl").write_text("mine")
    assert {"val.jsonl", "overlaps.jsonl"} <= contents(tmp_path / "a").keys()
    assert build(*arguments, "--eval-n", 0)[0] == 0
    assert sorted(contents(tmp_path / "a")) == [
        ".lock", "notes.jsonl", "test.jsonl", "test.manifest.json", "train.jsonl",
        "train.manifest.json",
    ]  # fmt: skip
    assert not (tmp_path / "a/.building").exists()


@pytest.mark.skipif(not REAL.is_dir(), reason="needs SRL_TEST_DATA")
def test_the_real_gsm8k_is_split_as_named_without_overlap(build, tmp_path):
    for name in ("a", "b"):
        code, out, err = build("gsm8k", "--source", REAL / "gsm8k", "--output-dir", name)
        assert code == 0, err
    parts = {name: read(tmp_path / f"a/{name}.jsonl") for name in ("train", "val", "test")}
    assert {name: len(rows) for name, rows in parts.items()} == {
        "train": 6961, "val": 512, "test": 1319,
    }  # fmt: skip
    questions = {name: {row["problem"] for row in rows} for name, rows in parts.items()}
    assert len(set.union(*questions.values())) == 6961 + 512 + 1319
    assert out.count(": 0 questions in common") == 3
    assert contents(tmp_path / "a") == contents(tmp_path / "b")
    assert all(float(row["answer"]) == float(row["answer"]) for row in parts["test"])
    assert not any("," in row["answer"] or row["answer"] == "" for row in parts["train"])


def test_numinamath_is_a_seeded_sample_of_what_boxes_an_answer(build, tmp_path):
    rows = [
        {"source": "aops", "problem": f"P{n}?", "solution": f"\\boxed{{1}} or \\boxed{{{n}}}."}
        for n in range(40)
    ]
    rows += [{"source": "x", "problem": f"Prove {n}.", "solution": "QED"} for n in range(5)]
    rows += [rows[0]] * 3
    write(tmp_path / "n/train.jsonl", rows)
    write(tmp_path / "n/test.jsonl", [*rows[40:43], {**rows[1], "problem": "T?"}])
    samples = []
    for size, seed in ((12, 31415), (12, 31415), (12, 1), (20, 31415)):
        code, _, err = build("numinamath", "--source", "n", "--sample-n", size, "--seed", seed)
        assert code == 0, err
        samples.append(read(tmp_path / "artifacts/numinamath/train.jsonl"))
    assert samples[0] == samples[1] != samples[2]
    assert {each["id"] for each in samples[0]} < {each["id"] for each in samples[3]}
    assert len(samples[0]) == len({each["problem"] for each in samples[0]}) == 12
    assert all(each["problem"] == f"P{each['answer']}?" for each in samples[0])
    assert samples[0][0]["meta"]["source"] == "aops"
    manifest = read_manifest(tmp_path / "artifacts/numinamath/train.jsonl")
    assert manifest.reasons == {"no_box": 5}
    assert len(read(tmp_path / "artifacts/numinamath/test.jsonl")) == 1
    code, out, _ = build("numinamath", "--source", "n")
    assert "only 40 questions, not 5000 (--sample-n)" in out


@pytest.mark.parametrize(
    ("row", "flags", "answer", "solution"),
    [
        ({"q": "Q?", "a": 27.0}, ["--problem-field", "q", "--answer-field", "a"], "27", None),
        ({"question": "Q?", "answer": "7"}, [], "7", None),
        (
            {"problem": "Q?", "s": "So \\boxed{3}"},
            ["--solution-field", "s"],
            "3",
            "So \\boxed{3}",
        ),
        (
            {"problem": "Q?", "s": "See.\n#### 1,200", "a": "x"},
            ["--solution-field", "s"],
            "1200",
            "See.\n#### 1,200",
        ),
        (
            {"problem": "Q?", "s": "why", "a": "x"},
            ["--solution-field", "s", "--answer-field", "a"],
            "x",
            "why",
        ),
        (
            {"chat": [{"from": "human", "value": "Q?"}, {"from": "gpt", "value": "\\boxed{9}"}]},
            ["--messages-field", "chat"],
            "9",
            "\\boxed{9}",
        ),
        ({"in": {"q": "Q?"}, "answer": "1"}, ["--problem-field", "in.q"], "1", None),
    ],
)
def test_any_set_is_read_by_its_columns(build, tmp_path, row, flags, answer, solution):
    write(tmp_path / "x.jsonl", [row])
    code, _, err = build("answers", "--source", "x.jsonl", "--output-dir", "a", *flags)
    assert code == 0, err
    (found,) = read(tmp_path / "a/train.jsonl")
    assert (found["problem"], found["answer"]) == ("Q?", answer)
    assert found["meta"].get("solution") == solution


def test_native_splits_keep_their_rows_and_a_bad_row_its_reason(build, tmp_path):
    good = {"problem": "Q{}?", "answer": "1"}
    rows = [{**good, "problem": f"Q{n}?"} for n in range(4)]
    bad = [{**good, "problem": " "}, {**good, "answer": None}, {"problem": "x"}]
    write(tmp_path / "s/train.jsonl", rows + bad)
    write(tmp_path / "s/validation.jsonl", [{**good, "problem": "V?"}])
    write(tmp_path / "s/test.jsonl", [{**good, "problem": "Q1?"}])
    code, out, err = build("answers", "--source", "s", "--output-dir", "a")
    assert code == 0, err
    assert [len(read(tmp_path / f"a/{n}.jsonl")) for n in ("train", "val", "test")] == [4, 1, 1]
    assert read_manifest(tmp_path / "a/train.jsonl").reasons == {
        "missing_problem": 1, "missing_answer": 2,
    }  # fmt: skip
    assert "train and test: 1 questions in common; --decontaminate test leaves them out" in out
    assert read_manifest(tmp_path / "a/train.jsonl").counts["also_in_test"] == 1
    code, out, _ = build("answers", "--source", "s", "--output-dir", "a", "--decontaminate", "test")
    assert code == 0
    assert "train and test: 0 questions in common" in out
    assert len(read(tmp_path / "a/train.jsonl")) == 3
    code, _, err = build("answers", "--source", "s", "--output-dir", "a", "--eval-n", 2)
    assert code == 2
    assert "has a validation split of its own" in err


def test_a_build_is_refused_while_another_writes_the_same_folder(build, source, tmp_path):
    from srl_data.lock import FolderLock

    (tmp_path / "a").mkdir()
    lock = FolderLock()
    lock.take(tmp_path / "a")
    code, _, err = build("gsm8k", "--source", "g", "--output-dir", "a")
    lock.release()
    assert code == 1
    assert "a is in use by process" in err


def test_a_killed_build_leaves_the_old_files(build, source, tmp_path, monkeypatch):
    assert build("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 5)[0] == 0
    before = contents(tmp_path / "a")

    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("srl_data.answers.command.write_manifest", stop)
    code, _, err = build("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 9)
    assert code == 130, err
    assert contents(tmp_path / "a") == before


def test_a_snapshot_that_left_bad_rows_out_is_not_taken_for_a_whole_one(build, source, tmp_path):
    with (source / "train.jsonl").open("a") as file:
        file.write("not JSON\n")
    words = ("gsm8k", "--source", source, "--output-dir", "a", "--eval-n", 20)
    code, _, err = build(*words, "--on-error", "skip")
    assert code == 0, err
    before = contents(tmp_path / "a")
    code, _, err = build(*words)
    assert code == 3
    assert "leaves out 1 bad rows, since it was taken with --on-error skip" in err
    assert contents(tmp_path / "a") == before
    assert build(*words, "--on-error", "skip")[0] == 0
