r"""What is extracted from a text, case by case, each with its source or reason.

`None` is no answer. Sources: "AIME rules" (answers are integers 000-999), "GSM8K" (its `answer`
field and the pattern `#### (\-?[0-9\.\,]+)` of its own evaluation), "TeX" (what the source typesets
as), "models" (a form that model outputs have).
"""

import pytest

from srl_reward import extract_aime_answer, extract_boxed, extract_gsm8k_answer

BOXES = [
    (r"\boxed{5}", "5", "TeX: the plain form"),
    (r"so $\boxed{5}$.", "5", "models: in maths mode"),
    (r"\[ \boxed{5} \]", "5", "models: in display"),
    (r"\boxed {5}", "5", "TeX skips a space before an argument"),
    ("\\boxed\n{5}", "5", "TeX skips one line end too"),
    (r"\fbox{5}", "5", "MATH's solutions use both names"),
    (r"\boxed{ 5 }", " 5 ", "spaces inside are the caller's"),
    (r"\boxed{}", "", "an empty box is a box"),
    (r"\boxed{\frac{1}{2}}", r"\frac{1}{2}", "nested braces"),
    (r"\boxed{\sqrt{\frac{a^{2}}{b_{1}}}}", r"\sqrt{\frac{a^{2}}{b_{1}}}", "four levels"),
    (r"\boxed{\{1, 2\}}", r"\{1, 2\}", "escaped braces are signs, not groups"),
    (r"\boxed{\left\{ x \right.}", r"\left\{ x \right.", "an escaped brace without its partner"),
    (r"\boxed{a\\}", r"a\\", "a row end before the brace does not escape it"),
    (r"\boxed{\begin{pmatrix}1\\2\end{pmatrix}}", r"\begin{pmatrix}1\\2\end{pmatrix}", "a matrix"),
    (r"\boxed{3} no, \boxed{33}", "33", "the last one is the answer"),
    (r"\boxed{3} and \fbox{33}", "33", "the last of either name"),
    (r"\fbox{33} and \boxed{3}", "3", "the last of either name"),
    (r"\boxed{x = \boxed{5}}", "5", "a box within a box starts later"),
    (r"\boxed{1} or \boxed{2", "1", "the last complete one"),
    (r"\boxed{1 and \boxed{33}", "33", "one after an unclosed box"),
    (r"\boxed{1{ and \boxed{33}", "33", "one after two unclosed braces"),
    (r"the set {1, 2 and \boxed{33}", "33", "an open brace of prose"),
    (r"} \boxed{33}", "33", "a stray closing brace"),
    (r"\boxed{33}}}", "33", "stray closing braces behind"),
    (r"\\boxed{5}", "5", "models: a backslash too many, from escaped JSON"),
    ("```latex\n\\boxed{5}\n```", "5", "models: in a code block"),
    (r"**\boxed{5}**", "5", "models: in bold"),
    (r"Answer: \boxed{5}" + "\n\nI hope it is correct.", "5", "models: with a remark behind"),
    (r"<think>\boxed{4}?</think> \boxed{5}", "5", "models: thought first"),
    (r"\boxed{\text{Evelyn}}", r"\text{Evelyn}", "an answer in words"),
    (r"\boxed{½}", "½", "a character of several bytes"),
    ("", None, "nothing"),
    ("5", None, "no box"),
    (r"\boxed", None, "a name alone"),
    (r"\boxed 5", None, "TeX would box one digit of several"),
    (r"\boxed{5", None, "cut off"),
    (r"\boxed{5\}", None, "cut off: the brace is a sign"),
    (r"\boxed{\frac{1}{2}", None, "cut off within"),
    (r"\boxeds{5}", None, "another name"),
    (r"\framebox{5}", None, "another name"),
    ("boxed{5}", None, "no command"),
    (r"\boxed(5)", None, "no argument in braces"),
]

AIME = [
    (r"\boxed{33}", 33, "AIME rules"),
    (r"\boxed{033}", 33, "AIME rules: three digits on the sheet"),
    (r"\boxed{000}", 0, "AIME rules: the least"),
    (r"\boxed{999}", 999, "AIME rules: the greatest"),
    (r"\boxed{33.}", 33, "a sentence's stop in the box"),
    (r"\boxed{33.0}", 33, "a decimal zero is no other number"),
    (r"\boxed{\text{33}}", 33, "models: as text"),
    (r"\boxed{\mathbf{33}}", 33, "models: in bold"),
    (r"\boxed{\textbf{033}}", 33, "AoPS's solutions write it so"),
    (r"\boxed{ 33 }", 33, "spaces"),
    (r"\boxed{n = 33}", 33, "models: with the unknown"),
    (r"\boxed{m+n = 33}", 33, "models: AIME asks for such sums"),
    (r"\boxed{33^\circ}", 33, "an angle in degrees"),
    (r"\boxed{33^{\circ}}", 33, "an angle in degrees"),
    (r"\boxed{33°}", 33, "an angle in degrees"),
    (r"\fbox{33}", 33, "MATH's second name"),
    (r"\boxed {33}", 33, "TeX skips the space"),
    (r"\boxed{$33$}", 33, "models: maths mode within"),
    (r"\boxed{\(33\)}", 33, "models: maths mode within"),
    (r"\boxed{33\,}", 33, "a thin space is none of the number"),
    (r"\boxed{\displaystyle 33}", 33, "a style is none of the number"),
    (r"\boxed{{33}}", 33, "TeX: a group"),
    (r"\boxed{3} wait, \boxed{33}", 33, "the last one"),
    (r"\boxed{3 so \boxed{33}", 33, "one after an unclosed box"),
    (r"\boxed{33} and then \boxed{3", 33, "the last complete one"),
    (r"\boxed{1000}", None, "AIME rules: too great"),
    (r"\boxed{-3}", None, "AIME rules: negative"),
    (r"\boxed{3.5}", None, "AIME rules: no integer"),
    (r"\boxed{1,000}", None, "AIME rules: too great, and no comma"),
    (r"\boxed{\frac{1}{2}}", None, "AIME rules: no integer"),
    (r"\boxed{\frac{66}{2}}", None, "AIME rules: an integer, not a quotient that is one"),
    (r"\boxed{2^{3}}", None, "AIME rules: an integer, not a power that is one"),
    (r"\boxed{}", None, "nothing in it"),
    ("the answer is 33", None, "no box"),
    ("**33**", None, "no box"),
    (r"\boxed{33, 34}", None, "two answers are none"),
    (r"\boxed{33 \text{ or } 34}", None, "two answers are none"),
    (r"\boxed{33\text{ cm}}", None, "AIME rules: no unit"),
    (r"\boxed{3 3}", None, "two numbers"),
    (r"\boxed{n \le 33}", None, "a bound"),
    (r"\boxed{n \ne 33}", None, "a denial"),
    (r"\boxed{n <= 33}", None, "a bound"),
    (r"\boxed{+33}", None, "AIME rules: no sign"),
    (r"\boxed{33!}", None, "a factorial"),
    (r"\boxed{٣٣}", None, "AIME rules: ASCII digits"),
    (r"\boxed{３３}", None, "AIME rules: ASCII digits"),
    (r"\boxed{thirty-three}", None, "a word"),
    (r"\boxed{33e0}", None, "a program's number"),
    (r"\boxed{0x21}", None, "a program's number"),
    (r"\boxed{33} so \boxed{done}", None, "the last box is asked"),
]

GSM8K = [
    ("x = <<9*2=18>>18\n#### 18", "18", "GSM8K: the answer field"),
    ("####18", "18", "no space"),
    ("#### 1,234", "1234", "GSM8K: golds have thousands commas"),
    ("#### 1,234,567", "1234567", "thousands"),
    ("#### $18", "18", "models: currency"),
    ("#### -$3", "-3", "currency behind the sign"),
    ("#### $-3", "-3", "currency before the sign"),
    ("#### -3", "-3", "GSM8K: the pattern has a sign"),
    ("#### 0.50", "0.5", "GSM8K: the pattern has decimals"),
    ("#### 18.00", "18", "decimal zeros"),
    ("#### 18.", "18", "GSM8K: the pattern swallows the stop"),
    ("#### 18, of course", "18", "GSM8K: the pattern swallows the comma"),
    ("#### 18 dollars", "18", "GSM8K: the pattern ends at the number"),
    ("#### 18 eggs a day.", "18", "GSM8K: the pattern ends at the number"),
    ("#### 20%", "20", "GSM8K: the pattern ends at the number"),
    ("#### **18**", "18", "models: in bold"),
    ("#### 007", "7", "leading zeros"),
    ("#### -0", "0", "there is one zero"),
    ("#### 1\n#### 2\nend", "2", "the last line"),
    ("#### 18\r\n", "18", "a Windows line end"),
    ("18", None, "no mark"),
    ("### 18", None, "a heading of Markdown"),
    ("####", None, "nothing"),
    ("####\n18", None, "nothing in that line"),
    ("#### x", None, "no number"),
    ("#### 1,23", None, "no thousands"),
    ("#### 1.2.3", None, "no number"),
    ("#### 18 or 19", None, "two answers are none"),
    ("#### 18/2", None, "GSM8K's pattern would read 18"),
    ("#### 10:30", None, "GSM8K's pattern would read 10"),
    ("#### 9 * 2 = 18", None, "GSM8K's pattern would read 9"),
]


@pytest.mark.parametrize(("text", "content", "reason"), BOXES)
def test_box(text: str, content: str | None, reason: str) -> None:
    assert extract_boxed(text) == content, reason


@pytest.mark.parametrize(("text", "value", "reason"), AIME)
def test_aime(text: str, value: int | None, reason: str) -> None:
    assert extract_aime_answer(text) == value, reason


@pytest.mark.parametrize(("text", "number", "reason"), GSM8K)
def test_gsm8k(text: str, number: str | None, reason: str) -> None:
    assert extract_gsm8k_answer(text) == number, reason


@pytest.mark.parametrize("table", [BOXES, AIME, GSM8K])
def test_no_case_stands_twice(table: list[tuple[str, object, str]]) -> None:
    assert len({text for text, _, _ in table}) == len(table)
