"""`srl-data pairs`: each kind of source, each form of response, and why rows give no pair."""

import json
from pathlib import Path

import pytest

from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.pairing.reasons import REASONS

TRACE = {
    "id": "q1",
    "problem": "What is 1+1?",
    "answer": "2",
    "sample": 0,
    "model": "teacher",
    "reasoning_content": "One and one.",
    "content": "It is \\boxed{2}.",
    "finish_reason": "stop",
}
SOLVED = {"problem": "What is 1+1?", "solution": "One and one is \\boxed{2}."}
R1_ZERO = ("--template", "r1_zero")


def pairs(tmp_path: Path, rows, *args: str) -> tuple[int, list[dict], dict]:
    """The exit code, the pairs and the reasons of a run over rows."""
    source, output = tmp_path / "in.jsonl", tmp_path / "sft.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["pairs", "--source", str(source), "--output", str(output), *args]
    code = execute(cli, "srl-data", argv)
    if code:
        return code, [], {}
    found = [json.loads(line) for line in output.read_text().splitlines()]
    return code, found, json.loads((tmp_path / "sft.manifest.json").read_text())["reasons"]


@pytest.mark.parametrize(
    ("row", "args", "response"),
    [
        (TRACE, (), "<think>One and one.</think>\nIt is \\boxed{2}."),
        (TRACE, R1_ZERO, "<think>One and one.</think> <answer>It is \\boxed{2}.</answer>"),
        (TRACE, ("--no-thinking",), "It is \\boxed{2}."),
        (SOLVED, (), "One and one is \\boxed{2}."),
        (
            SOLVED,
            R1_ZERO,
            "<think>One and one is \\boxed{2}.</think> <answer>\\boxed{2}</answer>",
        ),
        (
            {**TRACE, "reasoning_content": None, "content": "<think>a</think>\n\n2"},
            (),
            "<think>a</think>\n2",
        ),
        (
            {**TRACE, "content": "a\n</think>\n2", "reasoning_content": ""},
            (),
            "<think>a</think>\n2",
        ),
        (
            {**TRACE, "content": "So <answer>2</answer>"},
            R1_ZERO,
            "<think>One and one.</think> <answer>2</answer>",
        ),
        (
            {"question": "Q", "attempt": "A", "thinking_trajectories": ["a", "b"]},
            (),
            "<think>a\n\nb</think>\nA",
        ),
        (
            {"question": "Q", "deepseek_attempt": "A", "deepseek_thinking_trajectory": "T"},
            (),
            "<think>T</think>\nA",
        ),
        ({"problem": "Q", "meta": {"solution": "S \\boxed{2}"}}, (), "S \\boxed{2}"),
        (
            {"question": "Q", "answer": "1+1 = <<1+1=2>>2\n#### 2"},
            ("--field", "answer"),
            "1+1 = 2\nThe answer is \\boxed{2}.",
        ),
        ({"question": "Q", "a": "A", "t": "T"}, ("--field", "a", "--thinking-field", "t"),
         "<think>T</think>\nA"),
        ({"problem": "Q", "generations": ["<think>a</think>A"]}, (), "<think>a</think>\nA"),
    ],
)  # fmt: skip
def test_each_kind_of_source_takes_the_form_of_the_template(tmp_path, row, args, response):
    code, found, reasons = pairs(tmp_path, [row], *args)
    assert code == 0
    assert [each["response"] for each in found] == [response]
    assert found[0]["prompt"] == row.get("problem", row.get("question"))
    assert reasons == {}


def test_meta_keeps_answer_grade_and_teacher_and_names_tell_samples_apart(tmp_path):
    graded = {**TRACE, "grader": "math", "meta": {"level": 3}, "exact": True, "reward": 1.0}
    _, found, _ = pairs(tmp_path, [graded, {**graded, "sample": 1}])
    assert [each["id"] for each in found] == ["q1/0", "q1/1"]
    meta = {"level": 3, "answer": "2", "grader": "math", "model": "teacher"}
    assert found[0]["meta"] == {**meta, "finish_reason": "stop", "exact": True, "reward": 1.0}


def test_only_an_authors_box_is_taken_for_the_answer(tmp_path):
    unknown = {name: value for name, value in TRACE.items() if name != "answer"}
    assert "answer" not in pairs(tmp_path, [unknown])[1][0]["meta"]
    assert pairs(tmp_path, [SOLVED])[1][0]["meta"]["answer"] == "2"
    gsm8k = {"question": "Q", "answer": "1+1 = 2\n#### 2"}
    assert pairs(tmp_path, [gsm8k], "--field", "answer")[1][0]["meta"]["answer"] == "2"
    s1k = {"question": "Q", "deepseek_attempt": "\\boxed{3}", "solution": "2", "answer": 2}
    assert pairs(tmp_path, [s1k])[1][0]["meta"]["answer"] == "2"


def test_a_list_of_solutions_gives_a_pair_each(tmp_path):
    row = {"id": "q", "problem": "Q", "g": ["A", "B"], "t": ["a", "b"]}
    args = ("--field", "g", "--thinking-field", "t")
    _, found, _ = pairs(tmp_path, [row], *args)
    assert [(each["id"], each["response"]) for each in found] == [
        ("q/1", "<think>a</think>\nA"),
        ("q/2", "<think>b</think>\nB"),
    ]
    assert pairs(tmp_path, [row, {**row, "t": ["a"]}], *args)[0] == 3


@pytest.mark.parametrize(
    ("row", "args", "reason"),
    [
        ({**TRACE, "problem": " "}, (), "missing_problem"),
        ({**TRACE, "content": ""}, (), "missing_solution"),
        ({**TRACE, "content": ["a", 1]}, (), "missing_solution"),
        ({**TRACE, "finish_reason": "length"}, (), "cut_off"),
        ({**TRACE, "truncated": True}, (), "cut_off"),
        ({**TRACE, "reasoning_content": None}, (), "missing_thinking"),
        ({**TRACE, "content": "<think>never closed 2"}, (), "unclosed_thinking"),
        ({**TRACE, "content": "<think>all of it</think>"}, (), "only_thinking"),
        ({**TRACE, "reasoning_content": "a </think> b"}, (), "marks_in_text"),
        ({**TRACE, "content": "a <answer> b"}, R1_ZERO, None),
        ({**TRACE, "content": "a </answer> b"}, R1_ZERO, "marks_in_text"),
        ({**TRACE, "content": "\ud800"}, (), "not_unicode"),
        ({**TRACE, "exact": False}, ("--only-correct",), "graded_wrong"),
        ({**TRACE, "exact": None}, ("--only-correct",), "not_graded"),
    ],
)
def test_a_row_without_a_pair_is_counted_by_its_reason(tmp_path, row, args, reason):
    good = {**TRACE, "id": "good", "exact": True}
    code, found, reasons = pairs(tmp_path, [good, row], *args)
    assert code == 0
    assert reasons == ({reason: 1} if reason else {})
    assert [each["id"] for each in found][:1] == ["good/0"]
    assert len(found) == (1 if reason else 2)
    assert reason is None or reason in REASONS


def test_the_sets_own_grades_count_as_marks(tmp_path):
    row = {"question": "Q", "deepseek_attempt": "A", "deepseek_thinking_trajectory": "T"}
    rows = [{**row, "deepseek_grade": grade} for grade in ("Yes", "No", None)]
    _, found, reasons = pairs(tmp_path, rows, "--only-correct")
    assert len(found) == 1
    assert reasons == {"graded_wrong": 1, "not_graded": 1}


def test_a_solution_without_a_box_has_no_answer_for_its_tags(tmp_path):
    rows = [SOLVED, {**SOLVED, "solution": "no box"}, {**SOLVED, "solution": "no", "answer": 5}]
    _, found, reasons = pairs(tmp_path, rows, *R1_ZERO)
    assert reasons == {"missing_answer": 1}
    assert found[1]["response"] == "<think>no</think> <answer>\\boxed{5}</answer>"


@pytest.mark.parametrize(
    ("rows", "args", "code", "message"),
    [
        ([TRACE], ("--template", "srl"), 2, "asks for one step"),
        ([TRACE], (*R1_ZERO, "--no-thinking"), 2, "opens the thinking"),
        ([SOLVED], ("--thinking",), 3, "has no thinking (--thinking)"),
        ([SOLVED], ("--field", "nope"), 3, "has no column 'nope' (--field); its columns: problem"),
        ([{"x": 1}], (), 3, "has no column 'problem' or 'question'"),
        ([], (), 3, "holds no rows"),
        ([{**TRACE, "finish_reason": "length"}], (), 3, "a larger --max-tokens"),
        ([TRACE], ("--only-correct",), 3, "mark the records with srl-data grade before"),
    ],
)
def test_what_cannot_be_is_one_line(tmp_path, capfd, rows, args, code, message):
    assert pairs(tmp_path, rows, *args)[0] == code
    err = capfd.readouterr().err
    assert message in err
    assert not (tmp_path / "sft.jsonl").exists()
    assert not list(tmp_path.glob(".*"))


def test_the_source_is_not_written_over(tmp_path):
    source = tmp_path / "a.jsonl"
    source.write_text(json.dumps(TRACE) + "\n")
    argv = ["pairs", "--source", str(source), "--output", str(source)]
    assert execute(cli, "srl-data", argv) == 2
    assert json.loads(source.read_text()) == TRACE
