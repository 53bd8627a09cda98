"""A user's own code, named as `module:name` or `file.py:name`: found, loaded, its failures told.

Naming it runs its code, as importing it would. Left out: what the name should be (`custom` for
rewards).
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType


def load_named(spec: str, what: str) -> object:
    """Return what `module:name` or `file.py:name` names; `what` it is to be stands in messages.

    Raises:
        ValueError: There is no such module, file or name, or its code fails.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ValueError(f"{what} {spec!r}: expected module:name or file.py:name")
    module = _module(place, f"{what} {spec!r}")
    if not hasattr(module, name):
        raise ValueError(f"{what} {spec!r}: there is no {name!r} in {place}")
    found: object = getattr(module, name)
    return found


def failure(error: BaseException, file: str | None = None) -> str:
    """What an exception of a user's code says, on one line, and where in `file` it arose.

    Without `file`, or where it passed through none of its lines, the innermost line is named.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if frame.filename == file] or frames[-1:]
    where = f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}{': ' if text else ''}{text}{where}"


def source_file(spec: str) -> Path | None:
    """The file with the source of `module:name` or `file.py:name`; None where there is none.

    A module's is that of the loaded one: call it after `load_reward`.
    """
    place = spec.rpartition(":")[0]
    if place.endswith(".py"):
        return Path(place)
    found = getattr(sys.modules.get(place), "__file__", None)
    return Path(found) if found else None


def _module(place: str, asked: str) -> ModuleType:
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise ValueError(f"{asked}: no such file: {place}")
    try:
        return _file_module(Path(place)) if is_file else _named_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"{asked}: {error}") from error
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raised = failure(error, str(Path(place).absolute()) if is_file else None)
        raise ValueError(f"{asked}: {place} raised {raised}") from error


def _named_module(place: str) -> ModuleType:
    """A module of the environment or, as for a script there, of the working folder."""
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        if error.name != place.partition(".")[0]:
            raise
    with _importing_from(""):
        return importlib.import_module(place)


_files: dict[tuple[Path, int], ModuleType] = {}
"""Files that were run, by path and time of change: a second reward of one does not run it again."""


def _file_module(path: Path) -> ModuleType:
    key = path.resolve(), path.stat().st_mtime_ns
    if key not in _files:
        found = importlib.util.spec_from_file_location(f"_file_{path.stem}", path)
        assert found is not None
        assert found.loader is not None
        module = sys.modules[found.name] = importlib.util.module_from_spec(found)
        with _importing_from(str(path.parent)):
            found.loader.exec_module(module)
        _files[key] = module
    return _files[key]


@contextmanager
def _importing_from(folder: str) -> Iterator[None]:
    """The folder's modules are found, behind those of the environment."""
    sys.path.append(folder)
    try:
        yield
    finally:
        sys.path.remove(folder)
