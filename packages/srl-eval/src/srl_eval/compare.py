"""Runs side by side: scores, and differences to the first run with intervals paired by problem."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from srl_eval.arms import Group, groups, read_named
from srl_eval.finished import FinishedRun, paired_scores
from srl_eval.flips import Flip, flips
from srl_eval.grading import Verdict
from srl_eval.metrics import Share, categories
from srl_eval.samples import Sample
from srl_eval.stats import Floats, clustered_stderr, difference_interval, share_interval

_TOLD_APART = (
    *("data_sha256", "grader", "samples", "temperature", "top_p", "top_k", "min_p"),
    *("max_new_tokens", "template", "chat_template", "solve", "num_fewshot", "fewshot_sha256"),
)
"""Parts of a run's identity in which runs that are compared should agree."""

_LONGEST_VALUE = 40  # characters of a value: a hash is told apart by fewer

RESAMPLES = 10_000


@dataclass(frozen=True)
class Row:
    """One run: its score, and its difference to the first run (None for the first itself).

    Scores are shares of correct samples over the problems that all runs have. `flips` are the
    problems on which the run is better or worse than the first. Of its samples, `format` are in the
    right format, `categories` and `verdicts` say what became of all; `tokens` is their mean length.
    """

    name: str
    folder: str
    model: str
    template: str
    mode: str
    samples: int
    score: float
    stderr: float
    interval: tuple[float, float]
    difference: float | None
    difference_interval: tuple[float, float] | None
    flips: list[Flip]
    format: Share
    categories: dict[str, Share]
    verdicts: dict[str, Share]
    tokens: float

    @property
    def wins(self) -> int:
        """Problems on which the run is better than the first."""
        return sum(flip.is_better for flip in self.flips)

    @property
    def losses(self) -> int:
        """Problems on which the run is worse than the first."""
        return len(self.flips) - self.wins

    @property
    def is_sure(self) -> bool:
        """Whether the interval of the difference leaves out 0."""
        ends = self.difference_interval
        return ends is not None and (ends[0] > 0 or ends[1] < 0)


@dataclass(frozen=True)
class Comparison:
    """The table of one task, with what a reader must know about it."""

    task: str
    problems: int
    rows: list[Row]
    notes: list[str]

    @property
    def is_of_one_mode(self) -> bool:
        """Whether all runs have the same mode."""
        return len({row.mode for row in self.rows}) == 1

    @property
    def heading(self) -> str:
        """The task, and the mode where all runs have the same."""
        return f"{self.task}, {self.rows[0].mode}" if self.is_of_one_mode else self.task

    @property
    def title(self) -> str:
        """Task, mode and the number of problems."""
        return f"{self.heading}: {self.problems} problems"


@dataclass(frozen=True)
class SideBySide:
    """Comparisons of several tasks, and what concerns them all."""

    comparisons: list[Comparison]
    notes: list[str]

    @property
    def title(self) -> str:
        """The one comparison's, or all tasks."""
        if len(self.comparisons) == 1:
            return self.comparisons[0].title
        return " · ".join(comparison.heading for comparison in self.comparisons)

    @property
    def shared_names(self) -> list[str]:
        """Runs that stand in several comparisons."""
        counts = Counter(row.name for each in self.comparisons for row in each.rows)
        return [name for name, count in counts.items() if count > 1]


def compare_all(folders: Sequence[Path], resamples: int = RESAMPLES) -> SideBySide:
    """Compare finished runs, task by task, with the first of them."""
    found, notes = groups(read_named(folders))
    return SideBySide([compare_group(group, resamples) for group in found], notes)


def compare(folders: Sequence[Path], resamples: int = RESAMPLES) -> Comparison:
    """Compare finished runs of one task with the first of them, problem by problem."""
    (comparison,) = compare_all(folders, resamples).comparisons
    return comparison


def compare_group(group: Group, resamples: int) -> Comparison:
    """The table of runs of one task."""
    ids, score_RP = paired_scores(group.runs)
    rows = [row_of(group, place, ids, score_RP, resamples) for place in range(len(group.runs))]
    return Comparison(
        group.runs[0].task, len(ids), rows, comparison_notes(group.runs, group.names, len(ids))
    )


def row_of(group: Group, place: int, ids: Sequence[str], score_RP: Floats, resamples: int) -> Row:
    """One run's row; the first run has no difference."""
    run, score_P = group.runs[place], score_RP[place]
    change_P = score_P - score_RP[0]
    common = set(ids)
    samples = [sample for sample in run.samples if sample.id in common]
    return Row(
        name=group.names[place],
        folder=str(run.folder),
        model=str(run.identity.get("model")),
        template=str(run.identity.get("template")),
        mode=run.mode,
        samples=len(samples),
        score=float(score_P.mean()),
        stderr=clustered_stderr(score_P),
        interval=share_interval(score_P, resamples, seed=0),
        difference=float(change_P.mean()) if place else None,
        difference_interval=difference_interval(change_P, resamples, 0) if place else None,
        flips=flips(group.runs[0], run, ids, score_RP[0], score_P) if place else [],
        format=share_of([sample.in_format for sample in samples]),
        categories=categories(samples),
        verdicts=verdict_shares(samples),
        tokens=sum(sample.completion_tokens for sample in samples) / len(samples),
    )


def share_of(flags: Sequence[bool]) -> Share:
    """How many are true."""
    return Share(sum(flags), sum(flags) / len(flags))


def verdict_shares(samples: Sequence[Sample]) -> dict[str, Share]:
    """How many samples have each verdict."""
    counts = Counter(sample.verdict for sample in samples)
    return {each.value: Share(counts[each], counts[each] / len(samples)) for each in Verdict}


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
        by_value: dict[str, list[str]] = {}
        for run, name in zip(runs, names, strict=True):
            by_value.setdefault(str(run.identity.get(key, "none")), []).append(name)
        if len(by_value) > 1:
            told = (f"{v[:_LONGEST_VALUE]} ({', '.join(whose)})" for v, whose in by_value.items())
            notes.append(f"the runs differ in {key}: {', '.join(told)}")
    return notes + format_notes(runs, names)


def format_notes(runs: Sequence[FinishedRun], names: Sequence[str]) -> list[str]:
    """A line where the right format is not the same thing in all runs."""
    strict = [
        name
        for name, run in zip(names, runs, strict=True)
        if any(sample.in_grammar is not None for sample in run.samples)
    ]
    if not strict or len(strict) == len(names):
        return []
    other = [name for name in names if name not in strict]
    note = (
        f"the right format is the prompt template's whole grammar for {', '.join(strict)}, and an "
        f"answer where the grader looks for one for {', '.join(other)}"
    )
    return [note]
