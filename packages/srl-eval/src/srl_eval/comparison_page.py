"""A comparison as a page of its own: no network, no script, light and dark, from phones up."""

import html
from collections.abc import Iterable, Sequence
from importlib.resources import files

from srl_eval.compare import Comparison, Row, SideBySide
from srl_eval.comparison_text import (
    INTERVALS,
    cells,
    format_cells,
    format_headers,
    headers,
    overview,
    percent,
    verdict_cells,
    verdict_headers,
    words,
)
from srl_eval.flips import Flip

_MOST_FLIPS = 500
"""Flipped problems of a run that the page shows."""


def comparison_page(side: SideBySide) -> str:
    """The page; differences whose interval leaves out 0 stand out."""
    title = html.escape(side.title)
    style = (files("srl_eval") / "comparison_page.css").read_text(encoding="utf-8")
    many = len(side.comparisons) > 1
    inner = table(*overview(side)) if many and side.shared_names else ""
    inner += "".join(section(each, is_titled=many) for each in side.comparisons)
    notes = "".join(f"<p>Note: {html.escape(note)}.</p>" for note in side.notes)
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>\n{style}</style>\n<h1>{title}</h1>\n{inner}"
        f'<div class="dim"><p>{INTERVALS} Bold: the interval of the difference leaves out 0.</p>'
        f"{notes}</div>\n</html>\n"
    )


def section(comparison: Comparison, *, is_titled: bool) -> str:
    """One task: scores, categories, flipped problems, notes."""
    first = comparison.rows[0]
    title = f"<h2>{html.escape(comparison.title)}</h2>\n" if is_titled else ""
    notes = "".join(f'<p class="dim">Note: {html.escape(note)}.</p>\n' for note in comparison.notes)
    flipped = "".join(flip_list(row, first) for row in comparison.rows[1:] if row.flips)
    return (
        f"{title}{score_table(comparison)}<h3>What became of the samples</h3>\n"
        f"{bars(comparison)}{verdict_table(comparison)}"
        f"<h3>Answers by format</h3>\n{format_table(comparison)}"
        + (f"<h3>Problems that flipped</h3>\n{flipped}" if flipped else "")
        + notes
    )


def score_table(comparison: Comparison) -> str:
    """Scores and differences, each difference with its interval drawn around 0."""
    reach = max(
        [1e-9, *(abs(end) for row in comparison.rows for end in row.difference_interval or ())]
    )
    rows = [with_mark(cells(comparison, row), mark(row, reach)) for row in comparison.rows]
    heads = with_mark(headers(comparison), "")
    labels = 1 if comparison.is_of_one_mode else 2
    return raw_table(heads, rows, [row.is_sure for row in comparison.rows], labels)


def with_mark(cells: Sequence[str], drawn: str) -> list[str]:
    """A row as HTML, with what is drawn of its interval before the counts of problems."""
    escaped = [html.escape(cell) for cell in cells]
    return [*escaped[:-2], drawn, *escaped[-2:]]


def mark(row: Row, reach: float) -> str:
    """The interval of a difference on a line around 0, the difference a dot in it."""
    ends, change = row.difference_interval, row.difference
    if ends is None or change is None:
        return ""
    low, high, dot = (f"{60 + 54 * value / reach:.1f}" for value in (*ends, change))
    side = "up" if change > 0 else "down" if change < 0 else "even"
    return (
        f'<svg class="mark {side}" viewBox="0 0 120 16" width="120" height="16" role="img" '
        f'aria-label="difference and interval"><path class="zero" d="M60 0V16"/>'
        f'<path class="reach" d="M{low} 8H{high}"/><circle cx="{dot}" cy="8" r="3.5"/></svg>'
    )


def bars(comparison: Comparison) -> str:
    """A bar for each run, divided by verdicts, under a key."""
    shown = [
        name
        for name in comparison.rows[0].verdicts
        if any(row.verdicts[name].count for row in comparison.rows)
    ]
    key = "".join(
        f'<span class="key"><span class="cell {name}"></span>{words(name)}</span>' for name in shown
    )
    lines = "".join(
        f'<div class="name">{html.escape(row.name)}</div><div class="bar">{parts(row)}</div>'
        for row in comparison.rows
    )
    return f'<p>{key}</p>\n<div class="bars">{lines}</div>\n'


def parts(row: Row) -> str:
    """The parts of a run's bar."""
    return "".join(
        f'<span class="{name}" style="width:{100 * found.share:.3f}%" '
        f'title="{words(name)}: {found.count} ({percent(found.share)} %)"></span>'
        for name, found in row.verdicts.items()
        if found.count
    )


def format_table(comparison: Comparison) -> str:
    """Counts and shares of the right format, and of right answers in it."""
    return table(format_headers(comparison), [format_cells(row) for row in comparison.rows])


def verdict_table(comparison: Comparison) -> str:
    """Counts and shares of the verdicts."""
    return table(verdict_headers(comparison), [verdict_cells(row) for row in comparison.rows])


def flip_list(row: Row, first: Row) -> str:
    """The problems on which a run is better or worse, to be opened."""
    name, other = html.escape(row.name), html.escape(first.name)
    ordered = [flip for flip in row.flips if flip.is_better]
    ordered += [flip for flip in row.flips if not flip.is_better]
    left = len(ordered) - _MOST_FLIPS
    more = f'<p class="dim">{left} more stand in compare.json.</p>' if left > 0 else ""
    lines = "".join(map(flip_row, ordered[:_MOST_FLIPS]))
    head = f"<tr><th>problem</th><th>right answer</th><th>{other}</th><th>{name}</th></tr>"
    return (
        f'<details><summary><b>{name}</b> <span class="better">▲ {row.wins} better</span> '
        f'<span class="worse">▼ {row.losses} worse</span> <span class="dim">than {other}</span>'
        f'</summary><div class="wide"><table class="flips">{head}{lines}</table></div>{more}'
        f"</details>\n"
    )


def flip_row(flip: Flip) -> str:
    """One problem: its name and text, the right answer, and both runs' answers."""
    side, sign = ("better", "▲") if flip.is_better else ("worse", "▼")
    before, after = answers(flip)
    return (
        f'<tr><td><span class="{side}">{sign}</span> <b>{html.escape(flip.id)}</b>'
        f'<div class="dim">{html.escape(flip.problem)}</div></td><td>{html.escape(flip.gold)}</td>'
        f"<td>{html.escape(before)}</td><td>{html.escape(after)}</td></tr>"
    )


def answers(flip: Flip) -> tuple[str, str]:
    """What either run answered; of several samples, the share that was correct."""
    if {flip.before, flip.after} != {0.0, 1.0} or not (flip.answer_before or flip.answer_after):
        return f"{percent(flip.before)} %", f"{percent(flip.after)} %"
    return flip.answer_before or "no answer", flip.answer_after or "no answer"


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of text, its first column names and the others numbers."""
    escaped = [[html.escape(cell) for cell in row] for row in rows]
    return raw_table([html.escape(head) for head in heads], escaped, [False] * len(escaped), 1)


def raw_table(
    heads: Sequence[str], rows: Sequence[Sequence[str]], sure: Sequence[bool], labels: int
) -> str:
    """A table of HTML that scrolls where it is too wide."""

    def line(tag: str, inner: Sequence[str]) -> str:
        return "".join(
            f"<{tag}>{cell}</{tag}>" if n < labels else f'<{tag} class="n">{cell}</{tag}>'
            for n, cell in enumerate(inner)
        )

    body = "".join(
        f'<tr class="sure">{line("td", row)}</tr>' if is_sure else f"<tr>{line('td', row)}</tr>"
        for row, is_sure in zip(rows, sure, strict=True)
    )
    return f'<div class="wide"><table><tr>{line("th", heads)}</tr>{body}</table></div>\n'
