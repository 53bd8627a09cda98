"""A user's own reward: a function with TRL's call, named as `module:name` or `file.py:name`.

Naming one runs its code, as importing it would. Left out: the rewards that ship (`registry`).
"""

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Real

from srl_reward.completions import Completion, check_completions
from srl_reward.reward import Reward, Scored
from srl_reward.user_code import failure, load_named

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
    found = load_named(spec, "reward")
    name = spec.rpartition(":")[2]
    if isinstance(found, Reward) and not options:
        return found
    if isinstance(found, type) and issubclass(found, Reward):
        return _constructed(found, spec, options)
    if options:
        raise ValueError(f"the reward {spec!r} takes no option {', '.join(sorted(options))}")
    if isinstance(found, type) or not callable(found) or inspect.iscoroutinefunction(found):
        raise ValueError(
            f"reward {spec!r}: {name!r} is {found!r}; expected a function of completions and "
            "columns that is not async, or a Reward"
        )
    return FunctionReward(found, name=name)


def _parameters(function: RewardFunction) -> Mapping[str, inspect.Parameter] | None:
    """The function's parameters; None where it does not tell them."""
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):
        return None


def _constructed(kind: type[Reward], spec: str, options: Mapping[str, object]) -> Reward:
    try:
        return kind(**options)  # type: ignore[arg-type]  # the user's own constructor
    except Exception as error:  # a user's code may raise anything
        raise ValueError(f"reward {spec!r}: its constructor raised {failure(error)}") from error
