"""Numbers as written by people: exact values, and None for everything else."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_reward.numbers import close, parse_number, without_unit


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("18", 18),
        ("$1,018.50$", Fraction("1018.5")),
        (r"\$18", 18),
        ("-3./2", Fraction(-3, 2)),
        (r"\frac{14}{3}", Fraction(14, 3)),
        (r"-\dfrac{1}{2}", Fraction(-1, 2)),
        ("4.5e33", 45 * 10**32),
        (r"4.5 \times 10^{33}", 45 * 10**32),
        (r"2\cdot 10^3", 2000),
        ("10^{-5}", Fraction(1, 100_000)),
        ("1e-5", Fraction(1, 100_000)),
        (".5", Fraction(1, 2)),
        ("7.", 7),
        (r"1{,}406", 1406),
    ],
)
def test_numbers(text: str, value: Fraction) -> None:
    assert parse_number(text) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "1/0",
        "1/2/3",
        "2^3",
        "1e999999",
        "--1",
        "1,2",
        "12a",
        r"\frac{1}{0}",
        "٣",
        "1" * 300,
    ],
)
def test_what_is_no_number(text: str) -> None:
    assert parse_number(text) is None


@given(st.integers(-(10**9), 10**9), st.integers(0, 6))
def test_decimals_are_exact(mantissa: int, places: int) -> None:
    value = Fraction(mantissa, 10**places)
    sign = "-" if mantissa < 0 else ""
    digits = str(abs(mantissa)).rjust(places + 1, "0")
    text = sign + (f"{digits[:-places]}.{digits[-places:]}" if places else digits)
    assert parse_number(text) == value
    assert parse_number(f"{mantissa}e-{places}") == value


@given(st.text(max_size=300))
def test_no_text_raises(text: str) -> None:
    parse_number(text)
    without_unit(text)


def test_units() -> None:
    assert without_unit(r"18\text{ dollars}") == "18"
    assert without_unit("18 eggs.") == "18"
    assert without_unit(r"5\%") == "5"
    assert without_unit(r"90^{\circ}") == "90"
    assert without_unit(r"3 \mathrm{~cm}^{2}") == "3"
    assert without_unit("18") == "18"


def test_closeness() -> None:
    assert close(Fraction("4.5003"), Fraction("4.5"), relative=1e-4)
    assert not close(Fraction("4.51"), Fraction("4.5"), relative=1e-4)
    assert close(Fraction("4.3"), Fraction("4.2"), absolute=0.1 + 1e-9)
    assert not close(Fraction(1), Fraction(2))
