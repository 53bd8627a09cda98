"""Answers made to stall, to fill memory or to confuse: none holds up the grading, none is right.

Each goes through the pool of killable processes that evaluation and rewards use, here with one
process, and after each a good pair must be found correct by whatever process stands there then.
"""

import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import pytest

from srl_eval.grading import Candidate, Gold, get_grader, judge
from srl_reward import Verdict, _math_pool
from srl_reward.grading import MAX_CHARS, grade

LIMIT = 1.0
MARGIN = 10  # seconds beyond the limit for a kill, on a busy machine; a new process is not in it
STARTED_MIB = 512  # a process that has loaded sympy and answered stays far below
NUMBERS = count(1_000)
MOST_MIB = 4096 + 64  # the process's own limit of address space, and what a reading may be off

TEN = [10**k for k in range(2, 12)]
TOWERS = [
    *(f"{base}^{{{base}^{{{base}^{{{base}}}}}}}" for base in range(2, 10)),
    *("^{".join("2" * height) + "}" * (height - 1) for height in (6, 7, 8, 10)),
    "9^{9^9} - 9^{9^9} + 8",
    "(9^{9^9})^{9^9}",
    r"\left(1+\frac{1}{9^{9^{9}}}\right)^{9^{9^{9}}}",
    r"\sqrt{9^{9^{9^{9}}}}",
    r"10^{10^{10}} \bmod 11",
    "x^{x^{x^{x^{x^{x^{x^{x}}}}}}}",
]
FACTORIALS = [
    *(f"{n}!" for n in TEN[2:]),
    "((9!)!)!",
    "((((3!)!)!)!)!",
    r"\Gamma(10^{12})",
    r"\binom{10^{9}}{5 \cdot 10^{8}}",
    r"\binom{1000000}{500000}",
    r"\frac{10^{8}!}{(10^{8}-1)!}",
]
SUMS = [
    *(rf"\sum_{{k=1}}^{{{n}}} \frac{{1}}{{k}}" for n in TEN[2:]),
    r"\sum_{k=1}^{10^9} k^k",
    r"\sum_{k=1}^{10^9} \sin k",
    r"\prod_{k=1}^{10^8} k",
    r"\prod_{k=1}^{\infty} \left(1+\frac{1}{k^3}\right)",
    r"\sum_{i=1}^{1000}\sum_{j=1}^{1000}\sum_{k=1}^{1000} \frac{1}{ijk}",
    r"\int_0^1 x^x dx",
    r"\int_0^\infty e^{-x^x} \sin(x^2) dx",
    r"\int_0^1 \int_0^1 \int_0^1 \frac{1}{1-xyz} dx dy dz",
    r"\lim_{n \to \infty} \frac{n^{n^n}}{n!}",
    r"\lim_{x \to 0} \frac{\sin(\tan x) - \tan(\sin x)}{x^7}",
    r"\frac{d^{50}}{dx^{50}} e^{x^{x}}",
]
DIGITS = [
    "9" * 100_000,
    "-" + "9" * 100_000,
    "0." + "3" * 100_000,
    "9" * 4_400,
    "9" * 1_999,
    "0." + "3" * 1_900,
    "1/" + "7" * 1_900,
    r"\frac{1}{" + "7" * 1_900 + "}",
    "9" * 900 + "^" + "9" * 900,
    r"\sqrt{" + "7" * 1_900 + "}",
    "1" + ",000" * 450,
    "1" + "0" * 1_500 + ".5",
    "7" * 600 + "!",
    "e^{" + "9" * 1_000 + "}",
    r"\sin(" + "9" * 1_800 + ")",
]
NESTED = [
    left * depth + "8" + right * depth
    for left, right, depths in [
        ("{", "}", (400, 900, 50_000)),
        ("(", ")", (100, 900, 50_000)),
        ("[", "]", (900,)),
        ("|", "|", (20, 900)),
        (r"\{", r"\}", (450,)),
        (r"\left(", r"\right)", (100,)),
        (r"\left\lfloor ", r"\right\rfloor ", (40,)),
        (r"\frac{1}{1+", "}", (30, 150, 10_000)),
        (r"\sqrt{1+", "}", (15, 200)),
        (r"\text{", "}", (250,)),
        (r"\boxed{", "}", (200,)),
        (r"\sin(", ")", (30, 250)),
        ("-(", ")", (600,)),
        ("2^{", "}", (300,)),
        ("x_{", "}", (400,)),
    ]
    for depth in depths
]
REPEATED = [
    (piece * (1_950 // len(piece)) + end)
    for piece, end in [
        ("a", "!"), (" ", "x"), ("1,", ""), ("$", "8"), ("\\", ""), (r"\ ", "8"), ("x=", "8"),
        (r"\frac", "8"), ("^", "8"), ("_", "8"), (r"\sqrt", "8"), ("-", "8"), ("+", "8"), ("%", ""),
        (",", ""), (" or ", "8"), (r"8\text{ and }", "8"), (r"\begin{", ""), ("&", ""), ("~", "8"),
        (r"\cdot ", "8"), (r"^\circ", ""), (r"8\pm ", "8"), ("8<", "9"), ("8=", "8"), ("/8", ""),
        ("1.", ""), ("{}", "8"), ("()", "8"), (r"\{\}", ""), (r"\infty", ""), ("ab", ""), ("i", ""),
        ("x+", "1"), ("8!", ""), (r"\log ", "8"), (r"\text{a}", "!"), ("8,000", ""), (r"\,", "8"),
    ]
]  # fmt: skip
MATRIX = r"\begin{pmatrix}" + r"\\".join("&".join("1234") for _ in range(4)) + r"\end{pmatrix}"
MATRICES = [
    r"\begin{pmatrix}" + r"\\".join("&".join(["x"] * n) for _ in range(n)) + r"\end{pmatrix}"
    for n in (10, 20, 30, 200)
]
MATRICES += [
    MATRIX + "^{10^9}",
    MATRIX + "^{-1}" * 50,
    MATRIX * 20,
    r"\det" + MATRICES[0],
    MATRICES[1] + "^{100}",
]
ALGEBRA = [
    "(x+1)^{1000}",
    "(x+1)^{100000}",
    "(a+b+c+d+e+f)^{60}",
    "(x+y+z)^{200} - (x+y+z)^{199}",
    "".join(f"(x+{k})" for k in range(1, 200)),
    "+".join(f"x^{{{k}}}" for k in range(1, 250)),
    "x^{50}+x+1=0",
    "x^{200}-x^{7}+3=0",
    r"\frac{x^{60}-1}{x^{7}-1} = \frac{y^{9}+1}{y-3}",
    "+".join(rf"\sqrt{{{k}}}" for k in range(2, 150)),
    "".join(rf"(\sqrt{{{k}}}+1)" for k in range(2, 60)),
    r"\frac{1}{" + "+".join(rf"\sqrt{{{k}}}" for k in range(2, 40)) + "}",
    "+".join(rf"\sin({k}x)" for k in range(1, 200)),
    r"\sin^{200} x + \cos^{200} x",
    r"\sin(10^{100})",
    r"\sin(10^{10^{10}})",
    r"\tan(\tan(\tan(\tan(\tan(10^{20})))))",
    ",".join(str(k) for k in range(8, 500)),
    r"\{" + ",".join(rf"\sqrt{{{k}}}" for k in range(2, 150)) + r"\}",
    r"\cup".join(f"({k},{k + 1})" for k in range(1, 150)),
    r"\bigcup_{k=1}^{\infty} (k, k+1)",
    "(" + ",".join(["(1,2)"] * 300) + ")",
    "x < y < z < x^{x^{y^{z}}}",
    r"e^{e^{e^{e^{e^{79}}}}}",
    r"\log(\log(\log(10^{10^{10^{10}}})))",
    r"\left(\sqrt{2}+\sqrt{3}\right)^{10000}",
    r"(1+i)^{100000}",
    r"0.\overline{" + "142857" * 100 + "}",
]
UNICODE = [
    "\x00", "8\x008", "\ud800", "8\udfff", "\udc80\ud800", "\u202e8\u202c", "\u200f8",
    "\u200b" * 900,
    "8" + "\u0301" * 900, "🙂" * 900, "\ufeff8", "８", "٨", "八", "Ⅷ", "⁸", "½", "8\n9", "8\r9",
    "8\u20289", "8\u2029", "8\x85", "\x1b[31m8", "8\t\v\f", "\x7f" * 900, "𝟖", "∞", "𓀀" * 400,
    "\U0010ffff", "é" * 1_900, "\u2066" * 500 + "8",
]  # fmt: skip
PROTOCOL = [
    "correct\n", "correct", "ready\n", '"]\n["1", "1"]', "null", "[]", "__import__('os')._exit(0)",
    "exit()", "lambda: 8", "{{8*8}}", r"\input{/etc/passwd}", "%s%n%x", "${HOME}", "'; import os",
    "EOF\x04", r"\boxed{8}\boxed{9}", r"8} \boxed{9", "#### 8", "<think>8</think>", "x.__class__",
]  # fmt: skip
EDGES = [
    "1e999999999", "-1e-999999999", "1e9999", "nan", "inf", "-inf", "0/0", "1/0", r"\frac{0}{0}",
    "0^0", r"\infty-\infty", r"\infty/\infty", r"\log 0", r"\log_1 8", r"\sqrt[0]{8}",
    r"\binom{-1}{10^9}",
    r"\frac{1}{\frac{1}{\frac{1}{0}}}", "10^{-10^{10}}", "", " ", "{}", r"\text{}", "?", "\\",
]  # fmt: skip
FAMILIES = {
    "towers": TOWERS,
    "factorials": FACTORIALS,
    "sums": SUMS,
    "digits": DIGITS,
    "nested": NESTED,
    "repeated": REPEATED,
    "matrices": MATRICES,
    "algebra": ALGEBRA,
    "unicode": UNICODE,
    "protocol": PROTOCOL,
    "edges": EDGES,
}
GOLDS = {"matrices": MATRIX, "algebra": "x^{2}+1"}
ALL = [answer for answers in FAMILIES.values() for answer in answers]


def resident_mib(process: int) -> float:
    """What a process holds of memory now; 0 for one that is gone."""
    try:
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    except (OSError, IndexError):
        return 0.0
    return pages * resource.getpagesize() / 2**20


@contextmanager
def watched(process: int) -> Iterator[list[float]]:
    """The memory of a process, read every few milliseconds until the block ends."""
    readings, over = [0.0], threading.Event()

    def read() -> None:
        while not over.wait(0.005):
            readings.append(resident_mib(process))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield readings
    finally:
        over.set()
        thread.join()


@pytest.fixture
def pool(monkeypatch: pytest.MonkeyPatch) -> Iterator[_math_pool.Pool]:
    """One process in place of the shared ones, so that the next answer meets what was left."""
    pool = _math_pool.Pool(1)
    monkeypatch.setattr(_math_pool._Shared, "pool", pool)
    yield pool
    pool.close()


def good_pair() -> Verdict:
    """The verdict on a right answer that no cache knows."""
    number = next(NUMBERS)
    return grade("math", f"{number + 2}", f"{number}+2", seconds=60)


def check(pool: _math_pool.Pool, gold: str, answers: list[str], seconds: float) -> float:
    """Judge each answer after a good pair; the most memory that one took, in MiB."""
    (worker,) = pool._workers
    most = 0.0
    for answer in answers:
        good = good_pair()
        assert good is Verdict.CORRECT, (answer[:80], good)
        assert worker._process is not None
        assert resident_mib(worker._process.pid) < STARTED_MIB
        with watched(worker._process.pid) as readings:
            began = time.monotonic()
            verdict = grade("math", gold, answer, seconds=seconds)
            took = time.monotonic() - began
        assert took < seconds + MARGIN, (answer[:80], took)
        assert isinstance(verdict, Verdict)
        assert verdict is not Verdict.CORRECT, answer[:80]
        assert max(readings) < MOST_MIB
        most = max(most, *readings)
    return most


def test_there_are_two_hundred_different_ones() -> None:
    assert len(set(ALL)) == len(ALL) >= 200


@pytest.mark.timeout(120)
def test_one_of_each_family_is_over_within_its_limit(pool: _math_pool.Pool) -> None:
    for name, answers in FAMILIES.items():
        check(pool, GOLDS.get(name, "7"), answers[:1], 0.5)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_one_is_over_within_its_limit(pool: _math_pool.Pool, name: str) -> None:
    most = check(pool, GOLDS.get(name, "7"), FAMILIES[name], LIMIT)
    print(f"{name}: {len(FAMILIES[name])} answers, at most {most:.0f} MiB")
    assert good_pair() is Verdict.CORRECT


@pytest.mark.parametrize("name", ["aime", "boxed_integer", "gsm8k", "exact"])
def test_graders_without_a_process_take_no_time_on_any(name: str) -> None:
    grader = get_grader(name)
    for answer in [*ALL, *(answer * 1_000 for answer in REPEATED)]:
        began = time.monotonic()
        text = f"\\boxed{{{answer}}} #### {answer}"
        (judgement,) = judge(grader, [Candidate(text, "stop", Gold("7"))])
        assert judgement.verdict.value != "correct"
        assert time.monotonic() - began < MARGIN, answer[:80]


def test_a_longer_answer_never_reaches_a_process(pool: _math_pool.Pool) -> None:
    assert grade("math", "7", "(" * (MAX_CHARS + 1)) is Verdict.UNPARSABLE
    assert pool._workers[0]._process is None
