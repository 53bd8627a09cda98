"""Gold answers that rewards cannot compare with and graders that they do not ask, named first.

No completion could be right by them: a run trained on such answers alone would be worth nothing.
"""

from collections.abc import Iterator, Sequence

from srl_data.command.errors import DataError
from srl_grpo.data.prompts import Note, TrainingPrompt
from srl_grpo.rollout.rewards import Rewards
from srl_reward import AnswerReward, BoxedThinkReward, R1ZeroReward, Reward
from srl_reward.grading import Grader, unreadable


def check_golds(prompts: Sequence[TrainingPrompt], rewards: Rewards, note: Note) -> None:
    """A note that names the first gold answer that cannot be read; DataError where none can.

    Before it a note where records name other graders than the rewards'.
    """
    note_other_graders(prompts, rewards, note)
    found = list(unreadable_golds(prompts, rewards))
    if not found:
        return
    share, first = f"{len(found)} of {len(prompts)} answers", found[0]
    if len(found) == len(prompts):
        raise DataError(
            f"the rewards can read none of the {len(prompts)} answers; the first: {first}; give "
            "another --reward or --grader, or mend the data"
        )
    note(f"{share} cannot be read by their grader, so no completion is right; the first: {first}")


def note_other_graders(prompts: Sequence[TrainingPrompt], rewards: Rewards, note: Note) -> None:
    """A note where records name a grader and a reward compares by another, with the first of them.

    The reward's goes before the record's: it was chosen for this run.
    """
    for part in rewards.parts:
        used = grader_of(part.reward)
        named = [p for p in prompts if p.columns.get("grader") not in (None, used)]
        if used is None or not named:
            continue
        first = named[0]
        note(
            f"{len(named)} of {len(prompts)} records name another grader than the reward "
            f"{part.spec!r}, which compares by {used!r}; the first: record {first.id!r}, "
            f"{first.columns['grader']!r}"
        )


def grader_of(reward: Reward) -> Grader | None:
    """The grader that a reward brings; None where it asks the records', or compares no answers."""
    if isinstance(reward, BoxedThinkReward):
        return "exact"
    return reward.grader if isinstance(reward, AnswerReward | R1ZeroReward) else None


def unreadable_golds(prompts: Sequence[TrainingPrompt], rewards: Rewards) -> Iterator[str]:
    """Record, answer, grader and reason of each gold answer that some reward cannot read."""
    for prompt in prompts:
        for column, grader in asked(prompt, rewards):
            answer = prompt.columns.get(column)
            reason = unreadable(grader, answer) if isinstance(answer, str) else None
            if reason is not None:
                yield f"record {prompt.id!r}, {answer!r}, grader {grader!r}: {reason}"
                break


def asked(prompt: TrainingPrompt, rewards: Rewards) -> Iterator[tuple[str, Grader]]:
    """The columns with a gold answer that rewards read, and the graders that they ask."""
    for part in rewards.parts:
        reward = part.reward
        if isinstance(reward, AnswerReward | R1ZeroReward):
            yield reward.answer, reward.grader or prompt.columns.get("grader") or "math"  # type: ignore[misc]  # names were checked
