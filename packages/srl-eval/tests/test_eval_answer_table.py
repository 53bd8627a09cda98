r"""Which boxed answers are right, case by case, each with its source or reason.

Rows are (answer in the box, gold as the benchmark writes it, whether it is right, reason). Sources:
"MATH", "Minerva", "OlympiadBench", "AMC", "GSM8K" for golds of that form in the data, "models" for
forms of model outputs, "mathematics" for what is so by itself. `MENDED` are pairs that math-verify
alone judges otherwise than a person would; what is still not served stands in the docs.
"""

import pytest

from srl_eval.grading import Candidate, Gold, Verdict, get_grader, judge

Row = tuple[str, str, bool, str]

AMC: list[Row] = [
    ("27", "27.0", True, "AMC: golds are floats in the file"),
    ("27.0", "27.0", True, "mathematics"),
    ("1,406", "1406.0", True, "thousands"),
    ("1{,}406", "1406.0", True, "TeX's thousands"),
    (r"1\,406", "1406.0", True, "TeX's thousands"),
    ("x = 27", "27.0", True, "models: with the unknown"),
    (r"27^\circ", "27.0", True, "an angle"),
    (r"27\text{ miles}", "27.0", True, "models: with a unit"),
    ("27 miles", "27.0", True, "models: with a unit"),
    (r"\displaystyle 27", "27.0", True, "a style is none of the number"),
    (r"\text{27}", "27.0", True, "models: as text"),
    (r"\textbf{(A) } 27", "27.0", True, "AMC: AoPS's solutions name the choice"),
    (r"\textbf{(C)}\ 27", "27.0", True, "AMC: AoPS's solutions name the choice"),
    (r"\frac{54}{2}", "27.0", True, "mathematics"),
    ("-12", "-12", True, "a sign"),
    ("28", "27.0", False, "another number"),
    ("-27", "27.0", False, "another sign"),
    ("14,06", "1406.0", False, "no thousands"),
    ("12345,678", "12345678", False, "no thousands"),
    ("2 7", "27.0", False, "two numbers"),
    ("27, 28", "27.0", False, "two answers"),
    (r"\textbf{(A)}", "27.0", False, "AMC: a choice is no value"),
    ("27x", "27.0", False, "another expression"),
    (r"27\pi", "27.0", False, "another number"),
    (r"x \ne 27", "27.0", False, "a denial"),
    ("x <= 27", "27.0", False, "a bound"),
    ("x = 27, y = 3", "27.0", False, "two answers"),
]

GSM8K: list[Row] = [
    ("18", "#### 18", True, "GSM8K"),
    (r"\$18", "#### 18", True, "currency"),
    ("$18$", "#### 18", True, "maths mode"),
    ("€18", "#### 18", True, "currency"),
    ("18.00", "#### 18", True, "cents"),
    ("1,018", "#### 1,018", True, "GSM8K: thousands in golds"),
    ("1 018", "#### 1,018", True, "thousands with a space"),
    ("18 dollars", "#### 18", True, "unit"),
    (r"18\text{ dollars}", "#### 18", True, "unit"),
    (r"18~\text{eggs}", "#### 18", True, "unit"),
    (r"18\%", "#### 18", True, "unit"),
    ("18 miles per hour", "#### 18", True, "unit"),
    ("18 km/h", "#### 18", True, "unit"),
    ("x = 18", "#### 18", True, "models: with the unknown"),
    ("9 \\times 2 = 18", "#### 18", True, "models: with the sum"),
    (r"\frac{1}{2}", "#### 0.5", True, "mathematics"),
    ("19", "#### 18", False, "another number"),
    ("-18", "#### 18", False, "another sign"),
    ("1 8", "#### 18", False, "two numbers"),
    ("18x", "#### 18", False, "another expression"),
    ("18 or 19", "#### 18", False, "two answers"),
    ("0.18", "#### 18", False, "another number"),
    ("18 = x + 1", "#### 17", False, "17 is not said"),
    ("eighteen", "#### 18", False, "a word; GSM8K wants numbers"),
]

MATH: list[Row] = [
    (r"\dfrac{14}{3}", r"\frac{14}{3}", True, "a style of TeX"),
    (r"\tfrac{14}{3}", r"\frac{14}{3}", True, "a style of TeX"),
    ("14/3", r"\frac{14}{3}", True, "mathematics"),
    (r"\frac{28}{6}", r"\frac{14}{3}", True, "mathematics; MATH asks for simplest form at times"),
    (r"\frac{14}{3}.", r"\frac{14}{3}", True, "a sentence's stop in the box"),
    ("284.", "284", True, "a sentence's stop in the box"),
    (r"284\\", "284", True, "a line end in the box"),
    ("$284$.", "284", True, "maths mode and stop"),
    (r"\frac12", r"\frac{1}{2}", True, "TeX: arguments of one digit"),
    ("0.5", r"\frac{1}{2}", True, "mathematics"),
    (r"1\frac{1}{2}", r"\frac{3}{2}", True, "a mixed number"),
    (r"\left(3,\frac{\pi}{2}\right)", r"\left( 3, \frac{\pi}{2} \right)", True, "MATH: test/807"),
    (r"(3, \pi/2)", r"\left( 3, \frac{\pi}{2} \right)", True, "TeX: sizes of brackets"),
    ("q-p", "p - q", False, "mathematics"),
    ("-q+p", "p - q", True, "mathematics"),
    ("x^2+2x+1", "(x+1)^2", True, "mathematics"),
    ("x^2+1", "(x+1)^2", False, "mathematics"),
    ("Evelyn", r"\text{Evelyn}", True, "MATH: answers in words"),
    (r"\textbf{Evelyn}", r"\text{Evelyn}", True, "models: in bold"),
    (r"\text{Evelyn.}", r"\text{Evelyn}", True, "a sentence's stop"),
    (r"\text{Carla}", r"\text{Evelyn}", False, "another word"),
    ("June 20", r"\text{June 20}", True, "MATH: answers in several words"),
    (r"\text{June } 20", r"\text{June 20}", True, "models: half in text"),
    (r"\text{June 21}", r"\text{June 20}", False, "another day"),
    ("B", r"\text{(B)}", True, "a choice"),
    ("A", r"\text{(B)}", False, "another choice"),
    ("3,5", "3, 5, 7", False, "one is missing"),
    ("7, 5, 3", "3, 5, 7", True, "solutions have no order"),
    (r"\{7, 5, 3\}", "3, 5, 7", True, "as a set"),
    ("3, 5, 7, 9", "3, 5, 7", False, "one too many"),
    ("(2, 1)", "(1, 2)", False, "coordinates have an order"),
    ("[1, 2]", "(1, 2)", False, "a closed interval"),
    ("1, 2, 2", "1, 2", True, "a solution said twice"),
    ("33, 34", "33", False, "two answers"),
    (r"33 \text{ or } 34", "33", False, "two answers"),
    ("x=3", "3", True, "with the unknown"),
    ("3", "x=3", True, "without the unknown"),
    ("y = 2x + 3", "2x+3", True, "with the left side"),
    ("y = 2x + 4", "2x+3", False, "another line"),
    (r"(-\infty, 2)", "x<2", True, "a gold relation takes its interval"),
    ("2 > x", "x<2", True, "mathematics"),
    (r"x \le 2", "x<2", False, "mathematics"),
    (r"\ne 33", "33", False, "a denial"),
    (r"\not= 33", "33", False, "a denial"),
    (r"\geq 33", "33", False, "a bound"),
    ("x > 33", "33", False, "a bound"),
    ("10,000", "10000", True, "thousands"),
    (r"10\,000", "10000", True, "TeX's thousands"),
    (r"10{,}000", "10000", True, "TeX's thousands"),
    (r"10,\!000", "10000", True, "MATH: test golds have it"),
    ("10000", r"10,\!000", True, "MATH: test golds have it"),
    ("10,00", "1000", False, "no thousands"),
    ("(2,251,252)", "(2, 251, 252)", True, "a triple, not a pair with thousands"),
    ("(251, 2, 252)", "(2,251,252)", False, "a triple has an order"),
    (r"5.4", r"5.4 \text{ cents}", True, "MATH: golds with units"),
    (r"5.4\text{ cm}", "5.4", True, "models: with a unit"),
    (r"90^\circ", "90", True, "degrees"),
    (r"\$18.9", r"\$18.90", True, "currency"),
    (r"33\%", "33", True, "percent asked for and said"),
    ("0.33", "33", False, "another number"),
    ("0.333", r"\frac{1}{3}", False, "rounded, where the exact value was asked for"),
    ("3.14", r"\pi", False, "rounded"),
    (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True, "mathematics"),
    (r"\sqrt{3}-1", r"\frac{2}{1+\sqrt{3}}", True, "mathematics"),
    (r"11\sqrt2", r"11\sqrt{2}", True, "TeX: arguments of one digit"),
    (r"11\sqrt{3}", r"11\sqrt{2}", False, "mathematics"),
    ("-5i+6", "6 - 5i", True, "mathematics"),
    ("6+5i", "6-5i", False, "mathematics"),
    (r"5,-5", r"\pm 5", True, "both signs"),
    ("5", r"\pm 5", False, "one is missing"),
    (r"\pm 5", "5", False, "one too many"),
    ("52_{8}", "52_8", True, "MATH: numbers of other bases"),
    (r"\begin{bmatrix}1\\2\end{bmatrix}", r"\begin{pmatrix}1\\2\end{pmatrix}", True, "brackets"),
    (
        r"\begin{pmatrix}1&2\\3&5\end{pmatrix}",
        r"\begin{pmatrix}1&2\\3&4\end{pmatrix}",
        False,
        "a place differs",
    ),
    (r"[3,4]\cup[1,2]", r"[1,2] \cup [3,4]", True, "unions have no order"),
    (r"-\infty", r"\infty", False, "mathematics"),
    (r"\binom{5}{2}", "10", True, "mathematics"),
    ("-50", "50", False, "mathematics"),
    ("1 2", "12", False, "two numbers"),
    (r"\frac{37}{4} m", r"\frac{37}{4}m", True, "spaces are none of TeX's mathematics"),
    (r"\text{4.5}", "4.5", True, "models: as text"),
    (r"\mathbf{4.5}", "4.5", True, "models: in bold"),
    (r"58,500\,", "58,500", True, "a thin space behind"),
    ("t(0, 4]", "4", False, "no LaTeX: its last number is not the answer"),
    ("(((( 4", "4", False, "no LaTeX: its last number is not the answer"),
    ("wrong] 7 ) 4", "4", False, "no LaTeX: its last number is not the answer"),
]

MINERVA: list[Row] = [
    (r"4.5 \times 10^{33}", "4.5e33", True, "Minerva: golds as programs write them"),
    (r"4.5\cdot10^{33}", "4.5e33", True, "the same with a dot"),
    ("4.5003e33", "4.5e33", True, "within 1 in 10,000"),
    ("4.51e33", "4.5e33", False, "not within 1 in 10,000"),
    (r"4.5 \times 10^{32}", "4.5e33", False, "another power"),
    (r"-\frac{3}{2}", "-3./2", True, "Minerva: a quotient in Python"),
    (r"x = -\frac{3}{2}", "-3./2", True, "with the unknown"),
    (r"\frac{3}{2}", "-3./2", False, "another sign"),
    (r"1.6 \mathrm{~cm}", "1.6", True, "unit"),
    ("1.6 cm", "1.6", True, "unit"),
    (r"8.7 \times 10^{8} \mathrm{~cm}", "8.7e8", True, "power and unit"),
    (r"t \approx 1.6", "1.6", True, "a rounded measurement said to be one"),
    (r"\arcsin(10/13)", "np.arcsin(10/13)", True, "Minerva: a function of NumPy"),
    (r"\arccos(10/13)", "np.arcsin(10/13)", False, "another function"),
    ("10^{9}", "1e9", True, "a power alone"),
    (r"\frac{1}{2} m v^2", r"\frac{m v^{2}}{2}", True, "mathematics"),
    (r"\frac{1}{2} m v", r"\frac{m v^{2}}{2}", False, "mathematics"),
]

OLYMPIAD: list[Row] = [
    ("5,3,1", "$1,3,5$", True, "OlympiadBench: several answers have no order"),
    ("3,1", "$1,3,5$", False, "one is missing"),
    ("69, 84", "$69$,$84$", True, "OlympiadBench: each in its dollars"),
    ("1", "$k=1$", True, "OlympiadBench: with the unknown"),
    ("2n", "2", False, "a variable is no unit"),
    ("2 m", "m", False, "a variable is no unit"),
    (r"2\text{ cm}", "2", True, "a unit in text"),
    ("(2, 251, 252)", "$(2,251,252)$", True, "OlympiadBench 2336: no thousands there"),
    ("(2,251,252)", "$(2,251,252)$", True, "OlympiadBench 2336: no thousands there"),
    (
        "27, 54, 108, 135, 189, 216, 270, 297, 351, 378",
        "27,54,108,135,189,216,270,297,351,378",
        True,
        "OlympiadBench 2684: no thousands there",
    ),
    (
        "27,54,108,135,189,216,270,297,351,379",
        "27,54,108,135,189,216,270,297,351,378",
        False,
        "the last differs",
    ),
    ("1,018", "1018", True, "thousands where one number is asked for"),
    (r"\frac{n(n+1)}{2}", r"$\frac{1}{2} n(n+1)$", True, "mathematics"),
    (r"\frac{n(n-1)}{2}", r"$\frac{1}{2} n(n+1)$", False, "mathematics"),
]

MENDED: list[tuple[str, str, str, bool, str]] = [
    ("math", "-2 < x < 1", "(-2, 1)", True, "an interval, said as a relation"),
    ("math", r"\{1, 2\}", "(1, 2)", False, "a set is no pair"),
    ("math", "-1", r"e^{i\pi}", True, "mathematics"),
    ("math", r"\frac12", r"\sin 30^\circ", True, "degrees within a function"),
    ("math", r"45^\circ", r"\frac{\pi}{4}", True, "degrees are a unit of angles"),
    ("math", "52", "52_8", False, "a missing base"),
    ("math", "N = n + 17", "N = n", False, "N and n are two letters"),
    (
        "math",
        r"\frac{2}{3} E_{1}+\frac{2}{3} E_{2}",
        r"\frac{1}{3} E_{1}+\frac{2}{3} E_{2}",
        False,
        "E with an index is a letter",
    ),
    ("math", r"\underline{33}", "33", True, "a line below"),
    ("math", r"\text{The answer is } 33", "33", True, "words before"),
    ("math", "1e2", "100", True, "a program's number"),
    ("math", r"\emptyset", r"\text{no solution}", True, "words against a sign"),
    ("math", r"33 = 3 \cdot 11", "33", True, "either side of a true equation"),
]
"""What math-verify alone judges otherwise."""


def is_right(grader_name: str, answer: str, gold: str) -> bool:
    grader = get_grader(grader_name)
    text = f"So the answer is $\\boxed{{{answer}}}$."
    (judgement,) = judge(grader, [Candidate(text, "stop", Gold(grader.gold(gold)))])
    return judgement.verdict is Verdict.CORRECT


@pytest.mark.parametrize(("answer", "gold", "right", "reason"), AMC)
def test_amc(answer: str, gold: str, right: bool, reason: str) -> None:
    assert is_right("boxed_integer", answer, gold) is right, reason


@pytest.mark.parametrize(("answer", "gold", "right", "reason"), GSM8K)
def test_gsm8k(answer: str, gold: str, right: bool, reason: str) -> None:
    assert is_right("gsm8k", answer, gold) is right, reason


@pytest.mark.parametrize(("answer", "gold", "right", "reason"), MATH)
def test_math(answer: str, gold: str, right: bool, reason: str) -> None:
    assert is_right("math", answer, gold) is right, reason


@pytest.mark.parametrize(("answer", "gold", "right", "reason"), MINERVA)
def test_minerva(answer: str, gold: str, right: bool, reason: str) -> None:
    assert is_right("minerva", answer, gold) is right, reason


@pytest.mark.parametrize(("answer", "gold", "right", "reason"), OLYMPIAD)
def test_olympiad(answer: str, gold: str, right: bool, reason: str) -> None:
    assert is_right("olympiad", answer, gold) is right, reason


@pytest.mark.parametrize(("grader", "answer", "gold", "right", "reason"), MENDED)
def test_what_math_verify_judges_otherwise(
    grader: str, answer: str, gold: str, right: bool, reason: str
) -> None:
    assert is_right(grader, answer, gold) is right, reason


@pytest.mark.parametrize(
    ("answer", "right"), [("4.25", True), (r"4.25\%", True), ("4.4", False), ("4.25 m", True)]
)
def test_olympiad_within_its_tolerance_and_unit(answer: str, right: bool) -> None:
    grader = get_grader("olympiad")
    gold = Gold(grader.gold("4.2"), {"unit": "%", "tolerance": 0.1})
    (judgement,) = judge(grader, [Candidate(f"\\boxed{{{answer}}}", "stop", gold)])
    assert (judgement.verdict is Verdict.CORRECT) is right
