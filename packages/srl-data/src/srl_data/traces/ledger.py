"""The answers and failures on disk, appended as they come, and what they say of earlier runs.

A kill may tear the last line: what is whole of it stays, the rest is cut off when the file is
opened again. Beside `NAME.jsonl` stand `NAME.failures.jsonl` and `NAME.run.json`, the settings that
all answers of the file share.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import BinaryIO

from srl_data.command.errors import ConfigError, DataError
from srl_data.files import atomic_writer, naming, write_json
from srl_data.lock import FolderLock
from srl_data.manifest import beside, manifest_path, named_after, with_manifests
from srl_data.records import M, encode, parse_as, parse_object
from srl_data.traces.prices import Tariff
from srl_data.traces.record import Failure, TokenCount, Trace

SYNC_SECONDS = 1.0
"""Between two fsyncs of a file: what a failing machine, unlike a killed process, may lose."""
Key = tuple[str, int]
"""A question's id and the number of one of its answers."""


@dataclass
class Bill:
    """Tokens and money of all replies."""

    tokens: Counter[str] = field(default_factory=Counter)
    cost: Decimal = Decimal(0)
    unpriced: int = 0
    """Replies of unknown cost."""
    guessed: Decimal = Decimal(0)
    """What those may have cost."""
    largest: Decimal | None = None
    """Cost of the dearest reply."""

    @property
    def spent(self) -> Decimal:
        """What counts against a budget."""
        return self.cost + self.guessed

    def add(self, usage: TokenCount | None, cost: float | None, guess: Decimal) -> None:
        """Book a reply; `guess` is what it may have cost where that is not known."""
        if usage is not None:
            self.tokens.update(usage.model_dump())
        if cost is None:
            self.unpriced += 1
            self.guessed += guess
        else:
            self.cost += Decimal(repr(cost))
        paid = guess if cost is None else Decimal(repr(cost))
        self.largest = max(paid, self.largest or paid)


class AppendedFile:
    """A file of lines that grows; whoever opens it again finds whole lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file: BinaryIO = path.open("ab")
        self._synced = time.monotonic()

    def append(self, line: bytes) -> int:
        """Write a line and flush it; where it begins."""
        start = self._file.tell()
        now = time.monotonic()
        with naming(self.path):
            self._file.write(line)
            self._file.flush()
            if now - self._synced >= SYNC_SECONDS:
                os.fsync(self._file.fileno())
                self._synced = now
        return start

    def close(self) -> None:
        """Bring everything to the disk."""
        if not self._file.closed:
            with naming(self.path), self._file:
                self._file.flush()
                os.fsync(self._file.fileno())


def mend_end(path: Path) -> None:
    """Cut off a line that was torn by a kill; one that lacks only its line feed gets it."""
    if not path.exists() or path.stat().st_size == 0:
        return
    with path.open("r+b") as file:
        size = file.seek(0, os.SEEK_END)
        begin = last_line_start(file, size)
        file.seek(begin)
        line = file.read()
        if line.endswith(b"\n"):
            return
        try:
            parse_object(line)
            file.write(b"\n")
        except ValueError:
            file.truncate(begin)


def last_line_start(file: BinaryIO, size: int, block: int = 1 << 16) -> int:
    """Where the last line begins; a line feed at the very end belongs to it."""
    end = size - 1
    while end > 0:
        start = max(0, end - block)
        file.seek(start)
        place = file.read(end - start).rfind(b"\n")
        if place >= 0:
            return start + place + 1
        end = start
    return 0


def failures_path(output: Path) -> Path:
    """Where the failures beside an output go."""
    return beside(output, "failures")


def settings_path(output: Path) -> Path:
    """Where the settings stand that the answers of an output share."""
    return named_after(output, "run.json")


def files_of(output: Path) -> list[Path]:
    """All files that a run writes."""
    return [*with_manifests([output]), failures_path(output), settings_path(output)]


class Ledger:
    """Everything that is known of an output, from `open` to `close`."""

    def __init__(self, output: Path, tariff: Tariff) -> None:
        self.output = output
        self.tariff = tariff
        self.known: dict[Key, tuple[str, int]] = {}
        """Of each answer the hash of its question's messages and where its line begins."""
        self.bill = Bill()
        self.cut = 0
        """Answers that --max-tokens ended."""
        self._lock = FolderLock(output.name)
        self._answers: AppendedFile | None = None
        self._failures: AppendedFile | None = None

    @property
    def failures_path(self) -> Path:
        """Where failures go."""
        return failures_path(self.output)

    @property
    def settings_path(self) -> Path:
        """The settings that the answers share."""
        return settings_path(self.output)

    def open(self, settings: Mapping[str, object]) -> None:
        """Lock the output and read what earlier runs left.

        Raises ConfigError where its answers were asked for in another way, DataError where it is
        not a file of traces.
        """
        self.output.parent.mkdir(parents=True, exist_ok=True)
        self._lock.take(self.output.parent)
        self._check(settings)
        for path in (self.output, self.failures_path):
            mend_end(path)
        self._read()

    def begin(self) -> None:
        """Make ready to append; the manifest of an earlier state goes."""
        manifest_path(self.output).unlink(missing_ok=True)
        self._answers = AppendedFile(self.output)
        self._failures = AppendedFile(self.failures_path)

    def close(self) -> None:
        """Bring everything to the disk and let go of the output."""
        self.close_files()
        self._lock.release()

    def close_files(self) -> None:
        """Bring everything to the disk."""
        for file in (self._answers, self._failures):
            if file is not None:
                file.close()
        if self._failures is not None and self.failures_path.stat().st_size == 0:
            self.failures_path.unlink()
        self._answers = self._failures = None

    def answer(self, trace: Trace) -> None:
        """Keep an answer."""
        assert self._answers is not None, "begun"
        start = self._answers.append(encode(trace))
        self._note(trace, start)

    def failure(self, failure: Failure) -> None:
        """Keep a failure; a reply that was paid for is booked."""
        assert self._failures is not None, "begun"
        self._failures.append(encode(failure))
        self._book(failure)

    def put_in_order(self, keys: Iterable[Key]) -> None:
        """Bring the answers into the order of their questions; others stay behind them."""
        left = dict(self.known)
        order = [left.pop(key)[1] for key in keys if key in left]
        order += sorted(start for _, start in left.values())
        if order == sorted(order):
            return
        with self.output.open("rb") as file, atomic_writer(self.output) as ordered:
            for start in order:
                file.seek(start)
                ordered.write(file.readline())

    def _note(self, trace: Trace, start: int) -> None:
        self.known[trace.id, trace.sample] = trace.request, start
        self.cut += trace.finish_reason == "length"
        text = f"{trace.reasoning_content or ''}{trace.content}"
        self.bill.add(trace.usage, trace.cost, self.tariff.guess(trace.problem, text))

    def _book(self, failure: Failure) -> None:
        if failure.usage is not None:
            self.bill.add(failure.usage, failure.cost, Decimal(0))

    def _read(self) -> None:
        for start, trace in lines_of(self.output, Trace):
            if (trace.id, trace.sample) in self.known:
                raise DataError(
                    f"{self.output} has two answers {trace.sample} of {trace.id!r}; remove one"
                )
            self._note(trace, start)
        for _, failure in lines_of(self.failures_path, Failure):
            self._book(failure)

    def _check(self, settings: Mapping[str, object]) -> None:
        """Compare the settings with those of the answers that there are, or write them down."""
        if not self.settings_path.exists():
            if self.output.exists() and self.output.stat().st_size:
                raise DataError(
                    f"{self.output} exists and is not this command's: no {self.settings_path.name} "
                    "is beside it; give another --output"
                )
            write_json(self.settings_path, settings)
            return
        try:
            before = parse_object(self.settings_path.read_bytes())
        except ValueError as error:
            raise DataError(
                f"{self.settings_path}: {error}; remove it and {self.output}"
            ) from error
        now = json.loads(json.dumps(settings))
        changed = [name for name in now if before.get(name) != now[name]]
        if changed and self.output.exists() and self.output.stat().st_size:
            name = changed[0]
            raise ConfigError(
                f"{self.output} holds answers asked with {name} {before.get(name)!r}, now it is "
                f"{now[name]!r}; give another --output"
            )
        if changed:
            write_json(self.settings_path, settings)


def lines_of(path: Path, kind: type[M]) -> Iterator[tuple[int, M]]:
    """The records of a file that this command wrote, each with the byte at which it begins."""
    if not path.exists():
        return
    start = 0
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                if line.strip():
                    yield start, parse_as(kind, line)
            except ValueError as error:
                raise DataError(f"{path}:{number}: {error}; mend or remove the line") from error
            start += len(line)
