"""Benchmark files of several makers, and bad ones."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from srl_data.command.errors import ConfigError, DataError
from srl_data.problem_text import last_box
from srl_eval.problems import load_problems
from srl_eval.tasks import HubSource, get_task

AIME = get_task("aime24")


def write(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_fields_of_qwen_math_files(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", {"id": 60, "problem": "P", "answer": "025", "url": "u"})
    (problem,) = load_problems(AIME, path).problems
    assert (problem.id, problem.problem, problem.answer) == ("60", "P", "25")
    assert problem.grader == "aime"


def test_problems_are_read_from_every_kind_of_file(tmp_path: Path) -> None:
    rows = [{"id": str(n), "problem": f"P{n}", "answer": str(n)} for n in range(4)]
    lines = ["".join(json.dumps(row) + "\n" for row in part) for part in (rows[:2], rows[2:])]
    for n, text in enumerate(lines):
        (tmp_path / f"part-{n}.ndjson.gz").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "set").mkdir()
    write(tmp_path / "set/train.jsonl", {"problem": "not asked", "answer": "1"})
    table = "id,problem,answer\n" + "".join(f"{n},P{n},{n}\n" for n in range(4))
    (tmp_path / "set/test.csv").write_text(table)
    for path in (tmp_path / "part-*.ndjson.gz", tmp_path / "set", tmp_path / "set/test.csv"):
        found = load_problems(AIME, path)
        assert [each.problem for each in found.problems] == ["P0", "P1", "P2", "P3"]
        assert len(found.sha256) == 64
    (tmp_path / "set/test.csv").rename(tmp_path / "set/other.csv")
    with pytest.raises(DataError, match="has the splits other, train and none is held out"):
        load_problems(AIME, tmp_path / "set")
    (tmp_path / "bad.csv").write_text("problem,answer\nP\n")
    with pytest.raises(
        DataError, match=r"bad\.csv:2: 1 columns, and the header has 2; mend the row$"
    ):
        load_problems(AIME, tmp_path / "bad.csv")


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
    assert get_task("math").size == 5000
    assert get_task("math500").size == 500
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


@pytest.mark.parametrize(
    ("solution", "gold"),
    [
        (r"so $x=\boxed{\frac{1}{2}}$.", r"\frac{1}{2}"),
        (r"first \boxed 1$, so $x = \boxed 23$.", "23"),
        (r"then \fbox{3}", "3"),
    ],
)
def test_gold_of_math_comes_out_of_its_solution(tmp_path: Path, solution: str, gold: str) -> None:
    row = {"problem": "P", "level": "Level 1", "type": "Algebra", "solution": solution}
    (problem,) = load_problems(get_task("math"), write(tmp_path / "m.jsonl", row)).problems
    assert problem.answer == gold


def test_a_solution_without_a_box_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "m.jsonl", {"problem": "P", "solution": "It is 3."})
    with pytest.raises(DataError, match="expected the field answer"):
        load_problems(get_task("math"), path)


def test_math_reads_all_subjects_at_its_pinned_commit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real `datasets` over a folder that stands for the hub."""
    subjects = ("algebra", "geometry")
    for subject in subjects:
        row = {"problem": f"Of {subject}", "solution": r"\boxed{1}"}
        (tmp_path / subject).mkdir()
        write(tmp_path / subject / "test.jsonl", row, {**row, "problem": f"More {subject}"})
    configs = "".join(
        f"- config_name: {name}\n  data_files:\n  - split: test\n    path: {name}/test.jsonl\n"
        for name in subjects
    )
    (tmp_path / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    source = HubSource(str(tmp_path), subsets=subjects, revision="0" * 40)
    found = load_problems(replace(get_task("math"), hub=source), None)
    assert [problem.id for problem in found.problems] == ["0", "1", "2", "3"]
    assert [problem.problem for problem in found.problems][2] == "Of geometry"
    assert found.source == f"{tmp_path}@{'0' * 40}"


def test_a_hub_that_cannot_be_read_names_the_flag_for_a_file(tmp_path: Path) -> None:
    source = HubSource(str(tmp_path / "none"), revision="0" * 40)
    with pytest.raises(DataError, match=r"from the hub: .*name a local file with --data-path"):
        load_problems(replace(get_task("math"), hub=source), None)


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="needs SRL_TEST_DATA")
def test_boxes_of_real_math_solutions_are_the_published_answers() -> None:
    path = Path(os.environ["SRL_TEST_DATA"]) / "math500" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [last_box(row["solution"]) for row in rows] == [row["answer"] for row in rows]
