"""Progress of a long loop: a live bar on a terminal, now and then a plain line elsewhere.

Everything goes to standard error, so that standard output stays a command's result.
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

T = TypeVar("T")

PLAIN_EVERY_SECONDS = 10.0
"""Time between two plain lines."""

_WIDE = 120  # characters of a terminal that has room for a note behind the bar


class Meter:
    """Counts finished items; `note` is shown beside the count."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        self.label = label
        self.total = total
        self.unit = unit
        self.done = 0
        self.note = ""

    def advance(self, count: int = 1, note: str | None = None) -> None:
        """Record `count` more items as done."""
        self.done += count
        self.note = self.note if note is None else note
        self.show()

    def show(self) -> None:
        """Bring the display up to date."""

    def finish(self) -> None:
        """Leave the display as it is to stay."""


class PlainMeter(Meter):
    """A line every ten seconds, and one at the end."""

    def __init__(self, label: str, total: int | None, unit: str) -> None:
        super().__init__(label, total, unit)
        self.started = self.last = time.monotonic()

    def show(self) -> None:
        """Print a line if the last is old enough."""
        now = time.monotonic()
        if now - self.last >= PLAIN_EVERY_SECONDS:
            self.last = now
            self.line()

    def line(self) -> None:
        """Print count, speed and note."""
        seconds = time.monotonic() - self.started
        total = "" if self.total is None else f"/{self.total}"
        rate = f", {self.done / seconds:.1f} {self.unit}/s" if seconds >= 1 else ""
        left = ""
        if self.total is not None and 0 < self.done < self.total and seconds >= 1:
            left = f", {duration(seconds * (self.total - self.done) / self.done)} left"
        note = f", {self.note}" if self.note else ""
        text = f"{self.label}: {self.done}{total} {self.unit} in {seconds:.0f} s{rate}{left}{note}"
        print(text, file=sys.stderr, flush=True)  # noqa: T201

    def finish(self) -> None:
        """Print the last line."""
        self.line()


def duration(seconds: float) -> str:
    """`9 s`, `3:07` or `12:03:07`; a dash where it is not known."""
    if not math.isfinite(seconds):
        return "–"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class NotedProgress(Progress):
    """A bar with its note behind it, or under it where the terminal is narrow."""

    def get_renderables(self) -> Iterable[RenderableType]:
        """The bars, each with its note."""
        for task in self.tasks:
            bar, note = self.make_tasks_table([task]), Text(task.fields["note"], no_wrap=True)
            if self.console.width >= _WIDE:
                yield Columns([bar, note], padding=(0, 1))
            else:
                yield bar
                yield note


class RateColumn(ProgressColumn):
    """Items per second, as far as it is known."""

    def render(self, task: Task) -> Text:
        """`12.3/s`."""
        return Text("" if task.speed is None else f"{task.speed:,.1f}/s", "progress.data.speed")


class BarMeter(Meter):
    """A live bar with rate, elapsed and remaining time."""

    def __init__(self, label: str, total: int | None, unit: str, console: Console) -> None:
        super().__init__(label, total, unit)
        self.bar = NotedProgress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn(unit),
            RateColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=console,
        )
        self.task = self.bar.add_task(label, total=total, note="")
        self.bar.start()

    def show(self) -> None:
        """Move the bar."""
        self.bar.update(self.task, completed=self.done, note=self.note)

    def finish(self) -> None:
        """Stop the live display; the bar stays on the screen."""
        self.bar.stop()


@contextmanager
def meter(label: str, total: int | None = None, unit: str = "items") -> Iterator[Meter]:
    """A meter that is finished when the block ends, however it ends.

    `total` None means that the end is not known.
    """
    console = Console(stderr=True)
    live = console.is_terminal and not console.is_dumb_terminal
    shown = BarMeter(label, total, unit, console) if live else PlainMeter(label, total, unit)
    try:
        yield shown
    finally:
        shown.finish()


def track(
    items: Iterable[T], label: str, total: int | None = None, unit: str = "items"
) -> Iterator[T]:
    """Pass `items` through while showing how many went by."""
    with meter(label, total, unit) as shown:
        for item in items:
            yield item
            shown.advance()
