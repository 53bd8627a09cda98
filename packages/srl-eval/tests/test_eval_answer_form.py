"""Where answers stand and in which form: by the prompt template's grammar, and counted so."""

import json
import re
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import pytest
from transformers import PreTrainedTokenizerFast

from srl_data.command.errors import ConfigError
from srl_data.prompts import TEMPLATES, get_template
from srl_eval.answer_form import AnswerPart, Written, answer_part, check_stops, grammar_of
from srl_eval.config import EvalConfig
from srl_eval.display import format_table
from srl_eval.finished import read_run, rescore
from srl_eval.generate import ChunkedEngine, Completion, completion_text
from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge
from srl_eval.metrics import Metrics, compute_metrics
from srl_eval.models import Subject, live_subject
from srl_eval.plan import prepare
from srl_eval.report import render_report
from srl_eval.run import evaluate
from srl_eval.samples import Sample, decode_sample, encode_sample
from srl_eval.tasks import get_task

BOX = r"\boxed{42}"


@pytest.mark.parametrize(
    ("text", "part", "bare", "in_form"),
    [
        ("a</think> <answer>42</answer>", "42", True, True),
        (f"a</think> <answer>so {BOX} </answer>", f"so {BOX}", False, True),
        (f"a</think> <answer>42</answer> or {BOX}", "42", True, False),
        ("a</think><answer>7</answer><answer>42</answer>", "42", True, False),
        ("a</think><answer>42</answer><answer> </answer>", "42", True, False),
        ("a</think><answer>42", "42", True, False),
        (f"a</think> {BOX}", f" {BOX}", False, False),
        (f"a</think> <answer></answer> {BOX}", f" <answer></answer> {BOX}", False, False),
        ("a</think> 42", " 42", False, False),
        (f"a <answer>{BOX}</answer>", "", False, False),
        (f"a</think><answer>{BOX}</answer><think>", "", False, False),
    ],
)
def test_under_tags_the_last_tag_holds_the_answer_else_what_follows_the_thinking(
    text: str, part: str, bare: bool, in_form: bool
) -> None:
    written = Written(text, prefilled=True)
    template = get_template("r1_zero")
    assert answer_part(template, written) == AnswerPart(part, bare)
    grammar = grammar_of(template)
    assert grammar is not None
    assert grammar(written) is in_form
    assert not grammar(Written(text, prefilled=True, cut=True))
    whole = Written(f"<think>{text}")  # the prompt opened nothing
    assert answer_part(template, whole) == AnswerPart(part, bare)
    assert grammar(whole) is in_form


@pytest.mark.parametrize("name", sorted(set(TEMPLATES) - {"r1_zero"}))
def test_without_tags_in_the_template_a_tag_is_text(name: str) -> None:
    written = Written(f"a</think><answer>7</answer> {BOX}", prefilled=True)
    assert answer_part(get_template(name), written).text == f"<answer>7</answer> {BOX}"
    assert not answer_part(get_template(name), written).bare


@pytest.mark.parametrize(
    ("grader", "gold", "text", "verdict", "extracted"),
    [
        ("aime", "42", " 042 ", Verdict.CORRECT, "42"),
        ("aime", "42", "43", Verdict.WRONG, "43"),
        ("aime", "42", "forty-two", Verdict.WRONG, "forty-two"),
        ("boxed_integer", "42", "42.", Verdict.CORRECT, "42"),
        ("gsm8k", "#### 1234", "$1,234", Verdict.CORRECT, "$1,234"),
        ("gsm8k", "#### 42", "so\n#### 42", Verdict.CORRECT, "42"),
        ("exact", "42", "42", Verdict.CORRECT, "42"),
        ("exact", "}{", "}{", Verdict.CORRECT, "}{"),
        ("math", r"\frac{1}{2}", "0.5", Verdict.CORRECT, "0.5"),
        ("math", "7", BOX, Verdict.WRONG, "42"),
        ("drgrpo", r"\frac{1}{2}", "1/2", Verdict.CORRECT, "1/2"),
        ("drgrpo", "42", "43", Verdict.WRONG, "43"),
        ("minerva", "42", "42", Verdict.CORRECT, "42"),
        ("olympiad", "42", "42", Verdict.CORRECT, "42"),
    ],
)
def test_a_bare_answer_is_read_as_if_it_stood_in_a_box(
    grader: str, gold: str, text: str, verdict: Verdict, extracted: str
) -> None:
    known = get_grader(grader)
    right = Gold(known.gold(gold))
    (found,) = judge(known, [Candidate(text, "stop", right, bare=True)])
    assert (found.verdict, found.extracted) == (verdict, extracted)
    if "\\boxed" not in text and "####" not in text:
        (unmarked,) = judge(known, [Candidate(text, "stop", right)])
        assert unmarked.verdict is Verdict.NO_ANSWER


REPLIES = {
    "r1_zero": {
        "right": "t</think> <answer>{0}</answer>",
        "wrong": "t</think> <answer>9{0}</answer>",
        "form": "t</think> \\boxed{{{0}}}",
        "none": "t</think>",
    },
    "srl": {
        "right": "<think>t</think>\\boxed{{{0}}}",
        "wrong": "<think>t</think>It goes on.",
        "form": "\\boxed{{{0}}}",
        "none": "",
    },
    "boxed": {
        "right": "\\boxed{{{0}}}",
        "wrong": "\\boxed{{9{0}}}",
        "form": "it is {0}",
        "none": "<think>\\boxed{{{0}}}",
    },
}


def configure(folder: Path, data: Path, **sections: dict[str, object]) -> EvalConfig:
    base: dict[str, dict[str, object]] = {
        "data": {"data_path": data},
        "output": {"output_dir": folder, "bootstrap": 100},
        "decoding": {"max_new_tokens": 64},
        "backend": {"chunk_size": 4},
    }
    return EvalConfig.model_validate(base | sections)


@pytest.fixture
def subject(
    tokenizer: PreTrainedTokenizerFast, scripted: Callable[..., ChunkedEngine]
) -> Callable[..., Subject]:
    def make(reply: Callable[[str, int], str], template: str) -> Subject:
        engine = scripted(reply)
        return live_subject(engine, tokenizer, stop_token_ids=(0,), window=None, template=template)

    return make


@pytest.fixture
def run(tmp_path: Path, subject: Callable[..., Subject]) -> Callable[[str], tuple[Metrics, Path]]:
    """Four problems, answered in the four ways of a template."""

    def evaluated(name: str) -> tuple[Metrics, Path]:
        kinds = list(REPLIES[name])
        data = tmp_path / "problems.jsonl"
        rows = [{"problem": f"{kind} {n}?", "answer": n + 1} for n, kind in enumerate(kinds)]
        data.write_text("".join(json.dumps(row) + "\n" for row in rows))

        def reply(prompt: str, _seed: int) -> str:
            (asked,) = [n for n, kind in enumerate(kinds) if f"{kind} {n}?" in prompt]
            return REPLIES[name][kinds[asked]].format(asked + 1)

        config = configure(tmp_path / name, data, prompt={"solve": "whole"})
        return evaluate(get_task("aime24"), config, subject(reply, template=name)), tmp_path / name

    return evaluated


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_format_and_categories_stand_in_metrics_report_and_table(
    run: Callable[[str], tuple[Metrics, Path]], name: str, tmp_path: Path
) -> None:
    metrics, folder = run(name)
    right = {"boxed": 1, "r1_zero": 2, "srl": 2}[name]  # a right answer in the wrong form counts
    assert metrics.verdicts["correct"] == right
    counts = {key: found.count for key, found in metrics.categories.items()}
    assert counts == {
        "format_right_answer_right": 1,
        "format_right_answer_wrong": 1,
        "format_wrong": 2,
    }
    assert [found.share for found in metrics.categories.values()] == [0.25, 0.25, 0.5]
    assert metrics.format.mean == 0.5

    written = json.loads((folder / "metrics.json").read_text())
    assert written["categories"]["format_wrong"] == {"count": 2, "share": 0.5}
    assert written["format"] == asdict(metrics.format)
    assert '["format right, answer wrong", 1, 0.25]' in render_report(read_run(folder))
    table = format_table(metrics)
    assert list(table.columns[0].cells) == [
        "format right, answer right",
        "format right, answer wrong",
        "format wrong",
    ]
    assert list(table.columns[2].cells) == ["25.0", "25.0", "50.0"]


@pytest.mark.parametrize("name", sorted(REPLIES))
def test_judging_again_reads_what_was_read(
    run: Callable[[str], tuple[Metrics, Path]], name: str
) -> None:
    metrics, folder = run(name)
    before = (folder / "results.jsonl").read_bytes()
    again = rescore(folder)
    assert again.changed == []
    assert (folder / "results.jsonl").read_bytes() == before
    assert again.metrics.categories == metrics.categories


def test_a_chain_is_in_form_where_each_of_its_steps_is(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    data = tmp_path / "problems.jsonl"
    rows = [{"problem": f"Problem {n}?", "answer": 1} for n in range(3)]
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    first = "<think>t</think>1. Begin."
    last = [r"<think>t</think>2. \boxed{1}", r"2. \boxed{1}", r"<think>t</think>2. \boxed{2}"]

    def reply(prompt: str, _seed: int) -> str:
        (asked,) = [n for n in range(3) if f"Problem {n}?" in prompt]
        return last[asked] if "1. Begin." in prompt else first

    config = configure(tmp_path / "out", data, decoding={"mode": "stepwise", "max_new_tokens": 999})
    metrics = evaluate(get_task("aime24"), config, subject(reply, template="srl"))
    assert [found.count for found in metrics.categories.values()] == [1, 1, 1]


def test_a_line_of_an_earlier_version_has_the_format_of_its_grader(
    sample: Callable[..., Sample],
) -> None:
    fields = json.loads(encode_sample(sample(extracted="1", verdict=Verdict.CORRECT)))
    del fields["bare"], fields["in_grammar"]
    old = decode_sample(json.dumps(fields).encode())
    assert old.in_format
    assert not sample().in_format
    metrics = compute_metrics("t", "greedy", [old], partial=False, resamples=100)
    assert metrics.categories["format_right_answer_right"].count == 1


@pytest.mark.parametrize(
    ("name", "stop", "mark"),
    [
        ("r1_zero", "</ans", "</answer>"),
        ("r1_zero", "</think> <answer>", "</think>"),
        ("r1_zero", "<answer>", "<answer>"),
        ("r1_zero", "<", "<think>"),
        ("srl", "</think>", "</think>"),
        ("bare", "think", "<think>"),
    ],
)
def test_a_stop_text_that_takes_a_mark_of_the_grammar_away_is_refused(
    name: str, stop: str, mark: str
) -> None:
    with pytest.raises(ConfigError, match=re.escape(f"--stop {stop!r} takes away {mark}, which")):
        check_stops(get_template(name), ["\n\nUser:", stop])


@pytest.mark.parametrize(
    ("name", "stop"),
    [
        ("boxed", "</answer>"),
        ("srl", "</answer>"),
        ("r1_zero", "</answer>"),
        ("r1_zero", "\n</answer>\n"),
        ("r1_zero", "User:"),
    ],
)
def test_other_stop_texts_are_taken(name: str, stop: str) -> None:
    check_stops(get_template(name), [stop, "\n\n"])


def test_an_evaluation_refuses_such_a_stop_text(
    tmp_path: Path, subject: Callable[..., Subject]
) -> None:
    data = tmp_path / "problems.jsonl"
    data.write_text('{"problem": "p", "answer": 1}\n')
    config = configure(tmp_path / "out", data, decoding={"stop": ["</think>"]})
    with pytest.raises(ConfigError, match="takes away </think>"):
        prepare(get_task("aime24"), config, subject(lambda _prompt, _seed: "", "r1_zero"))


@pytest.mark.parametrize("stop", ["</answer>", "\n</answer>\n", "42"])
def test_a_stop_text_that_closes_the_answer_is_part_of_it(
    tokenizer: PreTrainedTokenizerFast, stop: str
) -> None:
    text = "a</think> <answer>42\n</answer>\n"
    ids = tuple(tokenizer.encode(text + "!", add_special_tokens=False))
    found = completion_text(Completion(ids, (0.0,) * len(ids), "stop", 0, stop), tokenizer)
    assert found == (text[: text.index(stop) + len(stop)] if "</" in stop else text[:18])
    grammar = grammar_of(get_template("r1_zero"))
    assert grammar is not None
    assert grammar(Written(found, prefilled=True)) is ("</" in stop)
