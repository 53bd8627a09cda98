"""The output grammar and answers through Python; the cases themselves are tested in Rust."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from srl_reward import (
    InvalidOutput,
    InvalidReason,
    ParsedOutput,
    after_thinking,
    extract_aime_answer,
    extract_boxed,
    extract_gsm8k_answer,
    is_think_prefilled,
    parse_solution,
    parse_step_output,
    render_step_output,
    split_steps,
    strip_step_number,
)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("x", InvalidReason.MISSING_THINK),
        ("x <think>a</think>y", InvalidReason.TEXT_BEFORE_THINK),
        ("<think>a", InvalidReason.UNCLOSED_THINK),
        ("<think>a<think>b</think>x", InvalidReason.NESTED_THINK),
        ("<think>a</think><think>b</think>x", InvalidReason.REPEATED_THINK),
        ("<think>a</think>b</think>x", InvalidReason.MISPLACED_THINK),
        ("<think>a</think> 3. ", InvalidReason.EMPTY_ACTION),
        ("<think>a</think>3. x\n4. y", InvalidReason.SEVERAL_STEPS),
    ],
)
def test_each_fault_has_its_reason(text: str, reason: InvalidReason) -> None:
    assert parse_step_output(text) == InvalidOutput(reason)


def test_truncation_and_prefilling_are_told_from_outside() -> None:
    assert parse_step_output("<think>a</think>x", truncated=True) == InvalidOutput(
        InvalidReason.TRUNCATED
    )
    assert parse_step_output("a</think>3. x", think_prefilled=True) == ParsedOutput("a", "3. x", 3)
    assert is_think_prefilled("…<think>\n")
    assert not is_think_prefilled("<think></think>")


@given(
    st.text(max_size=30).filter(lambda text: "think>" not in text),
    st.from_regex(r"\A([1-9]\. )?[a-zé][a-zé .]{0,20}[a-z]\Z"),
)
def test_parse_inverts_render(thinking: str, action: str) -> None:
    parsed = parse_step_output(render_step_output(thinking, action))
    assert isinstance(parsed, ParsedOutput)
    assert parsed.action == action
    assert parsed.thinking.strip() == thinking.strip()


def test_answers_come_through() -> None:
    assert extract_boxed(r"so \boxed{\frac{é}{2}}") == r"\frac{é}{2}"
    assert extract_boxed("\ud800 \\boxed{\ud801}") == "\ud801"
    assert extract_boxed("none") is None
    assert extract_aime_answer(r"\boxed{033}") == 33
    assert extract_aime_answer(r"\boxed{1000}") is None
    assert extract_gsm8k_answer("#### 1,234") == "1234"
    assert extract_gsm8k_answer("18") is None


OUTPUT_PIECES = [
    "<think>",
    "</think>",
    "x ",
    "2. ",
    "3. y\n",
    "**Step 4:** ",
    "\u3000",
    "\ud800",
    "1. z\n",
]


@given(st.lists(st.sampled_from(OUTPUT_PIECES)).map("".join), st.booleans())
def test_what_is_valid_renders_to_what_parses_the_same(text: str, prefilled: bool) -> None:
    parsed = parse_step_output(text, think_prefilled=prefilled)
    if isinstance(parsed, ParsedOutput):
        again = parse_step_output(render_step_output(parsed.thinking, parsed.action))
        assert again == parsed


@given(
    st.text().map(str.strip).filter(lambda text: "think>" not in text),
    st.from_regex(r"[a-z$*\#]{1,9}( [a-z0-9é]{1,9}){0,3}", fullmatch=True),
)
def test_rendered_output_comes_back(thinking: str, action: str) -> None:
    parsed = parse_step_output(render_step_output(thinking, action))
    assert parsed == ParsedOutput(thinking, action, None)


HOSTILE = [
    "<think>",
    "</think>",
    "\\boxed{",
    "\\boxed{}",
    "{",
    "}",
    "1. a\n",
    "2.\n",
    "2. **T**\n",
    "2. **\u00e9**\n",
    "Step 2:\n",
    "**Step 1:**",
    "<",
    "9",
    "\\",
    "\\boxed ",
    "\\,",
    "\u3000",
    "\r\n",
    "```\n",
    "````\n~~~\n",
    "$$",
    "$$\n",
    "\\[",
    "\\[\n\n",
    "\\begin{a}",
    "\\(\\[$$\n",
    "#### 1,",
    "\\text{",
    "=",
    " ",
    "\n",
    "\ud800",
]


@pytest.mark.parametrize("unit", [*HOSTILE, "fences"])
def test_no_megabyte_takes_time_that_grows_with_its_square(unit: str) -> None:
    text = (unit * (1_000_000 // len(unit))) if unit != "fences" else _falling_fences(1_000_000)
    _none_hangs(text, 5)


@pytest.mark.slow
@pytest.mark.parametrize("unit", [*HOSTILE, "fences"])
def test_no_ten_megabytes_take_time_that_grows_with_their_square(unit: str) -> None:
    text = (unit * (10_000_000 // len(unit))) if unit != "fences" else _falling_fences(10_000_000)
    _none_hangs(text, 20)


def _falling_fences(size: int) -> str:
    longest = int((2 * size) ** 0.5)
    return "\n".join("`" * length for length in range(longest, 2, -1))


def _none_hangs(text: str, seconds: float) -> None:
    """The bound is some twenty times what a linear reader takes on an idle machine, and far below
    what a quadratic one does: it finds a hang, not a slow machine. Speed is for `benchmarks/`."""
    boxed = f"\\boxed{{{text}}}"
    for call in (
        lambda: parse_step_output(f"<think>{text}</think>x{text}"),
        lambda: parse_step_output(text, think_prefilled=True),
        lambda: split_steps(text),
        lambda: split_steps(f"1. {text}"),
        lambda: parse_solution(text),
        lambda: strip_step_number(text),
        lambda: extract_boxed(text),
        lambda: extract_aime_answer(boxed),
        lambda: extract_gsm8k_answer(text),
    ):
        # User time: what the kernel takes to hand out memory is the machine's affair.
        start = os.times().user
        call()
        assert os.times().user - start < seconds


@pytest.mark.parametrize(
    ("text", "prefilled", "part"),
    [
        ("no thinking", False, "no thinking"),
        ("<think>a</think> b", False, " b"),
        ("a</think>b", True, "b"),
        ("a</think>b", False, "b"),
        ("<think>a</think>b</think>c", False, "c"),
        (r"<think>\boxed{1}", False, InvalidReason.UNCLOSED_THINK),
        (r"\boxed{1}", True, InvalidReason.UNCLOSED_THINK),
        ("<think>a</think><think>b", False, InvalidReason.REPEATED_THINK),
    ],
)
def test_answers_are_looked_for_after_the_thinking(
    text: str, prefilled: bool, part: str | InvalidReason
) -> None:
    found = after_thinking(text, think_prefilled=prefilled)
    assert found == (InvalidOutput(part) if isinstance(part, InvalidReason) else part)
