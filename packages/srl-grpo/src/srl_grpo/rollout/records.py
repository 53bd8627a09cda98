"""Rollouts as records: what the model was asked, what it wrote, and what that was worth."""

from collections.abc import Iterator, Sequence

from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.learner.batch import Sample
from srl_grpo.rollout.groups import Group, Selection


def rollout_records(
    step: int, selection: Selection, prompts: Sequence[TrainingPrompt], samples: Sequence[Sample]
) -> Iterator[dict[str, object]]:
    """One record per completion of `step`, kept groups and dropped ones alike.

    `samples` are those of the kept groups, in order; they hold advantages and penalties.
    """
    rest = iter(samples)
    trained = {id(group): [next(rest) for _ in group.members] for group in selection.kept}
    for group in selection.sampled:
        yield from group_records(step, group, prompts[group.index], trained.get(id(group)))


def group_records(
    step: int, group: Group, prompt: TrainingPrompt, samples: Sequence[Sample] | None
) -> Iterator[dict[str, object]]:
    """One record per member of a group; without advantages where it was not trained on."""
    target = "target_step" if "target_step" in prompt.columns else "answer"
    columns = {name: value for name, value in prompt.columns.items() if name != target}
    for number, member in enumerate(group.members):
        yield {
            **member.parts,  # first: a reward's own part never takes the place of a field below
            "step": step,
            "id": prompt.id,
            "sample": number,
            "prompt": prompt.text,
            "completion": member.text,
            "target": prompt.columns.get(target),
            "reward": member.reward,
            "rewards": member.rewards,
            "exact": member.exact,
            "penalty": None if samples is None else samples[number].penalty,
            "advantage": None if samples is None else samples[number].advantage,
            "reason": member.reason,
            "finish_reason": member.completion.finish_reason,
            "tokens": len(member.completion.token_ids),
            "weights_version": member.completion.weights_version,
            "kept": samples is not None,
            "columns": columns,
        }
