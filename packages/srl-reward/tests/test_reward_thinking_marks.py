"""Thinking between other marks than `<think>`: no answer is read inside it."""

import pytest

from srl_reward import InvalidOutput, after_thinking
from srl_reward.output import InvalidReason
from srl_reward.thinking_marks import ends_after_thinking, ends_inside_thinking, opening_marks

PAIRS = [
    ("<think>", "</think>"),
    ("<thinking>", "</thinking>"),
    ("<thought>", "</thought>"),
    ("<reasoning>", "</reasoning>"),
    ("<seed:think>", "</seed:think>"),
    ("<longcat_think>", "</longcat_think>"),
    ("<|thinking|>", "<|/thinking|>"),
    ("<|thinking|>", "</|thinking|>"),
    ("<|begin_of_thought|>", "<|end_of_thought|>"),
    ("<|START_THINKING|>", "<|END_THINKING|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("<start_working_out>", "<end_working_out>"),
    ("[THINK]", "[/THINK]"),
    ("[BEGIN_REASONING]", "[END_REASONING]"),
    ("◁think▷", "◁/think▷"),
    ("<|inner_prefix|>", "<|inner_suffix|>"),
    ("<|channel>thought", "<channel|>"),
    (
        "<|channel|>analysis<|message|>",
        "<|end|><|start|>assistant<|channel|>final<|message|>",
    ),
    (
        "<|channel|>commentary to=functions.f <|constrain|>json<|message|>",
        "<|channel|>final <|constrain|>json<|message|>",
    ),
]


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_only_what_follows_the_thinking_is_an_answer(opening: str, closing: str) -> None:
    inside = f"{opening}perhaps \\boxed{{1}}"
    assert after_thinking(f"{inside}{closing}It is \\boxed{{2}}") == "It is \\boxed{2}"
    assert after_thinking(inside) == InvalidOutput(InvalidReason.UNCLOSED_THINK)
    assert after_thinking(f"{inside}{closing}x{inside}") == InvalidOutput(
        InvalidReason.REPEATED_THINK
    )
    prefilled = after_thinking("perhaps \\boxed{1}", think_prefilled=True)
    assert prefilled == InvalidOutput(InvalidReason.UNCLOSED_THINK)
    assert after_thinking(f"so {closing}2", think_prefilled=True) == "2"


@pytest.mark.parametrize(("opening", "closing"), PAIRS)
def test_the_end_of_a_prompt_tells_where_it_stands(opening: str, closing: str) -> None:
    assert ends_inside_thinking(f"assistant\n{opening}\n")
    assert not ends_inside_thinking(f"assistant\n{opening}\n\n{closing}\n\n")
    assert ends_after_thinking(f"assistant\n{opening}\n\n{closing}\n\n")
    assert not ends_after_thinking(f"assistant\n{opening}\n")
    assert opening_marks(f"a{opening}b{opening}") == [opening]


@pytest.mark.parametrize(
    "text",
    [
        "Let us think. [x] < 3 and <b>bold</b>, so \\boxed{4}",
        "I thought <x, y> > 0 [thinking of it], the reasoning [1] gives \\boxed{4}",
        "channel final: \\boxed{4}",
        "<answer>\\boxed{4}</answer> <rethought/>",
    ],
)
def test_ordinary_text_has_no_thinking(text: str) -> None:
    assert after_thinking(text) == text


def test_marks_are_searched_in_linear_time() -> None:
    for piece in ("<|channel|>final", "<", "<think", "[", "<|channel|>analysis", "<|", "a"):
        assert after_thinking(piece * 20_000) is not None
