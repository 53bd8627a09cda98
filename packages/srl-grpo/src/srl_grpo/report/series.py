"""Metrics as curves: read, thin out, smooth, summarise, and say in numbers.

Knows names and numbers; how a curve is drawn is `srl_grpo.report.charts`.
"""

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

Kind = Literal["number", "share", "count", "small", "seconds"]
"""How a value is written: plain, per cent, with thousands, in powers of ten, as a time."""

POINTS = 400
"""Most points a drawn curve has; longer ones are thinned to means of equal stretches."""


@dataclass(frozen=True)
class Series:
    """The finite values of one metric, by ascending step."""

    steps: list[float]
    values: list[float]

    def __len__(self) -> int:
        return len(self.values)


def collect(rows: Iterable[Mapping[str, float]]) -> dict[str, Series]:
    """Series by metric; of several values for one step the last counts, NaN is left out."""
    found: dict[str, dict[float, float]] = {}
    for row in rows:
        for name, value in row.items():
            if name != "step" and math.isfinite(value):
                found.setdefault(name, {})[row["step"]] = value
    return {name: in_order(points) for name, points in found.items()}


def in_order(points: Mapping[float, float]) -> Series:
    """Points by step, ascending."""
    steps = sorted(points)
    return Series(steps, [points[step] for step in steps])


def thin(series: Series, count: int = POINTS) -> Series:
    """Means over `count` equal stretches; the series itself where it is shorter."""
    if len(series) <= count:
        return series
    edges = [len(series) * i // count for i in range(count + 1)]
    pairs = list(itertools.pairwise(edges))
    return Series(
        [mean(series.steps[low:high]) for low, high in pairs],
        [mean(series.values[low:high]) for low, high in pairs],
    )


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean of a non-empty sequence."""
    return sum(values) / len(values)


def window(length: int) -> int:
    """Points on either side that smoothing looks at: a fortieth of the curve."""
    return 0 if length < 12 else max(2, length // 40)


def smooth(series: Series) -> Series:
    """Centred moving mean, which does not lag; its window is cut off at both ends."""
    half, last = window(len(series)), len(series) - 1
    sums = [0.0, *itertools.accumulate(series.values)]
    values = []
    for i in range(len(series)):
        low, high = max(0, i - half), min(last, i + half) + 1
        values.append((sums[high] - sums[low]) / (high - low))
    return Series(series.steps, values)


def span(length: int) -> int:
    """How many steps `first` and `last` are means of: a tenth, at most 10."""
    return max(1, min(10, length // 10))


@dataclass(frozen=True)
class Ends:
    """A series in short: means over its first and last steps, and its extreme."""

    first: float
    last: float
    best: float
    best_step: float


def ends(series: Series, lower_is_better: bool = False) -> Ends:
    """First, last and best of a non-empty series; the best is that of the smoothed curve."""
    few = span(len(series))
    even = smooth(series)
    pick = min if lower_is_better else max
    index = pick(range(len(even)), key=even.values.__getitem__)
    return Ends(
        mean(series.values[:few]),
        mean(series.values[-few:]),
        even.values[index],
        even.steps[index],
    )


def robust_range(values: Sequence[float]) -> tuple[float, float]:
    """The range to draw: all values, or the middle 98 % where a few would flatten the rest."""
    ranked = sorted(values)
    low, high = ranked[0], ranked[-1]
    trim = len(ranked) // 100 + 1
    if len(ranked) >= 20:
        inner_low, inner_high = ranked[trim], ranked[-1 - trim]
        inner = inner_high - inner_low
        low = inner_low - inner if inner and inner_low - low > 2 * inner else low
        high = inner_high + inner if inner and high - inner_high > 2 * inner else high
    if low == high:
        pad = abs(low) / 2 or 1.0
        return low - pad, high + pad
    return low, high


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """About `count` round numbers within [low, high]."""
    rough = (high - low) / count
    if rough <= 0 or not math.isfinite(rough):
        return [low]
    unit = 10.0 ** math.floor(math.log10(rough))
    step = next(unit * factor for factor in (1, 2, 2.5, 5, 10) if unit * factor >= rough * 0.999)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [0.0 if i == 0 else i * step for i in range(first, last + 1)]


def say(value: float, kind: Kind = "number") -> str:
    """A value as text, three significant digits where nothing else is asked for."""
    return say_ascii(value, kind).replace("-", "−")


def say_ascii(value: float, kind: Kind) -> str:
    """The same with a plain hyphen for minus."""
    if not math.isfinite(value):
        return "–"
    if kind == "share":
        return f"{100 * value:.1f} %"
    if kind == "count":
        return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    if kind == "seconds":
        return say_seconds(value)
    if kind == "small" and value and abs(value) < 1e-3:
        return f"{value:.2e}"
    return plain(value)


def plain(value: float) -> str:
    """Three significant digits, in positional notation within reason."""
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100 or size == 0:
        return f"{value:.0f}"
    if size >= 0.001:
        return f"{value:.{2 - math.floor(math.log10(size))}f}" if size < 1 else f"{value:.3g}"
    return f"{value:.1e}"


def say_seconds(value: float) -> str:
    """`0.42 s`, `12.3 s`, `3:07 min` or `2:03:07 h`."""
    if value < 100:
        return f"{value:.3g} s"
    minutes, seconds = divmod(round(value), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02} h" if hours else f"{minutes}:{seconds:02} min"


def tick_text(value: float, kind: Kind = "number") -> str:
    """A round number beside an axis."""
    if kind == "share":
        return f"{100 * value:.4g} %"
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return text.replace("-", "−")
