"""Finished runs read back: reported, and judged again."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from srl_data.command.errors import ConfigError, DataError, IncompleteError
from srl_data.command.frame import execute
from srl_eval import read_samples
from srl_eval.cli import cli
from srl_eval.compare import compare
from srl_eval.exact import binomial_interval, change_interval
from srl_eval.finished import read_run, rescore
from srl_eval.grading import Verdict
from srl_eval.metrics import EXACT
from srl_eval.problems import file_task
from srl_eval.report import render_report, write_report

Run = Callable[..., Path]


def test_report_holds_every_sample_and_no_network(run: Run) -> None:
    page = render_report(read_run(run("m", 0.5, text="</script><b>&")))
    (inner,) = re.findall(
        r'<script id="data" type="application/json">(.*?)</script>', page, re.DOTALL
    )
    data = json.loads(inner)
    assert len(data["samples"]) == 32
    (response,) = data["samples"][0]["response"]
    assert response.startswith("</script><b>&\\boxed{")
    assert [name for name, _ in data["scores"]] == [
        "avg@4",
        "pass@2",
        "pass@4",
        *data_majority(data),
    ]
    assert not re.search(
        r"(?:src|href)=|https?://(?!www\.w3\.org/(?:2000/svg|1998/Math/MathML))",
        page.replace(inner, ""),
    )


def data_majority(data: dict[str, list[tuple[str, object]]]) -> list[str]:
    return [name for name, _ in data["scores"] if name.startswith("maj@4")]


def test_rescore_changes_nothing_with_the_same_grader(run: Run) -> None:
    folder = run("m", 0.5)
    before = (folder / "results.jsonl").read_bytes()
    done = rescore(folder)
    assert done.changed == []
    assert (folder / "results.jsonl").read_bytes() == before


def test_rescore_with_another_grader(run: Run) -> None:
    folder = run("m", 1.0, text="#### 5 ")
    done = rescore(folder, "exact")
    assert done.changed == []
    samples = read_samples(folder / "results.jsonl")
    assert {sample.verdict for sample in samples} == {Verdict.CORRECT}


def test_rescore_writes_the_files_of_the_run(run: Run) -> None:
    folder = run("m", 0.5)
    before = {name: (folder / name).read_bytes() for name in ("metrics.json", "run.json")}
    rescore(folder)
    assert {name: (folder / name).read_bytes() for name in before} == before


def test_another_grader_becomes_the_run_s_own(run: Run) -> None:
    folder = run("m", 1.0)
    rescore(folder, "boxed_integer")
    assert read_run(folder).identity["grader"] == "boxed_integer"
    with pytest.raises(ConfigError, match="grader 'boxed_integer' is now 'aime'"):
        run("m", 1.0)


def test_a_grader_that_cannot_read_the_right_answers_is_refused(run: Run) -> None:
    folder = run("m", 1.0)
    problems = folder / "problems.jsonl"
    problems.write_text(problems.read_text().replace('"3"', '"1/3"'))
    assert "1/3" in problems.read_text()
    before = (folder / "results.jsonl").read_bytes()
    with pytest.raises(ConfigError, match=r"does not suit .*: answer '1/3' is not an integer"):
        rescore(folder, "boxed_integer")
    assert (folder / "results.jsonl").read_bytes() == before


def test_a_limit_that_leaves_nothing_out_is_not_partial(run: Run) -> None:
    whole, part = run("whole", 0.5, data={"limit": 99}), run("part", 0.5, data={"limit": 2})
    assert [read_run(folder).metrics().partial for folder in (whole, part)] == [False, True]
    assert any("partial" in note and "part" in note for note in compare([part, part]).notes)


def test_rescore_finds_what_was_judged_wrongly(run: Run) -> None:
    folder = run("m", 1.0)
    results = folder / "results.jsonl"
    results.write_bytes(results.read_bytes().replace(b'"correct"', b'"wrong"', 3))
    done = rescore(folder)
    assert [(old.verdict, new.verdict) for old, new in done.changed] == [("wrong", "correct")] * 3
    assert done.metrics.accuracy.mean == 1.0
    assert json.loads((folder / "metrics.json").read_text())["accuracy"]["mean"] == 1.0


def test_folders_that_are_no_finished_runs(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no run.json in it"):
        read_run(tmp_path)
    folder = run("m", 0.5)
    results = folder / "results.jsonl"
    results.write_bytes(b"".join(results.read_bytes().splitlines(keepends=True)[:9]))
    with pytest.raises(IncompleteError, match="has 9 of 32 samples"):
        read_run(folder)


@pytest.mark.skipif(shutil.which("node") is None, reason="needs node")
def test_the_page_typesets_and_searches(run: Run, tmp_path: Path) -> None:
    """The page's own script, over a stand-in for the browser that refuses to parse markup."""
    text = "<img src=x onerror=alert(1)> so $\\frac{1}{2}<x$, \\href{a}{b} and $\\href{js:1}{y}$ "
    folder = run("m", 0.5, text=text)
    path = write_report(folder)
    stub = Path(__file__).parent / "page_stub.mjs"
    command = [shutil.which("node") or "", str(stub), str(path), "FRAC{1}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    problem, response = shown["texts"][0]
    assert problem == "Problem 0?"
    assert response.startswith("<img src=x onerror=alert(1)> so 12<x, \\href{a}{b} and y \\boxed{")
    space = "http://www.w3.org/1998/Math/MathML"
    assert shown["formulas"][:2] == [
        [space, {"display": "inline"}, "12<x"],
        [space, {"display": "inline"}, "y"],
    ]
    assert "$\\frac{1}{2}<x$" in shown["titles"]
    assert shown["count"] == "32 of 32 samples"
    assert shown["plain"][0][1].startswith(text)


def test_long_responses_keep_the_report_small(run: Run) -> None:
    folder = run("m", 0.5, decoding={"mode": "avg4", "max_new_tokens": 40_000})
    small = len(render_report(read_run(folder)))
    finished = read_run(folder)
    long = "".join(f"$a_{{{n}}}+\\frac{{{n}}}{{2}}$ " for n in range(2000))
    samples = [
        replace(sample, response=long.replace("a", "abcdefgh"[sample.sample]))
        for sample in finished.samples
    ]
    page = render_report(replace(finished, samples=samples))
    assert len(page) - small < 32 * 2 * 8000 + 4 * 450 * 600
    assert "characters, see results.jsonl" in page


def test_where_all_problems_scored_alike_the_interval_is_exact(
    run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    sure, mixed = run("sure", 1.1), run("mixed", 0.5)
    low, high = binomial_interval(8, 8)  # problems, not samples
    metrics = json.loads((sure / "metrics.json").read_text())
    for found in (metrics["accuracy"], metrics["majority"], *metrics["pass_at"].values()):
        assert (found["low"], found["high"]) == (low, high)
    assert execute(cli, "srl-eval", ["rescore", str(sure)]) == 0
    shown = " ".join(capsys.readouterr().out.split())
    assert "63.1 to 100.0" in shown
    assert shown.count(f"avg@4, pass@2, pass@4, maj@4: {EXACT}") == 1
    page = render_report(read_run(sure))
    assert EXACT in page
    assert EXACT not in render_report(read_run(mixed))
    rows = compare([sure, sure, mixed], resamples=100).rows
    assert rows[0].interval == rows[1].interval == (low, high)
    assert rows[1].difference_interval == change_interval(0.0, 8)
    assert rows[2].difference_interval[1] < 0  # type: ignore[index]


def test_commands(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weak, strong = run("weak", 0.2), run("strong", 0.9)
    out = str(tmp_path / "cmp")
    args = ["compare", str(weak), str(strong), "--output-dir", out]
    assert execute(cli, "srl-eval", args) == 0
    assert "strong" in capsys.readouterr().out
    assert (tmp_path / "cmp" / "compare.html").exists()
    assert execute(cli, "srl-eval", ["report", str(weak)]) == 0
    assert (weak / "report.html").exists()
    assert execute(cli, "srl-eval", ["rescore", str(weak)]) == 0
    assert "0 verdicts changed" in capsys.readouterr().out
    assert execute(cli, "srl-eval", ["compare", str(weak)]) == 2
    assert execute(cli, "srl-eval", ["report", str(tmp_path / "none")]) == 3


def test_a_file_of_problems_is_a_task(
    tmp_path: Path, model_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text('{"problem": "1+1?", "answer": "2", "grader": "exact"}\n')
    args = ["file", "--task-file", str(path), "--model-path", str(model_folder)]
    args += ["--max-new-tokens", "4", "--output-dir", str(tmp_path / "out")]
    assert execute(cli, "srl-eval", args) == 0
    record = json.loads((tmp_path / "out" / "run.json").read_text())
    assert (record["identity"]["task"], record["identity"]["grader"]) == ("mine", "exact")
    assert execute(cli, "srl-eval", [*args, "--grader", "aime"]) == 2
    assert execute(cli, "srl-eval", ["file", "--model-path", str(model_folder)]) == 2
    assert "needs --task-file" in capsys.readouterr().err


def test_the_grader_of_a_file_is_the_one_its_records_name(tmp_path: Path) -> None:
    rows = [{"problem": "a", "answer": "1", "grader": name} for name in ("aime", "exact")]
    one, several = tmp_path / "one.json", tmp_path / "several.json"
    one.write_text(json.dumps(rows[:1]))
    several.write_text(json.dumps(rows))
    assert file_task(one, None).grader == "aime"
    assert file_task(several, "math").grader == "math"
    with pytest.raises(DataError, match=r"names several graders \(aime, exact\)"):
        file_task(several, None)
