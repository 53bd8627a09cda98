"""From sampled ids to scored completions: decode, ask the rewards, keep what they say.

Text exists only here; what is trained on are the ids. Left out: the rewards themselves
(`srl_grpo.rollout.rewards`).
"""

from collections.abc import Sequence

from transformers import PreTrainedTokenizerBase

from srl_data.command.errors import DataError
from srl_eval.generate import Completion, completion_text
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.learner.distributed import World
from srl_grpo.rollout.groups import Scored
from srl_grpo.rollout.rewards import Judged, RewardError, Rewards


class Scorer:
    """Scores completions of prompts with the rewards of a run."""

    def __init__(self, rewards: Rewards, tokenizer: PreTrainedTokenizerBase, world: World) -> None:
        self.rewards = rewards
        self._tokenizer, self._world = tokenizer, world

    def __call__(
        self, prompts: Sequence[TrainingPrompt], completions: Sequence[Completion]
    ) -> list[Scored]:
        """One `Scored` per completion; `prompts` holds each completion's own prompt. Collective.

        Rank 0 asks the rewards and tells the others: what a user's own says need not be the same
        twice, and every rank must keep the same groups. Raises RewardError on every rank.
        """
        texts = [completion_text(c, self._tokenizer) for c in completions]
        judged = self._of_main(prompts, completions, texts)
        return [
            scored(prompt, completion, text, judgement)
            for prompt, completion, text, judgement in zip(
                prompts, completions, texts, judged, strict=True
            )
        ]

    def _of_main(
        self,
        prompts: Sequence[TrainingPrompt],
        completions: Sequence[Completion],
        texts: Sequence[str],
    ) -> list[Judged | None]:
        found: list[Judged | None] = []
        fault: str | None = None
        if self._world.is_main:
            try:
                found = self._judge(prompts, completions, texts)
            except RewardError as error:
                fault = str(error)
        found, fault = self._world.from_main((found, fault))
        if fault is not None:
            raise RewardError(fault)
        return found

    def _judge(
        self,
        prompts: Sequence[TrainingPrompt],
        completions: Sequence[Completion],
        texts: Sequence[str],
    ) -> list[Judged | None]:
        columns = {
            name: [prompt.columns.get(name) for prompt in prompts]
            for name in (prompts[0].columns if prompts else ())
        }
        return self.rewards.score(
            texts,
            truncated=[c.finish_reason == "length" for c in completions],
            think_prefilled=[prompt.think_prefilled for prompt in prompts],
            **columns,
            prompts=[prompt.text for prompt in prompts],
            completion_ids=[list(c.token_ids) for c in completions],
            id=[prompt.id for prompt in prompts],
            meta=[prompt.meta for prompt in prompts],
        )


def scored(
    prompt: TrainingPrompt, completion: Completion, text: str, judged: Judged | None
) -> Scored:
    """What the trainer keeps of the rewards' verdict."""
    if judged is None:
        raise DataError(f"record {prompt.id!r}: no reward applies to it (completion {text[:60]!r})")
    details = judged.details
    return Scored(
        completion=completion,
        text=text,
        reward=judged.reward,
        rewards=dict(judged.values),
        reason=None if details is None or details.reason is None else str(details.reason),
        exact=None if details is None else details.exact,
        right=judged.right,
        parts={}
        if details is None
        else {"thinking": details.thinking, "action": details.action, **judged.parts},
    )
