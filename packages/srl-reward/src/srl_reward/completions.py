"""What a reward is called with: completions, plain or conversational, and columns by keyword.

The reading follows TRL's call: `completions` and each dataset column are lists of one length, other
keywords (`trainer_state`, `log_metric`, …) are not. Misuse raises here, so that everything behind
this module sees only texts and never raises on them.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from srl_reward.output import is_think_prefilled

Message = Mapping[str, object]
Completion = str | Sequence[Message]


@dataclass(frozen=True, slots=True)
class Sample:
    """A completion as a reward reads it."""

    text: str
    think_prefilled: bool
    truncated: bool


def read_samples(
    completions: Sequence[Completion],
    columns: Mapping[str, object],
    think_prefilled: bool | None = None,
) -> list[Sample]:
    """Read the completions together with the columns that say how each was generated.

    Args:
        completions: Texts, or message lists whose last message is the model's.
        columns: `truncated` (bool) or `finish_reason` ("length" is cut off); `think_prefilled`
            (bool), or else `prompts`, whose rendered texts show it. All may be absent.
        think_prefilled: Overrides what the columns say.
    """
    count = len(completions)
    prefilled = _prefilled(columns, count) if think_prefilled is None else [think_prefilled] * count
    truncated = _truncated(columns, count)
    return [
        Sample(text_of(completion), opened, cut)
        for completion, opened, cut in zip(completions, prefilled, truncated, strict=True)
    ]


def read_column(columns: Mapping[str, object], name: str, count: int, reader: str) -> list[object]:
    """Return the column that `reader` needs, one value a completion.

    Raises:
        TypeError: The column is absent.
        ValueError: It has another length than the completions.
    """
    if name not in columns:
        raise TypeError(
            f"{reader} reads the column {name!r}, but was given {sorted(columns)}; "
            "add the column to the data set or name another one in the constructor"
        )
    return _spread(columns[name], name, count)


def text_of(completion: Completion) -> str:
    """Return the model's text: a plain completion itself, or its last message's content."""
    if isinstance(completion, str):
        return completion
    if not completion:
        return ""
    message = completion[-1]
    content = _content(message.get("content"))
    reasoning = message.get("reasoning_content")
    if isinstance(reasoning, str) and reasoning:
        return f"<think>{reasoning}</think>\n{content}"
    return content


def _content(content: object) -> str:
    if isinstance(content, str):
        return content
    if isinstance(content, Sequence):
        parts = [part.get("text") for part in content if isinstance(part, Mapping)]
        return "".join(part for part in parts if isinstance(part, str))
    return ""


def _prefilled(columns: Mapping[str, object], count: int) -> list[bool]:
    if "think_prefilled" in columns:
        return [
            value is True for value in _spread(columns["think_prefilled"], "think_prefilled", count)
        ]
    prompts = columns.get("prompts")
    if prompts is None:
        return [False] * count
    return [
        isinstance(prompt, str) and is_think_prefilled(prompt)
        for prompt in _spread(prompts, "prompts", count)
    ]


def _truncated(columns: Mapping[str, object], count: int) -> list[bool]:
    if "truncated" in columns:
        return [value is True for value in _spread(columns["truncated"], "truncated", count)]
    if "finish_reason" in columns:
        reasons = _spread(columns["finish_reason"], "finish_reason", count)
        return [reason == "length" for reason in reasons]
    return [False] * count


def _spread(values: object, name: str, count: int) -> list[object]:
    """Return one value a completion; a single flag or text stands for all."""
    if values is None or isinstance(values, str | bool):
        return [values] * count
    if not isinstance(values, Sequence):
        raise TypeError(f"column {name!r} is {type(values).__name__}, expected a list")
    if len(values) != count:
        raise ValueError(f"column {name!r} has {len(values)} values for {count} completions")
    return list(values)
