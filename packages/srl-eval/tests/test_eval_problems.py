"""Benchmark files of several makers, and bad ones."""

import json
from pathlib import Path

import pytest

from srl_data.errors import ConfigError, DataError
from srl_eval.problems import load_problems
from srl_eval.tasks import get_task

AIME = get_task("aime24")


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_fields_of_qwen_math_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 60, "problem": "P", "answer": "025", "url": "u"})
    (problem,) = load_problems(AIME, path).problems
    assert (problem.id, problem.problem, problem.answer) == ("60", "P", "25")
    assert problem.grader == "aime"


def test_fields_of_qwq_files_lose_their_request_for_a_box(tmp_path: Path) -> None:
    request = "\nPlease reason step by step, and put your final answer within \\boxed{}."
    path = write(tmp_path / "a.jsonl", {"prompt": "P" + request, "answer": 7})
    (problem,) = load_problems(AIME, path).problems
    assert (problem.id, problem.problem, problem.answer) == ("0", "P", "7")


def test_float_answers_and_json_lists(tmp_path: Path) -> None:
    path = tmp_path / "amc.json"
    path.write_text(json.dumps([{"problem": "P", "answer": 27.0}, {"problem": "Q", "answer": 3.0}]))
    found = load_problems(get_task("amc23"), path)
    assert [problem.answer for problem in found.problems] == ["27", "3"]


def test_limit_keeps_the_first_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", *({"problem": f"P{n}", "answer": n} for n in range(5)))
    found = load_problems(AIME, path, limit=2)
    assert [problem.problem for problem in found.problems] == ["P0", "P1"]
    assert found.partial
    assert found.total == 5
    assert not load_problems(AIME, path, limit=9).partial


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"problem": "P", "answer": "1000"}', "a.jsonl:2: answer '1000' is no AIME answer"),
        ('{"problem": "P"}', "a.jsonl:2: expected the field answer"),
        ('{"text": "P", "answer": 1}', "a.jsonl:2: expected one of the fields problem, question"),
        ("{", "a.jsonl:2: not JSON"),
        ("[1]", "a.jsonl:2: expected a JSON object, found list"),
        ('{"id": "x", "problem": "P", "answer": 1}', "problems 1 and 2 have one id, 'x'"),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, line: str, reason: str) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "x", "problem": "P", "answer": 1}\n' + line + "\n")
    with pytest.raises(DataError, match=reason):
        load_problems(AIME, path)


def test_missing_and_empty_files(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such data file"):
        load_problems(AIME, tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(DataError, match="no problems in it"):
        load_problems(AIME, tmp_path / "empty.jsonl")


def test_a_task_without_a_hub_asks_for_a_file() -> None:
    with pytest.raises(DataError, match="name its file with --data-path"):
        load_problems(get_task("arithmetic"), None)


def test_task_names_and_aliases() -> None:
    assert get_task("aime2025").name == "aime25"
    with pytest.raises(ConfigError, match="unknown task 'aime42'; did you mean 'aime2"):
        get_task("aime42")


def test_gold_of_minerva_comes_out_of_its_solution(tmp_path: Path) -> None:
    row = {"problem": "P", "solution": r"So \[x=\boxed{4.5e33}\]", "idx": 3}
    (problem,) = load_problems(get_task("minerva_math"), write(tmp_path / "m.jsonl", row)).problems
    assert (problem.id, problem.answer) == ("3", "4.5e33")


def test_olympiad_notes_reach_the_grader(tmp_path: Path) -> None:
    row = {"id": 1, "question": "P", "final_answer": ["$4.2$."], "unit": "%", "error": "1e-1"}
    found = load_problems(get_task("olympiadbench"), write(tmp_path / "o.jsonl", row))
    (problem,) = found.problems
    assert problem.answer == "4.2"
    assert problem.meta == {"unit": "%", "tolerance": 0.1}
