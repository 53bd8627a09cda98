"""Records and files: what is written is read back, what is bad is refused with its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data import records
from srl_data.command.errors import DataError
from srl_data.files import atomic_writer, sha256_file, write_bytes, write_text
from srl_data.records import (
    PromptAnswer,
    SftPair,
    SrlInstance,
    encode,
    read_objects,
    read_records,
    write_records,
)
from srl_reward import target_fault

GOOD = {
    "id": "a/2",
    "problem": "p",
    "previous_steps": ["1. a"],
    "target_step": "2. b",
    "step_index": 2,
    "num_steps": 2,
}
TEXT = st.text(min_size=1).filter(str.strip)
TARGET = TEXT.filter(lambda step: target_fault(step) is None)
ANY_TEXT = st.text(st.characters(exclude_categories=()))


def write_lines(path, *lines):
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    return path


@given(TEXT, st.lists(TEXT), TARGET, ANY_TEXT)
def test_any_text_survives_the_round_trip(problem, steps, target, note):
    record = SrlInstance(
        id="x",
        problem=problem,
        previous_steps=steps,
        target_step=target,
        step_index=1,
        num_steps=1,
        meta={"note": note},
    )
    line = encode(record)
    assert line.count(b"\n") == 1
    assert SrlInstance.model_validate(records.parse_object(line)) == record


def test_records_are_plain_json_lines_with_meta_last(tmp_path):
    path = tmp_path / "deep" / "er.jsonl"
    pair = SftPair(id="1", prompt="é", response="r", meta={"k": 1})
    assert write_records(path, [pair, pair]) == 2
    first = path.read_text(encoding="utf-8").splitlines()[0]
    assert first == '{"id": "1", "prompt": "é", "response": "r", "meta": {"k": 1}}'
    assert list(read_records(path, SftPair)) == [pair, pair]
    assert [item.name for item in path.parent.iterdir()] == ["er.jsonl"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{", "not JSON: Expecting property name"),
        (b"[1]", "expected a JSON object, found list"),
        (b"\xff{}", "not UTF-8"),
        (b"[" * 100_000, "nested too deeply"),
        (json.dumps({**GOOD, "num_steps": 1}).encode(), "step_index 2 exceeds num_steps 1"),
        (json.dumps({**GOOD, "target_step": ""}).encode(), "target_step: "),
        (json.dumps({**GOOD, "tilte": "x"}).encode(), "tilte: Extra inputs"),
        (json.dumps({**GOOD, "problem": " \n"}).encode(), "problem: is blank (' \\n')"),
        (json.dumps({**GOOD, "previous_steps": ["1. a", ""]}).encode(), "previous_steps.1: is bl"),
        (json.dumps({**GOOD, "problem": "x \ud800"}).encode(), "problem: holds half of a surr"),
        (json.dumps({**GOOD, "title": "\udc00"}).encode(), "title: holds half of a surrogate"),
        (json.dumps({"id": "1"}).encode(), "problem: Field required"),
    ],
)
def test_a_bad_line_17_is_refused_or_skipped_by_name(tmp_path, line, reason):
    good = json.dumps(GOOD).encode()
    path = write_lines(tmp_path / "f.jsonl", *[good] * 16, line, good)
    with pytest.raises(DataError) as caught:
        list(read_records(path, SrlInstance))
    assert str(caught.value).startswith(f"{path}:17: {reason}")
    assert "--on-error skip" in str(caught.value)
    skipped = []
    assert len(list(read_records(path, SrlInstance, "skip", skipped.append))) == 17
    assert len(skipped) == 1
    assert skipped[0].startswith(f"{path}:17: {reason}")


def test_blank_lines_count_but_are_no_records(tmp_path):
    path = write_lines(tmp_path / "f.jsonl", b"", b'{"a": 1}', b"  ", b'{"a": 2}')
    assert list(read_objects(path)) == [(2, {"a": 1}), (4, {"a": 2})]


def test_a_line_beyond_the_limit_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(records, "MAX_LINE_BYTES", 10)
    path = write_lines(tmp_path / "f.jsonl", b'{"a": 1}', b'{"a": "too long"}')
    with pytest.raises(DataError, match="2: line longer than 10 bytes"):
        list(read_objects(path))


def test_missing_files_and_folders_are_named(tmp_path):
    with pytest.raises(DataError, match="no such data file"):
        list(read_objects(tmp_path / "none.jsonl"))
    with pytest.raises(DataError, match="found a folder"):
        list(read_objects(tmp_path))


def test_reading_is_lazy(tmp_path):
    path = write_lines(tmp_path / "f.jsonl", b'{"a": 1}', b"{")
    assert next(read_objects(path)) == (1, {"a": 1})


def test_prompt_answer_needs_a_problem():
    with pytest.raises(ValueError, match="problem"):
        PromptAnswer(id="1", problem="", answer="", grader="aime")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "f"
    write_text(path, "old")

    def write_half():
        with atomic_writer(path) as file:
            file.write(b"half")
            raise RuntimeError("boom")

    with pytest.raises(RuntimeError):
        write_half()
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["f"]


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(IsADirectoryError) as caught:
        write_text(tmp_path, "x")
    assert caught.value.filename == str(tmp_path)


def test_sha256_is_of_the_bytes(tmp_path):
    write_bytes(tmp_path / "f", b"abc")
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_file(tmp_path / "f") == expected
