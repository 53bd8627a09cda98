"""`srl-data grade FILE`: score each record's completion with a reward; mark all or keep the good.

It streams: a batch of records at a time is in memory. What a reward is, and how answers are
compared, is `srl_reward`'s.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from srl_data.command.config import Positional, Section
from srl_data.command.errors import CommandError, ConfigError, DataError
from srl_data.command.progress import Meter, meter
from srl_data.files import result_writer
from srl_data.manifest import write_manifest
from srl_data.records import (
    OnError,
    Row,
    Skipped,
    check_target,
    encode_object,
)
from srl_data.sources import RowSource, refuse_row
from srl_data.splits import open_source
from srl_reward import REWARDS, Reward, Scored, StepReward, make_reward, ratio_batch

COMMAND = "srl-data grade"
BATCH = 256
BATCH_CHARS = 16 << 20
"""A batch ends once its texts are this long in all, so that long ones do not pile up."""
RESERVED = ("self", "completions")
"""Names that the reward's call has taken; fields of these names are not handed to it."""


class GradeConfig(Section):
    """Config of `srl-data grade`."""

    file: Annotated[Path, Positional()]
    """Records with a completion and what its reward reads: a file (JSON, JSON Lines, CSV, Parquet,
    Arrow), a glob or a folder; - is standard input."""
    output: Path | None = None
    """Where the graded records go, with a manifest beside; default standard output."""
    reward: str = "step"
    """step, format, boxed_think, r1_zero, question_only, answer, exact, aime, gsm8k, math; or your
    own function as module:name or file.py:name."""
    mode: Literal["mark", "keep"] = "mark"
    """Write every record with its reward, or only those that are good enough."""
    min_reward: float | None = None
    """With --mode keep: the least reward that is kept; default: only exact records."""
    completion_field: str = "completion"
    """The field with the model's text, or its chat messages."""
    target_field: str | None = None
    """The field with the gold text; default target_step for step, answer for the others."""
    metric: Literal["ratio", "indel", "levenshtein", "token_set"] | None = None
    """Similarity of the step reward; default difflib's ratio."""
    grader: Literal["exact", "aime", "boxed_integer", "gsm8k", "math", "drgrpo"] | None = None
    """How answer, question_only and r1_zero compare; default each record's own, else math. drgrpo
    is Dr. GRPO's published rules, of form too."""
    format_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What r1_zero gives for the form; default 0."""
    answer_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] | None = None
    """What r1_zero gives for a right answer in good form; default 1."""
    autojunk: bool | None = None
    """difflib's popularity heuristic, for the step reward; default off."""
    strip_number: bool | None = None
    """Compare steps without their leading numbers; default on."""
    max_chars: Annotated[int, Field(ge=1)] | None = None
    """Characters of a step that are compared; default 20,000."""
    think_prefilled: bool | None = None
    """Whether the prompts ended with <think>; default as each record's prompt tells."""
    on_error: OnError = "fail"

    @property
    def reward_options(self) -> dict[str, object]:
        """The options that were given, by the names of the reward's constructor."""
        names = (
            *("metric", "grader", "autojunk", "strip_number", "max_chars", "think_prefilled"),
            *("format_weight", "answer_weight"),
        )
        return {name: value for name in names if (value := getattr(self, name)) is not None}


@dataclass
class Line:
    """A record and its position in the source."""

    position: int
    record: Row


Graded = tuple[Line, Scored | None]
"""A record and what the reward says of it; None where the reward does not apply."""


@dataclass
class Grades:
    """What one pass over a file found."""

    read: int = 0
    written: int = 0
    graded: int = 0
    """Records that the reward applies to."""
    exact: int = 0
    total: float = 0.0
    """Sum of the rewards."""
    reasons: Counter[str] = field(default_factory=Counter)
    """Invalid or unreadable completions by reason."""
    skipped: list[str] = field(default_factory=list)

    def add(self, scored: Scored | None) -> None:
        """Count one record."""
        self.read += 1
        if scored is None:
            return
        self.graded += 1
        self.exact += scored.exact
        self.total += scored.reward
        if scored.reason is not None:
            self.reasons[str(scored.reason)] += 1

    @property
    def counts(self) -> dict[str, int]:
        """Every count, for the manifest."""
        reasons = {f"reason {name}": count for name, count in sorted(self.reasons.items())}
        return {
            "read": self.read,
            "graded": self.graded,
            "exact": self.exact,
            "written": self.written,
            "skipped": len(self.skipped),
            **reasons,
        }

    @property
    def summary(self) -> str:
        """One line for the user."""
        if not self.graded:
            return f"{self.read} records read, none graded: the reward applies to none of them"
        reasons = ", ".join(f"{name} {count}" for name, count in self.reasons.most_common())
        return (
            f"{self.graded} of {self.read} records graded: mean reward "
            f"{self.total / self.graded:.4f}, exact {self.exact / self.graded:.1%}, "
            f"{self.written} written{f'; {reasons}' if reasons else ''}"
        )


class Grader:
    """Scores batches of records and writes reward, reason and exact into them."""

    def __init__(self, config: GradeConfig, source: RowSource) -> None:
        self.config, self.source = config, source
        self.reward, self.target = open_reward(config)

    def __call__(
        self, batch: Sequence[Line], skipped: Skipped
    ) -> Iterator[tuple[Line, Scored | None]]:
        """The batch's lines with their scores; a line that cannot be graded is refused."""
        lines = [line for line in batch if self._is_complete(line, skipped)]
        try:
            yield from zip(lines, self._score(lines), strict=True)
        except ImportError as error:  # a record's own grader may ask for it, too
            raise CommandError(str(error)) from error
        except (TypeError, ValueError) as error:
            if len(lines) > 1:  # find the line
                for line in lines:
                    yield from self([line], skipped)
            else:
                self._refuse(lines[0], str(error), skipped)

    def _is_complete(self, line: Line, skipped: Skipped) -> bool:
        needed = [self.config.completion_field, *([self.target] if self.target else [])]
        missing = [name for name in needed if name not in line.record]
        if missing:
            reason = f"no field {missing[0]!r}, only {', '.join(sorted(line.record))}"
            self._refuse(line, reason, skipped)
            return False
        return self._has_sound_target(line, skipped)

    def _has_sound_target(self, line: Line, skipped: Skipped) -> bool:
        """Whether the expert's step, where there is one, could be rewarded in full."""
        target = line.record[self.target] if self.target else None
        if not isinstance(self.reward, StepReward) or not isinstance(target, str):
            return True
        try:
            check_target(target)
        except ValueError as error:
            self._refuse(line, f"{self.target}: {error}", skipped)
            return False
        return True

    def _refuse(self, line: Line, reason: str, skipped: Skipped) -> None:
        skip = skipped if self.config.on_error == "skip" else None
        refuse_row(self.source, line.position, reason, skip)

    def _score(self, lines: Sequence[Line]) -> list[Scored | None]:
        completions = [line.record[self.config.completion_field] for line in lines]
        return self.reward.score(completions, **self._columns(lines))  # type: ignore[arg-type]  # it checks them

    def _columns(self, lines: Sequence[Line]) -> dict[str, list[object]]:
        """Each field as a column, None where a record lacks it; `prompt` as `prompts` too."""
        names = {name for line in lines for name in line.record}
        columns = {
            name: [line.record.get(name) for line in lines]
            for name in sorted(names - {self.config.completion_field, *RESERVED})
        }
        if "prompt" in columns:
            columns.setdefault("prompts", columns["prompt"])
        return columns


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


def read_batches(source: RowSource, on_error: OnError, skipped: Skipped) -> Iterator[list[Line]]:
    """Records by the batch, bounded in number and size; a bad line is refused."""
    batch: list[Line] = []
    size = 0
    for position, row in source.read(on_error, skipped):
        batch.append(Line(position, row))
        size += size_of(row)
        if len(batch) == BATCH or size >= BATCH_CHARS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def size_of(value: object) -> int:
    """About how many characters a value takes."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(size_of, value.values()))
    return sum(map(size_of, value)) if isinstance(value, list) else 8


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


def grade(config: GradeConfig) -> Grades:
    """Grade the file and write what `mode` asks for.

    Raises:
        ConfigError: the reward or an option of it is unknown.
        DataError: at the first record that cannot be graded (with `on_error` "fail"), or where
            there is none.
    """
    if config.min_reward is not None and config.mode == "mark":
        raise ConfigError("--min-reward selects records: give --mode keep with it")
    if config.output is not None and config.output.is_dir():
        raise ConfigError(f"--output {config.output} is a folder, expected a file")
    source = open_source(config.file)
    grader, grades = Grader(config, source), Grades()
    with result_writer(config.output) as sink, shown_progress(config, source) as progress:
        for batch in read_batches(source, config.on_error, grades.skipped.append):
            sink.writelines(graded_lines(grader, batch, grades))
            sink.flush()
            progress.advance(len(batch))
        if not grades.read:
            raise DataError(f"{config.file}: no record to grade; expected one JSON object per line")
    if config.output is not None and config.output.is_file():
        describe(config, config.output, source, grades)
    return grades


def graded_lines(grader: Grader, batch: Sequence[Line], grades: Grades) -> Iterable[bytes]:
    """The lines of a batch that are written, counted on the way."""
    for line, scored in grader(batch, grades.skipped.append):
        grades.add(scored)
        if is_kept(grader.config, scored):
            grades.written += 1
            yield encode_object(mark(line.record, scored))


def shown_progress(config: GradeConfig, source: RowSource) -> AbstractContextManager[Meter]:
    """A meter on standard error; none on a terminal that takes the records themselves."""
    if config.output is None and sys.stdout is not None and sys.stdout.isatty():
        return nullcontext(Meter("grade", None, "records"))
    return meter("grade", source.count(), "records")


def describe(config: GradeConfig, output: Path, source: RowSource, grades: Grades) -> None:
    """Write the manifest beside a finished file."""
    write_manifest(
        output,
        command=COMMAND,
        source=source.origin,
        options=config.model_dump(mode="json", exclude={"file", "output"}),
        counts=grades.counts,
        records=grades.written,
    )
