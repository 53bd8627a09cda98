"""Config files: YAML in, one frozen pydantic model out, and every mistake named.

A command's config is a `Section` made of sections. `load_config` reads a path or a shipped
preset, lays flags over it, refuses unknown keys with the nearest known one, and validates.
The mapping from fields to flags is `srl_data.command.flags`.
"""

import difflib
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from srl_data.command.errors import ConfigError

ConfigTree = dict[str, object]
"""A config as YAML holds it: keys to scalars, lists or further trees."""


C = typing.TypeVar("C", bound="Section")


class Section(BaseModel):
    """A part of a config: frozen, unknown keys refused, docstrings under fields are its help."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        use_attribute_docstrings=True,
        protected_namespaces=(),
        allow_inf_nan=False,
    )

    former: typing.ClassVar[dict[str, str]] = {}
    """Keys that there were once, each with what to write now."""

    @classmethod
    def former_file(cls, tree: ConfigTree) -> str | None:  # noqa: ARG003 - for those who override
        """What to write now in a file whose keys and values are known but mean something else."""
        return None


@dataclass(frozen=True)
class Flag:
    """Annotation of a field whose flag is not its name, or has other spellings beside it.

    `Annotated[str, Flag("model")]`, `Annotated[float, Flag(aliases=("lr",))]`.
    """

    name: str | None = None
    aliases: tuple[str, ...] = ()
    """What other tools call it; the same flag on the command line, unknown to config files."""
    hidden: bool = False
    """For config files alone: there is no such flag."""


@dataclass(frozen=True)
class Positional:
    """Annotation of a field given without a flag: `Annotated[Path, Positional()]`."""


@dataclass(frozen=True)
class Leaf:
    """One settable field of a config: its path in the file, its flag, its type and its help."""

    path: tuple[str, ...]
    flag: str
    annotation: object
    field: FieldInfo
    aliases: tuple[str, ...] = ()
    """Other spellings of the flag."""
    hidden: bool = False
    """Whether only a file gives it."""

    @property
    def key(self) -> str:
        """The dotted name in a config file, e.g. `rollout.group_size`."""
        return ".".join(self.path)

    @property
    def positional(self) -> bool:
        """Whether the command line takes it without a flag."""
        return any(isinstance(item, Positional) for item in self.field.metadata)

    @property
    def usage(self) -> str:
        """How the command line gives it: `--flag`, or `FLAG` where it is positional."""
        return self.flag.upper() if self.positional else f"--{self.flag}"


def without_none(annotation: object) -> object:
    """`T` of `T | None`; any other annotation as it is."""
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        if len(rest) == 1:
            return rest[0]
    return annotation


def section_of(annotation: object) -> type[Section] | None:
    """The section class behind an annotation (`S` or `S | None`), or None for a plain field."""
    inner = without_none(annotation)
    return inner if isinstance(inner, type) and issubclass(inner, Section) else None


def leaves(model: type[Section], prefix: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every settable field of a config model, depth first, in order of definition."""
    for name, field in model.model_fields.items():
        inner = section_of(field.annotation)
        if inner is not None:
            yield from leaves(inner, (*prefix, name))
            continue
        given = next((item for item in field.metadata if isinstance(item, Flag)), Flag())
        flag = given.name or name.replace("_", "-")
        yield Leaf((*prefix, name), flag, field.annotation, field, given.aliases, given.hidden)


def preset_names(package: str) -> list[str]:
    """Names of the presets that `package` ships, sorted."""
    return sorted(
        item.name.removesuffix(".yaml")
        for item in files(package).iterdir()
        if item.name.endswith(".yaml")
    )


def preset_of(name: str, presets: str | None) -> str | None:
    """The shipped preset that `--config NAME` means; None where it is a file, or nothing known.

    `configs/NAME.yaml`, as other projects keep their presets, means the preset NAME.
    """
    path = Path(name)
    if presets is None or path.is_file():
        return None
    shipped = path.suffix in (".yaml", ".yml") and path.parent.name in ("", "config", "configs")
    preset = path.stem if shipped else name
    return preset if preset in preset_names(presets) else None


def find_config(name: str, presets: str | None) -> Traversable:
    """The file behind `--config`: a path that exists, else a preset of that name (`preset_of`).

    Raises ConfigError naming the nearest preset if there is neither.
    """
    path = Path(name)
    if path.is_file():
        return path
    preset = preset_of(name, presets)
    if presets and preset:
        return files(presets) / f"{preset}.yaml"
    known = preset_names(presets) if presets else []
    near = difflib.get_close_matches(path.stem, known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    shipped = f"presets: {', '.join(known)}" if known else "give the path of a YAML file"
    msg = f"--config {name!r} is neither a file nor a shipped preset; {hint}{shipped}"
    raise ConfigError(msg)


def read_tree(source: Traversable) -> ConfigTree:
    """The YAML mapping in `source`; ConfigError with file and line where it is none."""
    try:
        tree = yaml.safe_load(source.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise ConfigError(f"{source}: not valid YAML: {reason}") from error
    if tree is None:
        return {}
    if not isinstance(tree, dict):
        msg = f"{source}: expected a mapping of sections at the top, found {type(tree).__name__}"
        raise ConfigError(msg)
    return tree


def unknown_keys(
    tree: Mapping[str, object], model: type[Section], prefix: str = ""
) -> Iterator[str]:
    """Dotted names in `tree` that `model` does not have."""
    for key, value in tree.items():
        field = model.model_fields.get(str(key))
        if field is None:
            yield f"{prefix}{key}"
            continue
        inner = section_of(field.annotation)
        if inner is not None and isinstance(value, dict):
            yield from unknown_keys(value, inner, f"{prefix}{key}.")


def former_key(key: str, model: type[Section]) -> str | None:
    """What is to be written now in place of a dotted key that there was once."""
    *sections, last = key.split(".")
    for name in sections:
        field = model.model_fields.get(name)
        inner = section_of(field.annotation) if field is not None else None
        if inner is None:
            return None
        model = inner
    return model.former.get(last)


def nearest_key(key: str, model: type[Section]) -> str | None:
    """The known key most like `key`: by its full name, else by its last part."""
    known = {leaf.key: leaf.path[-1] for leaf in leaves(model)}
    sections = {leaf.path[0]: leaf.path[0] for leaf in leaves(model) if len(leaf.path) > 1}
    by_name = difflib.get_close_matches(key, [*known, *sections], n=1, cutoff=0.75)
    if by_name:
        return by_name[0]
    last = difflib.get_close_matches(key.rpartition(".")[2], list(known.values()), n=1)
    return next((full for full, part in known.items() if last and part == last[0]), None)


def set_key(tree: ConfigTree, path: tuple[str, ...], value: object) -> None:
    """Set `tree[path[0]][path[1]]… = value`, making sections on the way."""
    *sections, last = path
    for name in sections:
        inner = tree.get(name)
        if not isinstance(inner, dict):
            inner = tree[name] = {}
        tree = inner
    tree[last] = value


def describe_errors(error: ValidationError, model: type[Section]) -> str:
    """A pydantic error as `key = value: reason (flag)`, joined with `; `."""
    flags = {leaf.path: leaf.usage for leaf in leaves(model) if not leaf.hidden}
    owners = {leaf.path for leaf in leaves(model)}
    lines = []
    for item in error.errors():
        path = tuple(str(part) for part in item["loc"])
        owner = next((path[:end] for end in range(1, len(path)) if path[:end] in owners), path)
        reason = item["msg"].removeprefix("Value error, ")
        if item["type"] == "missing" and owner != path:  # a value of several is not there
            text = f"{'.'.join(owner)} = {item['input']!r}: has too few values"
        elif item["type"] == "missing":
            missing = [leaf for leaf in leaves(model) if leaf.path[: len(path)] == path]
            missing = [leaf for leaf in missing if leaf.field.is_required()]
            text = ", ".join(f"{leaf.key} ({leaf.usage})" for leaf in missing) + " is required"
            owner = ()
        elif not path or (item["type"] == "value_error" and isinstance(item["input"], dict)):
            text = reason
        else:
            text = f"{'.'.join(path)} = {item['input']!r}: {reason[:1].lower()}{reason[1:]}"
        flag = flags.get(owner)
        lines.append(f"{text} ({flag})" if flag else text)
    return "; ".join(lines)


def validate(tree: ConfigTree, model: type[C], source: str) -> C:
    """`tree` as a `model`, or ConfigError naming every bad key of `source`."""
    for key in unknown_keys(tree, model):
        if now := former_key(key, model):
            raise ConfigError(f"{source}: {key} is no longer a key; it is now {now}")
        near = nearest_key(key, model)
        hint = f"did you mean {near!r}?" if near else "--help lists the known keys"
        raise ConfigError(f"{source}: unknown key {key!r}; {hint}")
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{source}: {describe_errors(error, model)}") from error


def refuse_former(tree: ConfigTree, model: type[Section], source: str) -> None:
    """ConfigError where a file says in former words what would be read as something else now."""
    if now := model.former_file(tree):
        raise ConfigError(f"{source}: written for an earlier version; {now}")


def overlay(below: Mapping[str, object], above: ConfigTree, model: type[Section]) -> ConfigTree:
    """`above` with what it does not say taken from `below`, section by section."""
    result = dict(below)
    for key, value in above.items():
        under, field = below.get(key), model.model_fields.get(key)
        inner = section_of(field.annotation) if field is not None else None
        if inner is not None and isinstance(value, dict) and isinstance(under, dict):
            result[key] = overlay(under, value, inner)
        else:
            result[key] = value
    return result


Recorded = Callable[[ConfigTree], tuple[ConfigTree, str] | None]
"""Of what a user gave: an earlier config to take the rest from, and its name; None for none."""


def load_config(
    model: type[C],
    name: str | None = None,
    overrides: Mapping[tuple[str, ...], object] | None = None,
    presets: str | None = None,
    recorded: Recorded = lambda _given: None,
) -> C:
    """Read, overlay and validate a config: flags over file over `recorded` over defaults.

    `name` is a path or a preset of the package `presets`; `overrides` maps key paths to values.
    Raises ConfigError (exit code 2) naming the key, the value and the fix.
    """
    tree: ConfigTree = {}
    source = "command line"
    if name is not None:
        found = find_config(name, presets)
        tree, source = read_tree(found), found.name
        refuse_former(tree, model, source)
    for path, value in (overrides or {}).items():
        set_key(tree, path, value)
    if earlier := recorded(tree):
        below, origin = earlier
        refuse_former(below, model, origin)
        tree, source = overlay(below, tree, model), f"{source} over {origin}"
    return validate(tree, model, source)


def dump_yaml(config: Section) -> str:
    """The resolved config as YAML that `load_config` reads back to an equal model."""
    tree = config.model_dump(mode="json")
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True, width=100)
