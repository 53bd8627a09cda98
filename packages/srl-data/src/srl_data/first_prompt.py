"""The first prompt as a dry run shows it: its text, its length, what ends an answer, what to know.

Lines are comments of YAML, since a dry run prints the config that it would run.
"""

from collections.abc import Iterable, Mapping, Sequence

from srl_data.chat import Tokenizer
from srl_data.prompt_format import PromptFormat

EXAMPLE: Mapping[str, object] = {
    "problem": "What is 12 + 34?",
    "previous_steps": ["1. **Ones** 2 + 4 = 6, so the last digit is 6."],
    "title": None,
}
"""Columns of a record that stands for data which is not there."""


def stop_texts(tokenizer: Tokenizer, ids: Iterable[int]) -> str:
    """Stop tokens as their texts and ids."""
    shown = [f"{tokenizer.decode([i], skip_special_tokens=False)!r} ({i})" for i in ids]
    return ", ".join(shown) or "none: only the cap on tokens ends an answer"


def first_prompt_lines(
    prompts: PromptFormat, columns: Mapping[str, object], stops: Sequence[int], whose: str
) -> list[str]:
    """The prompt of `columns` line by line, and what to know of it; `whose` names the record.

    Raises DataError as `PromptFormat.prompt` does.
    """
    prompt = prompts.prompt(**columns)
    through = "through the chat template" if prompts.chat.is_chat else "without a chat template"
    spelt = ", ".join(map(repr, prompt.spelt))
    return [
        f"# first prompt, {whose}: {len(prompt.ids)} tokens {through} of {prompts.chat.name}",
        *(f"# | {line}".rstrip() for line in prompt.text.split("\n")),
        f"# an answer ends with: {stop_texts(prompts.tokenizer, stops)}",
        *(f"# note: {note}" for note in prompts.notes),
        *([f"# note: it spells {spelt}, which is encoded as text"] if spelt else []),
    ]
