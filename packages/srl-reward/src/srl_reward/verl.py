"""verl's reward entry point: `compute_score`, to be named in `custom_reward_function`.

`extra_info["reward"]` chooses the reward for a sample; without it the data source's name does, and
what isn't known is an expert's step. Left out: verl itself, which isn't imported.
"""

from collections.abc import Mapping
from functools import cache

from srl_reward.registry import REWARDS, make_reward
from srl_reward.reward import Reward

COLUMN = "ground_truth"
"""What verl calls the gold text, whatever the reward calls it."""


def compute_score(
    data_source: str,
    solution_str: str,
    ground_truth: object,
    extra_info: Mapping[str, object] | None = None,
    *,
    reward: str | None = None,
    **_: object,
) -> dict[str, float | str]:
    """Score one response as verl's reward managers ask for it.

    Args:
        data_source: The data set's name: with "aime", "gsm8k" or "math" in it, `ground_truth` is a
            final answer, else the expert's step.
        solution_str: The response, without the prompt.
        ground_truth: The expert's step or the gold answer.
        extra_info: May hold `reward` (one of `srl_reward.REWARDS`, or your own as `module:name`),
            `truncated` and `think_prefilled`, and a `grader` for rewards that bring none.
        reward: The reward for samples that name none, from verl's `reward_kwargs`.
        _: What else verl passes, as its reward router's address.

    Returns:
        `score`, which verl optimises; `exact` and `invalid` (0 or 1) and `reason`, which it logs.

    Raises:
        ValueError: The reward is unknown, or `ground_truth` is not text.
    """
    info = extra_info or {}
    name = str(info.get("reward") or reward or _for_source(data_source))
    flags = {flag: [bool(info[flag])] for flag in ("truncated", "think_prefilled") if flag in info}
    grader = {"grader": [info["grader"]]} if "grader" in info else {}
    (scored,) = _reward(name).score([solution_str], **{COLUMN: [ground_truth]}, **flags, **grader)
    if scored is None:
        raise ValueError(
            f"ground_truth is {ground_truth!r}, expected what the reward {name!r} can compare with"
        )
    return {
        "score": scored.reward,
        "exact": float(scored.exact),
        "invalid": float(scored.reason is not None),
        "reason": str(scored.reason or ""),
    }


def _for_source(data_source: str) -> str:
    name = str(data_source).lower()
    return next((key for key in ("aime", "gsm8k", "math") if key in name), "step")


@cache
def _reward(name: str) -> Reward:
    registered = REWARDS.get(name)
    if registered is None or registered.target is None:
        return make_reward(name)
    return make_reward(name, **{registered.target: COLUMN})
