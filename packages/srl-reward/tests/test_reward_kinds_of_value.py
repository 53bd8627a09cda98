r"""Answers that are values: cases by kind, (gold, answer, equal), in both directions.

Half of each kind are pairs that differ: a reward that pays for one of those teaches a trick.
"""

from collections.abc import Iterator

import pytest

from srl_reward.grading import Verdict, grade_batch

Case = tuple[str, str, bool]

KINDS: dict[str, list[Case]] = {
    "small numbers and small differences": [
        (r"\frac{1}{2^{100}}", r"2^{-100}", True),
        ("0.000067", r"6.7 \times 10^{-5}", True),
        ("0.000067", "6.7e-5", True),
        ("0.10", "0.1", True),
        (r"\sqrt{2}", "1.41421356", True),
        (r"\frac{2}{3}", "0.6666667", True),
        ("3.14159265", r"\pi", True),
        (r"10^{-12}", r"\frac{1}{10^{12}}", True),
        (r"2-\frac{1}{2^{2006}}", r"2-\frac{1}{2^{2005}}", False),
        (r"1.67 \times 10^{-27}", r"9.11 \times 10^{-31}", False),
        ("0.000067", ".0000672", False),
        (r"10^{-12}", r"10^{-13}", False),
        (r"1+10^{-30}", "1", False),
        (r"e^{-1000}+1", "1", False),
        (r"\cos(10^{-40})", "1", False),
        ("100000", "100000.4", False),
        ("1", "0.9999999", False),
        (r"\pi", r"\frac{355}{113}", False),
        (r"\sqrt{2}+10^{-70}", r"\sqrt{2}", False),
        ("1.4142135", "1.4142136", False),
        (r"\frac{1}{3}", "0.3333", False),
    ],
    "complex numbers": [
        (r"-2+2\sqrt{3}i", r"-2+2i\sqrt{3}", True),
        (r"\frac{3}{2}i", r"\frac{3i}{2}", True),
        ("2i", "(1+i)^2", True),
        ("-1", "i^2", True),
        (r"-i", r"\frac{1}{i}", True),
        (r"e^{i\pi}", "-1", True),
        ("6-5i", "-5i+6", True),
        (r"\frac{1+i}{2}", r"\frac{1}{2}+\frac{i}{2}", True),
        (r"\cos\theta+i\sin\theta", r"e^{i\theta}", True),
        ("1+2i", "1-2i", False),
        ("2i", "2", False),
        ("3i", "3", False),
        ("a_i", "a_1", False),
        ("a_i", "a_j", False),
        ("i", "j", False),
        ("1+2i", "2+i", False),
        (r"2\sqrt{3}i", r"2\sqrt{3}", False),
        ("x_i+1", "x+1", False),
    ],
    "both signs": [
        (r"\frac{1\pm\sqrt5}{2}", r"\frac{1+\sqrt5}{2}, \frac{1-\sqrt5}{2}", True),
        (r"\pm 5", "5, -5", True),
        (r"\{1\pm\sqrt{5},-2\}", r"1+\sqrt5, 1-\sqrt5, -2", True),
        (r"x=\pm 2", r"x=2 \text{ or } x=-2", True),
        (r"\sqrt{3\pm 1}", r"2, \sqrt2", True),
        (r"(\pm 1, 2)", "(1,2), (-1,2)", True),
        (r"3\pm 2\sqrt2", r"3-2\sqrt2,3+2\sqrt2", True),
        (r"1 \mp i", r"1 \pm i", True),
        (r"\left(2\pm\sqrt3\right)^2", r"7+4\sqrt3, 7-4\sqrt3", True),
        (r"\pm 5", "5", False),
        ("5", r"\pm 5", False),
        (r"\pm 2", r"\pm 3", False),
        (r"1\pm 2", "3", False),
        (r"\frac{1\pm\sqrt5}{2}", r"\frac{1\pm\sqrt3}{2}", False),
        (r"3\pm 2\sqrt2", r"3+2\sqrt2", False),
        (r"(\pm 1, 2)", r"(1, \pm 2)", False),
        (r"\sqrt{3\pm 1}", r"\pm\sqrt{4}", False),
        (r"x=\pm 2", r"y=\pm 2", False),
    ],
    "numbers as written": [
        (r"\frac{20000}{\pi}", r"\frac{20,000}{\pi}", True),
        ("10000", "N = 10,000", True),
        ("1234567", "1,234,567", True),
        ("58500", "58,500", True),
        (r"10\,000", "10,000", True),
        ("1000", "1 000", True),
        (r"\frac13", r"0.\overline{3}", True),
        (r"\frac13", r"0.333\ldots", True),
        (r"\frac16", r"0.1\overline{6}", True),
        (r"\frac{1}{7}", "0.142857142857...", True),
        ("1.25", "1 1/4", True),
        ("2.5", r"2\frac12", True),
        ("-1.5", r"-1\frac{1}{2}", True),
        (r"\frac23", "2:3", True),
        ("7", "7^{\\text{th}}", True),
        ("100,200", "100200", False),
        ("100200", "100,200", False),
        ("(2,251,252)", "(2251252)", False),
        (r"\frac{20000}{\pi}", r"\frac{20,00}{\pi}", False),
        ("12", "1 2", False),
        (r"\frac13", "0.3", False),
        (r"0.\overline{12}", r"0.\overline{21}", False),
        (r"\frac13", r"0.\overline{33}4", False),
        ("1", r"2\frac12", False),
        ("2:30", "4:60", False),
        ("2:30", "2:03", False),
        ("3:30 pm", "3:30 am", False),
        (r"\frac52", "2:30", False),
        ("14/4", r"1\frac14", False),
        ("10", "1,0", False),
    ],
    "degrees": [
        (r"90^\circ", "90°", True),
        (r"90^\circ", r"90\degree", True),
        (r"90^\circ", r"90^{o}", True),
        (r"90^\circ", "x=90°", True),
        (r"90^\circ", "90", True),
        (r"90^\circ", "90 degrees", True),
        (r"90^\circ", r"90\text{ degrees}", True),
        (r"90^\circ", r"\frac{\pi}{2}", True),
        (r"\frac12", r"\sin 30^\circ", True),
        ("90", r"90^{\circ}", True),
        (r"90^\circ", r"80^\circ", False),
        (r"90^\circ", "9", False),
        (r"30^\circ", "300", False),
        (r"\sin 30^\circ", r"\sin 30", False),
        (r"45^\circ", r"\frac{\pi}{3}", False),
        (r"25^\circ\text{C}", r"25^\circ\text{F}", False),
        (r"90^\circ", "90^2", False),
        (r"90^\circ", r"\pi", False),
        (r"60^\circ, 90^\circ", "60°, 80°", False),
    ],
    "values that differ in one sign": [
        (r"\frac{\sqrt{3}}{3}", r"\frac{1}{\sqrt{3}}", True),
        (r"\log_2 8", "3", True),
        (r"(-1)^n", r"\cos(n\pi)", True),
        (r"\lceil n/2\rceil", r"\lfloor (n+1)/2\rfloor", True),
        (r"\frac{100!}{99!}", "100", True),
        ("2^10", "1024", True),
        (r"\frac{100!}{2^{50}}", r"\frac{100!}{2^{51}}", False),
        ("10^{100}+1", "10^{100}", False),
        ("9^{9^9}", "9^{9^9}+1", False),
        (r"\lfloor n/2\rfloor", r"\lceil n/2\rceil", False),
        (r"\infty", r"-\infty", False),
        ("f(x)+f(y)", "f(x+y)", False),
        (r"\frac{dy}{dx}", r"\frac{y}{x}", False),
    ],
}


def check(kinds: dict[str, list[Case]], kind: str) -> None:
    """Every case of a kind has the verdict that stands in the table."""
    cases = kinds[kind]
    verdicts = grade_batch("math", [(gold, answer) for gold, answer, _ in cases])
    wrong = [
        (*case, str(verdict))
        for case, verdict in zip(cases, verdicts, strict=True)
        if (verdict is Verdict.CORRECT) is not case[2]
    ]
    assert wrong == []


def halves(kinds: dict[str, list[Case]]) -> Iterator[tuple[str, int, int]]:
    """How many equal and how many unequal pairs each kind has."""
    for kind, cases in kinds.items():
        assert len({case[:2] for case in cases}) == len(cases), f"{kind}: a pair stands twice"
        yield kind, sum(case[2] for case in cases), sum(not case[2] for case in cases)


@pytest.mark.parametrize("kind", KINDS)
def test_values(kind: str) -> None:
    pytest.importorskip("math_verify")
    check(KINDS, kind)


def test_each_kind_has_a_dozen_cases_and_as_many_unequal() -> None:
    for kind, equal, unequal in halves(KINDS):
        assert equal + unequal >= 12, kind
        assert unequal >= 6, kind
