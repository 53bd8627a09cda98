"""`StepReward` as a whole against a reference of ten lines over difflib and re."""

import difflib
import re

from hypothesis import example, given, settings
from hypothesis import strategies as st

from srl_reward import StepReward

NUMBER = r"\A\d+\.(\s+|\Z)"


def reference(text: str, expert: str, prefilled: bool, autojunk: bool, numbers: bool) -> float:
    """The reward in the plainest words; numbers as `3. ` alone, which is all that is generated."""
    inside = r"((?:(?!</?think>).)*)"
    text = f"<think>{text}" if prefilled else text
    found = re.fullmatch(rf"\s*<think>{inside}</think>{inside}", text, re.DOTALL)
    action = found[2].strip() if found else ""
    several = len(re.findall(r"^\d+\.\s", action, re.MULTILINE)) > 1
    if several or not re.sub(NUMBER, "", action):
        return -1.0
    cut = (lambda t: re.sub(NUMBER, "", t.strip())) if numbers else str.strip
    return difflib.SequenceMatcher(None, cut(action), cut(expert), autojunk=autojunk).ratio()


WORDS = st.lists(st.sampled_from(["so", "7+8=15", "the sum", "é", "漢", "carry", "x"]), max_size=60)
LINES = WORDS.map(" ".join)
LONG = st.builds(lambda text, times: text * times, LINES, st.integers(1, 12))
HEADS = st.sampled_from(["", "", "1. ", "2. ", "17.  "])
STEPS = st.builds(lambda head, body: head + body, HEADS, LINES | LONG)
TAGS = st.sampled_from(["<think>", "</think>", "", "", " ", "hm"])
OUTPUTS = st.builds(
    lambda pad, thought, step, tail: f"{pad}<think>{thought}</think>{step}{tail}",
    st.sampled_from(["", "\n ", "hm "]),
    LINES,
    STEPS,
    st.sampled_from(["", "", "\n", "\n3. more", "\n3. more\n4. still", "</think>", "<think>"]),
) | st.lists(TAGS | STEPS, max_size=6).map("".join)


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, str]:
    """An output and an expert's step, which often is the output's own with an edit or two."""
    expert = draw(STEPS.filter(str.strip))
    if not draw(st.booleans()):
        return draw(OUTPUTS), expert
    place, edit = draw(st.integers(0, len(expert))), draw(st.sampled_from(["", "y", "漢"]))
    return f"<think>so</think>{expert[:place]}{edit}{expert[place + 1 :]}", expert


@settings(max_examples=400, deadline=None)
@given(pair=pairs(), prefilled=st.booleans(), autojunk=st.booleans(), numbers=st.booleans())
@example(("<think>a</think>2. " + "ab " * 99, "2. c" + "ab " * 99), False, True, True)
@example(("<think>a</think>2. " + "ab " * 99, "3. c" + "ab " * 99), False, False, False)
@example(("<think>a</think>2.", "2. x"), False, False, True)
@example(("a</think>1. x", "1. x"), True, False, True)
def test_the_reward_is_that_of_a_plain_reference(
    pair: tuple[str, str], prefilled: bool, autojunk: bool, numbers: bool
) -> None:
    output, expert = pair
    reward = StepReward(autojunk=autojunk, strip_number=numbers, max_chars=None)
    wanted = reference(output, expert, prefilled, autojunk, numbers)
    assert reward([output], target_step=[expert], think_prefilled=[prefilled]) == [wanted]
