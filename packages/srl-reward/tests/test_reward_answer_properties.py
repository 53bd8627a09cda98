r"""Properties of comparing answers: every notation of a value is it, every other value is not.

The reading and comparing is called without its process, so that many examples take seconds; the
tables of kinds go the whole way.
"""

from collections.abc import Callable
from fractions import Fraction

import pytest

pytest.importorskip("mpmath")

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from srl_reward.expression.compare import same
from srl_reward.expression.equal import UndecidedError
from srl_reward.expression.reader import read
from srl_reward.expression.tree import UnreadableError
from srl_reward.notation import is_same_text, plain
from srl_reward.notation.kept import keeps_signs

Write = Callable[[Fraction], str]


def is_equal(gold: str, answer: str) -> bool:
    left, right = plain(gold), plain(answer)
    return is_same_text(left, right) or same(read(left), read(right))


def signed(value: Fraction, text: str) -> str:
    return f"-{text}" if value < 0 else text


def quotient(value: Fraction) -> str:
    return signed(value, rf"\frac{{{abs(value.numerator)}}}{{{value.denominator}}}")


def mixed_number(value: Fraction) -> str:
    whole, rest = divmod(abs(value.numerator), value.denominator)
    if not whole or not rest:
        return quotient(value)
    return signed(value, rf"{whole}\frac{{{rest}}}{{{value.denominator}}}")


def repeating(value: Fraction) -> str:
    """Decimals with a bar over what repeats, by long division."""
    whole, rest = divmod(abs(value.numerator), value.denominator)
    digits, seen = "", dict[int, int]()
    while rest and rest not in seen:
        seen[rest] = len(digits)
        digit, rest = divmod(10 * rest, value.denominator)
        digits += str(digit)
    if not rest:
        return signed(value, f"{whole}.{digits}" if digits else str(whole))
    start = seen[rest]
    return signed(value, rf"{whole}.{digits[:start]}\overline{{{digits[start:]}}}")


def thousands(value: Fraction) -> str:
    return signed(value, rf"\frac{{{abs(value.numerator):,}}}{{{value.denominator}}}")


NOTATIONS: dict[str, Write] = {
    "quotient": quotient,
    "slash": lambda v: f"{v.numerator}/{v.denominator}",
    "dfrac": lambda v: quotient(v).replace("frac", "dfrac"),
    "not in lowest terms": lambda v: rf"\frac{{{6 * v.numerator}}}{{{6 * v.denominator}}}",
    "mixed": mixed_number,
    "repeating": repeating,
    "thousands": thousands,
    "sum": lambda v: f"1 + {quotient(v - 1)}".replace("+ -", "- "),
    "product": lambda v: rf"2 \cdot \left({quotient(v / 2)}\right)",
    "root": lambda v: signed(v, rf"\sqrt{{{quotient(v * v)}}}"),
    "power of ten": lambda v: rf"\frac{{{v.numerator}}}{{{v.denominator}}} \times 10^{{0}}",
    "named": lambda v: f"x = {quotient(v)}",
    "decorated": lambda v: rf"\displaystyle\ \boldsymbol{{{quotient(v)}}}~.",
    "with a unit": lambda v: rf"{quotient(v)}\text{{ cm}}",
    "words before": lambda v: f"The answer is {quotient(v)}",
    "dollars": lambda v: f"${quotient(v)}$",
}
VALUES = st.fractions(-5_000, 5_000, max_denominator=97)


@settings(max_examples=400, deadline=None)
@given(VALUES, st.sampled_from(sorted(NOTATIONS)), st.sampled_from(sorted(NOTATIONS)))
def test_every_notation_of_a_value_is_that_value(value: Fraction, left: str, right: str) -> None:
    gold, answer = NOTATIONS[left](value), NOTATIONS[right](value)
    assert is_equal(gold, answer)
    assert is_equal(answer, gold)


@settings(max_examples=400, deadline=None)
@given(VALUES, VALUES, st.sampled_from(sorted(NOTATIONS)), st.sampled_from(sorted(NOTATIONS)))
def test_no_other_value_is(value: Fraction, other: Fraction, left: str, right: str) -> None:
    assume(value != other)
    assert not is_equal(NOTATIONS[left](value), NOTATIONS[right](other))


@settings(max_examples=300, deadline=None)
@given(VALUES, st.integers(1, 60), st.sampled_from(sorted(NOTATIONS)))
def test_a_value_that_is_off_by_a_little_is_another(
    value: Fraction, places: int, name: str
) -> None:
    written, answer = NOTATIONS[name](value), f"{quotient(value)} + 10^{{-{places}}}"
    _, point, decimals = written.partition(".")
    # A decimal that ends may stand for what it is the rounding of.
    assume(not point or "overline" in decimals or places <= len(decimals))
    assert not is_equal(written, answer)
    assert not is_equal(answer, written)


COMPLEX: dict[str, Callable[[int, int, int], str]] = {
    "i last": lambda a, b, n: rf"{a}+{b}\sqrt{{{n}}}i",
    "i in the middle": lambda a, b, n: rf"{a}+{b}i\sqrt{{{n}}}",
    "imaginary first": lambda a, b, n: rf"{b}\sqrt{{{n}}}i + ({a})",
    "over one": lambda a, b, n: rf"\frac{{{2 * a}+{2 * b}i\sqrt{{{n}}}}}{{2}}",
    "times one": lambda a, b, n: rf"-i\left({a}i - {b}\sqrt{{{n}}}\right)",
}


@settings(max_examples=200, deadline=None)
@given(
    st.integers(-20, 20),
    st.integers(1, 20),
    st.integers(2, 30),
    st.sampled_from(sorted(COMPLEX)),
    st.sampled_from(sorted(COMPLEX)),
)
def test_complex_numbers(a: int, b: int, n: int, left: str, right: str) -> None:
    gold = COMPLEX[left](a, b, n)
    assert is_equal(gold, COMPLEX[right](a, b, n))
    assert not is_equal(gold, COMPLEX[right](a, b + 1, n))
    assert not is_equal(gold, COMPLEX[right](a + 1, b, n))


LETTERS = st.sampled_from("abckmnrstuvwxyz")
POLYNOMIALS = st.lists(st.tuples(st.integers(-9, 9), st.integers(0, 4)), min_size=1, max_size=4)


def polynomial(letter: str, terms: list[tuple[int, int]]) -> str:
    return "+".join(f"({factor}){letter}^{{{power}}}" for factor, power in terms)


@settings(max_examples=150, deadline=None)
@given(LETTERS, LETTERS, POLYNOMIALS, st.permutations(range(4)))
def test_formulas_in_any_order_and_no_other_letter(
    letter: str, other: str, terms: list[tuple[int, int]], order: list[int]
) -> None:
    moved = [terms[place] for place in order if place < len(terms)]
    gold = polynomial(letter, terms)
    assert is_equal(gold, polynomial(letter, moved))
    assert not is_equal(gold, f"{polynomial(letter, moved)} + 1")
    depends = {power for _, power in terms if power} and any(
        sum(f for f, p in terms if p == power) for power in {p for _, p in terms if p}
    )
    if letter != other and depends:
        assert not is_equal(gold, polynomial(other, terms))


REWRITINGS: list[Callable[[str], str]] = [
    lambda text: f"${text}$",
    lambda text: f"{{{text}}}",
    lambda text: f"\\displaystyle {text}",
    lambda text: f"\\quad {text} \\;",
    lambda text: f"{text}.",
    lambda text: text.replace("\\frac", "\\tfrac"),
    lambda text: text.replace("(", "\\left(").replace(")", "\\right)"),
    lambda text: f"\\boldsymbol{{{text}}}",
    lambda text: f"{text}\\\\",
    lambda text: f"{text}\u200b",
]
ANSWERS = [
    "3", "-3", "3.0", r"\frac{1}{2}", "0.5", "1/2", r"50\%", "(1,2)", "(1, 2)", "[1,2]", "(2,1)",
    "1, 2", "2, 1", r"\{1, 2\}", "x+1", "1+x", "2s", "2t", "6m", "6", r"6\text{ m}", r"\text{even}",
    r"\text{odd}", "even", "y'", "y''", "I_0", "I_1", r"\pm 2", "2, -2", "2", "2+3i", "3i+2",
    "2-3i", "x < 2", r"(-\infty, 2)", r"x \le 2", "x = 3", "y = 3", "y = 2x", "2x", r"90^\circ",
    "90", r"\frac{\pi}{2}", "100,200", "100200", "1{,}000", "1000", "2:30", "4:60", r"\sqrt{8}",
    r"2\sqrt{2}", r"\emptyset", r"\text{no solution}", r"x \ne 3", "10^{-12}", "10^{-13}", "B",
    r"\text{(B)}", r"\begin{pmatrix}1\\2\end{pmatrix}", r"5\text{ million}", "5000000", "5",
]  # fmt: skip


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS), st.sampled_from(REWRITINGS))
def test_a_verdict_does_not_change_when_both_sides_are_rewritten_alike(
    gold: str, answer: str, rewrite: Callable[[str], str]
) -> None:
    assert is_equal(gold, answer) == is_equal(rewrite(gold), rewrite(answer))


@settings(max_examples=600, deadline=None)
@given(st.sampled_from(ANSWERS), st.sampled_from(ANSWERS))
def test_verdicts_are_symmetric(gold: str, answer: str) -> None:
    assert is_equal(gold, answer) == is_equal(answer, gold)


PIECES = [
    *r"\{}()[]^_$%.,:;=<>|+-*/!'&~ 0123xyei½√∞",
    *(r"\frac", r"\sqrt", r"\text{", r"\pm", r"\left", r"\circ", r"\log", r"\sin", r"\ldots"),
    *(r"\overline{", r"\begin{pmatrix}", r"\end{pmatrix}", " or ", "million", "cm", r"\infty"),
    *("\x00", "\u200b"),
]
TEXTS = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)


@settings(max_examples=800, deadline=2_000)
@given(TEXTS, TEXTS)
def test_no_text_raises_anything_else_than_what_is_announced(gold: str, answer: str) -> None:
    left, right = plain(gold), plain(answer)
    keeps_signs(left, right)
    try:
        trees = read(left), read(right)
    except UnreadableError:
        return
    try:
        assert isinstance(same(*trees), bool)
    except UndecidedError:
        return
    assert same(trees[0], trees[0])
