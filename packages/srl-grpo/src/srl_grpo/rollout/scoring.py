"""From sampled ids to scored completions: decode, ask the reward, keep what it says.

Text exists only here; what is trained on are the ids. Left out: the reward itself (`srl_reward`).
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

import srl_reward
from srl_data.command.errors import DataError
from srl_eval.generate import Completion, completion_text
from srl_grpo.config.train import RewardSection
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.rollout.groups import Scored
from srl_reward import StepReward


def make_reward(section: RewardSection) -> StepReward:
    """The reward that a config names."""
    return StepReward(autojunk=section.autojunk, strip_number=section.strip_number)


class Scorer:
    """Scores completions of prompts with one reward."""

    def __init__(self, reward: StepReward, tokenizer: PreTrainedTokenizerBase) -> None:
        self.reward = reward
        self._tokenizer = tokenizer

    def __call__(
        self, prompts: Sequence[TrainingPrompt], completions: Sequence[Completion]
    ) -> list[Scored]:
        """One `Scored` per completion; `prompts` holds each completion's own prompt."""
        texts = [completion_text(c, self._tokenizer) for c in completions]
        columns = {
            name: [prompt.columns.get(name) for prompt in prompts]
            for name in (prompts[0].columns if prompts else ())
        }
        scores = self.reward.score(
            texts,
            truncated=[c.finish_reason == "length" for c in completions],
            think_prefilled=[prompt.think_prefilled for prompt in prompts],
            **columns,
        )
        return [
            scored(completion, text, score)
            for completion, text, score in zip(completions, texts, scores, strict=True)
        ]


def scored(completion: Completion, text: str, score: srl_reward.Scored | None) -> Scored:
    """What the trainer keeps of a reward's verdict."""
    if score is None:
        raise DataError(f"the reward does not apply to a record (completion {text[:60]!r})")
    return Scored(
        completion=completion,
        text=text,
        reward=score.reward,
        reason=None if score.reason is None else str(score.reason),
        exact=score.exact,
        parts={"thinking": score.thinking, "action": score.action, **score.parts},
    )
