"""The rewards of a run: several by name, weighted, and what a user's own may do wrong.

A completion's reward is the weighted sum of those that apply to it. Left out: what a reward is
(`srl_reward`) and texts of completions (`srl_grpo.rollout.scoring`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real

from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_grpo.config.reward import RewardSection
from srl_reward import AnswerReward, FunctionReward, R1ZeroReward, Reward, Scored, make_reward
from srl_reward.grading import check_grader
from srl_reward.user_code import failure, source_file

RESERVED = ("exact", "invalid")
"""Names of shares under `reward/`; a reward of such a name is logged as `exact_reward`."""


class RewardError(CommandError):
    """A reward failed, or gave what is not a reward."""

    held_out = False
    """Whether that was in an evaluation and not in training."""


@dataclass(frozen=True)
class NamedReward:
    """One reward of a run."""

    name: str
    """Under which it is logged: `reward/NAME`."""
    spec: str
    """How the config names it."""
    reward: Reward
    weight: float = 1.0

    @property
    def is_function(self) -> bool:
        """Whether it gives values alone, and neither reasons nor whether an output is exact."""
        return isinstance(self.reward, FunctionReward)

    @property
    def judges(self) -> bool:
        """Whether it says what is right; one of weight 0 is only looked at."""
        return not self.is_function and self.weight != 0

    def score(self, completions: Sequence[str], **columns: object) -> list[Scored | None]:
        """Score each completion; RewardError where the reward fails or gives no number."""
        try:
            found = self.reward.score(completions, **columns)
            return self._checked(found, len(completions))
        except CommandError:
            raise
        except Exception as error:  # a user's code may raise anything
            raise RewardError(self._failed(error, columns)) from error

    def _checked(self, found: object, count: int) -> list[Scored | None]:
        """What a user's own `Reward` returned, which need not be what it promised."""
        if not isinstance(found, list) or len(found) != count:
            got = f"{len(found)} values" if isinstance(found, list) else repr(found)
            raise RewardError(
                f"the reward {self.name!r} returned {got} for {count} completions; expected a list "
                "with one per completion"
            )
        for item in found:
            value = item.reward if isinstance(item, Scored) else item
            if item is not None and not (isinstance(item, Scored) and is_finite(value)):
                raise RewardError(
                    f"the reward {self.name!r} returned {value!r}, expected a finite number"
                )
        return found

    def _failed(self, error: Exception, columns: Mapping[str, object]) -> str:
        text = " ".join(str(error).split())
        if text.startswith(f"the reward {self.name!r} returned"):
            return text
        file = source_file(self.spec) if ":" in self.spec else None
        raised = failure(error, None if file is None else str(file.absolute()))
        called = f"the reward {self.spec!r} raised {raised}"
        return f"{called}; its columns are {', '.join(sorted(columns))}"


def is_finite(value: object) -> bool:
    """Whether this is a number that a sum may hold."""
    return isinstance(value, Real) and math.isfinite(value)


@dataclass(frozen=True)
class Judged:
    """What the rewards of a run say of one completion."""

    reward: float
    """Weighted sum of the rewards that apply."""
    values: Mapping[str, float | None]
    """Each reward by its name; None where it does not apply."""
    details: Scored | None
    """Of the first reward that applies and gives any; None where only functions apply."""
    right: bool | None = None
    """Whether every reward with a weight that can say so calls it wholly right; None where none
    can."""
    parts: Mapping[str, float] = field(default_factory=dict)
    """What the rewards that apply are made of, by name; of two alike the first one's."""


class Rewards:
    """Several rewards with weights, as one."""

    def __init__(self, parts: Sequence[NamedReward]) -> None:
        self.parts = tuple(parts)

    @property
    def names(self) -> tuple[str, ...]:
        """Under which the rewards are logged, in the order of the config."""
        return tuple(part.name for part in self.parts)

    @property
    def required_columns(self) -> dict[str, str]:
        """The columns that they cannot do without, each with the reward that reads it."""
        return {column: part.spec for part in self.parts for column in part.reward.required_columns}

    def check_graders(self, graders: Mapping[str, str]) -> None:
        """DataError for a grader that a record names and a reward would ask, but cannot.

        `graders` holds, by what the records say, the id of a record that says so. Raises
        CommandError where an optional library is missing.
        """
        if not any(
            isinstance(p.reward, AnswerReward | R1ZeroReward) and p.reward.grader is None
            for p in self.parts
        ):
            return
        for grader, record in graders.items():
            try:
                check_grader(grader)
            except ValueError as error:
                raise DataError(f"record {record!r}: {error}") from error
            except ImportError as error:
                raise CommandError(f"record {record!r}: {error}") from error

    def score(self, completions: Sequence[str], **columns: object) -> list[Judged | None]:
        """Judge each completion; None where no reward applies.

        Raises RewardError, naming the reward, where one fails or gives no finite number.
        """
        rows = [part.score(completions, **columns) for part in self.parts]
        return [self._judge(scores) for scores in zip(*rows, strict=True)]

    def _judge(self, scores: Sequence[Scored | None]) -> Judged | None:
        applied = [(p, s) for p, s in zip(self.parts, scores, strict=True) if s is not None]
        if not applied:
            return None
        return Judged(
            reward=sum(part.weight * float(score.reward) for part, score in applied),
            values={
                name: None if score is None else float(score.reward)
                for name, score in zip(self.names, scores, strict=True)
            },
            details=next((score for part, score in applied if not part.is_function), None),
            right=all_right(applied),
            parts={name: value for _, s in reversed(applied) for name, value in s.parts.items()},
        )


def all_right(applied: Sequence[tuple[NamedReward, Scored]]) -> bool | None:
    """Whether all rewards that judge call a completion wholly right; None where none judges."""
    verdicts = [score.exact for part, score in applied if part.judges]
    return all(verdicts) if verdicts else None


def check_judges(rewards: Rewards, min_reward: float | None) -> None:
    """ConfigError where nothing says which completions are right: no reward, and no least one."""
    if min_reward is not None or any(part.judges for part in rewards.parts):
        return
    raise ConfigError(
        f"the rewards ({', '.join(rewards.names)}) give numbers and do not say which completions "
        "are right; give --min-reward, the least reward of one that is kept"
    )


def logged_name(spec: str) -> str:
    """The name of a reward in metrics: a registered one's own, or what a user's is called."""
    name = spec.rpartition(":")[2]
    return f"{name}_reward" if name in RESERVED else name


def make_rewards(section: RewardSection) -> Rewards:
    """The rewards that a config names; a user's own code is run.

    Raises ConfigError for what cannot be loaded or two rewards of one name, CommandError where an
    optional library is missing.
    """
    parts = [
        NamedReward(logged_name(spec), spec, made(spec, section), weight)
        for spec, weight in zip(section.reward, section.weights, strict=True)
    ]
    by_name: dict[str, str] = {}
    for part in parts:
        other = by_name.setdefault(part.name, part.spec)
        if other != part.spec:
            raise ConfigError(
                f"the rewards {other!r} and {part.spec!r} would both be logged as "
                f"reward/{part.name}; give one of them another name"
            )
    return Rewards(parts)


def made(spec: str, section: RewardSection) -> Reward:
    """One reward with the options of the config that it takes."""
    try:
        return make_reward(spec, **section.options_of(spec))
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except ImportError as error:
        raise CommandError(str(error)) from error
