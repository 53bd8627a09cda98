"""Which grader compares each completion's answer, and the verdicts of a batch of several graders.

Left out: how a grader compares (`srl_reward.grading`) and where an answer stands.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import cast

from srl_reward.completions import read_column
from srl_reward.grading import Grader, Verdict, check_grader, grade_batch

DEFAULT_GRADER: Grader = "math"
"""Where neither the reward nor the record names one."""


def read_graders(
    columns: Mapping[str, object], grader: Grader | None, count: int, reader: str
) -> list[Grader]:
    """The grader of each completion: the reward's own, else what the column `grader` names.

    Raises:
        ValueError: A record names a grader that is unknown.
        ImportError: One needs the extra `[math]`.
    """
    if grader is not None:
        return [grader] * count
    if "grader" not in columns:
        return [DEFAULT_GRADER] * count
    names = read_column(columns, "grader", count, reader)
    graders = [DEFAULT_GRADER if name is None else str(name) for name in names]
    for each in set(graders):
        check_grader(each)
    return [cast(Grader, each) for each in graders]


def grade_each(
    graders: Sequence[Grader],
    golds: Sequence[str | None],
    answers: Sequence[str | None],
    seconds: float,
) -> dict[int, Verdict]:
    """The verdict on each answer, by its place; none where the gold or the answer is None."""
    by_grader: defaultdict[Grader, dict[int, tuple[str, str]]] = defaultdict(dict)
    for index, (grader, gold, answer) in enumerate(zip(graders, golds, answers, strict=True)):
        if gold is not None and answer is not None:
            by_grader[grader][index] = (gold, answer)
    verdicts: dict[int, Verdict] = {}
    for grader, pairs in by_grader.items():
        graded = grade_batch(grader, list(pairs.values()), seconds=seconds)
        verdicts.update(zip(pairs, graded, strict=True))
    return verdicts
