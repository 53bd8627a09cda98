"""What to say of a round of expert iteration in which no completion was kept."""

import sys
from collections.abc import Iterator, Sequence

from srl_grpo.config.expert import ExpertConfig
from srl_grpo.rollout.correct import Sifted, counts
from srl_grpo.rollout.groups import Scored
from srl_grpo.run.directory import RunDirectory
from srl_grpo.run.resume import resume_command, without_flags
from srl_grpo.stages.starvation import SHOWN, shortened

WHEN = "--when-none-right"
ROUNDS_FLAG = "--n-ei-steps"


def diagnosis(
    directory: RunDirectory, step: int, sifted: Sequence[Sifted], config: ExpertConfig
) -> str:
    """Several lines: what was seen in round `step`, the ways out, how to resume."""
    told = "\n".join(lines(step, sifted, config))
    again = resume_command(directory.path, arguments_to_resume(step, config))
    return f"{told}\nthe checkpoint of round {step} is kept; continue with: {again}"


def lines(step: int, sifted: Sequence[Sifted], config: ExpertConfig) -> Iterator[str]:
    """The diagnosis without the command that resumes."""
    members = [member for item in sifted for member in item.group.members]
    whole, found = len(members), counts(sifted)
    mean = sum(member.reward for member in members) / whole
    cut = sum(member.completion.finish_reason == "length" for member in members)
    yield f"round {step}: no completion was right, so there was nothing to train on"
    yield (
        f"  {whole} completions of {len(sifted)} questions, mean reward {mean:g}, "
        f"{100 * cut / whole:.1f} % cut off at {config.rollout.max_new_tokens} tokens"
    )
    if found["cut_off"]:
        yield f"  {found['cut_off']} would have been right and were cut off"
    for member in examples(members):
        kind = member.reason or "valid"
        yield f"  reward {member.reward:g}, {kind}: {shortened(member.text)}"
    yield "what may help:"
    yield from (f"  - {remedy}" for remedy in remedies(config))


def examples(members: Sequence[Scored]) -> list[Scored]:
    """A few outputs, those of the highest reward first, of different texts."""
    ranked = sorted(members, key=lambda member: -member.reward)
    return list({member.text: member for member in reversed(ranked)}.values())[::-1][:SHOWN]


def remedies(config: ExpertConfig) -> Iterator[str]:
    """The ways out, the likeliest first."""
    yield "teach the form and the skill first: `srl-grpo sft`, then --model its final/"
    yield f"let completions be longer: --max-new-tokens above {config.rollout.max_new_tokens}"
    yield f"ask more: --num-rollouts above {config.rollout.group_size}, or a larger --batch-size"
    if not config.selection.rationalise:
        yield "show the answer to questions that were never solved: --rationalise"
    if config.selection.when_none_right == "stop":
        yield f"go on with other questions: {WHEN} continue"


def arguments_to_resume(step: int, config: ExpertConfig) -> list[str]:
    """This process's arguments, with more rounds where there are none left to do."""
    arguments = sys.argv[1:]
    if step < config.n_ei_steps:
        return arguments
    more = str(step + config.n_ei_steps)
    return [*without_flags(arguments, [ROUNDS_FLAG]), ROUNDS_FLAG, more]
