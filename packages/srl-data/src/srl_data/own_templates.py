"""A user's own prompt templates: a text file with `{problem}`-like fields, or `module:function`.

Fields are replaced in one pass and by name alone: a value's own braces stay as they are, and no
attribute of a value is ever looked up. Naming a function runs its module's code, as importing it
would. Left out: the templates that ship (`srl_data.prompts`), and which of them a command takes
(`choose_template` of `srl_data.prompt_record`).
"""

import difflib
import hashlib
import inspect
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import ConfigError, DataError
from srl_data.prompts import (
    TEMPLATES,
    TRIAL,
    Columns,
    Message,
    Template,
    get_template,
    steps_of,
    user,
)
from srl_reward.user_code import failure, load_named

MAX_BYTES = 65_536
"""Longest text file of a template."""

FIELDS = ("problem", "previous_steps", "step_index", "title")
"""What a template may show of a record: what training and evaluation both know of a problem."""

HIDDEN = {
    "target_step": "is what the model has to write",
    "answer": "is what the model has to find",
    "response": "is what the model has to write",
    "num_steps": "is not known when the model is evaluated",
}
"""Fields of records that no prompt may show, and why."""

ROLES = ("system", "user", "assistant")

BRACES = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
"""A doubled brace, a field, or a brace that is neither."""


def shown(columns: Columns) -> dict[str, object]:
    """The fields of a record that a template may show; `previous_steps` is a list of texts."""
    steps = steps_of(columns)
    return {
        "problem": str(columns.get("problem")),
        "previous_steps": steps,
        "step_index": len(steps) + 1,
        "title": columns.get("title") or "",
    }


@dataclass(frozen=True)
class TextTemplate:
    """A text with fields: texts at even places of `parts`, names of fields at odd ones."""

    parts: tuple[str, ...]

    def __call__(self, columns: Columns) -> list[Message]:
        """The text with the record's values, as the user's message."""
        fields = shown(columns)
        texts = {**fields, "previous_steps": "\n\n".join(steps_of(columns))}
        parts = [str(texts[part]) if n % 2 else part for n, part in enumerate(self.parts)]
        return [user("".join(parts))]


def parse_text(text: str, name: str) -> TextTemplate:
    """The parts of a template's text. Raises ConfigError for a field that there is not."""
    parts, start = [""], 0
    for match in BRACES.finditer(text):
        parts[-1] += text[start : match.start()]
        start, found = match.end(), match.group()
        if found in ("{{", "}}"):
            parts[-1] += found[0]
            continue
        if match[1] not in FIELDS:
            line = text.count("\n", 0, match.start()) + 1
            raise ConfigError(f"template {name!r}, line {line}: {wrong_field(found, match[1])}")
        parts += [match[1], ""]
    parts[-1] += text[start:]
    if "problem" not in parts[1::2]:
        raise ConfigError(
            f"template {name!r} has no field {{problem}}, so that every prompt would be the same"
        )
    return TextTemplate(tuple(parts))


def wrong_field(found: str, field: str | None) -> str:
    """What is wrong with a brace or a field of a template's text, and what to write."""
    there = ", ".join(f"{{{name}}}" for name in FIELDS)
    if field is None or not field.strip().isidentifier():
        return (
            f"{found!r} is not a field; there are {there}, and a brace that is meant as such is "
            "doubled: \\boxed{{}}"
        )
    if field in HIDDEN:
        return f"the field {found} {HIDDEN[field]}; there are {there}"
    near = difflib.get_close_matches(field.strip(), FIELDS, n=1)
    hint = f"did you mean {{{near[0]}}}? " if near else ""
    return f"unknown field {found}; {hint}there are {there}"


def text_template(text: str, name: str) -> Template:
    """The template of a text with fields, called `name`. Raises ConfigError for a bad field."""
    build = parse_text(text, name)
    return Template(
        name=name,
        version=1,
        description="a text file of the user's",
        build=build,
        stepwise="previous_steps" in build.parts[1::2],
        thinks="<think>" in text,
        text=text,
    )


def read_text(name: str) -> str:
    """The text of a template's file, without its last line end.

    Raises ConfigError where there is no file, DataError where it is not a template's text.
    """
    path = Path(name)
    if not path.is_file():
        kind = "is not a file" if path.exists() else "is not there"
        raise ConfigError(f"--template {name!r} {kind}; expected a text file with {{problem}}")
    try:
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
        text = content.decode("utf-8-sig") if len(content) <= MAX_BYTES else None
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"--template {name!r}: cannot read it as UTF-8: {error}") from error
    if text is None:
        raise DataError(f"--template {name!r} is larger than {MAX_BYTES} bytes")
    return text.replace("\r\n", "\n").removesuffix("\n")


@dataclass(frozen=True)
class FunctionTemplate:
    """A user's function from a record's fields to messages, or to the text of one."""

    name: str
    function: Callable[[Mapping[str, object]], object]

    def __call__(self, columns: Columns) -> list[Message]:
        """The function's messages, checked; DataError where it fails or returns none."""
        try:
            found = self.function(shown(columns))
        except Exception as error:  # a user's code may raise anything
            raise DataError(f"template {self.name!r} raised {failure(error)}") from error
        messages = [user(found)] if isinstance(found, str) else found
        fault = fault_of(messages)
        if fault:
            raise DataError(
                f"template {self.name!r} returned {str(found)[:80]!r}: {fault}; expected a text, "
                'or messages such as [{"role": "user", "content": "..."}]'
            )
        assert isinstance(messages, Sequence)
        return [{"role": each["role"], "content": each["content"]} for each in messages]


def fault_of(messages: object) -> str | None:
    """Why something is not messages that end with the user's; None where it is."""
    if not isinstance(messages, Sequence) or isinstance(messages, str | bytes):
        return f"it is of type {type(messages).__name__}"
    for each in messages:
        if not isinstance(each, Mapping) or set(each) != {"role", "content"}:
            return f"{str(each)[:40]!r} is not a message with role and content"
        if each["role"] not in ROLES:
            return f"role {each['role']!r} is none of {', '.join(ROLES)}"
        if not isinstance(each["content"], str) or not each["content"].strip():
            return f"the content {str(each['content'])[:40]!r} is not a text with words"
    return (
        None if messages and messages[-1]["role"] == "user" else "its last message is not a user's"
    )


def function_template(name: str) -> Template:
    """The template of `module:function` or `file.py:function`, tried on a made-up record.

    Raises ConfigError where there is no such function, or its prompts do not show the problem;
    DataError where it fails.
    """
    try:
        found = load_named(name, "--template")
    except ValueError as error:
        raise ConfigError(str(error)) from error
    if isinstance(found, type) or not callable(found) or inspect.iscoroutinefunction(found):
        raise ConfigError(
            f"--template {name!r} is {str(found)[:80]!r}, expected a function of a record's fields "
            "that is not async"
        )
    build = FunctionTemplate(name, found)
    messages = build(TRIAL)
    texts = "\n".join(message["content"] for message in messages)
    if messages == build({**TRIAL, "problem": "Another?"}):
        raise ConfigError(f"--template {name!r} returns the same for every problem")
    return Template(
        name=name,
        version=1,
        description="a function of the user's",
        build=build,
        stepwise=all(step in texts for step in steps_of(TRIAL)),
        thinks="<think>" in texts,
        function_sha256=source_hash(found, messages),
    )


def source_hash(function: Callable[..., object], messages: Sequence[Message]) -> str:
    """SHA-256 of a function's source and of its messages for the record that it was tried on."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError):  # a built-in, a callable object
        source = ""
    return hashlib.sha256(json.dumps([source, messages]).encode()).hexdigest()


def is_own(name: str) -> bool:
    """Whether a template's name is that of a user's own text file or function."""
    return name not in TEMPLATES and (":" in name or is_path(name))


def is_path(name: str) -> bool:
    """Whether a name is a path of a file, there or not, rather than a bare word."""
    return Path(name).exists() or "/" in name or Path(name).suffix != ""


def open_template(name: str) -> Template:
    """The template called `name`: one that ships, a text file's, or `module:function`'s.

    Raises ConfigError where there is none, DataError where it cannot be used.
    """
    if not is_own(name):
        return get_template(name)
    if ":" in name and not Path(name).is_file():
        return function_template(name)
    return text_template(read_text(name), name)
