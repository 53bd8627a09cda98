"""Dr. GRPO's published rules, written anew: values found with the published code itself."""

import pytest

from srl_reward import QuestionOnlyReward, R1ZeroReward, Verdict
from srl_reward.drgrpo.expression import expression_form
from srl_reward.drgrpo.form import answer_of, box_answer, is_in_form, tag_content
from srl_reward.drgrpo.words import text_form
from srl_reward.grading import MAX_CHARS, check_grader, grade, grade_batch, unreadable

pytest.importorskip("math_verify")
pytest.importorskip("pylatexenc")


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        (" \\text{ even } ", "even"),
        ("\\dfrac12", "\\frac{1}{2}"),
        ("\\frac1{72}", "\\frac{1}{72}"),
        ("\\frac1", "\\frac1"),
        ("\\frac1\\frac", "\\frac1\\frac"),
        ("\\frac", "\\frac"),
        ("3/4", "\\frac{3}{4}"),
        ("x/y", "x/y"),
        ("a/b", "/b"),
        ("0.5", "\\frac{1}{2}"),
        (".5", "\\frac{1}{2}"),
        ("x=5", "5"),
        ("xyz=5", "xyz=5"),
        ("\\sqrt3", "\\sqrt{3}"),
        ("5 \\text{ cm}", "5"),
        ("\\text{ a} \\text{ b}", "}"),
        ("5 hours", "5"),
        ("hours", "hours"),
        ("90^\\circ", "90"),
        ("25\\%", "25"),
        ("\\$5", "5"),
        ("\\begin{array}{c}1\\end{array}", "\\begin{pmatrix}1\\end{pmatrix}"),
        ("\\left(1, 2\\right)", "(1,2)"),
        ("", ""),
    ],
)
def test_the_text_form_is_hendrycks_s(answer: str, form: str) -> None:
    assert text_form(answer) == form


@pytest.mark.parametrize(
    ("answer", "form"),
    [
        ("1{,}000", "1000"),
        ("1,000", "1000"),
        ("1.0", "1"),
        ("{5}", "5"),
        ("\\text{Even}", "even"),
        ("7 3/4", "7+3/4"),
        ("\\frac{1}{2}", "1/2"),
        ("2\\pi", "2pi"),
        ("5 million", "5*10^6"),
        ("3 cm^2", "3"),
        ("1 or 2", "1,2"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("", ""),
    ],
)
def test_the_expression_form_is_prm800k_s(answer: str, form: str) -> None:
    assert expression_form(answer) == form


@pytest.mark.parametrize(
    ("gold", "given", "right"),
    [
        ("\\frac{1}{2}", "0.5", True),
        ("\\frac{1}{2}", "\\frac{2}{4}", False),
        ("(x+1)^2", "x^2+2x+1", True),
        ("x+y+z", "z+y+x", False),
        ("2\\pi", "\\pi*2", True),
        ("(1,2)", "(1, 2)", True),
        ("(1,2)", "[1,2]", False),
        ("(1,2)", "(1,2,3)", False),
        ("(1,x+1)", "(1,1+x)", True),
        ("5", "5.0", True),
        ("5", "4+1", False),
        ("x", "abc", False),
        ("\\boxed{7}", "7", True),
        ("\\boxed{7", "7", False),
        ("7", "", False),
        ("", "", True),
        ("10^{10}", "10000000000", False),
        ("\\text{even}", "EVEN", True),
    ],
)
def test_verdicts_are_those_of_the_published_code(gold: str, given: str, right: bool) -> None:
    verdict = grade("drgrpo", gold, given)
    assert verdict is (Verdict.CORRECT if right else Verdict.WRONG)
    assert grade("drgrpo", gold, given) is verdict  # out of the cache


def test_form_and_answer_are_found_as_published() -> None:
    assert is_in_form("x</think> <answer>1</answer> y")
    assert not is_in_form("x</think><answer>1</answer>")
    assert not is_in_form("x</think>\n<answer>1</answer>")
    assert not is_in_form("x</think> <answer>1")
    assert tag_content("</think> <answer>1</answer><answer>2</answer> 3") == "2 3"
    assert answer_of("so \\boxed{1}, \\boxed{2}") == "2"
    assert answer_of("so \\boxed{1}, \\boxed{2") is None
    assert answer_of("2") == "2"
    assert box_answer("\\boxed {1}") is None
    assert box_answer("\\fbox{1}") is None
    assert box_answer("\\boxed{\\frac{1}{2}} }") == "\\frac{1}{2}"
    assert box_answer("\\boxed}{1}") is None


def test_r1_zero_under_these_rules_takes_their_form_too() -> None:
    reward = R1ZeroReward(grader="drgrpo", format_weight=0.25)
    outputs = {
        "<think>a</think> <answer>0.5</answer>": 1.25,
        "a</think> <answer>0.5</answer> and more": 0.25,
        "a</think> <answer>\\boxed{0.5}</answer> and more": 1.25,
        "<think>a</think><answer>0.5</answer>": 0,
        "a</think> <answer>\\boxed{0.5</answer>": 0.25,
        "\\boxed{0.5}": 0,
    }
    golds = ["\\frac12"] * len(outputs)
    assert reward(list(outputs), answer=golds) == list(outputs.values())
    assert reward(list(outputs), answer=golds, truncated=[True] * len(outputs)) == [0] * 6
    graders = ["drgrpo", "math", "drgrpo", "math", "exact", None]
    ours = R1ZeroReward()(list(outputs), answer=golds, grader=graders)
    assert ours == [1, 0, 1, 1, 0, 0]


def test_question_only_under_these_rules_reads_the_whole_output() -> None:
    reward = QuestionOnlyReward(grader="drgrpo")
    outputs = ["<think>\\boxed{7}", "\\boxed{7} no \\boxed{8", "\\fbox{7}", "7", "\\boxed{7}"]
    scored = reward.score(outputs, answer=["7"] * 5)
    assert [each and each.reward for each in scored] == [1, 0, 0, 0, 1]
    assert [each and each.parts["format"] for each in scored] == [1, 0, 0, 0, 1]
    assert reward(["\\boxed{7}"], answer=["7"], truncated=[True]) == [0]


def test_hostile_answers_are_killed_or_refused() -> None:
    long = "x" * (MAX_CHARS + 1)
    assert grade("drgrpo", long, long) is Verdict.UNPARSABLE
    hang = "factorial(10**8)"
    started = grade_batch("drgrpo", [(hang, "y"), ("7", "7")], seconds=1.0)
    assert started[1] is Verdict.CORRECT
    assert started[0] is not Verdict.CORRECT


def test_golds_that_these_rules_cannot_read_are_told() -> None:
    check_grader("drgrpo")
    assert unreadable("drgrpo", "12 apples #### 12") is not None
    assert unreadable("drgrpo", "\\boxed{12") == "its box is not closed"
    assert unreadable("drgrpo", "x" * (MAX_CHARS + 1)) is not None
    assert unreadable("drgrpo", "\\frac12") is None
