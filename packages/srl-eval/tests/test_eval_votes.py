"""Which answers are one vote: those that the task's own grader calls equal."""

from collections.abc import Callable, Sequence
from itertools import permutations

import pytest

from srl_eval.grading import Gold, Grader, Verdict, get_grader
from srl_eval.metrics import compute_metrics, majority_of
from srl_eval.samples import Sample
from srl_eval.votes import is_settled, votes

MATH = get_grader("math")
WRONG = [False] * 9

ONE_VOTE = [
    ["(1,2)", "(1, 2)", r"\left(1,2\right)"],
    [r"\frac{1}{2}", "0.5", r"\tfrac12", "1/2", r"50\%"],
    [r"\{1, 2\}", r"\{2,1\}", "1, 2"],
    ["x+1", "1+x"],
    [r"\sqrt{8}", r"2\sqrt2"],
    [r"90^\circ", "90°"],
    [r"\text{even}", "even", r"\textbf{Even}"],
    [r"\pm 2", "2, -2"],
    ["x = 3", "3", r"3\text{ cm}"],
    ["1{,}000", "1,000", "1000"],
    [r"y = 2x", "2x"],
    ["e^{i\\pi}", "-1"],
]
SEVERAL = [
    ["(1,2)", "(2,1)"],
    ["(1,2)", "[1,2]"],
    [r"\frac{1}{2}", "0.51"],
    ["2s", "2t"],
    ["6m", "6"],
    [r"\text{even}", r"\text{odd}"],
    ["y'", "y''"],
    [r"10\text{ a.m.}", r"10\text{ p.m.}"],
    [r"\pm 2", "2"],
    ["100,200", "100200"],
    ["2:30", "4:60"],
    ["x", "x+17"],
]


@pytest.mark.parametrize("answers", ONE_VOTE, ids=str)
def test_equal_answers_are_one_vote(answers: list[str]) -> None:
    for pair in permutations(answers, 2):
        assert len(set(votes(pair, WRONG[:2], MATH))) == 1, pair


@pytest.mark.parametrize("answers", SEVERAL, ids=str)
def test_other_answers_are_other_votes(answers: list[str]) -> None:
    assert len(set(votes(answers, WRONG[: len(answers)], MATH))) == len(answers)


def test_right_answers_are_one_vote_and_wrong_ones_never_join_it() -> None:
    labels = votes(["7", "7.0", "right", "7"], [True, True, False, False], MATH)
    assert labels[0] == labels[1]
    assert len({labels[0], labels[2], labels[3]}) == 3
    assert votes([None, "7"], [False, True], MATH)[0] is None


def test_the_task_s_own_grader_decides() -> None:
    answers = ["x+1", "1+x"]
    assert len(set(votes(answers, WRONG[:2], get_grader("exact")))) == 2
    assert len(set(votes(["18 eggs", "18"], WRONG[:2], get_grader("gsm8k")))) == 1
    assert len(set(votes(["1", "1.0"], WRONG[:2], get_grader("exact")))) == 2


def test_a_majority_of_one_answer_in_three_spellings(sample: Callable[..., Sample]) -> None:
    spelt = ["(1,2)", r"\left(1, 2\right)", "(1, 4/2)"]
    wrong = [sample(extracted=answer, verdict=Verdict.WRONG) for answer in spelt]
    right = [sample(extracted="(3,4)", verdict=Verdict.CORRECT)] * 2
    assert majority_of([*right, *wrong], MATH) == (0.0, False)
    assert majority_of([*right, *wrong[:2]], MATH) == (0.5, True)
    samples = [*right, *wrong]
    metrics = compute_metrics("t", "avg5", samples, partial=False, resamples=50, grader=MATH)
    assert (metrics.majority.mean, metrics.majority_ties) == (0.0, 0)


def counted(grader: Grader) -> tuple[Grader, list[int]]:
    asked: list[int] = []

    def compare(pairs: Sequence[tuple[Gold, str]]) -> list[Verdict]:
        asked.append(len(pairs))
        return grader.compare(pairs)

    return Grader("math", "", grader.gold, grader.extract, compare, True), asked


def test_only_what_can_change_the_winner_is_compared() -> None:
    grader, asked = counted(MATH)
    votes(["7"] * 5 + ["x", "y", "z"], WRONG[:8], grader)  # 5 lead whatever the others are
    assert asked == []
    votes([str(number) for number in range(32)], [False] * 32, grader)  # numbers, all different
    assert asked == [0]
    votes(["x+1", "1+x", "7", "8", "x+1"], WRONG[:5], grader)
    # Both formulas with one another and with each number: 1 + 2 + 2.
    assert asked[1:] == [5]


def test_settled() -> None:
    from collections import Counter

    assert is_settled(Counter({"a": 3, "b": 2}))
    assert not is_settled(Counter({"a": 3, "b": 2, "c": 1}))
    assert is_settled(Counter())
