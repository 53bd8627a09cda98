"""Flags from config models: every field of a command's config is an option of the command.

`configured(Model)` turns a function of `(config, dry_run)` into a click command body that takes
`--config`, `--dry-run` and one flag per field with its aliases, grouped in the help by section; a
`Positional` field is an argument. What a user did not give does not override the file. Validation
is pydantic's, in `srl_data.command.config`.
"""

import functools
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import rich_click as click
import yaml
from pydantic_core import PydanticUndefined

from srl_data.command.config import (
    Leaf,
    Recorded,
    Section,
    dump_yaml,
    leaves,
    load_config,
    preset_of,
    section_of,
    without_none,
)
from srl_data.command.errors import ConfigError

C = typing.TypeVar("C", bound=Section)

if typing.TYPE_CHECKING:
    ParamType = click.ParamType[object]
else:  # Generic only in click's newer releases.
    ParamType = click.ParamType


class YamlValue(ParamType):
    """A list or mapping given on the command line as YAML, e.g. `[0.9, 0.95]`."""

    name = "yaml"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> object:
        """Parse the text; click's usage error where it is not YAML."""
        try:
            return yaml.safe_load(str(value))
        except yaml.YAMLError as error:
            self.fail(f"{value!r} is not valid YAML: {' '.join(str(error).split())}", param, ctx)


def click_type(annotation: object) -> ParamType:
    """The click type that reads a field's text form; constraints stay with pydantic."""
    inner = without_none(annotation)
    if typing.get_origin(inner) is typing.Literal:
        return click.Choice([str(choice) for choice in typing.get_args(inner)])
    if repeated(annotation) is str:
        return click.STRING
    simple: dict[object, ParamType] = {
        int: click.INT,
        float: click.FLOAT,
        str: click.STRING,
        Path: click.Path(path_type=Path),
    }
    return simple.get(inner, YamlValue())


def repeated(annotation: object) -> type | None:
    """`T` of a list of texts or numbers, whose flag is given once for each; None for others.

    Several numbers may also stand in one YAML list.
    """
    inner = without_none(annotation)
    origin, arguments = typing.get_origin(inner), typing.get_args(inner)
    if origin is not list and not (origin is tuple and arguments[1:] == (...,)):
        return None
    return next((kind for kind in (str, int, float) if arguments[0] is kind), None)


def help_text(leaf: Leaf) -> str:
    """A field's docstring and its default."""
    text = (leaf.field.description or "").strip()
    default = leaf.field.get_default(call_default_factory=False)
    if default in (PydanticUndefined, None, ()) or default == "":
        return text
    shown = (
        {True: "on", False: "off"}.get(default, default) if isinstance(default, bool) else default
    )
    if repeated(leaf.annotation):
        shown = ", ".join(map(str, default))
    return f"{text} [default: {shown}]"


def option(leaf: Leaf) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The click parameter of one config field; its value is None where the user gave none."""
    if leaf.positional:
        return click.argument(
            parameter_name(leaf),
            type=click_type(leaf.annotation),
            required=False,
            default=None,
            metavar=leaf.usage,
            help=help_text(leaf),
        )
    is_bool = without_none(leaf.annotation) is bool
    off = f"/--no-{leaf.flag}" if is_bool else ""  # one spelling is enough: aliases widen the help
    names = [f"--{leaf.flag}{off}", *(f"--{alias}" for alias in leaf.aliases)]
    panel = " ".join(leaf.path[:-1]).replace("_", " ").capitalize() or "Options"
    return click.option(
        *names,
        parameter_name(leaf),
        type=None if is_bool else click_type(leaf.annotation),
        default=None,
        multiple=repeated(leaf.annotation) is not None,
        help=help_text(leaf),
        panel=panel,
    )


def joined(value: object) -> object:
    """What a flag that was given several times says: one list, also where an item is a list."""
    if not isinstance(value, tuple):
        return value
    parts = [item if isinstance(item, list) else [item] for item in value]
    return tuple(item for part in parts for item in part)


def parameter_name(leaf: Leaf) -> str:
    """The Python name under which click hands a field's value over."""
    return "__".join(leaf.path)


def former_keys(model: type[Section]) -> Iterator[tuple[str, str]]:
    """Flags that there were once, each with what to write now."""
    yield from ((key.replace("_", "-"), now) for key, now in model.former.items())
    for field in model.model_fields.values():
        inner = section_of(field.annotation)
        if inner is not None:
            yield from former_keys(inner)


def former_option(flag: str, now: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A hidden option that is refused with what to write instead."""

    def refuse(_context: click.Context, _parameter: click.Parameter, value: object) -> None:
        if value is not None:
            raise ConfigError(f"--{flag} is no longer an option; it is now {now}")

    return click.option(f"--{flag}", hidden=True, expose_value=False, callback=refuse)


def configured(
    model: type[C], presets: str | None = None, recorded: Recorded = lambda _given: None
) -> Callable[[Callable[[C, bool], None]], Callable[..., None]]:
    """Decorate a function of `(config, dry_run)` with `--config`, `--dry-run` and a flag a field.

    `recorded` may give an earlier config, for what neither flags nor file say. Bad input raises
    ConfigError (exit code 2). Two fields with one flag are a bug of ours.
    """
    fields = [leaf for leaf in leaves(model) if not leaf.hidden]
    flags = [name for leaf in fields for name in (leaf.flag, *leaf.aliases)]
    assert len(set(flags)) == len(flags), f"{model.__name__} has two fields with one flag: {flags}"

    def decorate(function: Callable[[C, bool], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def body(config_name: str | None, dry_run: bool, **given: object) -> None:
            overrides = {
                leaf.path: joined(given[parameter_name(leaf)])
                for leaf in fields
                if given[parameter_name(leaf)] not in (None, ())
            }
            config = load_config(model, config_name, overrides, presets, recorded)
            preset = preset_of(config_name, presets) if config_name else None
            if preset not in (None, config_name):
                click.echo(f"no file {config_name}, so it is the shipped preset {preset}", err=True)
            function(config, dry_run)

        command: Callable[..., None] = body
        for leaf in reversed(fields):
            command = option(leaf)(command)
        for flag, now in former_keys(model):
            command = former_option(flag, now)(command)
        command = click.option(
            "--dry-run", is_flag=True, help="Print the resolved config and the plan, then stop."
        )(command)
        text = "A YAML file" + (" or the name of a shipped preset." if presets else ".")
        return click.option("--config", "config_name", metavar="FILE|PRESET", help=text)(command)

    return decorate


def print_plan(config: Section, plan: str, lines: Sequence[str] = ()) -> None:
    """What `--dry-run` shows on standard output: the resolved config as YAML, then the plan.

    `lines` are comments of YAML that say more of it.
    """
    click.echo(dump_yaml(config).rstrip())
    click.echo(f"# dry run: would {plan}")
    for line in lines:
        click.echo(line)
