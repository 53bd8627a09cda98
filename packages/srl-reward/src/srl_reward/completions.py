"""What a reward is called with: completions, plain or conversational, and columns by keyword.

The reading follows TRL's call: `completions` and each dataset column are lists of one length, other
keywords (`trainer_state`, `log_metric`, …) are not. Misuse raises here, so that everything behind
this module sees only texts and never raises on them.
"""

import reprlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from numbers import Number

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

    Raises:
        TypeError: `completions` or a column is not a list of what it should hold.
        ValueError: A column has another length than the completions.
    """
    check_completions(completions)
    count = len(completions)
    prefilled = _prefilled(columns, count) if think_prefilled is None else [think_prefilled] * count
    truncated = _truncated(columns, count)
    return [
        # Thinking that a server took apart has both its tags again: none was left to the prompt.
        Sample(text_of(completion), opened and not _reasoning(completion), cut)
        for completion, opened, cut in zip(completions, prefilled, truncated, strict=True)
    ]


def check_completions(completions: object) -> None:
    """Refuse anything but a list of texts and message lists.

    Raises:
        TypeError: `completions` is not a list, or one of them neither text nor messages.
    """
    if isinstance(completions, str | bytes | Mapping) or not isinstance(completions, Collection):
        raise TypeError(f"completions is {_short(completions)}, expected a list of completions")
    for index, completion in enumerate(completions):
        if not is_completion(completion):
            raise TypeError(
                f"completions[{index}] is {_short(completion)}, expected a text or a list of "
                "messages (mappings with a role and a content)"
            )


def is_completion(value: object) -> bool:
    """Whether this is a text, or a list of messages."""
    if isinstance(value, str | bytes) or not isinstance(value, Sequence):
        return isinstance(value, str)
    return all(isinstance(message, Mapping) for message in value)


def read_column(columns: Mapping[str, object], name: str, count: int, reader: str) -> list[object]:
    """Return the column that `reader` needs, one value per completion.

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


def read_texts(
    columns: Mapping[str, object], name: str, count: int, reader: str
) -> list[str | None]:
    """`read_column` for texts; None says that the reward does not apply.

    Raises:
        TypeError: The column is absent, or holds anything else.
        ValueError: It has another length than the completions.
    """
    values = read_column(columns, name, count, reader)
    return [_text_or_none(value, name) for value in values]


def read_answers(
    columns: Mapping[str, object], name: str, count: int, reader: str
) -> list[str | None]:
    """`read_texts`, for a column that may hold numbers too: `33` is the answer "33"."""
    values = read_column(columns, name, count, reader)
    return [
        str(value) if isinstance(value, Number) and value == value else _text_or_none(value, name)
        for value in values
    ]


def _text_or_none(value: object, name: str) -> str | None:
    if value is None or isinstance(value, str):
        return value
    raise TypeError(
        f"column {name!r} holds {_short(value)}, expected a text, or None where the reward "
        "does not apply"
    )


def text_of(completion: Completion) -> str:
    """Return the model's text: a plain completion itself, or its last message's.

    A message's thinking that a server took apart (`reasoning_content`, `reasoning`) is put back
    between its tags.
    """
    if isinstance(completion, str):
        return completion
    if not completion:
        return ""
    content = _content(completion[-1].get("content"))
    reasoning = _reasoning(completion)
    return f"<think>{reasoning}</think>\n{content}" if reasoning else content


def _reasoning(completion: Completion) -> str:
    if isinstance(completion, str) or not completion:
        return ""
    message = completion[-1]
    found = message.get("reasoning_content") or message.get("reasoning")
    return found if isinstance(found, str) else ""


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
            _flag(value, "think_prefilled")
            for value in _spread(columns["think_prefilled"], "think_prefilled", count)
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
        values = _spread(columns["truncated"], "truncated", count)
        return [_flag(value, "truncated") for value in values]
    if "finish_reason" in columns:
        reasons = _spread(columns["finish_reason"], "finish_reason", count)
        return [reason == "length" for reason in reasons]
    return [False] * count


def _flag(value: object, name: str) -> bool:
    """Read True, False, what equals them (1, 0, numpy's own), or None for False."""
    if value is None or isinstance(value, bool):
        return bool(value)
    if not isinstance(value, str) and value in (0, 1):
        return bool(value)
    raise TypeError(f"column {name!r} holds {_short(value)}, expected True, False or None")


def _spread(values: object, name: str, count: int) -> list[object]:
    """Return one value per completion; a single flag or text stands for all."""
    if values is None or isinstance(values, str | bool):
        return [values] * count
    if not isinstance(values, Sequence):
        raise TypeError(f"column {name!r} is {_short(values)}, expected a list")
    if len(values) != count:
        raise ValueError(f"column {name!r} has {len(values)} values for {count} completions")
    return list(values)


def _short(value: object) -> str:
    """Name a wrong value and its type, in a line's length."""
    return f"{reprlib.repr(value)} ({type(value).__name__})"
