"""A comparison in the terminal, narrow enough for 80 columns."""

from collections.abc import Callable, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from srl_eval.compare import Comparison, Row, SideBySide
from srl_eval.comparison_text import flip_lines, overview, percent, span, with_error, words
from srl_eval.metrics import Share, category_label

_MOST_NAMES = 12
"""Flipped problems that are named."""


def comparison_table(comparison: Comparison) -> Table:
    """Runs side by side, narrow enough for 80 columns."""
    table = Table(
        title=comparison.title,
        title_justify="left",
        box=SIMPLE_HEAD,
        pad_edge=False,
    )
    table.add_column("run", overflow="fold")
    for name in ("score %", "95 % interval", "difference", "better\n/worse"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in comparison.rows:
        change, interval = row.difference, row.difference_interval
        table.add_row(
            row.name,
            with_error(row.score, row.stderr),
            span(row.interval),
            ""
            if change is None or interval is None
            else f"{100 * change:+.1f} ({span(interval, signed=True)})",
            "" if change is None else f"{row.wins}/{row.losses}",
        )
    return table


def shares_table(
    rows: Sequence[Row],
    shares_of: Callable[[Row], Mapping[str, Share]],
    label: Callable[[str], str],
) -> Table:
    """Shares and counts of samples; those that no run has are left out."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("run", overflow="fold")
    found = [shares_of(row) for row in rows]
    shown = [name for name in found[0] if any(each[name].count for each in found)]
    for name in shown:
        table.add_column(f"{label(name)} %", justify="right")
    for row, each in zip(rows, found, strict=True):
        cells = (f"{percent(each[name].share)} ({each[name].count})" for name in shown)
        table.add_row(row.name, *cells)
    return table


def formats(row: Row) -> dict[str, Share]:
    """The right format, and right answers in it."""
    return {"right_format": row.format, **row.categories}


def overview_table(side: SideBySide) -> Table:
    """Runs down, tasks across."""
    headers, rows = overview(side)
    table = Table(title="score in %, difference to the first run", title_justify="left")
    for name in headers:
        table.add_column(name, justify="left" if name == headers[0] else "right", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def show_comparison(side: SideBySide, console: Console) -> None:
    """All tables, which problems flipped, and the notes."""
    if len(side.comparisons) > 1 and side.shared_names:
        console.print(overview_table(side))
    for comparison in side.comparisons:
        console.print(comparison_table(comparison))
        console.print(shares_table(comparison.rows, formats, category_label))
        console.print(shares_table(comparison.rows, lambda row: row.verdicts, words))
        for row in comparison.rows[1:]:
            for line in flip_lines(row, comparison.rows[0].name, _MOST_NAMES):
                console.print(line, markup=False, highlight=False)
        show_notes(comparison.notes, console)
    show_notes(side.notes, console)


def show_notes(notes: Sequence[str], console: Console) -> None:
    """A line each."""
    for note in notes:
        console.print(f"note: {note}", style="dim", markup=False)
