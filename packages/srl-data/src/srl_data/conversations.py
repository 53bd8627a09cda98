"""Chats as data: rows of messages whose last one is the response, and their prompts.

Left out: messages that are not texts (images, calls of tools), which are refused.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from srl_data.chat import ChatTemplateError, Shape
from srl_data.columns import ABSENT, described, value_at
from srl_data.command.errors import DataError
from srl_data.prompt_format import Prompt, PromptFormat
from srl_data.prompts import Message
from srl_data.records import Row, is_unicode

ROLES = ("system", "user", "assistant")
FROM = {"human": "user", "gpt": "assistant"}
"""Other names of roles, as ShareGPT's files have them."""


def messages_in(row: Row, name: str, flag: str) -> list[Message]:
    """The messages of a row, the assistant's response the last; ValueError naming what is wrong.

    A system message may come first; then users and assistants take turns.
    """
    found = value_at(row, name)
    if found is ABSENT:
        raise ValueError(f"no column {name!r} ({flag})")
    if isinstance(found, str) or not isinstance(found, Sequence) or len(found) == 0:
        raise ValueError(f"column {name!r} ({flag}) holds {described(found)}, expected messages")
    messages = [message_of(item, number, name) for number, item in enumerate(found, start=1)]
    turns = [each["role"] for each in messages if each["role"] != "system"]
    if any(each["role"] == "system" for each in messages[1:]):
        raise ValueError(f"column {name!r}: a system message may only come first")
    if turns != ["user", "assistant"] * (len(turns) // 2) or not turns:
        raise ValueError(
            f"column {name!r}: its turns are {', '.join(turns) or 'none'}; expected user and "
            "assistant by turns, the assistant's response last"
        )
    return messages


def message_of(item: object, number: int, name: str) -> Message:
    """One message with a role and a text; ValueError saying which one is not."""
    where = f"message {number} of column {name!r}"
    if not isinstance(item, Mapping):
        raise ValueError(f"{where} is {described(item)}, expected a role and a content")
    role, content = item.get("role", item.get("from")), item.get("content", item.get("value"))
    role = FROM.get(str(role), role)
    if role not in ROLES:
        raise ValueError(f"{where} has the role {role!r}, expected one of {', '.join(ROLES)}")
    text = content if isinstance(content, str) else joined_parts(content)
    if item.get("tool_calls") or text is None:
        what = "calls tools" if item.get("tool_calls") else f"holds {described(content)}"
        raise ValueError(f"{where} {what}, expected a text")
    if not text.strip() or not is_unicode(text):
        raise ValueError(f"{where} is blank or no Unicode ({text[:20]!r}), expected a text")
    return {"role": str(role), "content": text}


def joined_parts(content: object) -> str | None:
    """A content of parts that are texts, as one text; None for any other."""
    if not isinstance(content, Sequence) or len(content) == 0:
        return None
    parts = [
        part.get("text") if isinstance(part, Mapping) and part.get("type") == "text" else None
        for part in content
    ]
    texts = [part for part in parts if isinstance(part, str)]
    return "".join(texts) if len(texts) == len(parts) else None


def conversation_prompt(prompts: PromptFormat, messages: Sequence[Message]) -> Prompt:
    """The prompt of a chat's turns before its response.

    A system text that the chat template does not take as it is stands at the head of the first
    user's turn. Raises DataError where a text is lost all the same, or turns have no marks.
    """
    if prompts.chat.plain and len(messages) > 1:
        raise DataError(
            f"a chat of {len(messages)} messages before its response needs roles, and template "
            f"{prompts.template.name!r} writes none; use --template chat"
        )
    shielded = [
        {**each, "content": str(prompts.control.shield(each["content"]))} for each in messages
    ]
    try:
        return prompts.of_messages(shielded)
    except ChatTemplateError:
        if not prompts.chat.is_chat or messages[0]["role"] != "system":
            raise
        folded = Shape(folded=True, parts=prompts.chat.shape.parts)
        return replace(prompts, chat=replace(prompts.chat, shape=folded)).of_messages(shielded)
