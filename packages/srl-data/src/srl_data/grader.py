"""Scores records with a reward: the work of `srl-data grade` on a chunk of rows.

What a reward is, and how answers are compared, is `srl_reward`'s.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from srl_data.command.errors import CommandError, ConfigError
from srl_data.grade_config import GradeConfig
from srl_data.passes.chunks import NumberedRow
from srl_data.passes.workers import Outcome
from srl_data.records import Row, check_target, encode_object
from srl_reward import REWARDS, Reward, Scored, StepReward, make_reward, ratio_batch

RESERVED = ("self", "completions")
"""Names that the reward's call has taken; fields of these names are not handed to it."""
COMPLETIONS = ("completion", "content")
"""Where a model's text stands if no field is named: the first that a record has."""
GRADED = "graded"
"""The output."""


@dataclass
class Line:
    """A record and its position in the source."""

    position: int
    record: Row


class Grader:
    """Scores chunks of records and writes reward, reason and exact into them."""

    def __init__(self, config: GradeConfig) -> None:
        self.config = config
        self.reward, self.target = open_reward(config)

    def __call__(self, rows: Sequence[NumberedRow]) -> Outcome:
        """The chunk's records as lines, those that cannot be graded refused."""
        outcome = Outcome()
        lines = [Line(position, row) for position, row in rows]
        for line, scored in self.scored(lines, outcome):
            count(outcome, scored)
            if is_kept(self.config, scored):
                outcome.counts["written"] += 1
                outcome.write(GRADED, encode_object(mark(line.record, scored)))
        return outcome

    def scored(
        self, batch: Sequence[Line], outcome: Outcome
    ) -> Iterator[tuple[Line, Scored | None]]:
        """The records with their scores; one that cannot be graded is noted as refused."""
        lines = [line for line in batch if self._is_complete(line, outcome)]
        if not lines:
            return
        try:
            yield from zip(lines, self._score(lines), strict=True)
        except ImportError as error:  # a record's own grader may ask for it, too
            raise CommandError(str(error)) from error
        except (TypeError, ValueError) as error:
            if len(lines) > 1:  # find the line
                for line in lines:
                    yield from self.scored([line], outcome)
            else:
                outcome.refused.append((lines[0].position, str(error)))

    def _completion_field(self, record: Row) -> str:
        """The field with the model's text."""
        if self.config.completion_field is not None:
            return self.config.completion_field
        return next((name for name in COMPLETIONS if name in record), COMPLETIONS[0])

    def _is_complete(self, line: Line, outcome: Outcome) -> bool:
        completion = self._completion_field(line.record)
        needed = [completion, *([self.target] if self.target else [])]
        missing = [name for name in needed if name not in line.record]
        if missing:
            reason = f"no field {missing[0]!r}, only {', '.join(sorted(line.record))}"
            outcome.refused.append((line.position, reason))
            return False
        return self._has_sound_target(line, outcome)

    def _has_sound_target(self, line: Line, outcome: Outcome) -> bool:
        """Whether the expert's step, where there is one, could be rewarded in full."""
        target = line.record[self.target] if self.target else None
        if not isinstance(self.reward, StepReward) or not isinstance(target, str):
            return True
        try:
            check_target(target)
        except ValueError as error:
            outcome.refused.append((line.position, f"{self.target}: {error}"))
            return False
        return True

    def _score(self, lines: Sequence[Line]) -> list[Scored | None]:
        completions = [line.record[self._completion_field(line.record)] for line in lines]
        return self.reward.score(completions, **self._columns(lines))  # type: ignore[arg-type]  # it checks them

    def _columns(self, lines: Sequence[Line]) -> dict[str, list[object]]:
        """Each field as a column, None where a record lacks it; `prompt` as `prompts` too."""
        taken = {self._completion_field(line.record) for line in lines}
        names = {name for line in lines for name in line.record}
        columns = {
            name: [line.record.get(name) for line in lines]
            for name in sorted(names - {*taken, *RESERVED})
        }
        if "prompt" in columns:
            columns.setdefault("prompts", columns["prompt"])
        return columns


def count(outcome: Outcome, scored: Scored | None) -> None:
    """Count one record."""
    outcome.counts["read"] += 1
    if scored is None:
        return
    outcome.counts["graded"] += 1
    outcome.counts["exact"] += scored.exact
    outcome.total += scored.reward
    if scored.reason is not None:
        outcome.counts[f"reason {scored.reason}"] += 1


def open_reward(config: GradeConfig) -> tuple[Reward, str | None]:
    """The reward that the config names, and the field that it needs besides the completion.

    Raises ConfigError for an unknown reward or an option that it does not take, CommandError where
    an optional library is missing.
    """
    options = config.reward_options
    registered = REWARDS.get(config.reward)
    if config.target_field is not None and (registered is None or registered.target is None):
        raise ConfigError(f"the reward {config.reward!r} reads no target; leave out --target-field")
    target = config.target_field or (registered.default_column if registered else None)
    if registered is not None and registered.target is not None:
        options[registered.target] = target
    try:
        ratio_batch([], [])  # refuses a bad SRL_REWARD_THREADS
        return make_reward(config.reward, **options), target
    except ValueError as error:
        raise ConfigError(str(error)) from error
    except ImportError as error:
        raise CommandError(str(error)) from error


def mark(record: Row, scored: Scored | None) -> Row:
    """The record with `reward`, `reason` and `exact`, each null where the reward does not apply."""
    if scored is None:
        return {**record, "reward": None, "reason": None, "exact": None}
    reason = None if scored.reason is None else str(scored.reason)
    return {**record, "reward": scored.reward, "reason": reason, "exact": scored.exact}


def is_kept(config: GradeConfig, scored: Scored | None) -> bool:
    """Whether a record is written."""
    if config.mode == "mark":
        return True
    if scored is None:
        return False
    return scored.exact if config.min_reward is None else scored.reward >= config.min_reward
