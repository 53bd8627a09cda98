"""From a record to the token ids that a model continues: one way for training and evaluation.

`open_prompts` settles, once per model, how a template's messages go through the model's chat
template, and says in `notes` what a user should know of it. Everything that is settled stands in
`PromptFormat.record`, which checkpoints and runs keep.
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from srl_data.chat import (
    ChatFormat,
    ChatTemplateError,
    Tokenizer,
    check_kwargs,
    fitted,
    keeps_lines,
    names_read,
    repeated,
    template_text,
    uses_date,
)
from srl_data.command.errors import ConfigError, DataError
from srl_data.control_tokens import ControlTokens, control_tokens
from srl_data.prompt_record import ChatOptions, PromptRecord, record_of
from srl_data.prompts import TRIAL, Message, Template
from srl_data.thinking import (
    SWITCH,
    Thinking,
    opening_kwargs,
    other_marks,
    thinking_of,
)
from srl_data.turn_end import TurnEnd, find_turn_end, opens_turn


@dataclass(frozen=True)
class Prompt:
    """One prompt: its text, its token ids, and the control tokens that it spells as text."""

    text: str
    ids: tuple[int, ...]
    spelt: tuple[str, ...] = ()


@dataclass(frozen=True)
class PromptFormat:
    """How records become prompts of one model.

    `notes` are lines for the user: what was folded, what ends a turn, what is not served.
    """

    template: Template
    chat: ChatFormat
    control: ControlTokens
    turn_end: TurnEnd
    notes: tuple[str, ...]
    options: ChatOptions
    record: PromptRecord

    @property
    def tokenizer(self) -> Tokenizer:
        """The model's tokenizer."""
        return self.chat.tokenizer

    @property
    def stop_token_ids(self) -> tuple[int, ...]:
        """The end of a turn as the chat template names it, where it is a token."""
        found = self.turn_end.token_id
        return () if found is None else (found,)

    def prompt(self, **columns: object) -> Prompt:
        """The prompt of one record's columns.

        Raises DataError for a record without a problem, or whose text does not come out whole.
        """
        shielded = {name: self.control.shield(value) for name, value in columns.items()}
        return self.of_messages(self.template.messages(**shielded))

    def of_messages(self, messages: Sequence[Message]) -> Prompt:
        """The prompt of messages whose users' texts are shielded already."""
        text = self.chat.render(messages)
        return Prompt(
            self.control.written_out(text), self._encode(text), self.control.shielded(text)
        )

    def with_template(self, template: Template) -> "PromptFormat":
        """The same model asked in other words; raises as `open_prompts` does."""
        return open_prompts(self.tokenizer, template, self.options, self.chat.name)

    def _encode(self, text: str) -> tuple[int, ...]:
        """Token ids, with one BOS at most and never an end token.

        A chat template writes its own BOS; other text gets one where the tokenizer would add it.
        """
        ids = self.control.encode(text, self.tokenizer)
        if not self.chat.is_chat:
            bos = self.tokenizer.bos_token_id
            if isinstance(bos, int) and ids[:1] != [bos]:
                added = self.tokenizer.encode("", add_special_tokens=True)
                ids = added[:1] + ids if added[:1] == [bos] else ids
        return tuple(ids)


def open_prompts(
    tokenizer: Tokenizer, template: Template, options: ChatOptions, name: str = "the model"
) -> PromptFormat:
    """Settle how `template` is put to a model; `name` is the model's, for messages.

    Raises ChatTemplateError for a chat template that loses text or fails, DataError for one that
    closes the thinking asked for, ConfigError for options that cannot be.
    """
    trial = template.build(TRIAL)
    chat = fitted(chat_format(tokenizer, template, options, name), trial)
    chat = chat if chat.is_chat and uses_date(chat, trial) else replace(chat, date=None)
    prompts = PromptFormat(
        template=template,
        chat=chat,
        control=control_tokens(tokenizer, chat.template),
        turn_end=find_turn_end(chat, trial),
        notes=(),
        options=options,
        record=record_of(template),
    )
    first = prompts.of_messages(trial)
    notes = [*shape_notes(prompts, trial), *thinking_notes(prompts, trial, first.text)]
    settled = {
        "chat_template": options.mode,
        "chat_template_kwargs": dict(chat.kwargs),
        "chat_template_sha256": chat.template
        and hashlib.sha256(chat.template.encode()).hexdigest(),
        "date": chat.date,
        "prompt_sha256": hashlib.sha256(json.dumps(first.ids).encode()).hexdigest(),
    }
    record = record_of(template).model_copy(update=settled)
    return replace(prompts, notes=tuple(notes), record=record)


def chat_format(
    tokenizer: Tokenizer, template: Template, options: ChatOptions, name: str
) -> ChatFormat:
    """The chat format that the options ask for, before any trial."""
    off = options.mode == "off" or (options.mode == "auto" and template.chat is False)
    text = None if off else options.text or template_text(tokenizer, name)
    if text is None and options.mode == "on":
        raise ConfigError(f"--chat-template on: the tokenizer of {name} has no chat template")
    kwargs = dict(options.kwargs)
    if options.given:
        check_kwargs(kwargs, text)
    elif text is None:
        kwargs = {}
    else:
        names = names_read(text)
        kwargs = {key: value for key, value in kwargs.items() if key in names}
    return ChatFormat(tokenizer, name, text, off, kwargs, options.date)


def shape_notes(prompts: PromptFormat, trial: Sequence[Message]) -> list[str]:
    """How the messages were put, where that is not as they are."""
    chat, end = prompts.chat, prompts.turn_end
    if not chat.is_chat:
        plain = "without a chat template: prompts are plain text with role names"
        return [] if chat.plain else [f"{chat.name} comes {plain}"]
    notes = []
    if chat.shape.folded:
        notes.append(
            f"the chat template of {chat.name} does not take the system text as it is; it stands "
            "at the head of the user's turn"
        )
    if chat.shape.parts:
        notes.append(f"the chat template of {chat.name} is given contents in parts")
    notes += text_notes(prompts, trial)
    if chat.date is not None:
        notes.append(f"the chat template prints the date, which stays {chat.date} for this run")
    if end.text and end.token_id is None:
        notes.append(
            f"the chat template ends a turn with {end.text!r}, which is not a single token: no "
            "completion stops there by itself; --stop with that text ends it there"
        )
    return notes


def text_notes(prompts: PromptFormat, trial: Sequence[Message]) -> list[str]:
    """What the chat template makes of texts that are all there, and of the turn behind them."""
    chat, messages = prompts.chat, prompts.chat.shape.messages(trial)
    text, who = prompts.of_messages(trial).text, f"the chat template of {chat.name}"
    notes = [f"{who} writes {whose} {times} times" for whose, times in repeated(messages, text)]
    if not keeps_lines(messages, text):
        notes.append(f"{who} changes line ends or indents inside texts")
    if not opens_turn(messages, text, prompts.turn_end):
        notes.append(
            f"{who} opens no turn for the answer: the model continues behind the user's; one that "
            "reads add_generation_prompt can be given with --chat-template FILE"
        )
    return notes


def thinking_notes(prompts: PromptFormat, trial: Sequence[Message], first: str) -> list[str]:
    """What a user should know of the thinking; DataError where a run would be worth nothing."""
    chat, thinks = prompts.chat, prompts.template.thinks
    if chat.template is None:
        return []
    state, who = thinking_of(first), f"the chat template of {chat.name}"
    if state is Thinking.CLOSED:
        said = f"{who} closes the thinking before the model begins ({tail(first)!r})"
        if thinks and not any(map(SWITCH.search, chat.kwargs)):
            raise DataError(
                f"{said}, while template {prompts.template.name!r} asks for thinking; "
                f"{advice(chat, trial)}"
            )
        return [said]
    if state is Thinking.OTHER_MARKS and thinks:
        raise DataError(
            f"{who} opens thinking with marks that are not served ({tail(first)!r}); template "
            f"{prompts.template.name!r} is answered as <think>…</think>; {advice(chat, trial)}"
        )
    marks = other_marks(chat.template) if thinks else []
    if not marks:
        return []
    served = f"template {prompts.template.name!r} is answered as <think>…</think>"
    return [f"{who} has thinking marks that are not served: {', '.join(marks[:3])}; {served}"]


def advice(chat: ChatFormat, trial: Sequence[Message]) -> str:
    """How the thinking can be had, as a flag that was tried."""
    found = opening_kwargs(chat, trial)
    if found is None:
        return "give another one with --chat-template FILE, or use --chat-template off"
    return f"pass --chat-template-kwargs '{json.dumps({**chat.kwargs, **found})}'"


def tail(text: str, length: int = 40) -> str:
    """The end of a prompt."""
    return text if len(text) <= length else f"…{text[1 - length :]}"


__all__ = ["ChatTemplateError", "Prompt", "PromptFormat", "open_prompts"]
