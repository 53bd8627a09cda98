"""Thinking in an expert's solution: taken out where it is closed, refused where it is not.

Which marks there are is `srl_reward.thinking_marks`. What stands before a closing mark that nothing
opened is thinking too: chat templates open it in the prompt, so that answers begin inside it.
"""

import re

from srl_reward.thinking_marks import CLOSING, OPENING

_WRAPPER = re.compile(
    r"</?(?:answer|solution|response|output)>|<\|?(?:begin|end)_of_(?:solution|answer)\|?>",
    re.IGNORECASE,
)
"""What stands around the answer behind the thinking, in data sets of both."""


def without_thinking(text: str) -> tuple[str, int] | None:
    """The text without its blocks of thinking, and how many there were; None for an unclosed one.

    Where there was thinking, marks around the answer behind it go too, and outer white space.
    """
    kept: list[str] = []
    blocks, start, depth = 0, 0, 0
    for position, end, opens in _marks(text):
        if opens:
            if depth == 0:
                kept.append(text[start:position])
            depth += 1
            continue
        if depth == 0:
            kept.clear()
        depth = max(depth - 1, 0)
        if depth == 0:
            blocks, start = blocks + 1, end
    if depth:
        return None
    if not blocks:
        return text, 0
    return _WRAPPER.sub("", "".join([*kept, text[start:]])).strip(), blocks


def thinking_within(text: str) -> str | None:
    """The thinking of a text, its blocks one under the other; None where it has none.

    Thinking that is never closed reaches to the end: a trace that was cut off is one, too.
    """
    blocks: list[str] = []
    start, depth = 0, 0
    for position, end, opens in _marks(text):
        if opens:
            start = end if depth == 0 else start
            depth += 1
        elif depth <= 1:  # with none open: opened by the prompt
            blocks.append(text[start:position].strip())
            depth, start = 0, end
        else:
            depth -= 1
    if depth:
        blocks.append(text[start:].strip())
    return "\n\n".join(filter(None, blocks)) if blocks else None


def _marks(text: str) -> list[tuple[int, int, bool]]:
    """Start, end and whether it opens, of every mark in order."""
    found = [(match.start(), match.end(), True) for match in OPENING.finditer(text)]
    found += [(match.start(), match.end(), False) for match in CLOSING.finditer(text)]
    return sorted(found)
