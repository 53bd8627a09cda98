"""A user's own code, named as `module:name` or `file.py:name`: found, and its failures told.

Naming it runs its code, as importing it would.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from srl_data.command.errors import ConfigError


def load_named(spec: str, what: str) -> object:
    """What `module:name` or `file.py:name` names; `what` it is to be, for messages.

    Raises ConfigError where there is no such module, file or name, or its code fails.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ConfigError(f"--{what} {spec!r}: expected module:name or file.py:name")
    try:
        module = file_module(Path(place)) if place.endswith(".py") else named_module(place)
    except (FileNotFoundError, ModuleNotFoundError) as error:
        raise ConfigError(f"--{what} {spec!r} cannot be loaded: {error}") from error
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raise ConfigError(f"--{what} {spec!r}: {place} raised {failure(error)}") from error
    if not hasattr(module, name):
        raise ConfigError(f"--{what} {spec!r}: there is no {name!r} in {place}")
    found: object = getattr(module, name)
    return found


def failure(error: BaseException) -> str:
    """What an exception says, on one line, and where it arose."""
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def named_module(place: str) -> ModuleType:
    """A module of the environment or, as for a script there, of the working folder."""
    with importing_from(""):
        return importlib.import_module(place)


def file_module(path: Path) -> ModuleType:
    """The module of a file, run anew; modules beside it are found."""
    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    found = importlib.util.spec_from_file_location(f"_file_{path.stem}", path)
    assert found is not None
    assert found.loader is not None
    module = sys.modules[found.name] = importlib.util.module_from_spec(found)
    with importing_from(str(path.parent)):
        found.loader.exec_module(module)
    return module


@contextmanager
def importing_from(folder: str) -> Iterator[None]:
    """The folder's modules are found, behind those of the environment."""
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
