"""Which texts count as which answers, by grader."""

import pytest

from srl_data.errors import ConfigError
from srl_eval.grading import Verdict, get_grader, judge


@pytest.mark.parametrize(
    ("text", "gold", "verdict", "extracted"),
    [
        (r"so \boxed{204}.", "204", Verdict.CORRECT, "204"),
        (r"\boxed{025}", "25", Verdict.CORRECT, "25"),
        (r"\boxed{3} no, \boxed{33}", "33", Verdict.CORRECT, "33"),
        (r"\boxed{34}", "33", Verdict.WRONG, "34"),
        (r"\boxed{\frac{1}{2}}", "33", Verdict.NO_ANSWER, None),
        ("the answer is 33", "33", Verdict.NO_ANSWER, None),
        ("", "33", Verdict.NO_ANSWER, None),
    ],
)
def test_aime(text: str, gold: str, verdict: Verdict, extracted: str | None) -> None:
    got = judge(get_grader("aime"), text, gold, "stop")
    assert (got.verdict, got.extracted) == (verdict, extracted)


@pytest.mark.parametrize(
    ("answer", "gold"), [("025", "25"), ("204", "204"), ("0", "0"), ("27.0", "27")]
)
def test_aime_gold(answer: str, gold: str) -> None:
    assert get_grader("aime").gold(answer) == gold


@pytest.mark.parametrize("answer", ["1000", "-1", "1/2", "", "27.5"])
def test_aime_gold_that_is_none_is_refused(answer: str) -> None:
    with pytest.raises(ValueError, match="expected an integer from 0 to 999"):
        get_grader("aime").gold(answer)


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        (r"4. **Answer** \boxed{1406}", "1406", Verdict.CORRECT),
        (r"\boxed{01406}", "1406", Verdict.CORRECT),
        (r"\boxed{1,406}", "1406", Verdict.CORRECT),
        (r"\boxed{1{,}406}", "1406", Verdict.CORRECT),
        (r"\boxed{-12}", "-12", Verdict.CORRECT),
        (r"\boxed{27.0}", "27", Verdict.CORRECT),
        (r"\boxed{14,06}", "1406", Verdict.WRONG),
        (r"\boxed{1/2}", "1", Verdict.WRONG),
        (r"\boxed{}", "0", Verdict.NO_ANSWER),
        ("1406", "1406", Verdict.NO_ANSWER),
    ],
)
def test_boxed_integer(text: str, gold: str, verdict: Verdict) -> None:
    grader = get_grader("boxed_integer")
    assert judge(grader, text, grader.gold(gold), "stop").verdict is verdict


def test_boxed_integer_survives_a_hundred_thousand_digits() -> None:
    text = "\\boxed{" + "9" * 100_000 + "}"
    assert judge(get_grader("boxed_integer"), text, "9", "stop").verdict is Verdict.WRONG


def test_gsm8k() -> None:
    grader = get_grader("gsm8k")
    assert grader.gold("She makes 9 * 2 = $<<9*2=18>>18.\n#### 18") == "18"
    assert judge(grader, r"\boxed{\$18}", "18", "stop").extracted in {"18", None}
    assert judge(grader, r"so \boxed{18}", "18", "stop").verdict is Verdict.CORRECT
    assert judge(grader, "so\n#### 1,018", "1018", "stop").verdict is Verdict.CORRECT


def test_cut_off_counts_as_truncated_only_without_an_answer() -> None:
    grader = get_grader("aime")
    assert judge(grader, "let us see", "33", "length").verdict is Verdict.TRUNCATED
    assert judge(grader, r"\boxed{33} and", "33", "length").verdict is Verdict.CORRECT


def test_unknown_grader_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown grader 'exact'; known: aime, boxed_integer"):
        get_grader("exact")
