"""The SRL reward: how like the expert's step the model's step is, or -1 for an invalid output.

After "Supervised Reinforcement Learning" (arXiv 2510.25992): only the action is compared, the
thinking is free. Left out: parsing (`srl_reward.output`) and comparing (`srl_reward.similarity`).
"""

from collections.abc import Sequence
from typing import ClassVar

from srl_reward.completions import Completion, Sample, read_samples, read_texts
from srl_reward.output import (
    InvalidOutput,
    ParsedOutput,
    parse_step_output,
    render_step_output,
)
from srl_reward.reward import Reward, Scored
from srl_reward.similarity import METRICS, Metric, similarities
from srl_reward.steps import strip_step_number


class StepReward(Reward):
    """Similarity of the model's action to the expert's step in column `target`, in [0, 1].

    Invalid outputs get `invalid`; where the target is None, the reward is None. The argument order
    is (model's step, expert's step), which matters to difflib's ratio.

    Args:
        target: The column with the expert's step.
        autojunk: difflib's heuristic, which breaks down on second texts of 200 characters and more.
        strip_number: Compare without the leading step numbers.
        invalid: The reward of an invalid output.
        metric: "ratio" (difflib's, the paper's), "indel", "levenshtein" or "token_set".
        max_chars: Read no more of either text; None reads all. Bounds the time that a hostile text
            can take.
        threads: Threads for a batch; None chooses by its size.
        think_prefilled: Whether the prompts end with `<think>`; None reads it from the column
            `think_prefilled` or from the rendered `prompts`.
        name: Under which TRL logs the reward.

    Raises:
        ValueError: `metric` is unknown or `max_chars` less than 1.
    """

    default_name: ClassVar[str] = "step_reward"

    def __init__(
        self,
        target: str = "target_step",
        *,
        autojunk: bool = False,
        strip_number: bool = True,
        invalid: float = -1.0,
        metric: Metric = "ratio",
        max_chars: int | None = 20_000,
        threads: int | None = None,
        think_prefilled: bool | None = None,
        name: str | None = None,
    ) -> None:
        super().__init__(think_prefilled=think_prefilled, name=name)
        if metric not in METRICS:
            raise ValueError(f"metric is {metric!r}, expected one of {METRICS}")
        if max_chars is not None and max_chars < 1:
            raise ValueError(f"max_chars is {max_chars!r}, expected at least 1, or None for all")
        self.target = target
        self.autojunk = autojunk
        self.strip_number = strip_number
        self.invalid = invalid
        self.metric: Metric = metric
        self.max_chars = max_chars
        self.threads = threads

    @property
    def required_columns(self) -> tuple[str, ...]:
        """The column with the expert's step."""
        return (self.target,)

    def score(self, completions: Sequence[Completion], **columns: object) -> list[Scored | None]:
        """Score each completion; `exact` says that the action equals the expert's step."""
        samples = read_samples(completions, columns, self.think_prefilled)
        targets = read_texts(columns, self.target, len(samples), type(self).__name__)
        outputs = [_parse(sample) for sample in samples]
        pairs = {
            index: (self._comparable(output.action), self._comparable(target))
            for index, (output, target) in enumerate(zip(outputs, targets, strict=True))
            if isinstance(output, ParsedOutput) and target is not None
        }
        values = dict(zip(pairs, self._similarities(list(pairs.values())), strict=True))
        scored: list[Scored | None] = []
        for index, (output, target) in enumerate(zip(outputs, targets, strict=True)):
            if target is None:
                scored.append(None)
            elif isinstance(output, InvalidOutput):
                scored.append(Scored(self.invalid, output.reason))
            else:
                action, expert = pairs[index]
                scored.append(_valid(output, values[index], exact=action == expert))
        return scored

    def _comparable(self, text: str) -> str:
        return strip_step_number(text) if self.strip_number else text.strip()

    def _similarities(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        return similarities(
            self.metric,
            [action for action, _ in pairs],
            [expert for _, expert in pairs],
            autojunk=self.autojunk,
            max_chars=self.max_chars,
            threads=self.threads,
        )


def target_fault(step: str) -> str | None:
    """Why no output could earn the whole reward for this expert's step; None where one could.

    `<think>x</think>` and the step itself must be valid and score exactly 1. The answer is the
    reason why that output is invalid, or "not_exact".
    """
    scored = StepReward().score([render_step_output("x", step)], target_step=[step])[0]
    assert scored is not None, "the target is a text"
    if scored.reason is not None:
        return str(scored.reason)
    return None if scored.reward == 1.0 and scored.exact else "not_exact"


def _parse(sample: Sample) -> ParsedOutput | InvalidOutput:
    return parse_step_output(
        sample.text, think_prefilled=sample.think_prefilled, truncated=sample.truncated
    )


def _valid(output: ParsedOutput, value: float, *, exact: bool) -> Scored:
    return Scored(value, None, exact, output.thinking, output.action, output.number)
