"""Marks between which models think: `<think>`, `[THINK]`, channels, and their kin.

Evaluation and answer rewards look for an answer after the thinking, whichever marks a model has.
The step grammar is stricter and knows `<think>` alone (`srl_reward.output`).
"""

import re

_WORD = (
    r"(?!end[_-]|stop[_-])(?:[a-z]{1,16}[:_]?)?"
    r"(?:think(?:ing)?|thoughts?|reasoning|scratchpad|working[_ ]out)"
)
_SQUARE = r"(?:THINK|THINKING|THOUGHT|REASONING)"

OPENING = re.compile(
    rf"""
      <\|?(?:(?:begin|start)[_-](?:of[_-])?)?{_WORD}(?:[_-](?:begin|start))?\|?>
    | \[(?:BEGIN_)?{_SQUARE}\]
    | ◁think▷
    | <\|inner_prefix\|>
    | <\|?channel\|?>\s*(?:analysis|commentary|thought|thinking)
      (?:[^<]{{0,80}}(?:<\|constrain\|>[^<]{{0,80}})?<\|message\|>)?
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Opens thinking."""

CLOSING = re.compile(
    rf"""
      </\|?{_WORD}\|?> | <\|/{_WORD}\|?>
    | <\|?(?:end|stop)[_-](?:of[_-])?{_WORD}\|?>
    | <\|?{_WORD}[_-](?:end|stop)\|?>
    | \[(?:/|END_){_SQUARE}\]
    | ◁/think▷
    | <\|inner_suffix\|>
    | <\|?channel\|?>\s*final\b [^<]{{0,80}}(?:<\|constrain\|>[^<]{{0,80}})?<\|message\|>
    | <channel\|>
    """,
    re.VERBOSE | re.IGNORECASE,
)
"""Ends thinking; behind it stands the answer."""

STEP_MARKS = ("<think>", "</think>")
"""The marks that the step grammar reads."""


def after_last_closing(text: str) -> tuple[bool, str]:
    """Whether thinking is closed in `text`, and what stands behind the last end of it."""
    end = 0
    for match in CLOSING.finditer(text):
        end = match.end()
    return end > 0, text[end:]


def ends_inside_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends with a mark that opens thinking, white space aside."""
    stripped = prompt.rstrip()
    return any(match.end() == len(stripped) for match in OPENING.finditer(stripped))


def ends_after_thinking(prompt: str) -> bool:
    """Whether a rendered prompt ends with a mark that ends thinking, white space aside."""
    stripped = prompt.rstrip()
    return any(match.end() == len(stripped) for match in CLOSING.finditer(stripped))


def opening_marks(text: str) -> list[str]:
    """The distinct marks in `text` that open thinking, as they are written there, in order."""
    return list(dict.fromkeys(match.group() for match in OPENING.finditer(text)))
