"""Rewards by name, for commands and configs that choose one.

Left out: what a reward does, a user's own (`srl_reward.custom`), and several rewards at once.
"""

import difflib
import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field

from srl_reward.answer_reward import AnswerReward, QuestionOnlyReward
from srl_reward.custom import load_reward
from srl_reward.format_reward import BoxedThinkReward, FormatReward, R1ZeroReward
from srl_reward.reward import Reward
from srl_reward.step_reward import StepReward


@dataclass(frozen=True, slots=True)
class RegisteredReward:
    """A reward's class, the constructor arguments that its name fixes, and the column it reads.

    `target` is the constructor argument that names the column with the gold text; None where the
    reward reads no such column.
    """

    kind: type[Reward]
    target: str | None
    fixed: Mapping[str, object] = field(default_factory=dict)

    @property
    def default_column(self) -> str | None:
        """The column that the reward reads where no other is named."""
        if self.target is None:
            return None
        return str(inspect.signature(self.kind).parameters[self.target].default)

    @property
    def options(self) -> tuple[str, ...]:
        """The constructor arguments that a caller may give."""
        return tuple(
            name for name in inspect.signature(self.kind).parameters if name not in self.fixed
        )


REWARDS: Mapping[str, RegisteredReward] = {
    "step": RegisteredReward(StepReward, "target"),
    "format": RegisteredReward(FormatReward, None),
    "boxed_think": RegisteredReward(BoxedThinkReward, "answer"),
    "r1_zero": RegisteredReward(R1ZeroReward, "answer"),
    "question_only": RegisteredReward(QuestionOnlyReward, "answer"),
    "answer": RegisteredReward(AnswerReward, "answer"),
    "exact": RegisteredReward(AnswerReward, "answer", {"grader": "exact"}),
    "aime": RegisteredReward(AnswerReward, "answer", {"grader": "aime"}),
    "gsm8k": RegisteredReward(AnswerReward, "answer", {"grader": "gsm8k"}),
    "math": RegisteredReward(AnswerReward, "answer", {"grader": "math"}),
}
"""Every reward by its name; `answer` takes its grader as an option, the last four fix it."""


def make_reward(name: str, **options: object) -> Reward:
    """Return the reward called `name`, constructed with `options`.

    `module:name` and `file.py:name` are a user's own (`load_reward`).

    >>> make_reward("step", metric="levenshtein")(["<think>a</think>1. b"], target_step=["1. b"])
    [1.0]

    Raises:
        ValueError: There is no such reward, it takes no such option, or not that value.
        ImportError: Its grader needs the extra `[math]`.
    """
    if ":" in name:
        return load_reward(name, **options)
    registered = REWARDS.get(name)
    if registered is None:
        raise unknown_reward(name)
    refused = sorted(set(options) - set(registered.options))
    if refused:
        raise ValueError(
            f"the reward {name!r} takes no option {', '.join(refused)}; "
            f"it takes {', '.join(registered.options)}"
        )
    return registered.kind(**{**registered.fixed, **options})  # type: ignore[arg-type]  # checked above, by name


def unknown_reward(name: str) -> ValueError:
    """What to say of a name that no reward has, with the nearest one."""
    near = difflib.get_close_matches(name, REWARDS, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    own = "your own is module:name or file.py:name"
    return ValueError(f"unknown reward {name!r}; {hint}known: {', '.join(REWARDS)}; {own}")
