"""A user's own reward: a function with TRL's call, named as `module:name` or `file.py:name`.

Naming one runs its code, as importing it would. Left out: the rewards that ship (`registry`).
"""

import importlib
import importlib.util
import inspect
import math
from collections.abc import Callable, Sequence
from numbers import Real
from pathlib import Path
from types import ModuleType

from srl_reward.completions import Completion, check_completions
from srl_reward.reward import Reward, Scored

RewardFunction = Callable[..., Sequence[float | None]]
"""Takes `completions` and the record's columns by keyword; returns one value per completion."""


class FunctionReward(Reward):
    """A plain function as a reward; None means that it does not apply to a completion.

    Args:
        function: Called as `function(completions=[...], column=[...], ...)`.
        name: Under which the reward is logged; default the function's name.
    """

    default_name = "function_reward"

    def __init__(self, function: RewardFunction, *, name: str | None = None) -> None:
        super().__init__(name=name or getattr(function, "__name__", None))
        self.function = function

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `exact` and `reason` are unknown to a function and stay unset.

        Raises:
            ValueError: The function returned another number of values, or one that is not finite.
            TypeError: It returned something else than numbers and None.
        """
        check_completions(completions)
        values = list(self.function(completions=list(completions), **columns))
        if len(values) != len(completions):
            raise ValueError(
                f"the reward {self.__name__!r} returned {len(values)} values for "
                f"{len(completions)} completions; expected one per completion"
            )
        return [self._scored(value) for value in values]

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
        return found(**options)  # type: ignore[arg-type]  # the user's own constructor
    if options:
        raise ValueError(f"the reward {spec!r} takes no option {', '.join(sorted(options))}")
    if found is None:
        raise ValueError(f"reward {spec!r}: there is no {name!r} in {place}")
    if isinstance(found, type) or not callable(found) or inspect.iscoroutinefunction(found):
        raise ValueError(
            f"reward {spec!r}: {name!r} is {found!r}; expected a function of completions and "
            "columns that is not async, or a Reward"
        )
    return FunctionReward(found)


def _module(place: str, spec: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ModuleNotFoundError as error:
            raise ValueError(f"reward {spec!r}: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise ValueError(f"reward {spec!r}: no such file: {place}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module
