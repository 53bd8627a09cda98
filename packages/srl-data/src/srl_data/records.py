"""JSON Lines records: typed, streamed, and refused with file, line and reason when they are bad.

The record types of the workspace live here; what makes them lives elsewhere.
"""

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, BinaryIO, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from srl_data.command.errors import DataError
from srl_data.files import atomic_writer
from srl_reward import target_fault

MAX_LINE_BYTES = 64 << 20
"""Longest line accepted: a bound on the memory that one hostile record can take."""

MAX_DEPTH = 200
"""Deepest nesting of lists and objects in a record, whatever the format that it is read from.

Deeper ones can be read, but not handed from process to process.
"""
TOO_DEEP = f"nested too deeply; expected at most {MAX_DEPTH} levels of lists and objects"

STANDARD_INPUT = Path("-")
"""The name of standard input where a data file is asked for."""

OnError = Annotated[
    Literal["fail", "skip"],
    Field(
        description="What a bad record does: end the command, or be left out, counted and listed."
    ),
]
"""A key of every command that reads records, with its help."""


def is_unicode(text: str) -> bool:
    """Whether UTF-8 can hold the text; JSON's escapes can spell what it cannot."""
    return not any("\ud800" <= char <= "\udfff" for char in text)


def check_unicode(text: str) -> str:
    """The text; ValueError where no tokenizer takes it."""
    if not is_unicode(text):
        raise ValueError("holds half of a surrogate pair, which is no Unicode text")
    return text


def check_not_blank(text: str) -> str:
    """The text; ValueError where there is nothing in it."""
    if not text.strip():
        raise ValueError(f"is blank ({text[:20]!r}), expected a text")
    return text


def check_target(step: str) -> str:
    """The expert's step; ValueError where no output could earn the whole reward for it."""
    fault = target_fault(step)
    if fault is not None:
        raise ValueError(
            f"can never be rewarded: an exact copy of it is not a valid model output ({fault}); "
            "give one step, without thinking"
        )
    return step


Unicode = Annotated[str, AfterValidator(check_unicode)]
"""What UTF-8 can hold, the empty text among it."""
Text = Annotated[Unicode, AfterValidator(check_not_blank)]
"""What a model reads or is to write: Unicode, and not blank."""
TargetStep = Annotated[Text, AfterValidator(check_target)]
"""A step that a model can be rewarded for in full."""


class Record(BaseModel):
    """One line of a data file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(min_length=1)
    meta: dict[str, object] = Field(default_factory=dict)


class SrlInstance(Record):
    """A problem, the expert's steps so far, and the step to write next."""

    problem: Text
    previous_steps: list[Text]
    target_step: TargetStep
    step_index: int = Field(ge=1)
    """1-based position of the target among the expert's steps."""
    num_steps: int = Field(ge=1)
    title: Unicode | None = None
    """Title of the target step, shown in the prompt by `--title-hint` data only."""

    @model_validator(mode="after")
    def _step_in_range(self) -> "SrlInstance":
        if self.step_index > self.num_steps:
            msg = f"step_index {self.step_index} exceeds num_steps {self.num_steps}"
            raise ValueError(msg)
        return self


class PromptAnswer(Record):
    """A problem with a checkable answer: RLVR and evaluation."""

    problem: Text
    answer: Unicode
    grader: str | None = None
    """How the answer is compared, for a reward that leaves that open; None leaves it to the
    reward, and a reward that brings its own grader does not look here."""


class SftPair(Record):
    """A raw prompt (rendered at load) and the response to imitate."""

    prompt: Text
    response: Text


R = TypeVar("R", bound=Record)
M = TypeVar("M", bound=BaseModel)
Row = dict[str, object]
"""A row of a data file as it is: a value by column."""
Skipped = Callable[[str], None]


def bad_line(path: Path, number: int, reason: str, *, skippable: bool = True) -> DataError:
    """The error for one refused line; `skippable` says that the command has `--on-error`."""
    fix = "mend the line or pass --on-error skip" if skippable else "mend the line"
    return DataError(f"{path}:{number}: {reason}; {fix}")


def parse_object(line: bytes) -> dict[str, object]:
    """One JSON object from a line's bytes; ValueError with a short reason otherwise."""
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"line longer than {MAX_LINE_BYTES} bytes")
    try:
        value = json.loads(line)
        if line.count(b"[") + line.count(b"{") > MAX_DEPTH:
            check_depth(value)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {json_fault(error)} at column {error.colno}") from error
    except RecursionError as error:
        raise ValueError(TOO_DEEP) from error
    if not isinstance(value, dict):
        msg = f"expected a JSON object, found {type(value).__name__}"
        raise ValueError(msg)
    return value


def json_fault(error: json.JSONDecodeError) -> str:
    """What is wrong with a JSON text; of messages that end in `at`, for the place, without that."""
    return error.msg.removesuffix(" at")


def parse_as(kind: type[M], data: bytes) -> M:
    """A model out of JSON that a command wrote; ValueError with a short reason otherwise.

    Half a surrogate pair is escaped in what is written; pydantic's own parser refuses such escapes.
    """
    value = parse_object(data)
    try:
        return kind.model_validate(value)
    except ValidationError as error:
        raise ValueError(short_reason(error)) from error


def check_depth(value: object) -> None:
    """ValueError for lists and objects nested deeper than `MAX_DEPTH`."""
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [inner for outer in level for inner in children(outer)]
        if not level:
            return
    raise ValueError(TOO_DEEP)


def children(value: object) -> Iterable[object]:
    """The lists and objects in one."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return (each for each in inner if isinstance(each, dict | list))


def short_reason(error: ValidationError) -> str:
    """The first complaint of a pydantic error, as `field: reason`."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason


def numbered_lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their 1-based numbers; DataError on one over `MAX_LINE_BYTES`."""
    for number, line in bounded_lines(file):
        if len(line) > MAX_LINE_BYTES:
            reason = f"line longer than {MAX_LINE_BYTES} bytes"
            raise bad_line(path, number, reason, skippable=False)
        yield number, line


def bounded_lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their 1-based numbers; of a longer one `MAX_LINE_BYTES` and one more."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        rest = line
        while len(rest) > MAX_LINE_BYTES and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE_BYTES + 1)
        if line.strip():
            yield number, line


def open_data(path: Path) -> BinaryIO:
    """Open a data file, or standard input for `-`; DataError saying what is wrong with the path."""
    if path == STANDARD_INPUT:
        if sys.stdin is None:
            raise DataError("standard input is closed; give a file, or pipe one in")
        return sys.stdin.buffer
    try:
        return path.open("rb")
    except FileNotFoundError as error:
        raise DataError(f"no such data file: {path}") from error
    except IsADirectoryError as error:
        raise DataError(f"expected a JSON Lines file, found a folder: {path}") from error
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error


def read_objects(
    path: Path,
    on_error: OnError = "fail",
    skipped: Skipped = lambda _: None,
    *,
    skippable: bool = True,
) -> Iterator[tuple[int, Row]]:
    """Stream `(line number, object)` of a JSON Lines file; blank lines are passed over.

    Bad lines are as in `read_records`; `skippable` False is for commands without `--on-error`.
    """
    with open_data(path) as file:
        yield from numbered_objects(file, path, on_error, skipped, skippable=skippable)


def numbered_objects(
    file: BinaryIO,
    path: Path,
    on_error: OnError = "fail",
    skipped: Skipped = lambda _: None,
    *,
    skippable: bool = True,
) -> Iterator[tuple[int, Row]]:
    """`read_objects` of an open file, whose `path` stands in messages."""
    for number, line in bounded_lines(file):
        try:
            yield number, parse_object(line)
        except ValueError as error:
            refuse(path, number, str(error), on_error, skipped, skippable=skippable)


def refuse(
    path: Path,
    number: int,
    reason: str,
    on_error: OnError,
    skipped: Skipped,
    *,
    skippable: bool = True,
) -> None:
    """Raise for a bad line, or report it where the user asked to skip."""
    if on_error == "fail":
        raise bad_line(path, number, reason, skippable=skippable)
    skipped(f"{path}:{number}: {reason}")


def read_records(
    path: Path,
    kind: type[R],
    on_error: OnError = "fail",
    skipped: Skipped = lambda _: None,
    *,
    skippable: bool = True,
) -> Iterator[R]:
    """Stream the records of a JSON Lines file as `kind`.

    Raises DataError (exit code 3) with file, line and reason at the first bad line, or calls
    `skipped` with the same text for each if `on_error` is "skip".
    """
    for number, value in read_objects(path, on_error, skipped, skippable=skippable):
        try:
            record = kind.model_validate(value)
        except ValidationError as error:
            refuse(path, number, short_reason(error), on_error, skipped, skippable=skippable)
            continue
        yield record


def encode(record: BaseModel) -> bytes:
    """One record as a line of UTF-8 JSON, `meta` last."""
    fields = record.model_dump(mode="python")
    if "meta" in fields:  # last, where a reader of the file looks past it
        fields["meta"] = fields.pop("meta")
    return encode_object(fields)


def encode_object(fields: Mapping[str, object]) -> bytes:
    """A JSON object as a line of UTF-8; lone surrogates are escaped: UTF-8 has none."""
    try:
        return json.dumps(fields, ensure_ascii=False).encode("utf-8") + b"\n"
    except UnicodeEncodeError:
        return json.dumps(fields).encode("ascii") + b"\n"


def finite_line(fields: Mapping[str, object]) -> bytes:
    """`encode_object` of numbers that may be NaN or infinite: these become null."""
    clean = without_infinities(fields)
    assert isinstance(clean, dict)
    return encode_object(clean)


def without_infinities(value: object) -> object:
    """`value` with NaN and infinities, at any depth, replaced by None; JSON has neither."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): without_infinities(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_infinities(item) for item in value]
    return value


def write_records(path: Path, records: Iterable[BaseModel]) -> int:
    """Stream `records` to `path`, which appears whole at the end; returns how many there were."""
    count = 0
    with atomic_writer(path) as file:
        for record in records:
            file.write(encode(record))
            count += 1
    return count
