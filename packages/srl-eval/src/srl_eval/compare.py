"""Runs of one task side by side: scores, and differences with intervals paired by problem."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srl_eval.finished import FinishedRun, paired_scores, read_run
from srl_eval.metrics import NO_WIDTH, has_no_width
from srl_eval.stats import bootstrap_interval, clustered_stderr

_TOLD_APART = (
    *("data_sha256", "grader", "samples", "temperature", "top_p", "top_k", "min_p"),
    *("max_new_tokens", "template", "chat_template", "solve", "num_fewshot", "fewshot_sha256"),
)
"""Parts of a run's identity in which runs that are compared should agree."""


@dataclass(frozen=True)
class Row:
    """One run: its score, and its difference to the first run (None for the first itself).

    Scores are shares of correct samples over the problems that all runs have. `wins` and `losses`
    count problems on which the run is better or worse than the first.
    """

    name: str
    mode: str
    score: float
    stderr: float
    interval: tuple[float, float]
    difference: float | None
    difference_interval: tuple[float, float] | None
    wins: int
    losses: int


@dataclass(frozen=True)
class Comparison:
    """The table, with what a reader must know about it."""

    task: str
    problems: int
    rows: list[Row]
    notes: list[str]

    @property
    def title(self) -> str:
        """Task, the mode where all runs have the same, and the number of problems."""
        modes = {row.mode for row in self.rows}
        mode = f", {modes.pop()}" if len(modes) == 1 else ""
        return f"{self.task}{mode}: {self.problems} problems"


def compare(folders: Sequence[Path], resamples: int = 10_000) -> Comparison:
    """Compare finished runs with the first of them, problem by problem."""
    runs = [read_run(folder) for folder in folders]
    ids, score_RP = paired_scores(runs)
    rows = []
    names = short_names(folders)
    for run, name, score_P in zip(runs, names, score_RP, strict=True):
        change_P = score_P - score_RP[0]
        first = run is runs[0]
        rows.append(
            Row(
                name=name,
                mode=run.mode,
                score=float(score_P.mean()),
                stderr=clustered_stderr(score_P),
                interval=bootstrap_interval(score_P, resamples, seed=0),
                difference=None if first else float(change_P.mean()),
                difference_interval=None if first else bootstrap_interval(change_P, resamples, 0),
                wins=int((change_P > 0).sum()),
                losses=int((change_P < 0).sum()),
            )
        )
    notes = comparison_notes(runs, names, len(ids))
    intervals = [ends for row in rows for ends in (row.interval, row.difference_interval) if ends]
    notes += [NO_WIDTH] if has_no_width(intervals) else []
    return Comparison(runs[0].task, len(ids), rows, notes)


def short_names(folders: Sequence[Path]) -> list[str]:
    """Folder names without what they all begin and end with."""
    parts = [folder.resolve().parts for folder in folders]
    shortest = min(map(len, parts)) - 1
    head = next((n for n in range(shortest) if len({p[n] for p in parts}) > 1), shortest)
    parts = [part[head:] for part in parts]
    shortest = min(map(len, parts)) - 1
    tail = next((n for n in range(shortest) if len({p[-1 - n] for p in parts}) > 1), shortest)
    return [str(Path(*part[: len(part) - tail])) for part in parts]


def comparison_notes(runs: Sequence[FinishedRun], names: Sequence[str], common: int) -> list[str]:
    """What makes the rows less alike than they look."""
    notes = []
    if any(len(run.problems) != common for run in runs):
        sizes = ", ".join(
            f"{name} {len(run.problems)}" for name, run in zip(names, runs, strict=True)
        )
        notes.append(f"only the {common} problems that all runs have are compared ({sizes})")
    partial = [name for name, run in zip(names, runs, strict=True) if run.partial]
    if partial:
        notes.append(f"partial, a limit left problems out: {', '.join(partial)}")
    for key in _TOLD_APART:
        values = {str(run.identity.get(key, 0)) for run in runs}
        if len(values) > 1:
            notes.append(f"the runs differ in {key}: {', '.join(sorted(values))}")
    return notes


HEADERS = (
    *("run", "mode", "score %", "std. error", "95 % interval"),
    *("difference", "95 %", "better", "worse"),
)
INTERVALS = (
    "Intervals are percentile bootstraps over problems; differences are to the first run, "
    "paired by problem."
)


def cells(row: Row) -> list[str]:
    """A row as text, scores in percent."""
    change, interval = row.difference, row.difference_interval
    return [
        row.name,
        row.mode,
        f"{100 * row.score:.1f}",
        f"{100 * row.stderr:.1f}",
        span(row.interval),
        "" if change is None else f"{100 * change:+.1f}",
        "" if interval is None else span(interval, signed=True),
        "" if change is None else str(row.wins),
        "" if change is None else str(row.losses),
    ]


def span(interval: tuple[float, float], *, signed: bool = False) -> str:
    """An interval in percent."""
    low, high = (f"{100 * end:+.1f}" if signed else f"{100 * end:.1f}" for end in interval)
    return f"{low} to {high}"


def as_markdown(comparison: Comparison) -> str:
    """The table as Markdown."""
    lines = [
        f"# {comparison.title}",
        "",
        "| " + " | ".join(HEADERS) + " |",
        "|" + "|".join("---" if n < 2 else "---:" for n in range(len(HEADERS))) + "|",
        *("| " + " | ".join(cells(row)) + " |" for row in comparison.rows),
        "",
        INTERVALS,
        *(f"Note: {note}." for note in comparison.notes),
    ]
    return "\n".join(lines) + "\n"
