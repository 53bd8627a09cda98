"""metrics.json: what the samples of a run say, with nothing in it that depends on the clock.

Every score is a mean over problems of a per-problem score, with a standard error and an interval
over problems: a bootstrap, or the exact binomial one where all problems scored alike.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np

from srl_eval.grading import Grader, Verdict
from srl_eval.samples import Sample
from srl_eval.stats import (
    clustered_stderr,
    majority,
    pass_at_k,
    pass_levels,
    share_interval,
)
from srl_eval.votes import votes

NO_SPREAD = 1e-9
"""A standard error below it is rounding: every problem has the same score."""


@dataclass(frozen=True, slots=True)
class Score:
    """A mean over problems, its clustered standard error, and its 95 % interval."""

    mean: float
    stderr: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Share:
    """Some of a run's samples: how many, and their share of all."""

    count: int
    share: float


@dataclass(frozen=True)
class Metrics:
    """The scores of one run.

    `accuracy` is greedy accuracy or Avg@N; `format` the share of answers in the right format;
    `categories` the samples by format and answer; `verdicts` counts samples; `cut_off` those ended
    by a cap, with an answer or without; `majority_ties` the problems whose majority answer was a
    tie.
    """

    task: str
    mode: str
    partial: bool
    problems: int
    samples_per_problem: int
    accuracy: Score
    format: Score
    categories: dict[str, Share]
    pass_at: dict[int, Score]
    majority: Score
    majority_ties: int
    verdicts: dict[str, int]
    cut_off: int
    mean_completion_tokens: float
    max_completion_tokens: int
    mean_steps: float
    harness: dict[str, float | str] = field(default_factory=dict)


def by_problem(samples: Sequence[Sample]) -> list[list[Sample]]:
    """Samples in the order of the work list, grouped by problem."""
    return [list(group) for _, group in groupby(samples, key=lambda sample: sample.doc)]


def score(
    groups: Sequence[Sequence[Sample]],
    of_problem: Callable[[Sequence[Sample]], float],
    resamples: int,
) -> Score:
    """Mean, error and interval of a per-problem score. The bootstrap's seed is fixed."""
    score_P = np.array([of_problem(group) for group in groups])
    low, high = share_interval(score_P, resamples, seed=0)
    return Score(float(score_P.mean()), clustered_stderr(score_P), low, high)


EXACT = (
    "all problems scored alike, so the interval is the exact binomial one "
    "(Clopper-Pearson, a problem being a trial)"
)


def footnotes(scores: Mapping[str, Score]) -> list[str]:
    """What must be said under a table of named scores."""
    exact = [name for name, score in scores.items() if score.stderr < NO_SPREAD]
    return [f"{', '.join(exact)}: {EXACT}"] if exact else []


def correct_count(group: Sequence[Sample]) -> int:
    """How many of a problem's samples are correct."""
    return sum(sample.verdict is Verdict.CORRECT for sample in group)


CATEGORIES = ("format_right_answer_right", "format_right_answer_wrong", "format_wrong")
"""What the answers are counted as; one in the wrong format may be right all the same."""


def category_label(name: str) -> str:
    """A category in words."""
    return name.replace("_answer", ", answer").replace("_", " ")


def category_of(sample: Sample) -> str:
    """Which of `CATEGORIES` a sample is."""
    if not sample.in_format:
        return CATEGORIES[2]
    return CATEGORIES[0 if sample.verdict is Verdict.CORRECT else 1]


def categories(samples: Sequence[Sample]) -> dict[str, Share]:
    """How many samples are of each category."""
    counts = Counter(map(category_of, samples))
    return {name: Share(counts[name], counts[name] / len(samples)) for name in CATEGORIES}


def majority_of(group: Sequence[Sample], grader: Grader | None = None) -> tuple[float, bool]:
    """`stats.majority` of a problem's samples; equal answers are one vote, however written."""
    right = [sample.verdict is Verdict.CORRECT for sample in group]
    return majority(votes([sample.extracted for sample in group], right, grader), right)


def _in_turn(shares: Sequence[float]) -> Callable[[Sequence[Sample]], float]:
    """A per-problem score that is known already, problem by problem."""
    left = iter(shares)
    return lambda _group: next(left)


def compute_metrics(
    task: str,
    mode: str,
    samples: Sequence[Sample],
    *,
    partial: bool,
    resamples: int,
    grader: Grader | None = None,
) -> Metrics:
    """All scores of a finished run; every problem has the same number of samples.

    `grader` is the task's: with it, answers that it calls equal are one vote of the majority.
    """
    groups = by_problem(samples)
    shares, ties = zip(*(majority_of(group, grader) for group in groups), strict=True)
    count = len(groups[0])
    assert all(len(group) == count for group in groups), "problems with different sample counts"
    tokens = [sample.completion_tokens for sample in samples]
    verdicts = Counter(sample.verdict for sample in samples)
    return Metrics(
        task=task,
        mode=mode,
        partial=partial,
        problems=len(groups),
        samples_per_problem=count,
        accuracy=score(groups, lambda group: correct_count(group) / count, resamples),
        format=score(groups, lambda group: sum(s.in_format for s in group) / count, resamples),
        categories=categories(samples),
        pass_at={
            k: score(groups, lambda g, k=k: pass_at_k(correct_count(g), count, k), resamples)  # type: ignore[misc]
            for k in pass_levels(count)
        },
        majority=score(groups, _in_turn(shares), resamples),
        majority_ties=sum(ties),
        verdicts={verdict.value: verdicts[verdict] for verdict in Verdict},
        cut_off=sum(sample.finish_reason == "length" for sample in samples),
        mean_completion_tokens=sum(tokens) / len(tokens),
        max_completion_tokens=max(tokens),
        mean_steps=sum(sample.steps for sample in samples) / len(samples),
    )
