"""No call into the Rust core leaves a Python object behind."""

import gc
import tracemalloc
from collections.abc import Callable

import pytest

import srl_reward
from srl_reward import SequenceMatcher, StepReward
from srl_reward.output import is_think_prefilled, parse_step_output
from srl_reward.tagged import parse_thinking

CALLS = 400
WORDS = "word " * 120
OUTPUT = f"<think>{WORDS}</think>\n2. **Title** {WORDS} \\boxed{{42}} and {WORDS}"
SOLUTION = f"{WORDS}\n\n1. **A** {WORDS}\n\n2. **B** {WORDS}"
TARGET = f"2. **Title** {WORDS}"
COMPLETIONS = [OUTPUT, WORDS, f"<think>{WORDS}</think>{WORDS}", OUTPUT.replace("word", "wörd")]
CASES: dict[str, Callable[[], object]] = {
    "split_steps": lambda: [(s.title, s.text, s.number) for s in srl_reward.split_steps(SOLUTION)],
    "parse_solution": lambda: srl_reward.parse_solution(SOLUTION),
    "parse_solution, refused": lambda: srl_reward.parse_solution(WORDS),
    "strip_step_number": lambda: srl_reward.strip_step_number(TARGET),
    "strip_step_number, bold": lambda: srl_reward.strip_step_number(f"**2. {WORDS}**"),
    "parse_step_output": lambda: parse_step_output(OUTPUT),
    "parse_step_output, refused": lambda: parse_step_output(WORDS),
    "parse_thinking": lambda: parse_thinking(OUTPUT),
    "is_think_prefilled": lambda: is_think_prefilled(OUTPUT),
    "extract_boxed": lambda: srl_reward.extract_boxed(OUTPUT),
    "extract_aime_answer": lambda: srl_reward.extract_aime_answer(OUTPUT),
    "extract_gsm8k_answer": lambda: srl_reward.extract_gsm8k_answer(f"{WORDS}#### 1,234"),
    "surrogates": lambda: srl_reward.extract_boxed(f"\ud800{OUTPUT}"),
    "SequenceMatcher": lambda: SequenceMatcher(None, OUTPUT, SOLUTION).ratio(),
    "matching blocks": lambda: SequenceMatcher(None, OUTPUT, SOLUTION).get_matching_blocks(),
    "opcodes of lists": lambda: SequenceMatcher(None, [*OUTPUT], [*TARGET]).get_opcodes(),
    "StepReward": lambda: StepReward()(
        completions=COMPLETIONS, target_step=[TARGET] * len(COMPLETIONS)
    ),
}


def growth(call: Callable[[], object]) -> int:
    """Bytes that many calls leave behind, those of other threads included."""
    tracemalloc.start()
    try:
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(CALLS):
            call()
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return after - before


@pytest.mark.parametrize("name", CASES)
def test_memory_does_not_grow_with_the_number_of_calls(name: str) -> None:
    call = CASES[name]
    for _ in range(10):
        call()
    # An int is 28 bytes; what caches and the counting itself take does not grow with the calls, and
    # another thread's part of a test process does not come three times.
    assert min(growth(call) for _ in range(3)) < 10 * CALLS
