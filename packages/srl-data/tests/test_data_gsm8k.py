r"""GSM8K's lines as numbered steps, and answers that a build keeps."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.frame import execute
from srl_data.gsm8k import numbered_steps
from srl_data.manifest import read_manifest
from srl_data.records import SftPair, SrlInstance, read_records
from srl_reward import (
    NonConforming,
    StepReward,
    extract_boxed,
    extract_gsm8k_answer,
    parse_solution,
)

CLIPS = (
    "Natalia sold 48/2 = <<48/2=24>>24 clips in May.\n\n"
    "Natalia sold 48+24 = $<<48+24=72>>72.\n#### 72"
)
STEPS = [
    "1. Natalia sold 48/2 = 24 clips in May.",
    "2. Natalia sold 48+24 = $72.",
    "3. The answer is \\boxed{72}.",
]


def test_lines_are_numbered_marks_go_and_the_last_is_the_boxed_answer():
    assert numbered_steps(CLIPS) == STEPS
    assert [step.text for step in parse_solution("\n".join(STEPS)).steps] == STEPS


@pytest.mark.parametrize(
    ("solution", "steps"),
    [
        ("a\r\nb\n#### 1,234", ["1. a", "2. b", "3. The answer is \\boxed{1234}."]),
        ("1. a\n2. b\n#### 5", ["1. a", "2. b", "3. The answer is \\boxed{5}."]),
        ("3. a\n#### -0.50", ["1. 3. a", "2. The answer is \\boxed{-0.5}."]),
        ("-14 + 1 = <<-14+1=-13>>-13\n#### -13", ["1. -14 + 1 = -13", None]),
        ("5*4 = 20\n#### $20", ["1. 5*4 = 20", "2. The answer is \\boxed{20}."]),
        ("#### 3", ["1. The answer is \\boxed{3}."]),
        ("a\n#### none", None),
        ("a\nb", None),
        ("", None),
    ],
)
def test_forms_of_lines_and_of_answers(solution, steps):
    found = numbered_steps(solution)
    if steps and steps[-1] is None:
        found, steps = found[:-1], steps[:-1]
    assert found == steps


@given(st.text(max_size=200), st.integers())
def test_any_lines_end_with_the_answer_in_a_box(text, answer):
    steps = numbered_steps(f"{text}\n#### {answer}")
    assert extract_boxed(steps[-1]) == str(answer)
    assert [step.partition(".")[0] for step in steps] == [str(n) for n in range(1, len(steps) + 1)]


def write_source(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def run(capsys, *argv):
    code = execute(cli, "srl-data", [str(arg) for arg in argv])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_build_of_gsm8k_s_lines_from_the_command_line(tmp_path, capsys):
    rows = [
        {"question": "Q0", "answer": CLIPS},
        {"question": "Q1", "answer": "no end"},
        {"question": "Q2", "answer": "#### 3"},
    ]
    source = write_source(tmp_path / "train.jsonl", rows)
    output = tmp_path / "o.jsonl"
    argv = ["build", "s1k", "--source", source, "--field", "answer", "--steps", "gsm8k"]
    argv += ["--targets", "all", "--val-size", 0, "--sft", "--output", output]
    code, out, _ = run(capsys, *argv)
    assert code == 0
    assert "no line `#### NUMBER`" in out
    found = list(read_records(output, SrlInstance))
    assert [item.id for item in found] == ["gsm8k-00000/1", "gsm8k-00000/2", "gsm8k-00000/3"]
    assert [item.target_step for item in found] == STEPS
    assert found[2].previous_steps == STEPS[:2]
    assert {str(item.meta) for item in found} == {"{'row': 0, 'answer': '72'}"}
    (pair,) = read_records(tmp_path / "o.sft.jsonl", SftPair)
    assert pair.model_dump() == {
        "id": "gsm8k-00000",
        "prompt": "Q0",
        "response": "\n".join(STEPS),
        "meta": {"row": 0, "answer": "72"},
    }
    manifest = read_manifest(output)
    assert manifest.options["steps"] == "gsm8k"
    assert manifest.excluded == {
        "no_final_line": ["gsm8k-00001"],
        "single_step": ["gsm8k-00002"],
    }


THREE = "1. a\n2. b\n3. so \\boxed{7}"


def test_answers_come_from_their_column_or_from_the_last_box(tmp_path, capsys):
    rows = [
        {"question": "Q0", "solution": THREE, "gold": 8},
        {"question": "Q1", "solution": "1. a\n2. b", "gold": "x"},
        {"question": "Q2", "solution": THREE, "gold": None},
        {"question": "Q3", "solution": THREE},
    ]
    source = write_source(tmp_path / "s.jsonl", rows)

    def answers(**options):
        config = BuildConfig(
            source=str(source), output=tmp_path / "o.jsonl", field="solution", val_size=0, **options
        )
        report = build(config)
        found = read_records(config.output, SrlInstance)
        return report, {item.meta["row"]: item.meta.get("answer") for item in found}

    assert answers()[1] == {0: "7", 1: None, 2: "7", 3: "7"}
    report, found = answers(answer_field="gold")
    assert found == {0: "8", 1: "x"}
    assert report.survey.excluded == {"missing_answer": ["s1k-00002", "s1k-00003"]}
    code, _, err = run(
        capsys,
        *("build", "s1k", "--source", source, "--field", "solution", "--answer-field", "none"),
        *("--output", tmp_path / "o.jsonl"),
    )
    assert code == 3
    assert "no column 'none' (--answer-field); its columns: gold, question, solution" in err


def test_steps_of_another_kind_are_refused(tmp_path, capsys):
    source = write_source(tmp_path / "s.jsonl", [{"question": "Q", "solution": THREE}])
    argv = ["build", "s1k", "--source", source, "--field", "solution", "--val-size", 0]
    code, _, err = run(capsys, *argv, "--steps", "gsm8k", "--output", tmp_path / "o.jsonl")
    assert code == 3
    assert "(no_final_line: 1: no line `#### NUMBER`" in err
    assert "leave --steps gsm8k out, or choose another --field" in err
    code, _, err = run(capsys, *argv, "--steps", "lines", "--output", tmp_path / "o.jsonl")
    assert code == 2
    assert "'lines' is not one of 'numbered', 'gsm8k'" in err


@pytest.mark.skipif("SRL_TEST_DATA" not in os.environ, reason="SRL_TEST_DATA is not set")
def test_every_solution_of_the_real_gsm8k_conforms(tmp_path):
    folder = Path(os.environ["SRL_TEST_DATA"]) / "gsm8k"
    reward, steps = StepReward(), 0
    for name, count in (("train", 7473), ("test", 1319)):
        lines = (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
        assert len(lines) == count
        for line in lines:
            row = json.loads(line)
            written = numbered_steps(row["answer"])
            parsed = parse_solution("\n".join(written))
            assert not isinstance(parsed, NonConforming)
            assert [step.text for step in parsed.steps] == written
            assert "<<" not in "".join(written)
            assert extract_boxed(written[-1]) == extract_gsm8k_answer(row["answer"])
            steps += len(written)
    assert steps == 40331
    outputs = [f"<think>x</think>\n{step}" for step in written]
    assert reward(outputs, target_step=written) == [1.0] * len(written)
    config = BuildConfig(
        source=str(folder),
        field="answer",
        steps="gsm8k",
        targets="all",
        output=tmp_path / "o.jsonl",
    )
    survey = build(config).survey  # of the folder's splits, the training one
    assert (survey.rows, survey.solutions, survey.excluded) == (7473, 7473, {})
