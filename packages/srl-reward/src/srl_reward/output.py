"""A model's output for one step: `<think>…</think>`, then an action that holds one step.

Thin types over the Rust parser. An invalid output is a value with a reason, never an exception.
"""

from dataclasses import dataclass
from enum import StrEnum

from srl_reward import _native
from srl_reward.thinking_marks import OPENING, after_last_closing


class InvalidReason(StrEnum):
    """Why an output is invalid; of several, the first from left to right is given."""

    TRUNCATED = "truncated"
    """It was cut off by length."""
    MISSING_THINK = "missing_think"
    """There is no opening tag, here or in the prompt."""
    TEXT_BEFORE_THINK = "text_before_think"
    """Text stands before the opening tag."""
    UNCLOSED_THINK = "unclosed_think"
    """The thinking is never closed."""
    NESTED_THINK = "nested_think"
    """A second opening tag stands inside the thinking; the prompt's counts."""
    REPEATED_THINK = "repeated_think"
    """A second opening tag stands after the thinking."""
    MISPLACED_THINK = "misplaced_think"
    """A closing tag stands before the opening one, or a second one after it."""
    EMPTY_ACTION = "empty_action"
    """Nothing follows the thinking but white space or a bare step number."""
    SEVERAL_STEPS = "several_steps"
    """The action holds several steps."""


@dataclass(frozen=True, slots=True)
class ParsedOutput:
    """A valid output: texts without outer white space, and the number the action leads with."""

    thinking: str
    action: str
    number: int | None


@dataclass(frozen=True, slots=True)
class InvalidOutput:
    """An invalid output and its reason."""

    reason: InvalidReason


def parse_step_output(
    text: str, *, think_prefilled: bool = False, truncated: bool = False
) -> ParsedOutput | InvalidOutput:
    """Parse a model's output as `<think>thinking</think> action`, the action one step.

    Args:
        text: What the model wrote, without the prompt.
        think_prefilled: The prompt ended with `<think>`, so the output must not open it again.
        truncated: Generation stopped at its length limit, which makes any output invalid.
    """
    parsed, reason = _native.parse_step_output(text, think_prefilled, truncated)
    if parsed is None:
        return InvalidOutput(InvalidReason(str(reason)))
    return ParsedOutput(*parsed)


def render_step_output(thinking: str, action: str) -> str:
    """Write an output as `parse_step_output` reads it."""
    return f"<think>{thinking}</think>\n{action}"


def after_thinking(text: str, *, think_prefilled: bool = False) -> str | InvalidOutput:
    """Return the part of an output that its final answer is looked for in: after the thinking.

    All of it where there is no thinking. What stands in thinking is being tried, not answered: an
    output that never closes it, or opens it again behind its end, has no such part. Rewards and
    evaluation both read answers by this rule, whichever marks a model thinks between
    (`srl_reward.thinking_marks`).
    """
    closed, after = after_last_closing(text)
    if OPENING.search(after):
        again = InvalidReason.REPEATED_THINK if closed else InvalidReason.UNCLOSED_THINK
        return InvalidOutput(again)
    if think_prefilled and not closed:
        return InvalidOutput(InvalidReason.UNCLOSED_THINK)
    return after


def is_think_prefilled(prompt: str) -> bool:
    """Say whether a rendered prompt ends with an open `<think>`, white space aside."""
    return _native.is_think_prefilled(prompt)
