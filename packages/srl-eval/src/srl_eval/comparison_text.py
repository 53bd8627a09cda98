"""A comparison as Markdown, and the words and numbers that the page and the terminal share."""

import re
from collections.abc import Callable, Iterable, Sequence

from srl_eval.compare import Comparison, Row, SideBySide
from srl_eval.flips import Flip
from srl_eval.metrics import NO_SPREAD, Share, category_label

INTERVALS = (
    "Intervals are percentile bootstraps over problems, or the exact binomial ones where all "
    "problems scored alike; differences are to the first run, paired by problem."
)
_MARKUP = re.compile(r"[\\`*\[\]<>|]|(?<![^\W_])_|_(?![^\W_])")
"""What Markdown may take for its own; an underscore within a word it does not."""

MOST_NAMES = 100
"""Flipped problems that Markdown names; the JSON has all of them."""


def headers(comparison: Comparison) -> list[str]:
    """Columns of the table of scores; the mode only where runs differ in it."""
    labels = ["run"] if comparison.is_of_one_mode else ["run", "mode"]
    numbers = ("score %", "std. error", "95 % interval", "difference", "95 %", "better", "worse")
    return [*labels, *numbers]


def cells(comparison: Comparison, row: Row) -> list[str]:
    """A row of it as text, scores in percent."""
    change, interval = row.difference, row.difference_interval
    return [
        row.name,
        *([] if comparison.is_of_one_mode else [row.mode]),
        percent(row.score),
        error(row.stderr),
        span(row.interval),
        "" if change is None else f"{100 * change:+.1f}",
        "" if interval is None else span(interval, signed=True),
        "" if change is None else str(row.wins),
        "" if change is None else str(row.losses),
    ]


def error(stderr: float) -> str:
    """A standard error in percent; none where all problems scored alike, which shows no spread."""
    return "–" if stderr < NO_SPREAD else percent(stderr)


def with_error(share: float, stderr: float) -> str:
    """A score and its standard error in percent."""
    return percent(share) if stderr < NO_SPREAD else f"{percent(share)} ± {percent(stderr)}"


def percent(share: float) -> str:
    """A share in percent."""
    return f"{100 * share:.1f}"


def span(interval: tuple[float, float], *, signed: bool = False) -> str:
    """An interval in percent."""
    low, high = (f"{100 * end:+.1f}" if signed else percent(end) for end in interval)
    return f"{low} to {high}"


def words(name: str) -> str:
    """A category's name in words."""
    return name.replace("_", " ")


def format_headers(comparison: Comparison) -> list[str]:
    """Columns of the table of formats: samples, those in the right one, and the categories."""
    return ["run", "samples", "right format", *map(category_label, comparison.rows[0].categories)]


def format_cells(row: Row) -> list[str]:
    """A row of it, each as its count and its share."""
    return [row.name, str(row.samples), *map(counted, (row.format, *row.categories.values()))]


def verdict_headers(comparison: Comparison) -> list[str]:
    """Columns of the table of verdicts: samples, each verdict, and the mean length."""
    return ["run", "samples", *map(words, comparison.rows[0].verdicts), "tokens"]


def verdict_cells(row: Row) -> list[str]:
    """A row of it, each as its count and its share."""
    return [row.name, str(row.samples), *map(counted, row.verdicts.values()), f"{row.tokens:.0f}"]


def counted(found: Share) -> str:
    """A count and its share in percent."""
    return f"{found.count} ({percent(found.share)} %)"


def overview(side: SideBySide) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a table of runs by tasks: scores, with differences to the first run."""
    names = list(dict.fromkeys(row.name for each in side.comparisons for row in each.rows))
    tables = [{row.name: score_cell(row) for row in each.rows} for each in side.comparisons]
    rows = [[name, *(table.get(name, "") for table in tables)] for name in names]
    return ["run", *(each.heading for each in side.comparisons)], rows


def score_cell(row: Row) -> str:
    """A score with its standard error, and the difference to the first run."""
    score = with_error(row.score, row.stderr)
    return score if row.difference is None else f"{score} ({100 * row.difference:+.1f})"


def names_of(flips: Iterable[Flip], most: int) -> str:
    """The first few problems' names, and how many more there are."""
    names = [flip.id for flip in flips]
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def flip_lines(row: Row, first: str, most: int) -> list[str]:
    """Which problems a run solves better and worse than the first, by name."""
    sides: tuple[tuple[str, Callable[[Flip], bool]], ...] = (
        ("better", lambda flip: flip.is_better),
        ("worse", lambda flip: not flip.is_better),
    )
    return [
        f"{row.name} {side} than {first} on {len(chosen)}: {names_of(chosen, most)}"
        for side, is_on in sides
        if (chosen := [flip for flip in row.flips if is_on(flip)])
    ]


def as_markdown(side: SideBySide) -> str:
    """The tables as Markdown."""
    lines = [f"# {plain(side.title)}", ""]
    if len(side.comparisons) > 1 and side.shared_names:
        lines += [*markdown_table(*overview(side), labels=1), ""]
    for comparison in side.comparisons:
        if len(side.comparisons) > 1:
            lines += [f"## {plain(comparison.title)}", ""]
        lines += section(comparison)
    lines += [INTERVALS, *(f"Note: {plain(note)}." for note in side.notes)]
    return "\n".join(lines) + "\n"


def section(comparison: Comparison) -> list[str]:
    """The tables of one task."""
    rows, first = comparison.rows, comparison.rows[0].name
    labels = 1 if comparison.is_of_one_mode else 2
    flipped = [line for row in rows[1:] for line in flip_lines(row, first, MOST_NAMES)]
    notes = [f"Note: {plain(note)}." for note in comparison.notes]
    return [
        *markdown_table(headers(comparison), [cells(comparison, row) for row in rows], labels),
        "",
        *markdown_table(format_headers(comparison), map(format_cells, rows), labels=1),
        "",
        *markdown_table(verdict_headers(comparison), map(verdict_cells, rows), labels=1),
        "",
        *(f"- {plain(line)}" for line in flipped),
        *([""] if flipped else []),
        *(line for note in notes for line in (note, "")),
    ]


def markdown_table(headers: Sequence[str], rows: Iterable[Sequence[str]], labels: int) -> list[str]:
    """A table whose first `labels` columns are text and the others numbers."""
    marks = ("---" if n < labels else "---:" for n in range(len(headers)))
    return [table_line(headers), "|" + "|".join(marks) + "|", *map(table_line, rows)]


def table_line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(map(plain, cells)) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: names are folders' and problems', so anyone's."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))
