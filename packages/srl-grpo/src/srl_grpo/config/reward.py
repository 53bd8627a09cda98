"""The reward section of a training config: which rewards, their weights, their options.

Names, weights and options are checked here; a user's own code is run by `srl_grpo.rollout.rewards`.
"""

from collections import Counter
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, model_validator

from srl_data.command.config import Section
from srl_reward import REWARDS
from srl_reward.registry import unknown_reward

OPTIONS = (
    *("metric", "max_chars", "autojunk", "strip_number", "grader"),
    *("format_weight", "answer_weight"),
)
"""Fields that are constructor arguments of rewards, by the same names."""


def one_as_several(value: object) -> object:
    """One name or number as several."""
    return (value,) if isinstance(value, str | int | float) else value


class RewardSection(Section):
    """What a completion is worth."""

    reward: Annotated[tuple[str, ...], BeforeValidator(one_as_several), Field(min_length=1)] = (
        "step",
    )
    """step, format, boxed_think, r1_zero, question_only, answer, exact, aime, gsm8k, math; or your
    own function as module:name or file.py:name. --reward again for another: their weighted sum is
    trained on."""
    reward_weights: Annotated[tuple[float, ...], BeforeValidator(one_as_several)] = ()
    """Weight of each --reward, in their order (--reward-weights again for the next); default 1."""
    metric: Literal["ratio", "indel", "levenshtein", "token_set"] = "ratio"
    """Similarity of the step reward: difflib's ratio, or one of rapidfuzz's."""
    max_chars: Annotated[int, Field(ge=0)] = 20_000
    """Characters of a step that the step reward compares; 0 for all."""
    autojunk: bool = False
    """difflib's popularity heuristic, which distorts steps of 200 characters and more."""
    strip_number: bool = True
    """Compare steps without their leading numbers."""
    grader: Literal["exact", "aime", "boxed_integer", "gsm8k", "math", "drgrpo"] | None = None
    """How answer, question_only and r1_zero compare; default each record's own, else math. drgrpo
    is Dr. GRPO's published rules, of form too."""
    format_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    """What r1_zero gives for the form."""
    answer_weight: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 1.0
    """What r1_zero gives for a right answer in good form."""

    @property
    def weights(self) -> tuple[float, ...]:
        """The weight of each reward."""
        return self.reward_weights or (1.0,) * len(self.reward)

    def options_of(self, name: str) -> dict[str, object]:
        """The constructor's arguments of a reward of ours; none for a user's own."""
        taken = REWARDS[name].options if name in REWARDS else ()
        given = {option: getattr(self, option) for option in OPTIONS if option in taken}
        if given.get("max_chars") == 0:
            given["max_chars"] = None
        if given.get("grader") is None:
            given.pop("grader", None)
        return given

    @model_validator(mode="after")
    def _names_and_weights(self) -> "RewardSection":
        for name, times in Counter(self.reward).items():
            if ":" not in name and name not in REWARDS:
                raise unknown_reward(name)
            if times > 1:
                raise ValueError(
                    f"the reward {name!r} is given {times} times; give it once, with a weight"
                )
        count, names = len(self.reward_weights), ", ".join(self.reward)
        if count not in (0, len(self.reward)):
            raise ValueError(
                f"{count} reward_weights for {len(self.reward)} rewards ({names}); "
                "give one --reward-weights for each --reward"
            )
        if not any(self.weights):
            raise ValueError("every one of reward_weights is 0: nothing would be learned")
        return self

    @model_validator(mode="after")
    def _options_are_taken(self) -> "RewardSection":
        ours = [REWARDS[name].options for name in self.reward if name in REWARDS]
        for option in OPTIONS:
            value, field = getattr(self, option), RewardSection.model_fields[option]
            if value != field.default and not any(option in options for options in ours):
                owners = [name for name, known in REWARDS.items() if option in known.options]
                raise ValueError(
                    f"reward.{option} is {value!r}, but {', '.join(self.reward)} has no such "
                    f"option; leave it out, or give --reward {' or '.join(owners)}"
                )
        return self
