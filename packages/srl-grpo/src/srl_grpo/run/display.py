"""The run as seen from a terminal: a live panel where there is one, plain lines elsewhere.

Shows what the trainer tells it and computes only pace and remaining time. The picture is built
from metrics under their usual names; those that a run does not have take no room, so that
supervised runs use it as well. Reports and trackers are elsewhere.
"""

import itertools
import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.text import Text

from srl_data.command.progress import duration
from srl_grpo.run.logging_steps import is_shown

Metrics = Mapping[str, float]

BLOCKS = "▁▂▃▄▅▆▇█"
BRAILLE = 0x2800
DOTS = ((0x40, 0x80), (0x04, 0x20), (0x02, 0x10), (0x01, 0x08))
"""Bits of a braille cell by row from the bottom, then column."""
PACE_STEPS = 30
"""Steps over which pace, and so the time left, is averaged."""
WIDEST = 110
"""Columns beyond which the panel grows no more: long lines are hard to follow."""
INK, QUIET, GOOD, BAD = "default", "bright_black", "cyan", "red"
PHASE_STYLES = ("cyan", "blue", "magenta", "yellow", "green", "red", "bright_black", "white")

SUBJECTS = ("reward", "train/loss", "loss")
"""Metrics whose course may be shown large; the first that a run has is."""
SHARES = {"reward/exact": "exact", "reward/invalid": "invalid"}
NUMBERS = {
    "tokens_per_second": ("tok/s", "{:,.0f}"),
    "loss": ("loss", "{:.4f}"),
    "train/loss": ("loss", "{:.4f}"),
    "completions/mean_length": ("length", "{:.0f}"),
    "entropy": ("entropy", "{:.3f}"),
    "kl": ("kl", "{:.4f}"),
    "grad_norm": ("grad", "{:.2f}"),
    "learning_rate": ("lr", "{:.1e}"),
    "train/learning_rate": ("lr", "{:.1e}"),
}


def resample(values: Sequence[float], width: int) -> list[float]:
    """Means of `width` equal stretches of the finite values; all of them where they are fewer."""
    finite = [value for value in values if math.isfinite(value)]
    if len(finite) <= width:
        return finite
    edges = [len(finite) * i // width for i in range(width + 1)]
    pairs = itertools.pairwise(edges)
    return [sum(finite[low:high]) / (high - low) for low, high in pairs]


def levels(
    values: Sequence[float], count: int, low: float | None = None, high: float | None = None
) -> list[int]:
    """Each value's level among 0..count-1, between `low` and `high` (their range by default)."""
    if not values:
        return []
    bottom = min(values) if low is None else low
    span = (max(values) if high is None else high) - bottom
    if span <= 0:
        return [count // 2 if low is None else 0] * len(values)
    return [min(count - 1, max(0, int((value - bottom) / span * count))) for value in values]


def sparkline(
    values: Sequence[float], width: int, low: float | None = None, high: float | None = None
) -> str:
    """The course of `values` in at most `width` block characters."""
    points = resample(values, width)
    return "".join(BLOCKS[level] for level in levels(points, len(BLOCKS), low, high))


def braille_curve(values: Sequence[float], width: int, height: int) -> list[str]:
    """The course of `values` as a filled curve of braille, `height` lines of `width` cells.

    A cell is 2 dots wide and 4 high; the least value stands one dot high, so that it shows.
    """
    points = resample(values, 2 * width)
    tops = [level + 1 for level in levels(points, 4 * height)]
    cells = [[0] * width for _ in range(height)]
    for column, top in enumerate(tops):
        for dot in range(top):
            cells[height - 1 - dot // 4][column // 2] |= DOTS[dot % 4][column % 2]
    return ["".join(chr(BRAILLE + cell) for cell in line) for line in cells]


def percent(value: float) -> str:
    """A share as `63.2 %`."""
    return f"{100 * value:.1f} %" if math.isfinite(value) else "–"


def finite(metrics: Metrics, name: str) -> bool:
    """Whether a metric is there and a number."""
    return math.isfinite(metrics.get(name, math.nan))


def numbers(metrics: Metrics) -> list[tuple[str, str]]:
    """Label and text of the secondary numbers that there are."""
    return [
        (label, form.format(metrics[name]))
        for name, (label, form) in NUMBERS.items()
        if finite(metrics, name)
    ]


def shares(metrics: Metrics) -> list[tuple[str, str]]:
    """Label and text of the shares that there are."""
    return [(SHARES[name], percent(metrics[name])) for name in SHARES if finite(metrics, name)]


def evaluation_pairs(step: int, metrics: Metrics) -> list[tuple[str, str]]:
    """Labels and texts of held-out results, the step first."""
    pairs = [("step", str(step))]
    for key, value in metrics.items():
        name = key.removeprefix("eval/").replace("_", " ")
        plain = name.endswith(("reward", "loss")) or name.startswith("reward/")
        plain = plain and name != "format reward"
        pairs.append((name, f"{value:.3f}" if plain else percent(value)))
    return pairs


class Progress:
    """What is known of a run so far: the numbers that both kinds of display show."""

    def __init__(self, total_steps: int, start_step: int) -> None:
        self.total, self.start, self.done = total_steps, start_step, start_step
        self.began = monotonic()
        self.marks: deque[float] = deque([self.began], maxlen=PACE_STEPS + 1)
        self.latest: dict[str, float] = {}
        self.courses: dict[str, list[float]] = {}
        self.phase_seconds: dict[str, float] = {}
        self.phase, self.phase_began = "starting", self.began
        self.evaluation: list[tuple[str, str]] = []

    @property
    def subject(self) -> str:
        """The metric whose course is shown large: reward, or loss where there is no reward."""
        return next((name for name in SUBJECTS if name in self.courses), SUBJECTS[-1])

    def step(self, step: int, metrics: Metrics) -> None:
        """Take in a finished step."""
        self.done = step
        self.marks.append(monotonic())
        self.latest = dict(metrics)
        for name in (*SUBJECTS, *SHARES):
            if name in metrics:
                self.courses.setdefault(name, []).append(metrics[name])
        for name, seconds in metrics.items():
            if name.startswith("time/") and math.isfinite(seconds):
                phase = name.removeprefix("time/")
                self.phase_seconds[phase] = self.phase_seconds.get(phase, 0.0) + seconds

    def pace(self) -> float:
        """Seconds a step, over the last `PACE_STEPS`; NaN before the first."""
        steps = len(self.marks) - 1
        return (self.marks[-1] - self.marks[0]) / steps if steps else math.nan

    def remaining(self) -> float:
        """Seconds to the end at the present pace, the step now running counted from its start."""
        pace = self.pace()
        since = monotonic() - self.marks[-1]
        return pace if math.isnan(pace) else max(0.0, (self.total - self.done) * pace - since)

    def time_shares(self) -> list[tuple[str, float]]:
        """Phases with their share of the time so far, largest first."""
        whole = sum(self.phase_seconds.values())
        ranked = sorted(self.phase_seconds.items(), key=lambda item: -item[1])
        return [(name, seconds / whole) for name, seconds in ranked if seconds > 0.005 * whole]


def join(pairs: Sequence[tuple[str, str]], width: int) -> Text:
    """Quiet labels and their values on one line: as many whole pairs as `width` holds."""
    line = Text(no_wrap=True)
    for label, value in pairs:
        gap = "   " if line else ""
        if len(line) + len(gap) + len(label) + 1 + len(value) > width:
            break
        line.append(f"{gap}{label} ", QUIET).append(value)
    return line


def spread(left: Text, right: Text, width: int) -> Text:
    """`left` and `right` at the two ends of a line; `left` gives way where both do not fit."""
    left = left.copy()
    left.truncate(max(0, width - len(right) - 2), overflow="ellipsis")
    return (
        Text(no_wrap=True).append(left).append(" " * (width - len(left) - len(right))).append(right)
    )


class Panel:
    """Draws a `Progress` afresh whenever rich asks for it, in as much width as there is."""

    LABEL, VALUE, RANGE, HEIGHT = 10, 8, 8, 4

    def __init__(self, progress: Progress, title: str) -> None:
        self.progress, self.title = progress, title

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """The lines, none wider than the terminal."""
        width = max(40, min(options.max_width - 1, WIDEST))
        for line in self.lines(width):
            line.truncate(options.max_width)
            yield line

    def lines(self, width: int) -> Iterator[Text]:
        """All lines of the panel, each one row of at most `width` columns."""
        yield from self.head(width)
        if self.progress.courses:
            yield Text()
            yield from self.curve(width)
            yield from self.share_lines(width)
            indent = self.LABEL
            yield Text(" " * indent).append(join(numbers(self.progress.latest), width - indent))
        yield Text()
        yield from self.time_lines(width)
        if self.progress.evaluation:
            evaluation = join(self.progress.evaluation, width - self.LABEL)
            yield self.label("held out").append(evaluation)

    def label(self, name: str, value: str = "", style: str = INK) -> Text:
        """The first columns of a line: a quiet name and, right-aligned, its value."""
        line = Text(f"{name:<{self.LABEL}}", QUIET, no_wrap=True)
        return line.append(f"{value:>{self.VALUE}}  ", f"bold {style}") if value else line

    def head(self, width: int) -> Iterator[Text]:
        """Title and position, the bar, share done and time left."""
        progress = self.progress
        where = Text("step ", QUIET).append(str(progress.done), "bold")
        yield spread(Text(self.title, "bold"), where.append(f" of {progress.total}", QUIET), width)
        share = progress.done / max(1, progress.total)
        left = duration(progress.remaining())
        tail = Text(f"  {100 * share:3.0f} %", "bold").append(f"  {left:>8} left", QUIET)
        full = round(share * (width - len(tail)))
        rail = Text("━" * full, GOOD).append("━" * (width - len(tail) - full), QUIET)
        yield rail.append(tail)

    def curve(self, width: int) -> Iterator[Text]:
        """The course of the reward (or loss) in braille, its value left, its range right."""
        name = self.progress.subject
        values = [value for value in self.progress.courses[name] if math.isfinite(value)]
        cells = width - self.LABEL - self.VALUE - 2 - self.RANGE
        rows = braille_curve(values, cells, self.HEIGHT)
        left = [Text(" " * (self.LABEL + self.VALUE + 2)) for _ in rows]
        left[0] = self.label(name, f"{values[-1]:.3f}" if values else "–")
        if name == "reward" and finite(self.progress.latest, "reward_std"):
            deviation = f"±{self.progress.latest['reward_std']:.3f}"
            left[1] = Text(f"{'':{self.LABEL}}{deviation:>{self.VALUE}}  ", QUIET)
        right = [""] * len(rows)
        if points := resample(values, 2 * cells):
            right[0], right[-1] = f"{max(points):.3f}", f"{min(points):.3f}"
        for start, row, end in zip(left, rows, right, strict=True):
            yield start.append(row, GOOD).append(f"{end:>{self.RANGE}}", QUIET)

    def share_lines(self, width: int) -> Iterator[Text]:
        """Exact and invalid share, each with its course in blocks."""
        cells = width - self.LABEL - self.VALUE - 2 - self.RANGE
        for metric, name in SHARES.items():
            course = self.progress.courses.get(metric)
            if course is None:
                continue
            style = BAD if name == "invalid" else GOOD
            top = max([0.01, *(value for value in resample(course, cells))])
            line = self.label(name, percent(self.progress.latest.get(metric, math.nan)))
            line.append(f"{sparkline(course, cells, 0.0, top):<{cells}}", style)
            yield line.append(f"{f'≤ {100 * top:.0f} %':>{self.RANGE}}", QUIET)

    def time_lines(self, width: int) -> Iterator[Text]:
        """What runs now and for how long, then where the time went: a bar and its legend."""
        progress = self.progress
        running = self.label("now").append(progress.phase, "bold")
        running.append(f"  {duration(monotonic() - progress.phase_began)}", QUIET)
        elapsed = Text(f"{duration(monotonic() - progress.began)} so far", QUIET)
        yield spread(running, elapsed, width)
        ranked = progress.time_shares()[: len(PHASE_STYLES)]
        if not ranked:
            return
        whole = self.label("time")
        legend = Text(" " * self.LABEL)
        for (name, share), style in zip(ranked, PHASE_STYLES, strict=False):
            whole.append("━" * max(1, round(share * (width - self.LABEL - 4))), style)
            entry = f"{name} {100 * share:.0f} %"
            if len(legend) + len(entry) + 5 <= width:
                legend.append("■ ", style).append(f"{entry}   ", QUIET)
        yield whole
        yield legend


def plain_line(progress: Progress, step_time: float) -> str:
    """A finished step on one line, its numbers at the same place in every line."""
    latest, width = progress.latest, len(str(progress.total))
    parts = [f"step {progress.done:>{width}}/{progress.total}"]
    if finite(latest, "reward"):
        spread_of = f" ±{latest['reward_std']:.3f}" if finite(latest, "reward_std") else ""
        parts.append(f"reward {latest['reward']:.3f}{spread_of}")
    parts += [f"{label} {value}" for label, value in (*shares(latest), *numbers(latest))]
    parts += [f"{step_time:.1f} s", f"eta {duration(progress.remaining())}"]
    return "  ".join(parts)


class Display:
    """The run's face: a context manager told of phases, steps, evaluations and notes.

    A live panel where `console` is a terminal, which is always up to date, else a line every
    `every` steps and for the first, the last and evaluated ones. `quiet` shows nothing: for all
    ranks but the first.
    """

    def __init__(
        self,
        total_steps: int,
        start_step: int = 0,
        console: Console | None = None,
        *,
        title: str = "srl-grpo",
        every: int = 1,
        quiet: bool = False,
    ) -> None:
        self.console = Console(stderr=False, quiet=quiet) if console is None else console
        self.progress = Progress(total_steps, start_step)
        self.every = max(1, every)
        self.unshown = False
        """Whether the last step has no line yet."""
        self.quiet = quiet
        live = self.console.is_terminal and not self.console.is_dumb_terminal and not quiet
        self.live = (
            Live(
                Panel(self.progress, title),
                console=self.console,
                refresh_per_second=4,
                vertical_overflow="crop",
            )
            if live
            else None
        )

    def __enter__(self) -> Self:
        if self.live:
            self.live.start(refresh=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.progress.phase, self.progress.phase_began = (
            ("done" if kind is None else "stopped"),
            monotonic(),
        )
        if self.live:
            self.live.stop()
        elif self.unshown:  # a run that ended early, whose last step nobody knew to be the last
            self.step_line()

    def expect(self, total_steps: int) -> None:
        """Say how many steps the run has, where that is known only once its data is read."""
        self.progress.total = total_steps

    def phase(self, name: str) -> None:
        """Say what runs from now on: rollout, score, update and so on."""
        self.progress.phase, self.progress.phase_began = name, monotonic()

    def step(self, step: int, metrics: Metrics) -> None:
        """Show a finished step."""
        self.progress.step(step, metrics)
        if self.live is None:
            first, last = self.progress.start + 1, self.progress.total
            evaluated = any(name.startswith("eval/") for name in metrics)
            self.unshown = True
            if is_shown(step, self.every, first) or step == last or evaluated:
                self.step_line()

    def step_line(self) -> None:
        """Write the last step's line."""
        seconds = self.progress.latest.get("step_time", self.progress.pace())
        self.write(plain_line(self.progress, seconds))
        self.unshown = False

    def evaluated(self, step: int, metrics: Metrics) -> None:
        """Show results on held-out data; they stay until the next ones."""
        self.progress.evaluation = evaluation_pairs(step, metrics)
        if self.live is None:
            parts = [f"{label} {value}" for label, value in self.progress.evaluation]
            self.write("  ".join(["held out", *parts]))

    def note(self, text: str) -> None:
        """Say something once: above the panel, or as a line."""
        self.write(text)

    def write(self, text: str) -> None:
        """One line, as it is: no markup, no wrapping, no colours by content."""
        if not self.quiet:
            self.console.print(text, markup=False, highlight=False, soft_wrap=True, emoji=False)
