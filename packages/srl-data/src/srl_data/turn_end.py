"""The end of a turn, as a chat template writes it: found by rendering an assistant's message.

Many base models' end token is `<|endoftext|>` while their chat template ends a turn with
`<|im_end|>`: a completion that does not stop there runs on to its cap.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from srl_data.chat import ChatFormat, ChatTemplateError, said, squeezed
from srl_data.control_tokens import added_tokens
from srl_data.prompts import Message, user

ANSWER = "This is the assistant's answer."
NEXT = "This is the user's next message."
MARKUP = re.compile(r"(<[^<>\s]+>|\[[^\[\]\s]+\])")


@dataclass(frozen=True)
class TurnEnd:
    """What a chat template writes behind an assistant's answer.

    `text` is empty where it writes nothing; `token_id` None where that is not a single token.
    """

    text: str = ""
    token_id: int | None = None


def find_turn_end(chat: ChatFormat, trial: Sequence[Message]) -> TurnEnd:
    """The end of an assistant's turn after the `trial` messages.

    What stands behind the last answer counts; where that is nothing, what stands between an answer
    and the user's next message.
    """
    if not chat.is_chat:
        return TurnEnd()
    answer: Message = {"role": "assistant", "content": ANSWER}
    for messages in ([*trial, answer], [*trial, answer, user(NEXT)]):
        try:
            text = chat.apply(messages, open_turn=False)
        except ChatTemplateError:
            continue  # some refuse a last message that is the assistant's
        behind = text.rpartition(ANSWER)[2].partition(NEXT)[0].strip()
        if ANSWER in text and behind:
            return end_in(behind, chat)
    return TurnEnd()


def opens_turn(messages: Sequence[Message], prompt: str, end: TurnEnd) -> bool:
    """Whether anything but the end of a turn stands behind the last of the `messages`.

    An end that is not a token may as well be what opens the next turn, so it counts as that.
    """
    behind = squeezed(prompt).rpartition(squeezed(said(messages[-1])))[2].strip()
    return behind != "" and (end.token_id is None or behind != end.text)


def end_in(behind: str, chat: ChatFormat) -> TurnEnd:
    """The token that `behind` begins with, else its text."""
    known = {str(token): number for number, token in added_tokens(chat.tokenizer).items()}
    starts = [text for text in known if text.strip() and behind.startswith(text)]
    if starts:
        text = max(starts, key=len)
        return TurnEnd(text, known[text])
    markup = MARKUP.match(behind)
    if markup:
        ids = chat.tokenizer.encode(markup.group(), add_special_tokens=False)
        return TurnEnd(markup.group(), ids[0] if len(ids) == 1 else None)
    return TurnEnd(behind.partition("\n")[0])
