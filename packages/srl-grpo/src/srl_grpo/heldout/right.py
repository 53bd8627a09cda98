"""Which held-out answers are right, by graders that may differ from record to record."""

from collections import defaultdict
from collections.abc import Sequence

from srl_eval.grading import Candidate, Grader, Verdict, judge

Judged = tuple[Grader, Candidate]
"""An answer with its gold, and the grader that compares them."""


def right(answers: Sequence[Judged]) -> list[float]:
    """1 for each answer that its grader takes for right, else 0."""
    places: dict[str, list[int]] = defaultdict(list)
    for place, (grader, _) in enumerate(answers):
        places[grader.name].append(place)
    found = [0.0] * len(answers)
    for some in places.values():  # whole batches, whose work a grader may share out
        verdicts = judge(answers[some[0]][0], [answers[place][1] for place in some])
        for place, one in zip(some, verdicts, strict=True):
            found[place] = float(one.verdict is Verdict.CORRECT)
    return found
