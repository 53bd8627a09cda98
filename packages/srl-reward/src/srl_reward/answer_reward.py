"""The reward of a correct final answer, for RLVR and evaluation.

The answer is read after the thinking, where there is one. Left out: how answers are compared
(`srl_reward.grading`) and any form beyond the box.
"""

from collections.abc import Mapping, Sequence
from typing import ClassVar

from srl_reward.completions import Completion, Sample, read_answers, read_samples
from srl_reward.drgrpo.form import box_answer
from srl_reward.graders import grade_each, read_graders
from srl_reward.grading import Grader, Verdict, check_grader, find_answer
from srl_reward.output import InvalidOutput, InvalidReason, after_thinking
from srl_reward.reward import Reward, Scored


class AnswerReward(Reward):
    r"""`correct` for the right final answer in the last box, else `wrong`.

    Thinking is optional; an output that opens it and never closes it has no answer
    (`after_thinking`), nor has one that was cut off, so that running on is never rewarded. Where a
    box and GSM8K's `####` line may both stand, the last of them counts. Part: `answer`.

    Args:
        answer: The column with the gold answer; where it is None, so is the reward.
        grader: "exact", "aime", "boxed_integer", "gsm8k", "math" or "drgrpo"; None reads the column
            `grader`, and takes "math" where that is absent or None.
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
        graders = read_graders(columns, self.grader, len(samples), type(self).__name__)
        answers = [self._answer(*pair) for pair in zip(samples, graders, strict=True)]
        texts = [answer.text for answer in answers]
        verdicts = grade_each(graders, golds, texts, self.seconds)
        return [
            None if gold is None else self._score(answer, verdicts.get(index))
            for index, (gold, answer) in enumerate(zip(golds, answers, strict=True))
        ]

    def _score(self, answer: "_Answer", verdict: Verdict | None) -> Scored:
        right = verdict is Verdict.CORRECT
        reason = answer.reason
        if verdict not in (None, Verdict.CORRECT, Verdict.WRONG):
            reason = str(verdict)
        reward = self.correct if right else self.wrong
        return Scored(
            reward, reason, right, None, answer.text, parts=self._parts(answer, float(right))
        )

    def _parts(self, _: "_Answer", right: float) -> Mapping[str, float]:
        """What is logged beside the reward."""
        return {"answer": right}

    def _answer(self, sample: Sample, grader: Grader) -> "_Answer":
        """The answer of one completion."""
        return _answer(sample, grader)


class QuestionOnlyReward(AnswerReward):
    r"""`correct` for the right answer in a box, asked for or not, else `wrong`.

    As `AnswerReward`, but a box alone is an answer, under every grader. The form, a box with
    something in it, is logged and worth nothing. Parts: `format`, `answer`.

    Under the grader "drgrpo" the box too is found by Dr. GRPO's rules (`srl_reward.drgrpo`): in the
    whole output, thinking included, whose last `\boxed{` must close. An output that was cut off has
    no answer, as in their trainer.
    """

    default_name: ClassVar[str] = "question_only_reward"

    def _answer(self, sample: Sample, grader: Grader) -> "_Answer":
        if grader != "drgrpo" or sample.truncated:
            return _answer(sample, "exact")
        text = box_answer(sample.text)
        return _Answer(text) if text is not None else _Answer(reason="no_answer")

    def _parts(self, answer: "_Answer", right: float) -> Mapping[str, float]:
        return {"format": float(answer.text is not None), "answer": right}


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
