"""The reward of a correct final answer, for RLVR and evaluation.

The answer is read after the thinking, where there is one. Left out: how answers are compared
(`srl_reward.grading`) and any form beyond the box.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

from srl_reward.completions import Completion, Sample, read_answers, read_column, read_samples
from srl_reward.grading import Grader, Verdict, check_grader, find_answer, grade_batch
from srl_reward.output import InvalidOutput, InvalidReason, after_thinking
from srl_reward.reward import Reward, Scored


class AnswerReward(Reward):
    r"""`correct` for the right final answer in the last box, else `wrong`.

    Thinking is optional; an output that opens it and never closes it has no answer
    (`after_thinking`), nor has one that was cut off, so that running on is never rewarded. Where a
    box and GSM8K's `####` line may both stand, the last of them counts. Part: `answer`.

    Args:
        answer: The column with the gold answer; where it is None, so is the reward.
        grader: "exact", "aime", "boxed_integer", "gsm8k" or "math" (math-verify); None reads the
            column `grader`, and takes "math" where that is absent or None.
        correct: The reward of a right answer.
        wrong: The reward of a wrong one, or none.
        seconds: Hard limit for comparing one pair of expressions.
        think_prefilled: As in `StepReward`.
        name: Under which TRL logs the reward.

    Raises:
        ValueError: The grader is unknown.
        ImportError: It needs the extra `[math]`.
    """

    default_name: ClassVar[str] = "answer_reward"

    def __init__(
        self,
        answer: str = "answer",
        *,
        grader: Grader | None = None,
        correct: float = 1.0,
        wrong: float = 0.0,
        seconds: float = 5.0,
        think_prefilled: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(think_prefilled=think_prefilled, name=name)
        if grader is not None:
            check_grader(grader)
        self.answer = answer
        self.grader = grader
        self.correct = correct
        self.wrong = wrong
        self.seconds = seconds

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The column with the gold answer."""
        return (self.answer,)

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `action` is the answer found, `reason` why there is none."""
        samples = read_samples(completions, columns, self.think_prefilled)
        golds = read_answers(columns, self.answer, len(samples), type(self).__name__)
        graders = self._graders(columns, len(samples))
        answers = [_answer(sample, grader) for sample, grader in zip(samples, graders, strict=True)]
        verdicts = self._verdicts(graders, golds, answers)
        return [
            None if gold is None else self._score(answer, verdicts.get(index))
            for index, (gold, answer) in enumerate(zip(golds, answers, strict=True))
        ]

    def _graders(self, columns: Mapping[str, object], count: int) -> list[Grader]:
        if self.grader is not None:
            return [self.grader] * count
        if "grader" not in columns:
            return ["math"] * count
        names = read_column(columns, "grader", count, type(self).__name__)
        graders = ["math" if name is None else str(name) for name in names]
        for grader in set(graders):
            check_grader(grader)
        return [cast(Grader, grader) for grader in graders]

    def _verdicts(
        self, graders: Sequence[Grader], golds: Sequence[str | None], answers: Sequence["_Answer"]
    ) -> dict[int, Verdict]:
        by_grader: defaultdict[Grader, dict[int, tuple[str, str]]] = defaultdict(dict)
        for index, (grader, gold, answer) in enumerate(zip(graders, golds, answers, strict=True)):
            if gold is not None and answer.text is not None:
                by_grader[grader][index] = (gold, answer.text)
        verdicts: dict[int, Verdict] = {}
        for grader, pairs in by_grader.items():
            graded = grade_batch(grader, list(pairs.values()), seconds=self.seconds)
            verdicts.update(zip(pairs, graded, strict=True))
        return verdicts

    def _score(self, answer: "_Answer", verdict: Verdict | None) -> Scored:
        right = verdict is Verdict.CORRECT
        reason = answer.reason
        if verdict not in (None, Verdict.CORRECT, Verdict.WRONG):
            reason = str(verdict)
        reward = self.correct if right else self.wrong
        return Scored(reward, reason, right, None, answer.text, parts={"answer": float(right)})


class _Answer:
    """An answer, or the reason why there is none."""

    __slots__ = ("reason", "text")

    def __init__(self, text: str | None = None, reason: str | None = None) -> None:
        self.text = text
        self.reason = reason


def _answer(sample: Sample, grader: Grader) -> _Answer:
    if sample.truncated:
        return _Answer(reason=InvalidReason.TRUNCATED)
    after = after_thinking(sample.text, think_prefilled=sample.think_prefilled)
    if isinstance(after, InvalidOutput):
        return _Answer(reason=after.reason)
    text = find_answer(grader, after)
    return _Answer(text) if text is not None else _Answer(reason="no_answer")
