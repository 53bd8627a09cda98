"""The native half of `srl_reward`, written in Rust."""

# Text
#
# The parsers behind `srl_reward.steps`, `.output` and `.answer`, which give their results names.
# All take any `str`, lone surrogates included, run in linear time, return slices of the text they
# were given, and release the GIL on long texts.

_Step = tuple[int, str | None, str, int, int]

def split_steps(text: str, keep_preamble: bool) -> list[_Step]:
    """Return (number, title, text, start, end) of each step."""

def parse_solution(
    text: str, keep_preamble: bool
) -> tuple[list[_Step], tuple[str, int | None, int | None] | None]:
    """Return the steps and None, or no steps and (reason, expected number, found number)."""

def leading_number(text: str) -> int | None:
    """Return the step number the text leads with."""

def strip_step_number(text: str) -> str:
    """Return the text without outer white space and leading step number."""

def parse_step_output(
    text: str, think_prefilled: bool, truncated: bool
) -> tuple[tuple[str, str, int | None], None] | tuple[None, str]:
    """Return (thinking, action, number) and None, or None and the reason."""

def parse_think(
    text: str, think_prefilled: bool
) -> tuple[tuple[str, str], None] | tuple[None, str]:
    """Return (thinking, what follows) and None, or None and what is wrong with the tags."""

def is_think_prefilled(prompt: str) -> bool:
    """Say whether the prompt ends with `<think>`, white space aside."""

def extract_boxed(text: str) -> str | None:
    """Return the content of the last complete box."""

def extract_aime_answer(text: str) -> int | None:
    """Return the AIME answer in the last complete box."""

def extract_gsm8k_answer(text: str) -> str | None:
    """Return the number after the last `####`."""
