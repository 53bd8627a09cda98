"""How a model is prompted, as a user chooses it and as a checkpoint and a run record it.

What a checkpoint records is the default of whatever continues from it: the next stage, a resumed
run, an evaluation.
"""

import datetime as dt
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from srl_data.chat import today as clock
from srl_data.command.config import Section
from srl_data.command.errors import ConfigError, DataError
from srl_data.files import write_text
from srl_data.prompts import Template

TEMPLATE_FILE = "srl_template.json"
"""File at the top of a checkpoint that records how the model was prompted."""

Mode = Literal["auto", "on", "off"]
MODES: tuple[Mode, ...] = ("auto", "on", "off")


class ChatSection(Section):
    """The model's chat template around the prompt."""

    chat_template: str = "auto"
    """The model's chat template around the prompt. auto: as the checkpoint records, else where the
    model has one and the prompt template asks for it; on; off: the words alone; or a Jinja file."""
    chat_template_kwargs: dict[str, object] | None = None
    """Arguments of the chat template as JSON, such as '{"enable_thinking": true}'; by default those
    that the checkpoint records."""


class PromptRecord(BaseModel):
    """How a model is prompted: all that decides its prompts but the data."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    name: str
    """Name of the prompt template."""
    version: int
    """Version of its words."""
    text: str | None = None
    """The words of a user's own text file, as they were; None of other templates."""
    function_sha256: str | None = None
    """Of a user's own function; None of other templates."""
    chat_template: Mode = "auto"
    """What was asked for; a chat template of a file counts as `on`."""
    chat_template_kwargs: dict[str, object] = {}
    chat_template_sha256: str | None = None
    """Of the chat template's text; None where prompts go through none."""
    date: dt.date | None = None
    """The day that the chat template prints; None where it prints none."""
    prompt_sha256: str | None = None
    """Of the token ids of a trial prompt: tells whether prompts are still the same."""


@dataclass(frozen=True)
class ChatOptions:
    """What is asked of a chat template: flags over what a checkpoint records over defaults."""

    mode: Mode = "auto"
    text: str | None = None
    """A chat template of the user's own, instead of the tokenizer's."""
    kwargs: Mapping[str, object] = field(default_factory=dict)
    given: bool = False
    """Whether the arguments are this command's, and not those that a checkpoint records."""
    date: dt.date = field(default_factory=clock)


def chat_options(
    section: ChatSection,
    recorded: PromptRecord | None = None,
    today: dt.date | None = None,
) -> ChatOptions:
    """The options of a command. Raises ConfigError for a chat template that is not a file.

    `today` is the day to freeze, by default the clock's; a recorded one goes before.
    """
    given = section.chat_template_kwargs is not None
    kwargs = section.chat_template_kwargs if given else recorded and recorded.chat_template_kwargs
    date = (recorded and recorded.date) or today or clock()
    mode = next((mode for mode in MODES if mode == section.chat_template), None)
    text = None if mode else read_chat_template(section.chat_template)
    if mode == "auto" and recorded is not None:
        mode = recorded.chat_template
    return ChatOptions(mode or "on", text, kwargs or {}, given, date)


def read_chat_template(name: str) -> str:
    """The text of a chat template's file."""
    try:
        text = Path(name).read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ConfigError(
            f"--chat-template {name!r}: expected {', '.join(MODES)} or a Jinja file"
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(f"--chat-template {name!r}: cannot read it as text: {error}") from error
    if not text.strip():
        raise DataError(f"--chat-template {name!r}: the file is empty")
    return text


def write_record(folder: Path, record: PromptRecord) -> None:
    """Record in a checkpoint how its model was prompted."""
    write_text(folder / TEMPLATE_FILE, record.model_dump_json(exclude_none=True) + "\n")


def read_record(folder: Path) -> PromptRecord | None:
    """How a checkpoint's model was prompted; None where it records nothing.

    Raises DataError where the file is damaged.
    """
    path = folder / TEMPLATE_FILE
    try:
        return PromptRecord.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (ValidationError, ValueError) as error:
        msg = f'{path}: expected {{"name": ..., "version": ...}}; write it again or remove it'
        raise DataError(msg) from error


def record_of(template: Template) -> PromptRecord:
    """A record of a prompt template alone."""
    return PromptRecord(
        name=template.name,
        version=template.version,
        text=template.text,
        function_sha256=template.function_sha256,
    )


def differences(before: PromptRecord, now: PromptRecord) -> list[str]:
    """`what: old -> new` for what differs; what `before` does not record is not compared."""
    old, new = before.model_dump(mode="json"), now.model_dump(mode="json")
    return [
        "text: that of the template is another"
        if key == "text"
        else f"{key}: {old[key]} -> {new[key]}"
        for key in old
        if key in before.model_fields_set and key != "chat_template" and old[key] != new[key]
    ]
