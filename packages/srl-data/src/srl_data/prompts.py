"""Prompt templates: named, versioned, turned into chat messages, then into the model's text.

A template takes the columns of a record and gives messages; `render` puts them through the
tokenizer's chat template, or a plain transcript where there is none; `encode` gives token ids
with one BOS at most. A template's words never change under one version: a change of words is a
new version, which a checkpoint records (`TEMPLATE_FILE`). Tokenizers are passed in; nothing here
imports a model library.
"""

import difflib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from srl_data.errors import ConfigError, DataError
from srl_data.files import write_text

Message = dict[str, str]
"""One chat message: `{"role": "system"|"user"|"assistant", "content": text}`."""

Columns = Mapping[str, object]

TEMPLATE_FILE = "srl_template.json"
"""File at the top of a checkpoint that names the template it was trained with."""


class Tokenizer(Protocol):
    """What is asked of a tokenizer; those of transformers have it."""

    @property
    def chat_template(self) -> object:
        """The chat template, or None."""

    @property
    def bos_token_id(self) -> object:
        """Id of the beginning-of-sequence token, or None."""

    def apply_chat_template(
        self, conversation: list[Message], /, *, tokenize: bool, add_generation_prompt: bool
    ) -> object:
        """The messages as one text."""

    def encode(self, text: str, /, *, add_special_tokens: bool) -> list[int]:
        """Token ids of a text."""


@dataclass(frozen=True)
class Template:
    """A way to put a record to a model.

    `stepwise`: the answer is one step, not a whole solution. `chat` is what `render` is to be
    told: None uses the tokenizer's chat template where there is one, False never does.
    """

    name: str
    version: int
    description: str
    build: Callable[[Columns], list[Message]]
    stepwise: bool = False
    chat: bool | None = None

    def messages(self, **columns: object) -> list[Message]:
        """Messages for one record's columns; columns without a use here are ignored.

        Raises DataError where the record has no problem.
        """
        problem = columns.get("problem")
        if not isinstance(problem, str) or not problem.strip():
            msg = (
                f"template {self.name!r} needs the column 'problem' as a non-empty text, "
                f"found {problem!r} among the columns {sorted(columns)}"
            )
            raise DataError(msg)
        return self.build(columns)

    def prompt(self, tokenizer: Tokenizer, **columns: object) -> str:
        """The text that the model continues, for one record."""
        return render(self.messages(**columns), tokenizer, chat_template=self.chat)

    def prompt_ids(self, tokenizer: Tokenizer, **columns: object) -> list[int]:
        """The token ids that the model continues, for one record."""
        return encode(self.messages(**columns), tokenizer, chat_template=self.chat)


def user(text: str) -> Message:
    """A message of the user."""
    return {"role": "user", "content": text}


def steps_of(columns: Columns) -> list[str]:
    """The expert's steps so far; none where the record has no such column."""
    steps = columns.get("previous_steps")
    return [str(step) for step in steps] if isinstance(steps, Sequence) else []


SRL_SYSTEM = """\
You solve a problem one step at a time, together with an expert. You see the problem and the steps \
that are already written.

Answer in two parts:
1. Between <think> and </think>, work out freely what should be done next and why.
2. After </think>, write the next step and nothing else: one step, with its number, in the manner \
of the steps before it. Do not repeat earlier steps and do not go on to later ones.\
"""


def srl_messages(columns: Columns) -> list[Message]:
    """Problem, steps so far, the next step's title if it is given."""
    steps = steps_of(columns)
    number = len(steps) + 1
    written = "\n\n".join(steps) if steps else "(none yet)"
    title = f' Its title is "{columns["title"]}".' if columns.get("title") else ""
    text = (
        f"Problem:\n{columns['problem']}\n\nSteps so far:\n{written}\n\n"
        f"Think, then write step {number} only.{title}"
    )
    return [{"role": "system", "content": SRL_SYSTEM}, user(text)]


def boxed_messages(columns: Columns) -> list[Message]:
    """The problem and a request for a boxed answer."""
    request = "Reason step by step and give the final answer inside \\boxed{}."
    return [user(f"{columns['problem']}\n\n{request}")]


def r1_zero_messages(columns: Columns) -> list[Message]:
    """A transcript for a base model, open where the assistant is to speak."""
    scene = (
        "A user asks a question and an assistant answers it. The assistant first reasons between "
        "<think> and </think>, then gives the answer between <answer> and </answer>, with the "
        "final result inside \\boxed{}."
    )
    return [user(f"{scene}\n\nUser: {columns['problem']}\n\nAssistant:")]


def question_messages(columns: Columns) -> list[Message]:
    """The bare question."""
    return [user(str(columns["problem"]))]


def bare_messages(columns: Columns) -> list[Message]:
    """Problem and steps, one a line: the shortest form, for models of a few dozen tokens."""
    lines = [str(columns["problem"]), *steps_of(columns)]
    if columns.get("title"):
        lines.append(f"? {columns['title']}")
    return [user("".join(f"{line}\n" for line in lines))]


TEMPLATES = {
    template.name: template
    for template in (
        Template("srl", 1, "think, then write the next step only", srl_messages, stepwise=True),
        Template("boxed", 1, "reason, then box the final answer", boxed_messages),
        Template(
            "r1_zero", 1, "think and answer tags for base models", r1_zero_messages, chat=False
        ),
        Template("question_only", 1, "the question as it stands", question_messages, chat=False),
        Template(
            "bare", 1, "problem and steps, one a line", bare_messages, stepwise=True, chat=False
        ),
    )
}


def get_template(name: str) -> Template:
    """The current version of a template; ConfigError naming the nearest one if unknown."""
    if name in TEMPLATES:
        return TEMPLATES[name]
    near = difflib.get_close_matches(name, TEMPLATES, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ConfigError(f"unknown template {name!r}; {hint}known: {', '.join(TEMPLATES)}")


def transcript(messages: Sequence[Message]) -> str:
    """Messages as plain text with role names: the fallback where there is no chat template."""
    parts = [f"{message['role'].capitalize()}: {message['content']}" for message in messages]
    return "\n\n".join([*parts, "Assistant:"])


def without_system(messages: Sequence[Message]) -> list[Message]:
    """System messages folded into the message after them."""
    folded: list[Message] = []
    pending = ""
    for message in messages:
        if message["role"] == "system":
            pending += f"{message['content']}\n\n"
            continue
        folded.append({**message, "content": pending + message["content"]})
        pending = ""
    return [*folded, user(pending.rstrip())] if pending else folded


def has_chat_template(tokenizer: Tokenizer) -> bool:
    """Whether the tokenizer brings a chat template."""
    return bool(tokenizer.chat_template)


def render(
    messages: Sequence[Message], tokenizer: Tokenizer, *, chat_template: bool | None = None
) -> str:
    """The text that the model continues.

    `chat_template` None uses the tokenizer's chat template, or a transcript with role names where
    there is none; False joins the contents by blank lines and adds nothing; True insists on a
    chat template (ConfigError where there is none).
    """
    if chat_template is False:
        return "\n\n".join(message["content"] for message in messages)
    if not has_chat_template(tokenizer):
        if chat_template:
            msg = "the tokenizer has no chat template; choose another model or allow the fallback"
            raise ConfigError(msg)
        return transcript(messages)
    conversation = [dict(message) for message in messages]
    # Gemma's template and its kin refuse the role by raising exactly this.
    if "system role not supported" in str(tokenizer.chat_template).lower():
        conversation = without_system(conversation)
    text = tokenizer.apply_chat_template(conversation, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str), f"tokenize=False gave {type(text).__name__}"
    return text


def encode(
    messages: Sequence[Message], tokenizer: Tokenizer, *, chat_template: bool | None = None
) -> list[int]:
    """Token ids of the rendered prompt.

    A chat template writes its own BOS; other text gets one where the tokenizer would add it, and
    never an end token. The arguments are those of `render`.
    """
    text = render(messages, tokenizer, chat_template=chat_template)
    ids = list(tokenizer.encode(text, add_special_tokens=False))
    if chat_template is not False and has_chat_template(tokenizer):
        return ids
    bos = tokenizer.bos_token_id
    added = tokenizer.encode("", add_special_tokens=True)
    if isinstance(bos, int) and added[:1] == [bos] and ids[:1] != [bos]:
        return [bos, *ids]
    return ids


def write_template(folder: Path, template: Template) -> None:
    """Record in a checkpoint the template it was trained with."""
    content = {"name": template.name, "version": template.version}
    write_text(folder / TEMPLATE_FILE, json.dumps(content) + "\n")


def read_template(folder: Path) -> Template | None:
    """The template a checkpoint was trained with; None where it records none.

    Raises DataError where the file is damaged, or names a template or version not known here.
    """
    path = folder / TEMPLATE_FILE
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        name, version = content["name"], content["version"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        msg = f'{path}: expected {{"name": ..., "version": ...}}; write it again or remove it'
        raise DataError(msg) from error
    known = TEMPLATES.get(name) if isinstance(name, str) else None
    if known is None or known.version != version:
        have = f"version {known.version}" if known else f"only {', '.join(TEMPLATES)}"
        msg = (
            f"{path}: the checkpoint was trained with template {name!r} version {version!r}, this "
            f"srl-data has {have}; install the matching version or name a template yourself"
        )
        raise DataError(msg)
    return known
