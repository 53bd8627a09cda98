"""What every reward here is: a picklable object with TRL's call, and `score` for the details.

A subclass names its columns in its constructor and implements `score`. Left out: what is scored.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

from srl_reward.completions import Completion


@dataclass(frozen=True, slots=True)
class Scored:
    """One completion's reward and how it came about.

    `reason` is None for a valid output and else says why not; `exact` says that the output is
    wholly right; `parts` holds the values that a reward is made of, under their names for logging.
    """

    reward: float
    reason: str | None = None
    exact: bool = False
    thinking: str | None = None
    action: str | None = None
    number: int | None = None
    parts: Mapping[str, float] = field(default_factory=dict)


class Reward(ABC):
    """A reward function: called as TRL calls one, `score`d where the details matter.

    The call keeps no state and holds no lock, so it may run in any thread or event loop's executor.
    """

    default_name: ClassVar[str]

    def __init__(self, *, think_prefilled: bool | None = None, name: str | None = None) -> None:
        self.think_prefilled = think_prefilled
        self.__name__ = name or self.default_name

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The columns without which this reward cannot be called; a subclass names its own."""
        return ()

    def __call__(self, completions: Sequence[Completion], **columns: object) -> list[float | None]:
        """Return a reward for each completion, None where this one does not apply.

        With TRL's `log_metric` among the keywords, the shares of invalid and exact outputs and the
        means of the parts are logged.
        """
        scored = self.score(completions, **columns)
        log_metric = columns.get("log_metric")
        if callable(log_metric):
            self._log([each for each in scored if each is not None], log_metric)
        return [None if each is None else each.reward for each in scored]

    @abstractmethod
    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion with the details; None where this reward does not apply."""

    def _log(self, scored: Sequence[Scored], log_metric: Callable[[str, float], object]) -> None:
        if not scored:
            return
        count = len(scored)
        log_metric(f"{self.__name__}/exact", sum(each.exact for each in scored) / count)
        invalid = sum(each.reason is not None for each in scored)
        log_metric(f"{self.__name__}/invalid", invalid / count)
        for part in scored[0].parts:
            values = [each.parts[part] for each in scored if part in each.parts]
            log_metric(f"{self.__name__}/{part}", sum(values) / len(values))
