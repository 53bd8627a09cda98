"""Curves as HTML and SVG that stretch with the page.

The SVG holds only lines, stretched to its box; text stands beside it as HTML, so that it keeps
its size at every width. All charts of a page share one axis of steps, and with it one cursor.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape

from srl_grpo.report.series import (
    Kind,
    Series,
    ends,
    robust_range,
    say,
    smooth,
    thin,
    tick_text,
    ticks,
)

BOX = 1000
"""Width and height of a chart's own coordinates."""


@dataclass(frozen=True)
class Line:
    """One curve of a chart: its metric, its name, and its style (`a`, `b` or `held`)."""

    metric: str
    label: str
    style: str = "a"


@dataclass(frozen=True)
class Chart:
    """A chart before its data: what it shows, where there is something to show."""

    title: str
    lines: tuple[Line, ...]
    kind: Kind = "number"
    band: str | None = None
    """Metric that is drawn as a band of ± its value around the first line."""
    from_zero: bool = False
    hero: bool = False
    exact: bool = False
    """Whether its values are without noise, and so not to be smoothed."""

    @property
    def metrics(self) -> set[str]:
        """Every metric it takes up."""
        return {line.metric for line in self.lines} | ({self.band} if self.band else set())


@dataclass(frozen=True)
class Frame:
    """The data ranges that a chart's box covers."""

    left: float
    right: float
    bottom: float
    top: float

    def x(self, step: float) -> float:
        """Horizontal position, 0 to `BOX`."""
        return BOX * (step - self.left) / (self.right - self.left)

    def y(self, value: float) -> float:
        """Vertical position, 0 (top) to `BOX`."""
        return BOX * (self.top - value) / (self.top - self.bottom)


@dataclass
class Drawn:
    """A chart as HTML, and the numbers that its cursor reads out."""

    html: str
    readout: dict[str, object] = field(default_factory=dict)


def steps_range(data: Mapping[str, Series]) -> tuple[float, float]:
    """First and last step of all series, never equal."""
    first = min(series.steps[0] for series in data.values())
    last = max(series.steps[-1] for series in data.values())
    return (first, last) if last > first else (first - 0.5, first + 0.5)


def path(frame: Frame, steps: Sequence[float], values: Sequence[float]) -> str:
    """SVG path data through the points."""
    points = zip(steps, values, strict=True)
    return "M" + "L".join(f"{frame.x(step):.1f},{frame.y(value):.1f}" for step, value in points)


def band(frame: Frame, center: Series, deviation: Series) -> str:
    """A closed path of `center` ± `deviation`, at the steps that both have."""
    around = dict(zip(deviation.steps, deviation.values, strict=True))
    shared = [
        (step, value, around[step])
        for step, value in zip(center.steps, center.values, strict=True)
        if step in around
    ]
    if not shared:
        return ""
    upper = path(frame, [s for s, _, _ in shared], [v + d for _, v, d in shared])
    lower = path(
        frame, [s for s, _, _ in reversed(shared)], [v - d for _, v, d in reversed(shared)]
    )
    return f'<path class="band" d="{upper}L{lower[1:]}Z"/>'


def curve(frame: Frame, series: Series, style: str, exact: bool = False) -> str:
    """A curve: faint as measured and firm as smoothed; held-out points as dots on a line."""
    if exact:
        return f'<path class="firm {style}" d="{path(frame, series.steps, series.values)}"/>'
    if style == "held" or len(series) < 12:
        dots = "".join(
            f"M{frame.x(step):.1f},{frame.y(value):.1f}h0"
            for step, value in zip(series.steps, series.values, strict=True)
        )
        line = path(frame, series.steps, series.values)
        return f'<path class="thin {style}" d="{line}"/><path class="dots {style}" d="{dots}"/>'
    # What runs out of the box must not drag the smoothed curve out of it as well.
    tame = [min(frame.top, max(frame.bottom, value)) for value in series.values]
    even = smooth(Series(series.steps, tame))
    return (
        f'<path class="raw {style}" d="{path(frame, series.steps, series.values)}"/>'
        f'<path class="firm {style}" d="{path(frame, even.steps, even.values)}"/>'
    )


def value_range(
    chart: Chart, shown: Sequence[Series], deviation: Series | None
) -> tuple[float, float]:
    """Bottom and top of a chart: what is to be seen, with a little air."""
    values = [value for series in shown for value in series.values]
    if deviation is not None:
        # The band may run out of the box; the curve must not be flattened by it.
        margin = sorted(deviation.values)[len(deviation) // 2]
        values += [max(shown[0].values) + margin / 2, min(shown[0].values) - margin]
    low, high = robust_range(values)
    if chart.from_zero and low >= 0:
        air = (high - 0) * 0.06
        return 0.0, max(high + air, 1e-9) if chart.kind != "share" else min(1.0, high + air)
    air = (high - low) * 0.06
    return low - air, high + air


def y_axis(frame: Frame, kind: Kind) -> tuple[str, str]:
    """Hairlines (SVG) and their values (HTML)."""
    lines, texts = "", ""
    for value in ticks(frame.bottom, frame.top):
        height = frame.y(value)
        lines += f'<path class="hair" d="M0,{height:.1f}H{BOX}"/>'
        texts += f'<span style="top:{height / BOX:.2%}">{escape(tick_text(value, kind))}</span>'
    return lines, f'<div class="ys">{texts}</div>'


def x_axis(frame: Frame) -> str:
    """Steps along the bottom."""
    marks = [mark for mark in ticks(frame.left, frame.right, 5) if mark == int(mark)]
    marks = marks if len(marks) > 1 else [frame.left, frame.right]
    texts = "".join(
        f'<span style="left:{frame.x(mark) / BOX:.2%}">{mark:,.0f}</span>' for mark in marks
    )
    return f'<div class="xs">{texts}</div>'


def read_outs(chart: Chart, data: Mapping[str, Series]) -> str:
    """The legend, which is also where values are read: each line's name and last value."""
    parts = []
    for line in (line for line in chart.lines if line.metric in data):
        text = escape(say(ends(data[line.metric]).last, chart.kind))
        parts.append(f'<span class="key {line.style}">{escape(line.label)} <b>{text}</b></span>')
    return "".join(parts)


def beyond(lines: Sequence[tuple[Line, Series]], frame: Frame, kind: Kind) -> str:
    """The peak, in words, where it lies above the box."""
    peaks = [(max(zip(line.values, line.steps, strict=True))) for _, line in lines]
    value, step = max(peaks)
    if value <= frame.top:
        return ""
    return f'<span class="key">peak {escape(say(value, kind))} at step {step:,.0f}</span>'


def draw(chart: Chart, data: Mapping[str, Series], across: tuple[float, float]) -> Drawn | None:
    """The chart with its data; None where there are none."""
    lines = [(line, thin(data[line.metric])) for line in chart.lines if line.metric in data]
    if not lines:
        return None
    deviation = thin(data[chart.band]) if chart.band in data and chart.band else None
    low, high = value_range(chart, [series for _, series in lines], deviation)
    frame = Frame(*across, low, high)
    hairs, numbers = y_axis(frame, chart.kind)
    around = band(frame, lines[0][1], deviation) if deviation else ""
    curves = around + "".join(
        curve(frame, series, line.style, chart.exact) for line, series in lines
    )
    markup = figure(
        chart,
        read_outs(chart, data) + beyond(lines, frame, chart.kind),
        hairs + curves,
        numbers,
        frame,
    )
    readout: dict[str, object] = {
        "kind": chart.kind,
        "lines": [compact(series) for _, series in lines],
    }
    return Drawn(markup, readout)


def figure(chart: Chart, legend: str, inside: str, numbers: str, frame: Frame) -> str:
    """Caption, box and axes of one chart."""
    return (
        f'<figure class="chart{" hero" if chart.hero else ""}">'
        f"<figcaption><h3>{escape(chart.title)}</h3>{legend}</figcaption>"
        f'<div class="plot">{numbers}<svg viewBox="0 0 {BOX} {BOX}" preserveAspectRatio="none" '
        f'role="img" aria-label="{escape(chart.title)}">{inside}</svg><i class="cursor"></i></div>'
        f"{x_axis(frame)}</figure>"
    )


def compact(series: Series) -> dict[str, list[float]]:
    """A series for the page's script: steps, values as measured, values as smoothed."""
    return {
        "x": [round(step, 1) for step in series.steps],
        "y": [rounded(value) for value in series.values],
        "s": [rounded(value) for value in smooth(series).values],
    }


def rounded(value: float) -> float:
    """Five significant digits: more would only make the page longer."""
    return float(f"{value:.5g}")


def spark(series: Series, style: str = "a") -> str:
    """A word-sized curve, with a dot at its end."""
    short = smooth(thin(series, 120))
    low, high = min(short.values), max(short.values)
    if high - low <= 1e-9 * max(abs(low), abs(high), 1e-9):
        low, high = low - 1, high + 1
    left, right = short.steps[0], short.steps[-1]
    frame = Frame(left, right if right > left else left + 1, low, high)
    line = path(frame, short.steps, short.values)
    dot = f"M{frame.x(short.steps[-1]):.1f},{frame.y(short.values[-1]):.1f}h0"
    return (
        f'<svg class="spark" viewBox="0 -60 {BOX} {BOX + 120}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="thin {style}" d="{line}"/>'
        f'<path class="dots {style}" d="{dot}"/></svg>'
    )
