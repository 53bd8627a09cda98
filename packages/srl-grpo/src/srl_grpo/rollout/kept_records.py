"""What a round of expert iteration wrote, as records: every completion, and the pairs it kept.

The pairs are in the form that `srl-grpo sft --data` reads.
"""

from collections.abc import Iterator, Sequence

from srl_data.records import SftPair
from srl_grpo.data.prompts import TrainingPrompt
from srl_grpo.rollout.correct import Sifted
from srl_grpo.rollout.records import group_records


def sifted_records(
    step: int, sifted: Sequence[Sifted], prompts: Sequence[TrainingPrompt]
) -> Iterator[dict[str, object]]:
    """One record per completion; `prompts` holds each group's, with its hint where it had one."""
    for item, prompt in zip(sifted, prompts, strict=True):
        records = group_records(step, item.group, prompt, None)
        for record, fate in zip(records, item.fates, strict=True):
            yield {**record, "kept": fate == "kept", "fate": fate, "rationalised": item.hinted}


def kept_pairs(
    step: int, sifted: Sequence[Sifted], prompts: Sequence[TrainingPrompt]
) -> Iterator[SftPair]:
    """A pair for each kept completion; `prompts` holds each group's own, without a hint."""
    for item, prompt in zip(sifted, prompts, strict=True):
        for number, member in item.kept():
            mark = "h" if item.hinted else ""
            yield SftPair(
                id=f"{prompt.id}#{mark}{number}",
                prompt=str(prompt.columns["problem"]),
                response=member.text,
                meta={
                    "question": prompt.id,
                    "round": step,
                    "reward": member.reward,
                    "rationalised": item.hinted,
                    "answer": prompt.columns["answer"],
                    "grader": prompt.columns.get("grader"),
                },
            )
