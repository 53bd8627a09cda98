"""Which prompt template a command takes: the one named, else the checkpoint's own, else a default.

Left out: what a record holds (`srl_data.prompt_record`) and a user's own templates
(`srl_data.own_templates`).
"""

from dataclasses import dataclass
from pathlib import Path

from srl_data.command.errors import CommandError, DataError
from srl_data.own_templates import open_template, text_template
from srl_data.prompt_record import TEMPLATE_FILE, PromptRecord, record_of
from srl_data.prompts import TEMPLATES, Template


@dataclass(frozen=True)
class ChosenTemplate:
    """A prompt template, and a line for the user where a checkpoint has its own."""

    template: Template
    note: str | None = None


def recorded_template(folder: Path, record: PromptRecord) -> Template:
    """The template that a checkpoint's record names; a text file's is that of the record.

    Raises DataError where the template or its version is not known here, or a user's function
    cannot be loaded or is another than it was.
    """
    if record.text is not None:
        return recorded_text(folder, record.text, record.name)
    if record.function_sha256 is not None:
        return recorded_function(folder, record)
    known = TEMPLATES.get(record.name)
    if known is None or known.version != record.version:
        have = f"version {known.version}" if known else f"only {', '.join(TEMPLATES)}"
        msg = (
            f"{folder / TEMPLATE_FILE}: the checkpoint was trained with template {record.name!r} "
            f"version {record.version!r}, this srl-data has {have}; install the matching version "
            "or name a template yourself"
        )
        raise DataError(msg)
    return known


def recorded_text(folder: Path, text: str, name: str) -> Template:
    """The template of a recorded text; DataError where it is damaged."""
    try:
        return text_template(text, name)
    except CommandError as error:
        raise DataError(f"{folder / TEMPLATE_FILE}: {error}") from error


def recorded_function(folder: Path, record: PromptRecord) -> Template:
    """A user's function, the same as when the checkpoint was trained; DataError where it is not."""
    trained = f"{folder / TEMPLATE_FILE}: the checkpoint was trained with template {record.name!r}"
    try:
        template = open_template(record.name)
    except CommandError as error:
        raise DataError(f"{trained}, which cannot be had: {error}") from error
    if template.function_sha256 != record.function_sha256:
        raise DataError(
            f"{trained}, which has changed since; restore it, or pass --template {record.name} to "
            "use it as it is now"
        )
    return template


def choose_template(
    given: str | None, recorded: PromptRecord | None, folder: Path, default: str
) -> ChosenTemplate:
    """The template of a command: what is `given` over what `folder` records over the `default`.

    Raises ConfigError for a name that is none, DataError as `recorded_template` does.
    """
    if recorded is None:
        return ChosenTemplate(open_template(given or default))
    if given is None:
        template = recorded_template(folder, recorded)
        return ChosenTemplate(template, f"template {template.name!r}, as {folder} records it")
    if recorded.text is not None and given == recorded.name and not Path(given).exists():
        template = recorded_text(folder, recorded.text, recorded.name)
        note = f"template {given!r} is not there; its text is the one that {folder} records"
        return ChosenTemplate(template, note)
    template = open_template(given)
    return ChosenTemplate(template, difference_note(template, recorded, folder))


def difference_note(template: Template, recorded: PromptRecord, folder: Path) -> str | None:
    """A line where a template is not the one that a checkpoint was trained with."""
    if template.text is not None and template.text == recorded.text:
        return None
    now = record_of(template)
    kept = ("name", "version", "text", "function_sha256")
    if all(getattr(now, key) == getattr(recorded, key) for key in kept):
        return None
    if template.name != recorded.name:
        return f"template {template.name!r}, although {folder} was trained with {recorded.name!r}"
    return f"template {template.name!r} is not the same as when {folder} was trained with it"
