"""Where each question of the training rows goes: held out, drawn, to train on.

A question's place is the hash of its text with the seed, so that it does not depend on the rows
around it: the smallest are held out, the next are drawn. Rows that ask the same question go the
same way. In memory are as many hashes as questions are held out and drawn.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from srl_data.answers.config import SplitsConfig
from srl_data.command.errors import ConfigError
from srl_data.held_out import Smallest


@dataclass(frozen=True)
class Choice:
    """Which questions go where."""

    held_out: frozenset[int] = frozenset()
    """Places of the questions that are held out."""
    drawn: frozenset[int] | None = None
    """Places of the questions that are drawn; None for all that are not held out."""
    _seen: set[int] = field(default_factory=set)

    def trains(self, place: int) -> bool:
        """Whether a record is trained on; of a question that is drawn the first one is."""
        if self.drawn is None:
            return place not in self.held_out
        if place not in self.drawn or place in self._seen:
            return False
        self._seen.add(place)
        return True


def choose(config: SplitsConfig, places: Iterable[int]) -> Choice:
    """Hold out and draw; ConfigError where holding out leaves none to train on."""
    smallest = Smallest(config.eval_n + config.sample_n)
    one_more = Smallest(config.eval_n + 1)
    for place in places:
        smallest.add(place)
        one_more.add(place)
    distinct = len(one_more.ordered())
    if distinct <= config.eval_n:
        raise ConfigError(
            f"--eval-n {config.eval_n} leaves nothing to train on: there are {distinct} "
            "questions; hold out fewer"
        )
    chosen = smallest.ordered()
    drawn = frozenset(chosen[config.eval_n :]) if config.sample_n else None
    return Choice(frozenset(chosen[: config.eval_n]), drawn)
