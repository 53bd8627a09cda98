"""`srl-data stepify`: columns, reasons, thinking, GSM8K's lines, the report and the preview."""

import json
import os
from itertools import islice
from pathlib import Path

import pytest

from srl_data.build import BuildConfig, build
from srl_data.cli import cli
from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_data.manifest import read_manifest
from srl_data.records import SrlInstance, read_records
from srl_data.stepify.command import report_path, stepify
from srl_data.stepify.config import StepifyConfig
from srl_data.stepify.measures import Measures
from srl_data.stepify.reasons import REASONS

PROSE = "Let n be the number. Twice the number is 14. So the number is \\boxed{7}."
HEADED = "Step 1: Add 2 and 3.\nStep 2: The sum is \\boxed{5}."


def rows(path: Path, *found: object) -> Path:
    """A JSON Lines file of these rows."""
    path.write_text("".join(json.dumps(row) + "\n" for row in found), "utf-8")
    return path


def cut(tmp_path: Path, *found: object, **options: object) -> list[dict[str, object]]:
    """The records that stepify writes for these rows."""
    source, output = rows(tmp_path / "in.jsonl", *found), tmp_path / "out.jsonl"
    stepify(StepifyConfig(source=str(source), output=output, **options))
    return [json.loads(line) for line in output.read_text("utf-8").splitlines()]


def problem(solution: object, **columns: object) -> dict[str, object]:
    """A row."""
    return {"problem": "What is it?", "solution": solution, **columns}


def test_records_hold_problem_steps_answer_and_how_they_were_cut(tmp_path: Path) -> None:
    first, second = cut(tmp_path, problem(PROSE), problem(HEADED))
    assert first == {
        "id": "in-00000",
        "problem": "What is it?",
        "solution": "1. Let n be the number.\n\n2. Twice the number is 14.\n\n"
        "3. So the number is \\boxed{7}.",
        "answer": "7",
        "meta": {"row": 0, "cut_by": "sentences"},
    }
    assert second["meta"] == {"row": 1, "cut_by": "headings", "headings": ["Step 1:", "Step 2:"]}


def test_build_takes_the_output_as_it_is(tmp_path: Path) -> None:
    cut(tmp_path, problem(PROSE), problem(HEADED), problem("42"))
    built = tmp_path / "instances.jsonl"
    config = BuildConfig(
        source=str(tmp_path / "out.jsonl"), field="solution", output=built, val_size=0
    )
    report = build(config)
    assert not report.survey.excluded
    assert [(each.id, each.target_step) for each in read_records(built, SrlInstance)] == [
        ("s1k-00000/2", "2. Twice the number is 14."),
        ("s1k-00000/3", "3. So the number is \\boxed{7}."),
        ("s1k-00001/2", "2. The sum is \\boxed{5}."),
    ]


def test_what_gives_no_steps_is_left_out_with_its_reason(tmp_path: Path) -> None:
    found = {
        "too_few_steps": problem("42"),
        "answer_first": problem("It is \\boxed{3}. Here is why. One and two are three."),
        "missing_solution": problem(""),
        "missing_problem": {"solution": PROSE},
        "only_thinking": problem("<think>Let me see. It is 3.</think>"),
        "unclosed_thinking": problem(f"<think>{PROSE}"),
        "not_unicode": problem("One. \ud800 Two."),
        "too_many_steps": problem("\n".join(f"{n}. Add {n}." for n in range(1, 30))),
    }
    cut(tmp_path, *found.values(), problem(PROSE), max_steps=20)
    manifest = read_manifest(tmp_path / "out.jsonl")
    assert manifest is not None
    expected = {reason: [f"in-{row:05d}"] for row, reason in enumerate(found)}
    assert manifest.excluded == expected
    assert manifest.excluded.keys() <= REASONS.keys()
    assert manifest.counts == {
        "rows_read": 9,
        "solutions": 9,
        "solutions_in_steps": 1,
        "steps": 3,
    }


def test_nothing_is_written_where_nothing_is_left(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"none of the 1 solutions .* try --by sentences"):
        cut(tmp_path, problem("42"))
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("row", "options", "fault"),
    [
        ({"problem": "p", "text": PROSE}, {}, "has no column 'solution' or 'answer'"),
        ({"problem": "p", "solution": PROSE}, {"field": "proof"}, r"no column 'proof' \(--field\)"),
        ({"task": "p", "solution": PROSE}, {}, r"'instruction' \(--problem-field\)"),
        (problem(PROSE), {"answer_field": "gold"}, r"no column 'gold' \(--answer-field\)"),
    ],
)
def test_a_column_that_is_not_there_is_named(
    tmp_path: Path, row: object, options: dict[str, object], fault: str
) -> None:
    with pytest.raises(DataError, match=fault):
        cut(tmp_path, row, **options)


def test_a_list_of_solutions_gives_a_record_each(tmp_path: Path) -> None:
    found = cut(tmp_path, problem([PROSE, HEADED], final_answer=["7"]), answer_field="final_answer")
    assert [(each["id"], each["answer"]) for each in found] == [
        ("in-00000.1", "7"),
        ("in-00000.2", "7"),
    ]


def test_the_lines_of_gsm8k_are_its_steps(tmp_path: Path) -> None:
    text = "He has 2*3=<<2*3=6>>6 cards.\nHe loses 2, so 6-2=<<6-2=4>>4 are left.\n#### 4"
    (found,) = cut(tmp_path, {"question": "How many?", "answer": text})
    assert found["solution"] == (
        "1. He has 2*3=6 cards.\n2. He loses 2, so 6-2=4 are left.\n3. The answer is \\boxed{4}."
    )
    assert found["answer"] == "4"
    assert found["meta"]["cut_by"] == "gsm8k"  # type: ignore[index]


def test_gsm8k_comes_out_as_build_numbers_it(tmp_path: Path) -> None:
    data = os.environ.get("SRL_TEST_DATA")
    text = "He has 2*3=<<2*3=6>>6 cards.\nHe loses 2, so 6-2=<<6-2=4>>4 are left.\n#### 4"
    source = tmp_path / "train.jsonl"
    source.write_text(json.dumps({"question": "How many?", "answer": text}) + "\n", "utf-8")
    if data is not None:
        with Path(data, "gsm8k", "train.jsonl").open(encoding="utf-8") as lines:
            source.write_text("".join(islice(lines, 300)), "utf-8")
    steps = tmp_path / "steps.jsonl"
    stepify(StepifyConfig(source=str(source), output=steps))
    built = {}
    for name, config in {
        "stepify": {"source": str(steps), "field": "solution"},
        "build": {"source": str(source), "field": "answer", "steps": "gsm8k"},
    }.items():
        output = tmp_path / f"{name}.jsonl"
        build(BuildConfig(**config, output=output, val_size=0, targets="all"))
        records = read_records(output, SrlInstance)
        built[name] = [(each.problem, each.target_step, each.meta["answer"]) for each in records]
    assert built["stepify"] == built["build"]
    assert len(built["build"]) >= 3


def test_headings_win_over_the_lines_of_gsm8k(tmp_path: Path) -> None:
    text = "Step 1: He has 6 cards.\nThey are red.\nStep 2: He loses 2.\n#### 4"
    (found,) = cut(tmp_path, {"question": "How many?", "answer": text})
    assert found["solution"] == (
        "1. He has 6 cards.\nThey are red.\n\n2. He loses 2.\nThe answer is \\boxed{4}."
    )


def test_short_lines_of_gsm8k_are_joined_by_option(tmp_path: Path) -> None:
    text = "2*3=6.\nSo he has six cards in all.\nHe loses two of them.\n#### 4"
    (found,) = cut(tmp_path, {"question": "How many?", "answer": text}, min_chars=12)
    assert found["solution"].startswith("1. 2*3=6.\nSo he has six cards in all.\n\n2. He")  # type: ignore[attr-defined]


THOUGHT = (
    "<think>The sum is 5. Wait, I forgot one. So the sum is 6. Alternatively, count them.</think>"
)


def test_thinking_is_left_out_or_is_what_is_cut(tmp_path: Path) -> None:
    row = problem(f"{THOUGHT}{PROSE}")
    assert "sum" not in str(cut(tmp_path, row)[0]["solution"])
    (found,) = cut(tmp_path, row, cut_from="thinking", corrections=True, by="paragraphs")
    assert found["solution"] == (
        "1. The sum is 5.\n\n2. Wait, I forgot one. So the sum is 6.\n\n"
        "3. Alternatively, count them."
    )


def test_a_solution_without_thinking_has_none_to_cut(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no_thinking: 1.*leave --from thinking out"):
        cut(tmp_path, problem(PROSE), cut_from="thinking")


def test_the_report_stands_beside_the_output(tmp_path: Path) -> None:
    cut(tmp_path, problem(PROSE), problem(HEADED))
    report = json.loads(report_path(tmp_path / "out.jsonl").read_text("utf-8"))
    assert report["solutions"] == 2
    assert report["rules"] == {"sentences": 1, "headings": 1}
    assert report["steps_per_solution"]["mean"] == 2.5
    lengths = [20, 24, 28, 14, 21]
    assert report["characters_per_step"]["mean"] == pytest.approx(sum(lengths) / 5, abs=1)
    assert report["separation"]["pairs"] == 2


def test_steps_that_are_all_alike_are_warned_of() -> None:
    measures = Measures()
    for name in ("one", "two", "six"):
        measures.add("lines", [f"{n}. The box of number {name} is red." for n in range(1, 5)])
    (warning,) = measures.warnings()
    assert "teach little" in warning
    assert measures.separation() is not None
    assert measures.separation().within == 1.0  # type: ignore[union-attr]


def test_steps_that_differ_are_not_warned_of() -> None:
    measures = Measures()
    measures.add("lines", ["1. abc abc abc", "2. xyzxyz", "3. 0123456789"])
    measures.add("lines", ["1. mnopmnop", "2. qrstu", "3. ///////"])
    assert measures.warnings() == []


def test_a_text_that_is_hardly_cut_is_warned_of() -> None:
    measures = Measures()
    measures.add("paragraphs", ["1. " + "a" * 90, "2. " + "b" * 10])
    (warning,) = measures.warnings()
    assert "90%" in warning


def test_the_sample_of_the_report_is_bounded_and_even() -> None:
    measures = Measures()
    for number in range(3000):
        measures.add("lines", [f"1. first {number}", "2. second"])
    assert len(measures.sample) == 1000
    numbers = [int(steps[0].split()[1]) for steps in measures.sample]
    assert 1300 < sum(numbers) / 1000 < 1700


def test_the_preview_shows_a_record_as_the_model_will_see_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = rows(tmp_path / "in.jsonl", problem("42"), problem(PROSE), problem(HEADED))
    assert execute(cli, "srl-data", ["stepify", "--source", str(source), "--preview", "1"]) == 0
    shown = capsys.readouterr().out
    assert "in-00001: step 2 of 3" in shown
    assert "Steps so far:" in shown
    assert "2. Twice the number is 14." in shown
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        ([], "give --output FILE, or --preview N"),
        (["--output", "o.jsonl", "--min-chars", "9", "--max-chars", "5"], "exceeds max_chars 5"),
        (["--output", "o.jsonl", "--min-steps", "9", "--max-steps", "5"], "exceeds max_steps 5"),
        (["--output", "o.jsonl", "--min-steps", "1"], "greater than or equal to 2"),
    ],
)
def test_options_that_cannot_be_are_refused(
    words: list[str], fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(cli, "srl-data", ["stepify", "--source", "s.jsonl", *words]) == 2
    assert fault in capsys.readouterr().err


def test_the_source_is_not_written_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = rows(tmp_path / "in.jsonl", problem(PROSE))
    words = ["stepify", "--source", str(source), "--output", str(source)]
    assert execute(cli, "srl-data", words) == 2
    assert "would be written over" in capsys.readouterr().err


def test_the_same_source_gives_the_same_bytes(tmp_path: Path) -> None:
    found = [tmp_path / name for name in ("a", "b")]
    for folder in found:
        folder.mkdir()
        cut(folder, problem(PROSE), problem(HEADED))
    for name in ("out.jsonl", "out.manifest.json", "out.report.json"):
        assert (found[0] / name).read_bytes() == (found[1] / name).read_bytes()
