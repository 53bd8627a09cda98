"""Finished runs side by side: tables, notes, flipped problems, files."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from srl_data.command.errors import DataError
from srl_data.command.frame import execute
from srl_eval.arms import short_names
from srl_eval.cli import cli
from srl_eval.compare import compare, compare_all
from srl_eval.comparison_files import encoded
from srl_eval.comparison_page import comparison_page
from srl_eval.comparison_text import as_markdown
from srl_eval.finished import read_run

Run = Callable[..., Path]


def test_compare_pairs_by_problem(run: Run) -> None:
    folders = [run("weak", 0.2), run("strong", 0.9)]
    side = compare_all(folders, resamples=500)
    (found,) = side.comparisons
    weak, strong = (np.array(list(read_run(folder).scores().values())) for folder in folders)
    first, second = found.rows
    assert (first.name, second.name) == ("weak", "strong")
    assert first.difference is None
    assert second.difference == pytest.approx((strong - weak).mean())
    assert second.difference_interval is not None
    assert 0 < second.difference_interval[0] < second.difference < second.difference_interval[1]
    assert (second.wins, second.losses) == (int((strong > weak).sum()), int((strong < weak).sum()))
    text = as_markdown(side)
    assert f"{100 * second.score:.1f}" in text
    assert "strong" in comparison_page(side)
    assert found.notes == []


def test_compare_says_what_differs(run: Run) -> None:
    folders = [run("all", 0.5), run("some", 0.5, data={"limit": 3})]
    found = compare(folders, resamples=100)
    assert found.problems == 3
    assert any("only the 3 problems" in note for note in found.notes)
    assert not any("temperature" in note for note in found.notes)


def test_short_names() -> None:
    paths = [Path("/r/base/aime_avg4"), Path("/r/srl/aime_avg4")]
    assert short_names(paths) == ["base", "srl"]
    assert short_names([Path("/r/a"), Path("/r/a/b")]) == ["a", "a/b"]
    assert short_names([Path("/r/a"), Path("/r/a")]) == ["a", "a"]


def test_other_problems_under_the_same_ids_are_not_compared(run: Run) -> None:
    folders = [run("a", 0.5), run("b", 0.5)]
    problems = folders[1] / "problems.jsonl"
    problems.write_text(problems.read_text().replace("Problem 3?", "Problem three?"))
    with pytest.raises(DataError, match=r"problem 'p3' of .*b is another one in .*a"):
        compare(folders)


def greedy(run: Run, name: str, skill: float, task: str = "gsm8k", **sections: object) -> Path:
    """A run with one answer per problem."""
    decoding = {"mode": "greedy", "max_new_tokens": 200}
    return run(name, skill, task=task, decoding=decoding, **sections)


def test_flipped_problems_are_named_with_both_answers(run: Run) -> None:
    side = compare_all([greedy(run, "base", 0.0), greedy(run, "some", 0.5)], resamples=100)
    (found,) = side.comparisons
    row = found.rows[1]
    scores = read_run(Path(row.folder)).scores()
    right = [name for name, score in scores.items() if score == 1]
    assert 0 < len(right) < 8
    assert [flip.id for flip in row.flips] == right
    first = row.flips[0]
    number = first.id.removeprefix("p")
    assert (first.problem, first.gold) == (f"Problem {number}?", number)
    assert (first.before, first.after) == (0.0, 1.0)
    assert (first.answer_before, first.answer_after) == ("999", number)
    assert f"some better than base on {len(right)}: {', '.join(right)}" in as_markdown(side)
    page = comparison_page(side)
    assert f"▲ {len(right)} better" in page
    assert "<td>999</td>" in page
    back = compare([Path(row.folder), Path(found.rows[0].folder)], resamples=100).rows[1]
    assert (back.wins, back.losses) == (0, len(right))


def test_categories_are_counts_and_shares_of_what_is_compared(run: Run) -> None:
    folders = [run("all", 0.5), run("some", 1.1, data={"limit": 2})]
    first, second = compare(folders, resamples=100).rows
    assert {name for name, share in second.verdicts.items() if share.count} == {"correct"}
    assert (second.verdicts["correct"].count, second.verdicts["correct"].share) == (8, 1.0)
    assert first.samples == sum(share.count for share in first.verdicts.values()) == 8
    assert first.verdicts["correct"].share == first.score


def test_format_and_right_answers_in_it_are_counted(run: Run) -> None:
    answer = "thinking</think> <answer>"
    strict = greedy(run, "strict", 0.5, text=answer, template="r1_zero", end="</answer>")
    loose = greedy(run, "loose", 0.5, text=answer, template="r1_zero")
    first, second = compare([strict, loose], resamples=100).rows
    assert (first.format.count, first.format.share) == (8, 1.0)
    assert first.categories["format_right_answer_right"].share == first.score
    assert first.categories["format_right_answer_wrong"].count == 8 - round(8 * first.score)
    assert second.format.count == 0
    assert second.categories["format_wrong"].count == 8
    side = compare_all([strict, loose], resamples=100)
    assert "| strict | 8 | 8 (100.0 %) |" in as_markdown(side)
    assert '<td class="n">8 (100.0 %)</td>' in comparison_page(side)
    (task,) = json.loads(encoded(side))["tasks"]
    assert [each["format"]["share"] for each in task["runs"]] == [1.0, 0.0]
    assert not any("right format" in note for note in task["notes"])
    boxed = greedy(run, "boxed", 0.5)
    notes = compare([strict, boxed], resamples=100).notes
    assert any("grammar for strict, and an answer" in note for note in notes)


def test_runs_recorded_without_a_format_still_compare(run: Run) -> None:
    folders = [run("old", 0.5), run("new", 0.5)]
    results = folders[0] / "results.jsonl"
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    for line in lines:
        del line["in_grammar"], line["bare"]
    results.write_text("".join(json.dumps(line) + "\n" for line in lines))
    old, new = compare(folders, resamples=100).rows
    assert (old.format, old.categories, old.score) == (new.format, new.categories, new.score)


def test_any_number_of_runs_stands_against_the_first(run: Run) -> None:
    found = compare([run(f"r{n}", skill) for n, skill in enumerate((0.5, 0.1, 0.9))])
    assert [row.name for row in found.rows] == ["r0", "r1", "r2"]
    assert [row.difference is None for row in found.rows] == [True, False, False]
    assert found.rows[1].difference == found.rows[1].score - found.rows[0].score


def suite(run: Run, tasks: tuple[str, ...] = ("gsm8k", "aime24")) -> list[Path]:
    """Two folders of runs of several tasks each."""
    for name, skill in (("base", 0.2), ("srl", 0.9)):
        for task in tasks:
            greedy(run, f"{name}/{task}_greedy", skill, task)
    return [
        Path(read_run(greedy(run, "base/gsm8k_greedy", 0.2)).folder).parent.parent / name
        for name in ("base", "srl")
    ]


def test_folders_of_several_runs_are_compared_task_by_task(run: Run) -> None:
    base, srl = suite(run)
    side = compare_all([base, srl], resamples=100)
    assert [each.task for each in side.comparisons] == ["aime24", "gsm8k"]
    assert all([row.name for row in each.rows] == ["base", "srl"] for each in side.comparisons)
    text = as_markdown(side)
    assert "| run | aime24, greedy | gsm8k, greedy |" in text
    assert text.count("## ") == 2
    assert comparison_page(side).count("<h2>") == 2
    # The same runs one by one.
    folders = [arm / f"{task}_greedy" for task in ("aime24", "gsm8k") for arm in (base, srl)]
    one_by_one = compare_all(folders, resamples=100)
    assert encoded(one_by_one) == encoded(side)


def test_modes_within_a_folder_are_compared_apart(run: Run) -> None:
    base, srl = suite(run, ("gsm8k",))
    for name in ("base", "srl"):
        run(f"{name}/gsm8k_avg4", 0.5, task="gsm8k")
    side = compare_all([base, srl], resamples=100)
    assert [each.heading for each in side.comparisons] == ["gsm8k, avg4", "gsm8k, greedy"]
    assert not any("differ" in note for each in side.comparisons for note in each.notes)


def test_a_run_without_another_of_its_task_is_told(run: Run) -> None:
    base, srl = suite(run)
    shutil.rmtree(srl / "aime24_greedy")
    side = compare_all([base, srl], resamples=100)
    assert [each.task for each in side.comparisons] == ["gsm8k"]
    assert side.notes == [f"{base / 'aime24_greedy'} is the only run of aime24 and is left out"]
    assert f"Note: {base}" in as_markdown(side).replace("\\", "")
    shutil.rmtree(base / "gsm8k_greedy")
    with pytest.raises(
        DataError, match="runs of different tasks cannot be compared: aime24, gsm8k"
    ):
        compare_all([base, srl])


def test_a_first_folder_without_a_task_is_told(run: Run) -> None:
    base, srl = suite(run)
    third = srl.with_name("third")
    shutil.copytree(srl, third)
    shutil.rmtree(base / "aime24_greedy")
    side = compare_all([base, srl, third], resamples=100)
    assert [len(each.rows) for each in side.comparisons] == [3, 2]
    assert side.notes == [f"{base} has no run of aime24: differences are to {srl}"]


def test_a_folder_without_any_run_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty holds no run of srl-eval: no run.json in it or in"):
        compare_all([greedy(run, "base", 0.5), tmp_path / "empty"])


def test_names_and_texts_of_anyone_s_are_shown_as_text(run: Run) -> None:
    side = compare_all([run("a|b", 0.2), run("<b>x</b>", 0.9)], resamples=100)
    page, text = comparison_page(side), as_markdown(side)
    assert "<b>x</b>" not in page
    assert "&lt;b&gt;x&lt;/b&gt;" in page
    assert r"| a\|b |" in text
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if "±" in line}
    assert len(widths) <= 1


def test_the_page_needs_nothing_from_elsewhere(run: Run) -> None:
    page = comparison_page(compare_all([run("a", 0.2), run("b", 0.9)], resamples=100))
    assert not re.search(r"(?:src|href)=|https?://|<script|@import|url\(", page)


def test_json_has_every_number(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [str(run("weak", 0.2)), str(run("strong", 0.9))]
    out = tmp_path / "cmp"
    assert execute(cli, "srl-eval", ["compare", *folders, "--json", "--output-dir", str(out)]) == 0
    shown = capsys.readouterr()
    data = json.loads(shown.out)
    assert data == json.loads((out / "compare.json").read_text())
    assert "wrote" in shown.err
    (task,) = data["tasks"]
    assert (task["task"], task["problems"], task["first"]) == ("aime24", 8, "weak")
    first, second = task["runs"]
    assert first["difference"] is None
    assert "better" not in first
    assert second["difference"] == second["score"] - first["score"]
    assert second["verdicts"]["correct"]["share"] == second["score"]
    row = compare(list(map(Path, folders))).rows[1]
    assert len(second["better"]) == row.wins
    assert [each["id"] for each in second["worse"]] == [f.id for f in row.flips if not f.is_better]


def test_the_command_names_flipped_problems(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(greedy(run, "base", 0.0)), str(greedy(run, "srl", 1.1))]
    assert execute(cli, "srl-eval", ["compare", *folders]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "srl better than base on 8: p0, p1, p2, p3, p4, p5, p6, p7" in shown
    assert "0.0 to 36.9" in shown  # 0 of 8
