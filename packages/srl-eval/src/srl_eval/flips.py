"""Problems on which a run is better or worse than another, with what both answered."""

from collections.abc import Sequence
from dataclasses import dataclass

from srl_eval.finished import FinishedRun
from srl_eval.metrics import by_problem
from srl_eval.samples import Sample
from srl_eval.stats import Floats

_LONGEST_PROBLEM, _LONGEST_ANSWER = 400, 120  # characters that are kept


@dataclass(frozen=True)
class Flip:
    """One problem: the shares of correct samples of both runs, and their answers.

    Answers are those of single samples, None where there was no answer or there are several.
    """

    id: str
    problem: str
    gold: str
    before: float
    after: float
    answer_before: str | None
    answer_after: str | None

    @property
    def is_better(self) -> bool:
        """Whether the run does better than the first."""
        return self.after > self.before


def flips(
    first: FinishedRun, run: FinishedRun, ids: Sequence[str], before_P: Floats, after_P: Floats
) -> list[Flip]:
    """The problems that the two runs scored differently, in the order of the data."""
    texts = {problem.id: problem.problem for problem in run.problems}
    answers = {group[0].id: group for group in by_problem(run.samples)}
    earlier = {group[0].id: group for group in by_problem(first.samples)}
    return [
        Flip(
            id=name,
            problem=shortened(texts[name], _LONGEST_PROBLEM),
            gold=shortened(answers[name][0].gold, _LONGEST_ANSWER),
            before=float(before),
            after=float(after),
            answer_before=single_answer(earlier[name]),
            answer_after=single_answer(answers[name]),
        )
        for name, before, after in zip(ids, before_P, after_P, strict=True)
        if before != after
    ]


def single_answer(group: Sequence[Sample]) -> str | None:
    """What the grader found in a problem's only sample."""
    found = group[0].extracted if len(group) == 1 else None
    return found if found is None else shortened(found, _LONGEST_ANSWER)


def shortened(text: str, longest: int) -> str:
    """A text in one line, cut at its end."""
    line = " ".join(text.split())
    return line if len(line) <= longest else f"{line[: longest - 2]} …"
