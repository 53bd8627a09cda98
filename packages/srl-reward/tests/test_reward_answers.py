"""Format, box, R1-zero and answer rewards; grading with its pool, cache and hard limit."""

import multiprocessing
import os
import pickle
import re
import threading
import time

import pytest

from srl_reward import (
    AnswerReward,
    BoxedThinkReward,
    FormatReward,
    QuestionOnlyReward,
    R1ZeroReward,
    Reward,
    Verdict,
)
from srl_reward.grading import Grader, grade, grade_batch

HOSTILE = "9^{9^{9^{9}}}"


@pytest.fixture(scope="module")
def math_verify() -> None:
    pytest.importorskip("math_verify")


def needs_extra(grader: Grader) -> None:
    """Skip where the grader's extra is not installed."""
    if grader in ("math", "drgrpo"):
        pytest.importorskip("math_verify")


def reasons(reward: Reward, outputs: list[str], **columns: object) -> list[str | None]:
    return [each and each.reason for each in reward.score(outputs, **columns)]


def test_format_reward_is_one_for_the_grammar_alone() -> None:
    outputs = ["<think>a</think>1. x", "1. x", "<think>a</think>"]
    assert FormatReward()(outputs) == [1.0, 0.0, 0.0]
    assert FormatReward(valid=0.5, invalid=-1)(outputs) == [0.5, -1, -1]
    assert reasons(FormatReward(), outputs) == [None, "missing_think", "empty_action"]
    assert FormatReward()(["a</think>x"], think_prefilled=[True]) == [1.0]


def test_boxed_think_wants_thinking_then_exactly_the_answer() -> None:
    outputs = [
        r"<think>a</think>so \boxed{ 33 }",
        r"<think>a</think>so \boxed{033}",
        r"<think> </think>\boxed{33}",
        r"<think>\boxed{33}</think>33",
        r"\boxed{33}",
        r"<think>a</think>\boxed{33} <think>",
    ]
    reward = BoxedThinkReward()
    answers = ["33"] * len(outputs)
    assert reward(outputs, answer=answers) == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0]
    assert reasons(reward, outputs, answer=answers) == [
        None,
        None,
        "empty_thinking",
        "no_box",
        "missing_think",
        "repeated_think",
    ]
    assert reward([r"<think>a</think>\boxed{b}"], answer=["B"]) == [0.0]
    assert reward([r"a</think>\boxed{5}"] * 2, answer=[5, None], think_prefilled=[True] * 2) == [
        1.0,
        None,
    ]
    parts = [each and dict(each.parts) for each in reward.score(outputs[:3], answer=answers[:3])]
    assert parts == [
        {"format": 1.0, "answer": 1.0},
        {"format": 1.0, "answer": 0.0},
        {"format": 0.0, "answer": 0.0},
    ]


@pytest.mark.parametrize(
    ("output", "value", "reason"),
    [
        ("<think>a</think> <answer>33</answer>", 1.1, None),
        (r"<think>a</think><answer>is \boxed{33}</answer> ", 1.1, None),
        ("<think>a</think><answer>34</answer>", 0.1, None),
        ("<think>a</think>33", 0.0, "missing_answer"),
        ("<think>a</think>x<answer>33</answer>", 0.0, "text_before_answer"),
        ("<think>a</think><answer>33", 0.0, "unclosed_answer"),
        ("<think>a</think><answer>33</answer>x", 0.0, "text_after_answer"),
        ("<think>a</think><answer>1</answer><answer>33</answer>", 0.0, "text_after_answer"),
        ("<think>a</think><answer><answer>33</answer>", 0.0, "nested_answer"),
        ("<think>a</think><answer> </answer>", 0.0, "empty_answer"),
        ("<answer>33</answer>", 0.0, "missing_think"),
    ],
)
def test_r1_zero_has_a_form_and_an_answer(output: str, value: float, reason: str | None) -> None:
    (scored,) = R1ZeroReward(grader="exact", format_weight=0.1).score([output], answer=["33"])
    assert scored is not None
    assert (scored.reward, scored.reason) == (pytest.approx(value), reason)
    assert scored.parts == {"format": float(value > 0), "answer": float(value > 1)}


@pytest.mark.parametrize("grader", ["exact", "math", "drgrpo"])
def test_r1_zero_is_worth_1_where_form_and_answer_are_right_and_0_elsewhere(grader: Grader) -> None:
    needs_extra(grader)
    outputs = [
        "<think>a</think> <answer>33</answer>",
        "<think>a</think> <answer>34</answer>",
        "33",
        "<think>a</think> 33",
    ]
    reward = R1ZeroReward(grader=grader)
    assert reward(outputs, answer=["33"] * 4) == [1, 0, 0, 0]
    assert reward(outputs[:1], answer=["33"], truncated=[True]) == [0]
    former = R1ZeroReward(grader=grader, format_weight=0.1)
    assert former(outputs, answer=["33"] * 4) == [1.1, 0.1, 0, 0]
    shared = R1ZeroReward(grader=grader, format_weight=0.25, answer_weight=0.75)
    assert shared(outputs, answer=["33"] * 4) == [1, 0.25, 0, 0]


def test_r1_zero_asks_the_record_s_grader_and_else_math() -> None:
    needs_extra("math")
    outputs = ["<think>a</think><answer>1/2</answer>"] * 3
    graders = ["exact", "math", None]
    assert R1ZeroReward()(outputs, answer=["0.5"] * 3, grader=graders) == [0, 1, 1]
    assert R1ZeroReward()(outputs, answer=["0.5"] * 3) == [1, 1, 1]
    assert R1ZeroReward(grader="math")(outputs, answer=["0.5"] * 3, grader=graders) == [1, 1, 1]
    with pytest.raises(ValueError, match="grader is 'mth'"):
        R1ZeroReward()(outputs, answer=["0.5"] * 3, grader=["mth"] * 3)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"format_weight": -0.1}, "format_weight is -0.1, expected a finite number that is not"),
        ({"answer_weight": float("nan")}, "answer_weight is nan"),
        ({"answer_weight": float("inf")}, "answer_weight is inf"),
        ({"answer_weight": 0.0}, "are both 0: every reward would be 0"),
    ],
)
def test_r1_zero_refuses_weights_that_are_none(weights: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        R1ZeroReward(**weights)  # type: ignore[arg-type]  # a number each


@pytest.mark.parametrize(
    ("output", "value", "form"),
    [
        (r"so \boxed{33}", 1, 1),
        (r"so \boxed{34}", 0, 1),
        ("so 33", 0, 0),
        ("#### 33", 0, 0),
        (r"<think>\boxed{33}</think>", 0, 0),
        (r"<think>\boxed{33}", 0, 0),
        (r"<think>a</think>\boxed{33}", 1, 1),
        (r"\boxed{}", 0, 0),
    ],
)
@pytest.mark.parametrize("grader", ["exact", "gsm8k", "math", "aime", "boxed_integer"])
def test_question_only_wants_a_box_and_no_other_form(
    output: str, value: float, form: float, grader: Grader
) -> None:
    needs_extra(grader)
    (scored,) = QuestionOnlyReward(grader=grader).score([output], answer=["33"])
    assert scored is not None
    assert (scored.reward, scored.exact) == (value, bool(value))
    assert scored.parts == {"format": form, "answer": value}
    (cut,) = QuestionOnlyReward(grader=grader).score([output], answer=["33"], truncated=[True])
    assert cut is not None
    assert (cut.reward, cut.reason, cut.parts["format"]) == (0, "truncated", 0)


def test_r1_zero_takes_graders_prefilled_tags_and_missing_answers() -> None:
    reward = R1ZeroReward(grader="aime", format_weight=0, answer_weight=2)
    outputs = ["a</think><answer>033</answer>"] * 2
    assert reward(outputs, answer=[33, None], think_prefilled=[True] * 2) == [2, None]


@pytest.mark.parametrize(
    ("grader", "text", "gold", "value", "reason"),
    [
        ("aime", r"\boxed{033}", "33", 1.0, None),
        ("aime", r"\boxed{33}", "033", 1.0, None),
        ("aime", r"\boxed{34}", "33", 0.0, None),
        ("aime", r"\boxed{1000}", "33", 0.0, "unparsable"),
        ("aime", "33", "33", 0.0, "no_answer"),
        ("aime", r"<think>\boxed{1}</think>\boxed{33}", "33", 1.0, None),
        ("aime", r"<think>\boxed{33}</think>done", "33", 0.0, "no_answer"),
        ("aime", r"<think>\boxed{33}", "33", 0.0, "unclosed_think"),
        ("aime", r"<think></think><think>\boxed{33}", "33", 0.0, "repeated_think"),
        ("gsm8k", "#### 1,234", "so\n#### 1234", 1.0, None),
        ("gsm8k", r"\boxed{1234.0}", "1,234", 1.0, None),
        ("gsm8k", "#### 5", "6", 0.0, None),
        ("gsm8k", r"\boxed{18 \text{ eggs}}", "18", 1.0, None),
        ("gsm8k", r"\boxed{7}, no: #### 18", "18", 1.0, None),
        ("gsm8k", "#### 2. Count\nso \\boxed{18}", "18", 1.0, None),
        ("gsm8k", r"\boxed{18} #### 7", "18", 0.0, None),
        ("gsm8k", r"\boxed{many}", "18", 0.0, "unparsable"),
        ("gsm8k", r"\boxed{}", "18", 0.0, "no_answer"),
        ("boxed_integer", r"\boxed{x = 1{,}406}", "1406", 1.0, None),
        ("boxed_integer", r"\boxed{-3}", "3", 0.0, None),
        ("boxed_integer", r"\boxed{1/2}", "3", 0.0, "unparsable"),
        ("exact", r"\boxed{x}", "x", 1.0, None),
        ("exact", r"\boxed{x}", "X", 0.0, None),
    ],
)
def test_plain_graders(
    grader: Grader, text: str, gold: str, value: float, reason: str | None
) -> None:
    (scored,) = AnswerReward(grader=grader).score([text], answer=[gold])
    assert scored is not None
    assert (scored.reward, scored.reason) == (value, reason)


def test_the_grader_may_be_a_column_and_the_answer_missing() -> None:
    outputs = [r"\boxed{033}"] * 3
    columns = {"answer": ["33", "33", None], "grader": ["aime", "exact", "aime"]}
    assert AnswerReward()(outputs, **columns) == [1.0, 0.0, None]
    assert AnswerReward(grader="aime", correct=2, wrong=-1)(outputs, answer=[33, 34, 35]) == [
        2,
        -1,
        -1,
    ]
    assert AnswerReward(grader="aime")(outputs[:1], answer=[33], truncated=[True]) == [0.0]
    with pytest.raises(ValueError, match="grader is 'sympy'"):
        AnswerReward(grader="sympy")  # type: ignore[arg-type]


@pytest.mark.usefixtures("math_verify")
def test_math_verify_grades_expressions() -> None:
    pairs = [
        (r"\frac{1}{2}", "0.5"),
        (r"\frac{1}{2}", "0.6"),
        ("x+1", "1+x"),
        ("3", r"\{"),
        ("1", ""),
    ]
    assert grade_batch("math", pairs) == [
        Verdict.CORRECT,
        Verdict.WRONG,
        Verdict.CORRECT,
        Verdict.WRONG,
        Verdict.UNPARSABLE,
    ]
    reward = pickle.loads(pickle.dumps(AnswerReward()))
    assert reward([r"\boxed{0.5}", r"\boxed{2}"], answer=[r"\frac12", "3"]) == [1.0, 0.0]


@pytest.mark.usefixtures("math_verify")
def test_hostile_expressions_are_killed_at_the_limit_and_the_pool_goes_on() -> None:
    start = time.monotonic()
    verdict = grade("math", "7", f"{HOSTILE} + 1/{HOSTILE}", seconds=2)
    assert verdict in (Verdict.TIMEOUT, Verdict.CRASHED, Verdict.UNPARSABLE, Verdict.WRONG)
    assert time.monotonic() - start < 60
    assert grade("math", "7", "6+1") is Verdict.CORRECT


@pytest.mark.usefixtures("math_verify")
def test_a_hanging_worker_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    from srl_reward import _math_pool

    worker = _math_pool.Worker()
    assert worker.ask("1", "2", 30) == "wrong"
    process = worker._process
    assert process is not None
    os.kill(process.pid, 19)  # SIGSTOP: it will not answer
    start = time.monotonic()
    assert worker.ask("1", "3", 0.3) == "timeout"
    assert time.monotonic() - start < 5
    assert process.poll() is not None
    assert worker.ask("1", "1.0", 30) == "correct"
    worker.close()


@pytest.mark.usefixtures("math_verify")
def test_grading_works_off_the_main_thread_and_is_cached(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from srl_reward import _math_pool

    found: list[Verdict] = []
    thread = threading.Thread(target=lambda: found.append(grade("math", "2", "1+1")))
    thread.start()
    thread.join()
    assert found == [Verdict.CORRECT]
    monkeypatch.setattr(_math_pool.Worker, "ask", None)  # A second question would raise.
    assert grade("math", "2", "1+1") is Verdict.CORRECT


@pytest.mark.slow
@pytest.mark.usefixtures("math_verify")
def test_a_forked_child_has_its_own_pool() -> None:
    assert grade("math", "2", "1+1") is Verdict.CORRECT
    context = multiprocessing.get_context("fork")
    with context.Pool(1) as pool:
        assert pool.apply(grade, ("math", "4", "1+3")) is Verdict.CORRECT
    assert grade("math", "5", "1+4") is Verdict.CORRECT
