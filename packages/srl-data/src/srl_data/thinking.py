"""Thinking as a rendered prompt leaves it: for the model to open, open already, or closed already.

Chat templates have switches for thinking of many names, and some close it unless they are told
otherwise. A prompt that asks for thinking and has it closed makes a run worth nothing, so it is
refused with the switch that mends it, found by trial.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from enum import StrEnum

from srl_data.chat import ChatFormat, ChatTemplateError, names_read
from srl_data.prompts import Message
from srl_reward import is_think_prefilled
from srl_reward.thinking_marks import (
    STEP_MARKS,
    ends_after_thinking,
    ends_inside_thinking,
    opening_marks,
)

SWITCH = re.compile(r"think|thought|reason", re.IGNORECASE)
"""Names in a chat template that may switch thinking."""

SETTINGS: tuple[object, ...] = (True, "high", "on", "enabled", "medium", False)
"""Values that switch thinking on in one template or another, the usual one first."""


class Thinking(StrEnum):
    """Where a prompt leaves the model's thinking."""

    FREE = "free"
    """The model opens it, or does not."""
    OPEN = "open"
    """The prompt ends with `<think>`."""
    OTHER_MARKS = "other marks"
    """The prompt ends with a mark that opens thinking, and is not `<think>`."""
    CLOSED = "closed"
    """The prompt ends with the end of thinking."""


def thinking_of(prompt: str) -> Thinking:
    """Where a rendered prompt leaves the model's thinking, told by its end."""
    if is_think_prefilled(prompt):
        return Thinking.OPEN
    if ends_inside_thinking(prompt):
        return Thinking.OTHER_MARKS
    return Thinking.CLOSED if ends_after_thinking(prompt) else Thinking.FREE


def settings(chat: ChatFormat) -> Iterator[dict[str, object]]:
    """Arguments of a chat template that may open the thinking it closes."""
    names = sorted(filter(SWITCH.search, names_read(chat.template or "")), key=len)
    for value in SETTINGS:
        yield from ({name: value} for name in names)


def opening_kwargs(chat: ChatFormat, trial: Sequence[Message]) -> dict[str, object] | None:
    """Arguments under which the chat template no longer closes the thinking, found by trial."""
    for found in settings(chat):
        try:
            text = replace(chat, kwargs={**chat.kwargs, **found}).render(trial)
        except ChatTemplateError:
            continue
        if thinking_of(text) in (Thinking.FREE, Thinking.OPEN):
            return found
    return None


def other_marks(template: str) -> list[str]:
    """Marks of thinking that a chat template writes where it writes no `<think>`."""
    found = opening_marks(template)
    return [] if STEP_MARKS[0] in found or STEP_MARKS[1] in template else found
