"""What cannot be read is named: golds before a run, answers with the reason beside the verdict."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from srl_eval import EvalConfig, Subject, evaluate, get_task, read_samples
from srl_eval.generate import ChunkedEngine
from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge
from srl_eval.models import live_subject
from srl_eval.plan import prepare
from srl_eval.problems import file_task, load_problems

UNREADABLE = [
    r"\frac{1}{",
    "@@",
    "???",
    r"\foo{3}",
    "{{{",
    r"\left(",
    "x^",
    "#",
    r"\frac{}{2}",
    "3 +",
    r"\{1, 2",
    r"\sqrt{",
]
READABLE = [
    r"\frac{1}{2}",
    r"\text{Evelyn}",
    "(1, 2)",
    r"336^\circ",
    "x < 2",
    r"\begin{pmatrix}1\\2\end{pmatrix}",
    r"\sum_{k=1}^{n} k",
    r"\int_0^1 x^2 dx",
    "1,2,3",
    r"5\text{ million}",
    "2:30",
    r"y'' + y = 0",
]


@pytest.mark.parametrize("gold", UNREADABLE)
def test_two_unreadable_texts_are_ungradable_and_never_wrong(gold: str) -> None:
    others = [text for text in UNREADABLE if text != gold]
    candidates = [Candidate(f"\\boxed{{{o}}}", "stop", Gold(gold)) for o in others if balanced(o)]
    for judgement in judge(get_grader("math"), candidates):
        assert judgement.verdict is Verdict.UNGRADABLE, judgement.extracted
        assert judgement.reason is not None
        assert judgement.reason.startswith("the gold answer cannot be read: ")


def balanced(text: str) -> bool:
    return text.replace("\\{", "").count("{") == text.replace("\\}", "").count("}")


@pytest.mark.parametrize("text", READABLE)
def test_readable_answers_are_judged(text: str) -> None:
    assert get_grader("math").unreadable(text) is None
    (judgement,) = judge(get_grader("math"), [Candidate("\\boxed{17}", "stop", Gold(text))])
    assert (judgement.verdict, judgement.reason) == (Verdict.WRONG, None)


def test_the_same_unreadable_text_is_right() -> None:
    (judgement,) = judge(get_grader("math"), [Candidate(r"\boxed{\foo3}", "stop", Gold(r"\foo3"))])
    assert judgement.verdict is Verdict.CORRECT


def test_too_large_numbers_are_ungradable_at_once() -> None:
    pair = Candidate(r"\boxed{10^{10^{10}} + 1}", "stop", Gold(r"10^{10^{10}}"))
    (judgement,) = judge(get_grader("math"), [pair])
    assert judgement.verdict is Verdict.UNGRADABLE
    assert judgement.reason == "past the grader's limits of time, memory or size"


def test_an_unreadable_gold_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "p.jsonl"
    rows = [{"problem": f"P{n}", "answer": a} for n, a in enumerate(["1", r"\frac{1}{", "3"])]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = load_problems(file_task(path, "math"), path)
    assert len(found.problems) == 3
    (note,) = found.unreadable
    assert note.startswith(f"{path}:2: gold answer '\\\\frac{{1}}{{' cannot be read: ")
    assert note.endswith("; only the same text is right")


def test_it_is_said_before_the_run_and_its_reason_is_kept(
    tmp_path: Path,
    tokenizer: object,
    scripted: Callable[..., ChunkedEngine],
) -> None:
    path = tmp_path / "p.jsonl"
    path.write_text(json.dumps({"problem": "P", "answer": r"\frac{1}{"}) + "\n")
    tree = {
        "decoding": {"max_new_tokens": 40},
        "data": {"data_path": path},
        "output": {"output_dir": tmp_path / "out", "bootstrap": 100},
    }
    config = EvalConfig.model_validate(tree)
    engine = scripted(lambda _prompt, _seed: "\\boxed{??}")
    subject: Subject = live_subject(engine, tokenizer, stop_token_ids=(0,), window=None)  # type: ignore[arg-type]
    task = file_task(path, "math")
    assert any("p.jsonl:1: gold answer" in note for note in prepare(task, config, subject).notes)
    metrics = evaluate(task, config, subject)
    assert metrics.verdicts["ungradable"] == 1
    (line,) = read_samples(tmp_path / "out" / "results.jsonl")
    assert line.reason is not None
    assert "gold answer cannot be read" in line.reason


def test_a_gold_in_degrees_is_an_aime_answer(tmp_path: Path) -> None:
    path = tmp_path / "aime.jsonl"
    path.write_text(json.dumps({"problem": "P", "answer": r"336^\circ"}) + "\n")
    (problem,) = load_problems(get_task("aime24"), path).problems
    assert problem.answer == "336"
    with pytest.raises(ValueError, match="expected an integer from 0 to 999"):
        get_grader("aime").gold(r"3360^\circ")
