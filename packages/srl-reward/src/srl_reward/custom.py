"""A user's own reward: a function with TRL's call, named as `module:name` or `file.py:name`.

Naming one runs its code, as importing it would. Left out: the rewards that ship (`registry`).
"""

import importlib
import importlib.util
import inspect
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from numbers import Real
from pathlib import Path
from types import ModuleType

from srl_reward.completions import Completion, check_completions
from srl_reward.reward import Reward, Scored

_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)

RewardFunction = Callable[..., Sequence[float | None]]
"""Takes `completions` and the record's columns by keyword; returns one value per completion."""


class FunctionReward(Reward):
    """A plain function as a reward; None means that it does not apply to a completion.

    Args:
        function: Called as `function(completions=[...], column=[...], ...)`, with all columns where
            it takes `**columns`, else with those that it names.
        name: Under which the reward is logged; default the function's name.
    """

    default_name = "function_reward"

    def __init__(self, function: RewardFunction, *, name: str | None = None) -> None:
        super().__init__(name=name or getattr(function, "__name__", None))
        self.function = function

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns without which the function cannot be called; none where nobody can tell."""
        parameters = _parameters(self.function) or {}
        return tuple(
            name
            for name, each in parameters.items()
            if name != "completions" and each.default is each.empty and each.kind not in _STARRED
        )

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `exact` and `reason` are unknown to a function and stay unset.

        Raises:
            ValueError: The function returned another number of values, or one that is not finite.
            TypeError: It returned something else than numbers and None.
        """
        check_completions(completions)
        found = self.function(completions=list(completions), **self._taken(columns))
        values = self._values(found)
        if len(values) != len(completions):
            raise ValueError(
                f"the reward {self.__name__!r} returned {len(values)} values for "
                f"{len(completions)} completions; expected one per completion"
            )
        return [self._scored(value) for value in values]

    def _taken(self, columns: Mapping[str, object]) -> Mapping[str, object]:
        """The columns that the function takes."""
        parameters = _parameters(self.function)
        if parameters is None or any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            return columns
        return {name: value for name, value in columns.items() if name in parameters}

    def _values(self, found: object) -> list[object]:
        """What the function returned as a list, also of an array or a tensor."""
        found = found.tolist() if hasattr(found, "tolist") else found
        if isinstance(found, str | bytes | Mapping) or not isinstance(found, Iterable):
            raise TypeError(
                f"the reward {self.__name__!r} returned {found!r}, expected a list with a number "
                "or None per completion"
            )
        return list(found)

    def _scored(self, value: object) -> Scored | None:
        if value is None:
            return None
        if not isinstance(value, Real):
            raise TypeError(f"the reward {self.__name__!r} returned {value!r}, expected a number")
        if not math.isfinite(value):
            raise ValueError(
                f"the reward {self.__name__!r} returned {value!r}, expected a finite number"
            )
        return Scored(float(value))


def load_reward(spec: str, **options: object) -> Reward:
    """Return the reward behind `module:name` or `file.py:name`.

    The name may be a function with TRL's call, a `Reward`, or a subclass of it, which is
    constructed with `options`.

    Raises:
        ValueError: There is no such module, file or name, or what it names is not a reward.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise ValueError(f"reward {spec!r}: expected module:name or file.py:name")
    found = getattr(_module(place, spec), name, None)
    if isinstance(found, Reward) and not options:
        return found
    if isinstance(found, type) and issubclass(found, Reward):
        return _constructed(found, spec, options)
    if options:
        raise ValueError(f"the reward {spec!r} takes no option {', '.join(sorted(options))}")
    if found is None:
        raise ValueError(f"reward {spec!r}: there is no {name!r} in {place}")
    if isinstance(found, type) or not callable(found) or inspect.iscoroutinefunction(found):
        raise ValueError(
            f"reward {spec!r}: {name!r} is {found!r}; expected a function of completions and "
            "columns that is not async, or a Reward"
        )
    return FunctionReward(found, name=name)


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


def _parameters(function: RewardFunction) -> Mapping[str, inspect.Parameter] | None:
    """The function's parameters; None where it does not tell them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def _constructed(kind: type[Reward], spec: str, options: Mapping[str, object]) -> Reward:
    try:
        return kind(**options)  # type: ignore[arg-type]  # the user's own constructor
    except Exception as error:
        raise ValueError(f"reward {spec!r}: its constructor raised {failure(error)}") from error


def _module(place: str, spec: str) -> ModuleType:
    is_file = place.endswith(".py")
    if is_file and not Path(place).is_file():
        raise ValueError(f"reward {spec!r}: no such file: {place}")
    try:
        return _file_module(Path(place)) if is_file else _named_module(place)
    except ModuleNotFoundError as error:
        raise ValueError(f"reward {spec!r}: {error}") from error
    except (Exception, SystemExit) as error:  # a user's code may raise anything
        raised = failure(error, str(Path(place).absolute()) if is_file else None)
        raise ValueError(f"reward {spec!r}: {place} raised {raised}") from error


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
        found = importlib.util.spec_from_file_location(f"_reward_file_{path.stem}", path)
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
