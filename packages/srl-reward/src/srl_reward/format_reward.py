"""Rewards for form: the SRL grammar, a box after the thinking, R1-zero's two tags.

Each reads an output strictly and names what is wrong with it. Left out: answers that are equal but
written otherwise, where a grader is not asked for.
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from srl_reward.answer import extract_boxed
from srl_reward.completions import Completion, Sample, read_answers, read_samples
from srl_reward.drgrpo import form
from srl_reward.graders import grade_each, read_graders
from srl_reward.grading import Grader, Verdict, check_grader
from srl_reward.output import InvalidOutput, InvalidReason, parse_step_output
from srl_reward.reward import Reward, Scored
from srl_reward.tagged import answer_in, parse_tagged_output, parse_thinking


class FormatReward(Reward):
    """1 for an output in the SRL grammar (`<think>…</think>`, then one step), else 0.

    Part: `format`, 1 or 0 whatever `valid` and `invalid` are.

    Args:
        valid: The reward of a valid output.
        invalid: The reward of an invalid one.
        think_prefilled: As in `StepReward`.
        name: Under which TRL logs the reward.
    """

    default_name: ClassVar[str] = "format_reward"

    def __init__(
        self,
        *,
        valid: float = 1.0,
        invalid: float = 0.0,
        think_prefilled: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(think_prefilled=think_prefilled, name=name)
        self.valid = valid
        self.invalid = invalid

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; a valid one is `exact`."""
        return [
            self._score(sample)
            for sample in read_samples(completions, columns, self.think_prefilled)
        ]

    def _score(self, sample: Sample) -> Scored:
        output = parse_step_output(
            sample.text, think_prefilled=sample.think_prefilled, truncated=sample.truncated
        )
        if isinstance(output, InvalidOutput):
            return Scored(self.invalid, output.reason, parts={"format": 0.0})
        thinking, action, number = output.thinking, output.action, output.number
        return Scored(self.valid, None, True, thinking, action, number, parts={"format": 1.0})


class BoxedThinkReward(Reward):
    r"""1 for non-empty thinking and then a `\boxed{}` that holds exactly the answer, else 0.

    The output starts with `<think>` (or the prompt ended with it) and closes it; the last complete
    box after it counts; case matters, outer white space doesn't. Parts: `format`, `answer`.

    Args:
        answer: The column with the gold answer; where it is None, so is the reward.
        think_prefilled: As in `StepReward`.
        name: Under which TRL logs the reward.
    """

    default_name: ClassVar[str] = "boxed_think_reward"

    def __init__(
        self,
        answer: str = "answer",
        *,
        think_prefilled: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(think_prefilled=think_prefilled, name=name)
        self.answer = answer

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The column with the gold answer."""
        return (self.answer,)

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `action` is the box's content."""
        samples = read_samples(completions, columns, self.think_prefilled)
        answers = read_answers(columns, self.answer, len(samples), type(self).__name__)
        return [
            None if gold is None else _score_boxed(sample, gold)
            for sample, gold in zip(samples, answers, strict=True)
        ]


def _score_boxed(sample: Sample, gold: str) -> Scored:
    parsed = parse_thinking(
        sample.text, think_prefilled=sample.think_prefilled, truncated=sample.truncated
    )
    if isinstance(parsed, str):
        return Scored(0.0, parsed, parts=_parts(form=False, right=False))
    thinking, rest = parsed
    if not thinking:
        return Scored(0.0, "empty_thinking", parts=_parts(form=False, right=False))
    box = extract_boxed(rest)
    if box is None:
        return Scored(0.0, "no_box", thinking=thinking, parts=_parts(form=False, right=False))
    right = box.strip() == gold.strip()
    parts = _parts(form=True, right=right)
    return Scored(float(right), None, right, thinking, box.strip(), parts=parts)


class R1ZeroReward(Reward):
    r"""R1-zero's template: `<think>…</think> <answer>…</answer>` and nothing else.

    The reward is `format_weight` for the form plus `answer_weight` for a correct answer, which
    counts in good form alone: by default 1 where both are right and 0 everywhere else. The answer
    is the tag's last box, or else its whole content. Parts: `format`, `answer`.

    Under the grader "drgrpo" the form too is by Dr. GRPO's rules (`srl_reward.drgrpo`), which let
    text before and behind the tags stand. An output that was cut off is in no form.

    Args:
        answer: The column with the gold answer; where it is None, so is the reward.
        grader: "exact", "aime", "boxed_integer", "gsm8k", "math" or "drgrpo"; None reads the column
            `grader`, and takes "math" where that is absent or None.
        format_weight: The value of the form, not negative.
        answer_weight: The value of the answer, not negative.
        seconds: Hard limit for comparing one pair of expressions.
        think_prefilled: As in `StepReward`.
        name: Under which TRL logs the reward.

    Raises:
        ValueError: The grader is unknown, or a weight is no such number.
        ImportError: It needs the extra `[math]`.
    """

    default_name: ClassVar[str] = "r1_zero_reward"

    def __init__(
        self,
        answer: str = "answer",
        *,
        grader: Grader | None = None,
        format_weight: float = 0.0,
        answer_weight: float = 1.0,
        seconds: float = 5.0,
        think_prefilled: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(think_prefilled=think_prefilled, name=name)
        if grader is not None:
            check_grader(grader)
        self.answer = answer
        self.grader = grader
        self.format_weight = check_weight("format_weight", format_weight)
        self.answer_weight = check_weight("answer_weight", answer_weight)
        if not format_weight and not answer_weight:
            raise ValueError("format_weight and answer_weight are both 0: every reward would be 0")
        self.seconds = seconds

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The column with the gold answer."""
        return (self.answer,)

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `action` is the answer tag's content."""
        samples = read_samples(completions, columns, self.think_prefilled)
        golds = read_answers(columns, self.answer, len(samples), type(self).__name__)
        graders = read_graders(columns, self.grader, len(samples), type(self).__name__)
        parsed = [_tagged(*pair) for pair in zip(samples, graders, strict=True)]
        answers = [
            None if isinstance(output, str) else _answer_in_tag(output[1], grader)
            for output, grader in zip(parsed, graders, strict=True)
        ]
        verdicts = grade_each(graders, golds, answers, self.seconds)
        return [
            None if gold is None else self._score(output, verdicts.get(index))
            for index, (output, gold) in enumerate(zip(parsed, golds, strict=True))
        ]

    def _score(self, output: tuple[str, str] | str, verdict: Verdict | None) -> Scored:
        if isinstance(output, str):
            return Scored(0.0, output, parts=_parts(form=False, right=False))
        right = verdict is Verdict.CORRECT
        reward = self.format_weight + (self.answer_weight if right else 0.0)
        return Scored(reward, None, right, *output, parts=_parts(form=True, right=right))


def check_weight(name: str, value: float) -> float:
    """The weight; ValueError where it is negative or not finite."""
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"{name} is {value!r}, expected a finite number that is not negative")
    return float(value)


def _tagged(sample: Sample, grader: Grader) -> tuple[str, str] | str:
    """Thinking and the answer tag's content, by the form that belongs to the grader."""
    if grader == "drgrpo":
        return _published_form(sample)
    return parse_tagged_output(
        sample.text, think_prefilled=sample.think_prefilled, truncated=sample.truncated
    )


def _published_form(sample: Sample) -> tuple[str, str] | str:
    if sample.truncated:
        return InvalidReason.TRUNCATED
    if not form.is_in_form(sample.text):
        return "missing_answer"
    return sample.text.partition("</think>")[0], form.tag_content(sample.text)


def _answer_in_tag(content: str, grader: Grader) -> str | None:
    """The answer that a tag's content gives; None for Dr. GRPO's rules where its box is broken."""
    return form.answer_of(content) if grader == "drgrpo" else answer_in(content)


def _parts(*, form: bool, right: bool) -> dict[str, float]:
    return {"format": float(form), "answer": float(right)}
