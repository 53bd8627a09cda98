"""Completions as text: the one way for rewards and for benchmarks.

Marks such as `<think>` stay, also where a tokenizer calls them special: rewards and answers are
read from them. Only the token or the string that ended the completion goes; one that closes an
answer, `</answer>`, stays.
"""

from typing import Protocol

from srl_eval.generate.sampling import Completion
from srl_reward.tagged import CLOSED


class Decoder(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    def decode(self, token_ids: list[int], /, *, skip_special_tokens: bool) -> object:
        """The text of token ids."""


def completion_text(completion: Completion, tokenizer: Decoder) -> str:
    """A completion's text without its stop token, or up to its stop string.

    A stop string with `</answer>` in it is part of the text: without it no answer is in form.
    """
    ids, end = list(completion.token_ids), completion.stop_string
    if end is not None:
        return decoded(ids, tokenizer).partition(end)[0] + (end if CLOSED in end else "")
    if completion.finish_reason == "stop":
        ids.pop()
    return decoded(ids, tokenizer)


def decoded(ids: list[int], tokenizer: Decoder) -> str:
    """The text of token ids, special tokens as they are written."""
    text = tokenizer.decode(ids, skip_special_tokens=False)
    assert isinstance(text, str), f"decoding gave {type(text).__name__}"
    return text
