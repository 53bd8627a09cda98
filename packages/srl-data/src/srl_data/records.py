"""JSON Lines records: typed, streamed, and refused with file, line and reason when they are bad.

The record types of the workspace live here; what makes them lives elsewhere.
"""

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from srl_data.errors import DataError
from srl_data.files import atomic_writer

MAX_LINE_BYTES = 64 << 20
"""Longest line accepted: a bound on the memory that one hostile record can take."""

STANDARD_INPUT = Path("-")
"""The name of standard input where a data file is asked for."""

OnError = Literal["fail", "skip"]


class Record(BaseModel):
    """One line of a data file."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    id: str = Field(min_length=1)
    meta: dict[str, object] = Field(default_factory=dict)


class SrlInstance(Record):
    """A problem, the expert's steps so far, and the step to write next."""

    problem: str = Field(min_length=1)
    previous_steps: list[str]
    target_step: str = Field(min_length=1)
    step_index: int = Field(ge=1)
    """1-based position of the target among the expert's steps."""
    num_steps: int = Field(ge=1)
    title: str | None = None
    """Title of the target step, shown in the prompt by `--title-hint` data only."""

    @model_validator(mode="after")
    def _step_in_range(self) -> "SrlInstance":
        if self.step_index > self.num_steps:
            msg = f"step_index {self.step_index} exceeds num_steps {self.num_steps}"
            raise ValueError(msg)
        return self


class PromptAnswer(Record):
    """A problem with a checkable answer: RLVR and evaluation."""

    problem: str = Field(min_length=1)
    answer: str
    grader: str


class SftPair(Record):
    """A raw prompt (rendered at load) and the response to imitate."""

    prompt: str = Field(min_length=1)
    response: str = Field(min_length=1)


R = TypeVar("R", bound=Record)
Skipped = Callable[[str], None]


def bad_line(path: Path, number: int, reason: str) -> DataError:
    """The error for one refused line."""
    return DataError(f"{path}:{number}: {reason}; mend the line or pass --on-error skip")


def parse_object(line: bytes) -> dict[str, object]:
    """One JSON object from a line's bytes; ValueError with a short reason otherwise."""
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        raise ValueError("not UTF-8") from error
    except json.JSONDecodeError as error:
        msg = f"not JSON: {error.msg} at column {error.colno}"
        raise ValueError(msg) from error
    except RecursionError as error:
        raise ValueError("JSON nested too deeply") from error
    if not isinstance(value, dict):
        msg = f"expected a JSON object, found {type(value).__name__}"
        raise ValueError(msg)
    return value


def short_reason(error: ValidationError) -> str:
    """The first complaint of a pydantic error, as `field: reason`."""
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    reason = first["msg"].removeprefix("Value error, ")
    return f"{where}: {reason}" if where else reason


def numbered_lines(file: BinaryIO, path: Path) -> Iterator[tuple[int, bytes]]:
    """Non-blank lines with their 1-based numbers; DataError on one over `MAX_LINE_BYTES`."""
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 1):
        number += 1
        if len(line) > MAX_LINE_BYTES:
            raise bad_line(path, number, f"line longer than {MAX_LINE_BYTES} bytes")
        if line.strip():
            yield number, line


def count_lines(path: Path) -> int | None:
    """Lines of a plain file, blank ones included; None for what can be read only once."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return sum(block.count(b"\n") for block in iter(lambda: file.read(1 << 20), b""))


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
    path: Path, on_error: OnError = "fail", skipped: Skipped = lambda _: None
) -> Iterator[tuple[int, dict[str, object]]]:
    """Stream `(line number, object)` of a JSON Lines file; blank lines are passed over."""
    with open_data(path) as file:
        for number, line in numbered_lines(file, path):
            try:
                yield number, parse_object(line)
            except ValueError as error:
                refuse(path, number, str(error), on_error, skipped)


def refuse(path: Path, number: int, reason: str, on_error: OnError, skipped: Skipped) -> None:
    """Raise for a bad line, or report it where the user asked to skip."""
    error = bad_line(path, number, reason)
    if on_error == "fail":
        raise error
    skipped(f"{path}:{number}: {reason}")


def read_records(
    path: Path, kind: type[R], on_error: OnError = "fail", skipped: Skipped = lambda _: None
) -> Iterator[R]:
    """Stream the records of a JSON Lines file as `kind`.

    Raises DataError (exit code 3) with file, line and reason at the first bad line, or calls
    `skipped` with the same text for each if `on_error` is "skip".
    """
    for number, value in read_objects(path, on_error, skipped):
        try:
            yield kind.model_validate(value)
        except ValidationError as error:
            refuse(path, number, short_reason(error), on_error, skipped)


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


def write_records(path: Path, records: Iterable[BaseModel]) -> int:
    """Stream `records` to `path`, which appears whole at the end; returns how many there were."""
    count = 0
    with atomic_writer(path) as file:
        for record in records:
            file.write(encode(record))
            count += 1
    return count
