"""Messages through a tokenizer's chat template, checked: every message's text must come out of it.

Chat templates are programs of a model's maker. Some drop the system turn, rewrite words in it,
refuse it, want a message's content in parts, or print today's date. `ChatFormat` finds out once, by
a trial, which shape of messages a template renders whole, freezes the date, and checks every
prompt that it renders. Left out: token ids
(`srl_data.prompt_format`). A template runs in transformers' sandbox, which bounds `range` but
neither time nor memory.
"""

import datetime as dt
import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompts import Message, with_roles, without_system

ChatKwargs = Mapping[str, object]
"""Arguments of a chat template beside the messages, such as `enable_thinking`."""

RESERVED = frozenset(
    {
        "add_generation_prompt",
        "chat_template",
        "continue_final_message",
        "conversation",
        "max_length",
        "messages",
        "padding",
        "return_assistant_tokens_mask",
        "return_dict",
        "return_tensors",
        "strftime_now",
        "tokenize",
        "tokenizer_kwargs",
        "truncation",
    }
)
"""Arguments of a chat template that are not the user's to give."""

PARTS_SHOWN = re.compile(r"""['"]type['"]\s*:\s*['"]text['"]""")
"""A content given in parts that a template printed as it is, instead of its text."""

SYSTEM = "the system text"

TAG = re.compile(r"\{[{%](.*?)[%}]\}", re.DOTALL)
NAME = re.compile(r"(?<![\w.])[A-Za-z_]\w*")


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    @property
    def chat_template(self) -> object:
        """The chat template, several by name, or None."""

    @property
    def bos_token_id(self) -> object:
        """Id of the beginning-of-sequence token, or None."""

    @property
    def apply_chat_template(self) -> Callable[..., object]:
        """The messages as one text, through the chat template."""

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""

    def decode(self, token_ids: list[int], /, *, skip_special_tokens: bool) -> object:
        """The text of token ids."""


def today() -> dt.date:
    """The day where this machine is."""
    return dt.datetime.now().astimezone().date()


class ChatTemplateError(DataError):
    """A chat template that cannot be used with the messages it is given."""


@dataclass(frozen=True)
class Shape:
    """How messages are handed to a chat template.

    `folded`: the system text stands before the first user text. `parts`: contents are lists of
    parts, as templates of models for text and images want them.
    """

    folded: bool = False
    parts: bool = False

    def messages(self, messages: Sequence[Message]) -> list[Message]:
        """The messages whose texts must be found in the rendered prompt."""
        return without_system(messages) if self.folded else list(messages)

    def conversation(self, messages: Sequence[Message]) -> list[dict[str, object]]:
        """The messages as the template gets them."""
        return [
            {**message, "content": parts_of(message["content"])} if self.parts else {**message}
            for message in self.messages(messages)
        ]


SHAPES = (Shape(), Shape(parts=True), Shape(folded=True), Shape(folded=True, parts=True))
"""In the order in which they are tried."""


def parts_of(text: str) -> list[dict[str, str]]:
    """A text as the one part of a content."""
    return [{"type": "text", "text": text}]


@dataclass(frozen=True)
class ChatFormat:
    """How messages become the text that a model continues.

    `name` says whose format it is, in messages to the user. `template` is the chat template's text,
    None where none is used: then `plain` joins the contents by blank lines and adds nothing, and
    without it they are plain text with role names.
    """

    tokenizer: Tokenizer
    name: str = "the model"
    template: str | None = None
    plain: bool = False
    kwargs: ChatKwargs = field(default_factory=dict)
    date: dt.date | None = None
    shape: Shape = Shape()

    @property
    def is_chat(self) -> bool:
        """Whether prompts go through a chat template."""
        return self.template is not None

    def render(self, messages: Sequence[Message]) -> str:
        """The text that the model continues.

        Raises ChatTemplateError where the chat template fails, or loses a message's text.
        """
        if self.plain:
            return "\n\n".join(message["content"] for message in messages)
        if self.template is None:
            return with_roles(messages)
        text = self.apply(messages)
        lost = lost_text(self.shape.messages(messages), text)
        if lost is not None:
            raise ChatTemplateError(f"the chat template of {self.name} {lost}")
        return text

    def apply(self, messages: Sequence[Message], *, open_turn: bool = True) -> str:
        """What the chat template makes of the messages, unchecked.

        `open_turn` asks for the assistant's turn to be opened. Raises ChatTemplateError.
        """
        conversation = self.shape.conversation(messages)
        try:
            text = self.tokenizer.apply_chat_template(
                conversation,
                tokenize=False,
                add_generation_prompt=open_turn,
                chat_template=self.template,
                **{"strftime_now": self._strftime, **self.kwargs},
            )
        except Exception as error:  # a template is a stranger's program: it may raise anything
            reason = " ".join(str(error).split())[:200] or "no reason given"
            raise ChatTemplateError(
                f"the chat template of {self.name} fails: {type(error).__name__}: {reason}"
            ) from error
        assert isinstance(text, str), f"tokenize=False gave {type(text).__name__}"
        return text

    def _strftime(self, pattern: str) -> str:
        """Today's date for templates that print it: the day on which the run began."""
        day = self.date or today()
        return dt.datetime.combine(day, dt.time()).strftime(pattern)


def lost_text(messages: Sequence[Message], text: str) -> str | None:
    """What a rendered prompt lacks of its messages, in a user's words; None where it has all.

    White space may change: some templates take blank lines out. Texts stand in the order of their
    messages, a system text anywhere.
    """
    place, text = 0, squeezed(text)
    for message in messages:
        wanted = squeezed(said(message))
        system = message["role"] == "system"
        found = text.find(wanted, 0 if system else place)
        if found < 0:
            return describe_loss(whose_text(message), wanted, text)
        if not system:
            place = found + len(wanted)
    if len(PARTS_SHOWN.findall(text)) > sum(
        len(PARTS_SHOWN.findall(message["content"])) for message in messages
    ):
        return "prints a content in parts as it is"
    return None


def squeezed(text: str) -> str:
    """A text with one blank for each run of white space."""
    return " ".join(text.split())


def keeps_lines(messages: Sequence[Message], text: str) -> bool:
    """Whether a rendered prompt has the messages' own line ends and indents."""
    return all(said(message) in text for message in messages)


def whose_text(message: Message) -> str:
    """A message's text as errors and notes call it."""
    return SYSTEM if message["role"] == "system" else f"the {message['role']}'s text"


def repeated(messages: Sequence[Message], text: str) -> list[tuple[str, int]]:
    """Whose texts stand more than once in a rendered prompt, and how often."""
    text = squeezed(text)
    counts = [(whose_text(each), text.count(squeezed(said(each)))) for each in messages]
    return [(whose, times) for whose, times in counts if times > 1]


def said(message: Message) -> str:
    """The text of a message that must come out: of an assistant's, what follows its thinking."""
    content = message["content"]
    if message["role"] == "assistant":
        content = content.rpartition("</think>")[2]
    return content.strip()


def describe_loss(whose: str, wanted: str, text: str) -> str:
    """Whether a text is lost whole or altered, and where."""
    kept = longest_prefix(wanted, text)
    if kept < min(20, len(wanted) // 2 + 1):
        return f"loses {whose} ({shorten(wanted)!r})"
    return f"alters {whose} at {shorten(wanted[kept:])!r}"


def longest_prefix(wanted: str, text: str) -> int:
    """Length of the longest beginning of `wanted` that stands in `text`."""
    low, high = 0, len(wanted)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if wanted[:middle] in text else (low, middle - 1)
    return low


def shorten(text: str, length: int = 30) -> str:
    """The beginning of a text."""
    return text if len(text) <= length else f"{text[: length - 1]}…"


def fitted(chat: ChatFormat, trial: Sequence[Message]) -> ChatFormat:
    """`chat` in the first shape in which its template renders the `trial` messages whole.

    Raises ChatTemplateError naming what is lost where there is none.
    """
    if not chat.is_chat:
        return chat
    failures: list[ChatTemplateError] = []
    has_system = any(message["role"] == "system" for message in trial)
    for shape in SHAPES if has_system else SHAPES[:2]:
        candidate = replace(chat, shape=shape)
        try:
            candidate.render(trial)
        except ChatTemplateError as error:
            failures.append(error)
            continue
        return candidate
    # Of a template that only the system text troubles, the folded shape's failure says more.
    failure = failures[2] if SYSTEM in str(failures[0]) else failures[0]
    tried = ", also with the system text in the user's turn" if has_system else ""
    raise ChatTemplateError(
        f"{failure}{tried}; give another one with --chat-template FILE, or leave it out with "
        "--chat-template off"
    ) from failure


def uses_date(chat: ChatFormat, trial: Sequence[Message]) -> bool:
    """Whether the chat template prints the date."""
    days = (dt.date(2001, 2, 3), dt.date(2034, 11, 25))
    first, second = (replace(chat, date=day).render(trial) for day in days)
    return first != second


def template_text(tokenizer: Tokenizer, name: str) -> str | None:
    """The tokenizer's chat template; of several named ones, `default`. None where it has none.

    Raises ChatTemplateError where there are several and none is the default.
    """
    found = tokenizer.chat_template
    if isinstance(found, Mapping):
        if "default" not in found:
            raise ChatTemplateError(
                f"{name} has the chat templates {', '.join(map(str, found)) or '(none)'} and none "
                "named default; give one with --chat-template FILE, or use --chat-template off"
            )
        found = found["default"]
    if found is not None and not isinstance(found, str):
        raise ChatTemplateError(
            f"the chat template of {name} is of type {type(found).__name__}, expected a text"
        )
    return found or None


def names_read(template: str) -> set[str]:
    """Names that stand in a template's tags: among them all that it reads."""
    return {name for tag in TAG.findall(template) for name in NAME.findall(tag)}


def check_kwargs(kwargs: ChatKwargs, template: str | None) -> None:
    """ConfigError for arguments that the chat template cannot take, or never reads."""
    for key in kwargs:
        given = f"--chat-template-kwargs {key!r}"
        if key in RESERVED:
            raise ConfigError(f"{given}: this one is not to be set by hand")
        if template is None:
            raise ConfigError(f"{given} does nothing: prompts go through no chat template")
        names = names_read(template)
        if key not in names:
            near = difflib.get_close_matches(key, names, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ConfigError(f"{given}: the chat template never reads it{hint}")
