"""Which texts count as which answers, by grader."""

import pytest

from srl_data.command.errors import ConfigError
from srl_eval.generate import FinishReason
from srl_eval.grading import Candidate, Gold, Judgement, Verdict, get_grader, judge
from srl_reward.grading import grade_batch


def verdict_of(
    name: str, text: str, gold: str, finish: FinishReason = "stop", **meta: object
) -> Judgement:
    grader = get_grader(name)
    (judgement,) = judge(grader, [Candidate(text, finish, Gold(grader.gold(gold), meta))])
    return judgement


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
    got = verdict_of("aime", text, gold)
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
    assert verdict_of("boxed_integer", text, gold).verdict is verdict


def test_boxed_integer_survives_a_hundred_thousand_digits() -> None:
    text = "\\boxed{" + "9" * 100_000 + "}"
    assert verdict_of("boxed_integer", text, "9").verdict is Verdict.WRONG


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        (r"so \boxed{1018}", Verdict.CORRECT),
        (r"so \boxed{\$1,018}", Verdict.CORRECT),
        (r"so \boxed{1018.00}", Verdict.CORRECT),
        (r"so \boxed{1018\text{ dollars}}", Verdict.CORRECT),
        (r"so \boxed{1018 eggs}", Verdict.CORRECT),
        (r"so \boxed{1018\%}", Verdict.CORRECT),
        ("so\n#### 1,018", Verdict.CORRECT),
        (r"\boxed{7}, no: #### 1018", Verdict.CORRECT),
        (r"\boxed{1018} and then #### 7", Verdict.WRONG),
        ("#### 2. Count\nso \\boxed{1018}", Verdict.CORRECT),
        (r"#### \boxed{1018}", Verdict.CORRECT),
        (r"\boxed{1018} #### Done", Verdict.CORRECT),
        (r"#### 1018 \boxed{}", Verdict.CORRECT),
        (r"so \boxed{1019}", Verdict.WRONG),
        (r"so \boxed{-1018}", Verdict.WRONG),
        (r"so \boxed{many}", Verdict.WRONG),
        ("so 1018", Verdict.NO_ANSWER),
    ],
)
def test_gsm8k(text: str, verdict: Verdict) -> None:
    assert verdict_of("gsm8k", text, "x = <<509*2=1018>>1018\n#### 1,018").verdict is verdict


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        (r"\boxed{\frac{14}{3}}", r"\frac{14}{3}", Verdict.CORRECT),
        (r"\boxed{14/3}", r"\frac{14}{3}", Verdict.CORRECT),
        (
            r"\boxed{\left(3,\frac{\pi}{2}\right)}",
            r"\left( 3, \frac{\pi}{2} \right)",
            Verdict.CORRECT,
        ),
        (r"\boxed{q-p}", "p - q", Verdict.WRONG),
        (r"\boxed{Evelyn}", r"\text{Evelyn}", Verdict.CORRECT),
        (r"\boxed{3,5}", "3, 5, 7", Verdict.WRONG),
        ("none", "3", Verdict.NO_ANSWER),
    ],
)
def test_math(text: str, gold: str, verdict: Verdict) -> None:
    assert verdict_of("math", text, gold).verdict is verdict


@pytest.mark.parametrize(
    ("text", "gold", "verdict"),
    [
        (r"\boxed{4.5 \times 10^{33}}", "4.5e33", Verdict.CORRECT),
        (r"\boxed{4.50e33}", "4.5e33", Verdict.CORRECT),
        (r"\boxed{4.5003e33}", "4.5e33", Verdict.CORRECT),
        (r"\boxed{4.51e33}", "4.5e33", Verdict.WRONG),
        (r"\boxed{-\frac{3}{2}}", "-3./2", Verdict.CORRECT),
        (r"\boxed{1.6 \mathrm{~cm}}", "1.6", Verdict.CORRECT),
        (r"\boxed{\arcsin(10/13)}", "np.arcsin(10/13)", Verdict.CORRECT),
        (r"\boxed{10^{9}}", "1e9", Verdict.CORRECT),
    ],
)
def test_minerva(text: str, gold: str, verdict: Verdict) -> None:
    assert verdict_of("minerva", text, gold).verdict is verdict


def test_olympiad_honours_several_answers_units_and_tolerances() -> None:
    assert verdict_of("olympiad", r"\boxed{5,3,1}", "1,3,5").verdict is Verdict.CORRECT
    assert verdict_of("olympiad", r"\boxed{3,1}", "1,3,5").verdict is Verdict.WRONG
    assert verdict_of("olympiad", r"\boxed{69, 84}", "$69$,$84$").verdict is Verdict.CORRECT
    assert verdict_of("olympiad", r"\boxed{1}", "$k=1$").verdict is Verdict.CORRECT
    close = verdict_of("olympiad", r"\boxed{4.25\%}", "4.2", unit="%", tolerance=0.1)
    assert close.verdict is Verdict.CORRECT
    far = verdict_of("olympiad", r"\boxed{4.4\%}", "4.2", unit="%", tolerance=0.1)
    assert far.verdict is Verdict.WRONG


@pytest.mark.parametrize("grader", ["gsm8k", "minerva", "olympiad", "boxed_integer", "aime"])
@pytest.mark.parametrize(
    "answer",
    ["a" * 190 + "!", "9" * 100_000, "1" + "," * 5000, "\\text{" * 60, "1/" * 90, "1e999999999"],
)
@pytest.mark.timeout(60)
def test_hostile_answers_are_over_soon(grader: str, answer: str) -> None:
    assert verdict_of(grader, f"\\boxed{{{answer}}}", "7").verdict is not Verdict.CORRECT


def test_cut_off_counts_as_truncated_only_without_an_answer() -> None:
    assert verdict_of("aime", "let us see", "33", "length").verdict is Verdict.TRUNCATED
    assert verdict_of("aime", r"\boxed{33} and", "33", "length").verdict is Verdict.CORRECT


def test_unknown_grader_names_the_known() -> None:
    with pytest.raises(ConfigError, match=r"unknown grader 'exat'; known: aime, boxed_integer"):
        get_grader("exat")


def test_drgrpo_compares_by_the_rules_that_its_reward_compares_by() -> None:
    for text, gold in [
        (r"\boxed{1{,}000}", "1000"),
        (r"\boxed{(a+b)^2}", "a^2+2ab+b^2"),
        (r"\boxed{\frac12}", "0.5"),
        (r"\boxed{5 \text{ cm}}", "5"),
        (r"\boxed{x=5}", "5"),
        (r"\boxed{50\%}", "0.5"),
    ]:
        found = verdict_of("drgrpo", text, gold).verdict
        (asked,) = grade_batch("drgrpo", [(gold, text[len("\\boxed{") : -1])])
        assert (found is Verdict.CORRECT) is (asked.value == "correct"), text
    assert verdict_of("drgrpo", r"\boxed{4", "4").verdict is Verdict.NO_ANSWER
    assert verdict_of("drgrpo", r"\fbox{4}", "4").verdict is Verdict.NO_ANSWER
