"""Which answers to one problem are the same vote: those that the task's grader calls equal.

Answers are brought to a normal form first, so that only what is written in truly different ways is
compared, and only where that can change which answer leads.
"""

from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations

from srl_eval.grading import Gold, Grader, Verdict
from srl_reward.expression.exact import real
from srl_reward.expression.reader import read
from srl_reward.expression.tree import UnreadableError
from srl_reward.notation import plain
from srl_reward.numbers import parse_quantity

_LONGEST = 2_000
_RIGHT = "\0right"


def votes(
    answers: Sequence[str | None], correct: Sequence[bool], grader: Grader | None = None
) -> list[str | None]:
    """A label for each answer, equal for equal ones; None where there is no answer.

    Right answers are one vote, since each equals the gold one, and no wrong answer joins them.
    Without `grader` the normal form decides alone.
    """
    forms = [
        None if answer is None else _RIGHT if right else normal_form(answer, grader)
        for answer, right in zip(answers, correct, strict=True)
    ]
    counts = Counter(form for form in forms if form is not None)
    if grader is None or is_settled(counts):
        return forms
    first = {form: answer for form, answer in zip(forms, answers, strict=True) if form is not None}
    joined = join(list(counts), first, grader)
    return [None if form is None else joined[form] for form in forms]


def normal_form(answer: str, grader: Grader | None = None) -> str:
    """A number as its exact value, other answers in plain notation."""
    if len(answer) > _LONGEST or (grader is not None and grader.name == "exact"):
        return answer
    is_math = grader is not None and grader.is_math
    value = _value(answer) if is_math else parse_quantity(answer)
    return f"= {value}" if value is not None else "".join(plain(answer).split())


def _value(answer: str) -> Fraction | None:
    try:
        return real(read(plain(answer)))
    except UnreadableError:
        return None


def is_settled(counts: Counter[str]) -> bool:
    """Whether one answer leads however the others are joined."""
    sizes = sorted(counts.values(), reverse=True)
    return len(sizes) < 2 or sizes[0] > sum(sizes[1:])


def join(forms: Sequence[str], first: dict[str, str | None], grader: Grader) -> dict[str, str]:
    """The leading form of each form: the first one that the grader calls equal."""
    pairs = [pair for pair in combinations(forms, 2) if may_be_equal(*pair)]
    asked = [(Gold(str(first[left])), str(first[right])) for left, right in pairs]
    joined = {form: form for form in forms}
    for (left, right), verdict in zip(pairs, grader.compare(asked), strict=True):
        if verdict is Verdict.CORRECT and joined[right] == right:
            joined[right] = joined[left]
    return joined


def may_be_equal(left: str, right: str) -> bool:
    """Whether two forms are worth comparing: neither is right, and not both are known numbers."""
    return _RIGHT not in (left, right) and not (left[:2] == right[:2] == "= ")
