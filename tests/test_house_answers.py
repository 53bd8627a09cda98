r"""Answers that are not judged as a reader would: each is tried, and the guide lists them.

`python tests/test_house_answers.py` writes the list into the guide. A case that is judged rightly
now makes a test fail, and leaves the list.
"""

import re
from pathlib import Path

import pytest

from srl_reward.grading import MAX_CHARS, Verdict, grade

GUIDE = Path(__file__).parent.parent / "docs" / "guides" / "answers.md"
Case = tuple[str, str, str, str]

REFUSED: list[Case] = [
    ("math", r"1\text{ m}", r"100\text{ cm}", "units are not converted"),
    ("math", r"90\text{ minutes}", r"1\text{ hour } 30\text{ minutes}", "nor are they added"),
    ("math", "6", "6 m", "a unit of one letter in italics is a letter"),
    ("math", "0.5", "0,5", "a decimal comma is a list"),
    ("math", "250400", "250,400", "two round groups of three digits are a list"),
    ("math", "1:20", "2:40", "a ratio that looks like a time is one"),
    ("math", "52_8", "42", "numbers of other bases are compared as written"),
    ("math", r"27.5^\circ", r"27^\circ 30'", "minutes of arc"),
    ("math", r"x \equiv 3 \pmod 7", r"x \equiv 10 \pmod 7", "congruences"),
    ("math", r"(-\infty,-1)\cup(1,\infty)", "|x| > 1", "inequalities of absolute values"),
    ("math", r"k\pi, k \in \mathbb{Z}", r"n\pi, n \in \mathbb{Z}", "a parameter of another name"),
    ("math", "y = 1/x", "xy = 1", "equations that differ by a factor with letters"),
    ("math", "x", r"\sqrt{x^2}", "letters are positive only where both sides have roots"),
    ("math", r"\angle ABC", r"\angle ABC = \angle CBA = 90", "more than was asked for"),
    ("math", r"\begin{pmatrix}1\\2\end{pmatrix}", "(1, 2)", "a column for a point"),
    ("math", "(1, 2)", r"\langle 1, 2 \rangle", "a vector in angles for a point"),
    ("math", "abc", "cab", "three letters with a vowel are a word"),
    ("math", r"\text{June } 20", r"20\text{ June}", "words in another order"),
    ("math", r"\text{does not exist}", r"\text{undefined}", "words of like meaning"),
    ("math", "21", r"\text{twenty-one}", "numbers past twenty in words"),
    ("math", "1, 2, ..., n", "1, 2, 3, ..., n", "rows with dots"),
    ("math", "10^{10^{10}}", r"10^{10^{9} \cdot 10}", "numbers with millions of digits"),
    ("math", r"\frac{ac}{b}", "a/bc", "a quotient before a product: read as a/(bc)"),
    ("math", "33", "m + 2n = 33", "a value of letters with factors"),
    ("gsm8k", "18", "eighteen", "numbers in words"),
    ("aime", "33", r"\frac{66}{2}", "what is no integer as written, by the contest's rules"),
]
"""Grader, gold, answer, why: a reader would accept these."""

PAID: list[Case] = [
    ("math", "-1", "i^2", "a letter i is the imaginary unit, also where it is a current"),
    ("math", "50", r"50\%", "percent are a unit too: gold 50 may be one or not"),
    ("math", "(-2,1)", "-2, 1", "missing brackets: a point may be meant, or an interval"),
    ("math", r"\frac{1}{3}", "0.333333", "six decimals stand for the exact value"),
    ("gsm8k", "6", "6m", "in word problems a letter behind a number is a unit"),
]
"""A reader might not accept these."""


def is_right(case: Case) -> bool:
    grader, gold, answer, _ = case
    return grade(grader, gold, answer) is Verdict.CORRECT  # type: ignore[arg-type]  # from a table


@pytest.mark.parametrize("case", REFUSED, ids=lambda case: case[3])
def test_what_is_refused_still_is(case: Case) -> None:
    assert not is_right(case), "it is judged rightly now: take it off the list"


@pytest.mark.parametrize("case", PAID, ids=lambda case: case[3])
def test_what_is_paid_still_is(case: Case) -> None:
    assert is_right(case), "it is judged rightly now: take it off the list"


def rows(cases: list[Case]) -> str:
    lines = ["| grader | gold | answer | why |", "|---|---|---|---|"]
    for grader, gold, answer, why in cases:
        left, right = (text.replace("|", "\\|") for text in (gold, answer))
        lines.append(f"| {grader} | `{left}` | `{right}` | {why} |")
    return "\n".join(lines)


def written(guide: str) -> str:
    """The guide with both lists as they stand here."""
    for name, cases in (("refused", REFUSED), ("paid", PAID)):
        mark = re.compile(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        assert mark.search(guide), name
        guide = mark.sub(lambda match, cases=cases: match[1] + rows(cases) + match[2], guide)  # type: ignore[misc]  # a default binds it
    assert f"more than {MAX_CHARS:,} characters" in guide
    return guide


def test_the_guide_lists_them() -> None:
    guide = GUIDE.read_text(encoding="utf-8")
    assert guide == written(guide), "run python tests/test_house_answers.py"


if __name__ == "__main__":
    GUIDE.write_text(written(GUIDE.read_text(encoding="utf-8")), encoding="utf-8")
