r"""Answers with letters, words, units and decoration: cases by kind, (gold, answer, equal).

Half of each kind are pairs that differ: a reward that pays for one of those teaches a trick.
"""

import pytest

from srl_reward.grading import Grader, Verdict, find_answer, grade, grade_batch

Case = tuple[str, str, bool]

KINDS: dict[str, list[Case]] = {
    "units and letters": [
        (r"\frac{t}{m}", r"\frac{1}{m} t", True),
        (r"\cos 2t", r"\cos(2t)", True),
        ("5", r"5\text{ cm}", True),
        ("5", r"5\mathrm{ kg}", True),
        ("5 cm", "5", True),
        ("18", "18 eggs", True),
        ("60", "60 miles/hour", True),
        (r"60\text{ mph}", "60 miles per hour", True),
        (r"864 \mbox{ inches}^2", r"864\text{ square inches}", True),
        (r"12\mathrm{~m}", r"12\text{ meters}", True),
        (r"10\text{ units}", r"10", True),
        (r"\sin 3x", r"\sin(3x)", True),
        ("2s", "2t", False),
        ("6", "6m", False),
        ("6m", "6", False),
        ("2k", "2", False),
        ("3x", "3y", False),
        ("12", "12h", False),
        ("2ms", "2m", False),
        (r"5\text{ cm}", r"5\text{ m}", False),
        (r"5\text{ m/s}", r"5\text{ m}", False),
        (r"864 \mbox{ inches}^2", r"864\text{ inches}", False),
        (r"\cos 2t", r"\cos(2)t", False),
        ("6", "6 m", False),
        ("4", "4 g", False),
    ],
    "words": [
        (r"\text{even}", "even", True),
        (r"\text{Evelyn}", r"\textbf{Evelyn}", True),
        ("5000000", r"5\text{ million}", True),
        ("5000000", r"5\text{ million dollars}", True),
        ("24", r"2\text{ dozen}", True),
        (r"50\%", "0.5", True),
        (r"50\%", "50", True),
        (r"50\%", r"50\text{ percent}", True),
        (r"\text{10 a.m.}", r"10\text{ am}", True),
        (r"v_{\text{max}}", "v_{max}", True),
        (r"\mbox{four}", "4", True),
        (r"\text{no solution}", r"\emptyset", True),
        (r"\text{June } 20", "June 20", True),
        (r"\text{odd}", r"\text{even}", False),
        (r"10\text{ a.m.}", r"10\text{ p.m.}", False),
        (r"v_{\text{max}}", r"v_{\text{min}}", False),
        ("5", r"5\text{ million}", False),
        (r"5\text{ million}", r"5\text{ billion}", False),
        ("2", r"2\text{ dozen}", False),
        ("0.5", r"5\%", False),
        (r"50\%", "5000", False),
        ("10", r"10\text{ a.m.}", False),
        (r"18\text{ boys}", r"18\text{ girls}", False),
        ("north", "south", False),
        (r"\text{June 20}", r"\text{June 21}", False),
        ("6", r"\text{at most } 6", False),
        ("6", r"6\text{ or more}", False),
        (r"\text{Alice, Bob}", r"\text{Bob, Alice}", False),
    ],
    "letters": [
        ("e^x", r"\mathrm{e}^x", True),
        ("E_1", "E_{1}", True),
        ("y'", r"y^{\prime}", True),
        ("y''", r"y^{\prime\prime}", True),
        (r"\sqrt{ab}", r"\sqrt a\sqrt b", True),
        ("B", r"\text{(B)}", True),
        ("B", "(B)", True),
        (r"\text{A,C}", "C, A", True),
        (r"m_{\max}", "m_{max}", True),
        (r"\epsilon", r"\varepsilon", True),
        (r"\mathbf{F}", "F", True),
        ("f(n)=n^2", "f(x)=x^2", True),
        ("|x|", r"\sqrt{x^2}", True),
        ("I_0", "I_1", False),
        ("y''", "y'", False),
        ("listen", "silent", False),
        ("B", "b", False),
        ("B", "C", False),
        ("e", "E", False),
        ("N", "n", False),
        ("x_{10}", "x_1", False),
        ("|x|", "x", False),
        (r"\alpha", "a", False),
        (r"\hat{x}", r"\bar{x}", False),
        ("x=3", "y=3", False),
        ("f'(x)", "f(x)", False),
        (r"\sqrt{a+b}", r"\sqrt a+\sqrt b", False),
        ("e", "2.718281828", True),
        ("e_1", "e", False),
    ],
    "blanks and decoration": [
        ("5", r"5\ \text{cm}", True),
        ("5", r"5~\text{cm}", True),
        ("5", r"5\quad\text{cm}", True),
        ("5", r"5\hspace{2mm}\text{cm}", True),
        ("5", r"5{\text{ cm}}", True),
        ("5", r"5\textrm{ cm}", True),
        ("(1,2)", r"\bigl(1,2\bigr)", True),
        ("(1,2)", "{(1,2)}", True),
        ("x", r"\boldsymbol{x}", True),
        ("33", r"\underline{33}", True),
        ("5", "5\u200b", True),
        ("5", "5\x00", True),
        ("42", "\uff14\uff12", True),
        (r"\frac12", "½", True),
        (r"\sqrt2", "√2", True),
        (r"\infty", "∞", True),
        ("284", "284\\\\", True),
        ("x^2", "x²", True),
        (r"\frac12", r"\\frac{1}{2}", True),
        ("7", "7<|im_end|>", True),
        ("5", "6\u200b", False),
        ("42", "\uff14\uff13", False),
        (r"\frac12", "¼", False),
        (r"\sqrt2", "√3", False),
        ("∞", "-∞", False),
        ("33", r"\underline{34}", False),
        ("(1,2)", r"\bigl[1,2\bigr]", False),
        ("x", r"\boldsymbol{y}", False),
        ("34", r"3\ 4", False),
        ("34", "3~4", False),
        ("34", r"3\quad 4", False),
        ("x^2", "x₂", False),
        (r"\begin{pmatrix}1 \\ 2\end{pmatrix}", r"\begin{pmatrix}1 \\ 3\end{pmatrix}", False),
        ("(1,2)", "{(2,1)}", False),
        ("284", "2840\\\\", False),
        ("7", "-7<|im_end|>", False),
        (r"5\text{ cm}", r"5\quad\text{kg}", False),
    ],
    "denial": [
        ("33", "x = 33", True),
        ("33", r"x \approx 33", True),
        ("33", "m + n = 33", True),
        (r"x \ne 33", r"x \neq 33", True),
        ("x<2", r"(-\infty,2)", True),
        (r"x \le 2", r"2 \ge x", True),
        ("33", r"x \not= 33", False),
        ("33", "x < y = 33", False),
        ("33", r"x \neq 33", False),
        ("33", "x != 33", False),
        ("33", "x ≠ 33", False),
        ("33", r"\ge 33", False),
        ("33", r"\text{not } 33", False),
        ("33", "3 + 5 = 33", False),
        (r"x \le 2", "x < 2", False),
        ("33", r"33 \ne x", False),
        ("33", r"x \equiv 33", False),
    ],
}


@pytest.mark.parametrize("kind", KINDS)
def test_texts(kind: str) -> None:
    pytest.importorskip("math_verify")
    cases = KINDS[kind]
    verdicts = grade_batch("math", [(gold, answer) for gold, answer, _ in cases])
    wrong = [
        (*case, str(verdict))
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict is Verdict.CORRECT) is not case[2]
    ]
    assert wrong == []


def test_each_kind_has_a_dozen_cases_and_half_of_them_unequal() -> None:
    for kind, cases in KINDS.items():
        assert len({case[:2] for case in cases}) == len(cases) >= 12, kind
        assert sum(not equal for *_, equal in cases) >= 6, kind


def test_math_verify_s_yes_is_checked() -> None:
    """It says yes to each of these, of which our reader reads one side at most."""
    pytest.importorskip("math_verify")
    pairs = [("5'", "5"), (r"1 - \frac{\foo}{2}", r"1 + \frac{\foo}{3}"), (r"7\pmod{11}", "7")]
    verdicts = grade_batch("math", [*pairs, *(pair[::-1] for pair in pairs)])
    assert Verdict.CORRECT not in verdicts


DENIALS = [
    r"x \not= 33",
    "x < y = 33",
    r"x \ne 33",
    r"x \neq y = 33",
    "x != 33",
    "x ≠ 33",
    r"x \ge 33",
    r"x \geqslant y = 33",
    r"\text{not } 33",
    r"\lt 33",
]


@pytest.mark.parametrize("grader", ["aime", "boxed_integer", "gsm8k", "exact"])
def test_a_denial_is_33_under_no_grader(grader: Grader) -> None:
    for text in DENIALS:
        answer = find_answer(grader, rf"So \boxed{{{text}}}")
        assert answer == text
        assert grade(grader, "33", answer) is not Verdict.CORRECT, text
    for text in ("x = 33", r"\lambda=33", r"\left|x\right| = 33"):
        expected = Verdict.WRONG if grader == "exact" else Verdict.CORRECT
        assert grade(grader, "33", text) is expected, text


MARKED: list[tuple[str, str, bool]] = [
    ("#### $10", "10", True),
    ("#### $10$", "10", True),
    (r"#### \$10", "10", True),
    ("#### 60 miles/hour", "60", True),
    ("#### 10 m^2", "10", True),
    ("#### 10<|im_end|>", "10", True),
    ("#### 10</s>", "10", True),
    ("#### 10<|eot_id|>\n", "10", True),
    ("#### **10 dollars**", "10", True),
    ("#### x = 10", "10", True),
    ("#### 2.5 million", "2500000", True),
    ("#### 1 1/4", "1.25", True),
    ("#### 20/2", "10", True),
    ("#### $100", "10", False),
    ("#### 60 miles/hour", "30", False),
    ("#### 10 m^2", "100", False),
    ("#### 10<|im_end|>", "1", False),
    ("#### 18 million", "18", False),
    ("#### 18 million people live here!", "18", False),
    ("#### 2 dozen", "2", False),
    ("#### 10:30", "10", False),
    ("#### 18 or 19", "18", False),
    ("#### x < y = 33", "33", False),
    ("#### 1 1/4", "1", False),
    ("#### -10", "10", False),
]


@pytest.mark.parametrize(("text", "gold", "right"), MARKED)
def test_a_marked_line_reads_what_a_box_reads(text: str, gold: str, right: bool) -> None:
    answer = find_answer("gsm8k", f"So it is.\n{text}")
    assert (answer is not None and grade("gsm8k", gold, answer) is Verdict.CORRECT) is right


MULTIPLIED = [
    ("18", "18 million", False),
    ("18000000", "18 million", True),
    ("18", r"18\text{ million}", False),
    ("24", "2 dozen", True),
    ("2", "2 dozen", False),
    ("3000", "3 thousand dollars", True),
    ("3", r"3\text{ thousand dollars}", False),
    ("18", r"18\%", True),
    ("2.5", r"2\frac{1}{2}", True),
    ("1", r"2\frac{1}{2}", False),
    ("230", "2:30", False),
    ("18", "18 dollars", True),
]


@pytest.mark.parametrize(("gold", "answer", "right"), MULTIPLIED)
def test_words_that_multiply_do_so_in_word_problems(gold: str, answer: str, right: bool) -> None:
    assert (grade("gsm8k", gold, answer) is Verdict.CORRECT) is right


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        (r"\boxed{42}. Put your answer within \boxed{}.", "42"),
        (r"\boxed{42}. So \boxed{ }", "42"),
        (r"\boxed{42}. As asked: \boxed{\quad}", "42"),
        (r"\boxed{42}, that is \boxed{...}", "42"),
        (r"\boxed{42}, that is \boxed{\ldots}", "42"),
        (r"\boxed{42}, in \fbox{~}", "42"),
        (r"\boxed{42}, in \boxed{\text{ }}", "42"),
        (r"\boxed{}, then \boxed{42}", "42"),
        (r"\boxed{}", None),
        (r"\boxed{}, \boxed{ }", None),
        (r"\boxed{42}, then \boxed{43}", "43"),
        (r"\boxed{42}, then \boxed{0}", "0"),
        (r"\boxed{42}, then \boxed{.5}", ".5"),
        (r"\boxed{42}, then \boxed{-}", "-"),
    ],
)
def test_an_empty_box_is_passed_over(text: str, answer: str | None) -> None:
    assert find_answer("math", text) == answer
