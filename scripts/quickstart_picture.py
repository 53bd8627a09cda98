"""The quickstart as a picture: two curves and the table of before and after, as one SVG.

It is text all through (no library, no font, no script), takes the reader's light or dark, and says
nothing that the table in the README does not say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 800, 560
BLOCK = 10
"""Steps that a point of the training curve is the mean of."""

STYLE = """
text{font:13px system-ui,-apple-system,'Segoe UI',sans-serif;fill:#1d2126}
.card{fill:#fbfbfa;stroke:#dfe2e6}.grid{stroke:#dfe2e6}.title{font-size:18px;font-weight:600}
.head{font-size:14px;font-weight:600}.cell{font-size:15px}.dim{fill:#626a74}.end{text-anchor:end}
.middle{text-anchor:middle}.line{fill:none;stroke-width:2.5;stroke-linejoin:round}
.faint{fill:none;stroke-width:1.2;opacity:.4}
.s0{stroke:#2563eb}.s1{stroke:#c2410c}.s2{stroke:#0f8a5f}
circle.s0{fill:#2563eb}circle.s1{fill:#c2410c}circle.s2{fill:#0f8a5f}
@media(prefers-color-scheme:dark){text{fill:#e4e7ea}.card{fill:#15181c;stroke:#2c3138}
.grid{stroke:#2c3138}.dim{fill:#9aa2ac}.s0{stroke:#6ea8fe}.s1{stroke:#fb923c}.s2{stroke:#4ade9f}
circle.s0{fill:#6ea8fe}circle.s1{fill:#fb923c}circle.s2{fill:#4ade9f}}
"""

Point = tuple[float, float]


@dataclass(frozen=True)
class Curve:
    """A share over the steps of one seed: held-out points, and the training's own course."""

    held_out: Sequence[Point]
    training: Sequence[Point] = ()


@dataclass(frozen=True)
class Panel:
    """A plot of shares: its name, its metric, and a curve for each seed."""

    title: str
    metric: str
    curves: Mapping[int, Curve]


@dataclass(frozen=True)
class TableRow:
    """A line of the table: its label, and for each seed the value and the interval under it."""

    label: str
    cells: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Box:
    """Where a plot stands, and the steps and shares (0 to 1) that it covers."""

    left: float
    top: float
    width: float
    height: float
    steps: float

    def x(self, step: float) -> float:
        """Where a step stands."""
        return round(self.left + self.width * step / self.steps, 1)

    def y(self, share: float) -> float:
        """Where a share stands."""
        return round(self.top + self.height * (1 - share), 1)


def picture(
    title: str, subtitle: str, panels: Sequence[Panel], rows: Sequence[TableRow], note: str
) -> str:
    """The whole SVG; `panels` are two, and stand side by side."""
    seeds = list(panels[0].curves)
    steps = max(x for panel in panels for curve in panel.curves.values() for x, _ in curve.held_out)
    parts = [
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{HEIGHT - 1}" rx="12"/>',
        text(28, 40, title, "title"),
        text(28, 62, subtitle, "dim"),
        *plot(panels[0], Box(70, 112, 300, 176, steps)),
        *plot(panels[1], Box(472, 112, 300, 176, steps)),
        *table(seeds, rows, 356),
        text(28, HEIGHT - 20, note, "dim"),
    ]
    inner = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" role="img" aria-label="{escape(title)}">\n<style>{STYLE}</style>\n'
        f"{inner}\n</svg>\n"
    )


def text(x: float, y: float, content: str, style: str = "") -> str:
    """A line of text."""
    return f'<text x="{x:g}" y="{y:g}" class="{style}">{escape(content)}</text>'


def plot(panel: Panel, box: Box) -> Iterator[str]:
    """A plot: grid, axes and curves."""
    yield text(box.left - 42, box.top - 18, panel.title, "head")
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = box.y(share)
        yield f'<path class="grid" d="M{box.left:g} {y:g}h{box.width:g}"/>'
        yield text(box.left - 8, y + 4, f"{100 * share:.0f} %", "dim end")
    for quarter in range(5):
        step = box.steps * quarter / 4
        yield text(box.x(step), box.top + box.height + 20, f"{step:.0f}", "dim middle")
    yield text(box.left + box.width / 2, box.top + box.height + 38, "training step", "dim middle")
    for number, (seed, curve) in enumerate(panel.curves.items()):
        yield from drawn(curve, box, f"s{number}", f"{panel.metric} {seed}")


def drawn(curve: Curve, box: Box, style: str, name: str) -> Iterator[str]:
    """One seed's curve: the training faint, held-out values as dots on a line."""
    if curve.training:
        yield f'<path class="faint {style}" d="{path(curve.training, box)}"/>'
    yield f'<path class="line {style}" d="{path(curve.held_out, box)}"/>'
    dots = "".join(
        f'<circle class="{style}" cx="{box.x(step):g}" cy="{box.y(share):g}" r="3.5"/>'
        for step, share in curve.held_out
    )
    yield f'<g id="{name.replace(" ", "-")}">{dots}</g>'


def path(points: Sequence[Point], box: Box) -> str:
    """A line through points."""
    return "M" + "L".join(f"{box.x(step):g} {box.y(share):g}" for step, share in points)


def table(seeds: Sequence[int], rows: Sequence[TableRow], top: float) -> Iterator[str]:
    """Before and after by seed; its heads are the key to the curves."""
    rights = [WIDTH - 28 - 138 * (len(seeds) - 1 - n) for n in range(len(seeds))]
    yield text(28, top + 22, "held out, before → after", "head")
    for number, (seed, right) in enumerate(zip(seeds, rights, strict=True)):
        yield f'<path class="line s{number}" d="M{right - 98} {top + 17:g}h20"/>'
        yield text(right, top + 22, f"seed {seed}", "head end")
    for number, line in enumerate(rows):
        y = top + 34 + 42 * number
        yield f'<path class="grid" d="M28 {y:g}H{WIDTH - 28}"/>'
        yield text(28, y + 18, line.label)
        yield text(28, y + 34, "change, 95 %", "dim")
        for right, (value, interval) in zip(rights, line.cells, strict=True):
            yield text(right, y + 18, value, "cell end")
            yield text(right, y + 34, interval, "dim end")


def course(values: Sequence[float]) -> list[Point]:
    """Means of blocks of steps, each at its middle."""
    blocks = [values[n : n + BLOCK] for n in range(0, len(values), BLOCK)]
    middles = [BLOCK * n + (len(block) + 1) / 2 for n, block in enumerate(blocks)]
    return [(x, sum(block) / len(block)) for x, block in zip(middles, blocks, strict=True)]
