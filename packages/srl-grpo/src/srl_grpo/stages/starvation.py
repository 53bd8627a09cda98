"""What to say of a run in which nothing can be learned: no group's rewards differ, step after step.

Reads the rollouts of the steps without an update and names the shares by reason, a few outputs
and the ways out. When a run is stopped for it is the trainer's to decide.
"""

import json
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import groupby, zip_longest

from srl_data.command.errors import CommandError
from srl_grpo.config.train import TrainConfig
from srl_grpo.objective.advantage import NOISE
from srl_grpo.run.directory import Rollout, RunDirectory
from srl_grpo.run.resume import resume_command, without_flags

SHOWN = 3
"""Outputs that a diagnosis shows."""
HEAD, TAIL = 100, 60
"""Characters shown of an output's two ends."""
TRUNCATED = "truncated"


class StarvedError(CommandError):
    """A run stopped since no step made an update; the message is the diagnosis."""


@dataclass
class Findings:
    """What the completions of some steps were like."""

    completions: int = 0
    groups: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    """Invalid completions by reason."""
    alike: Counter[float] = field(default_factory=Counter)
    """Groups whose rewards are all the same, by that reward."""
    outputs: dict[str, deque[Rollout]] = field(default_factory=dict)
    """The latest completions of each kind: its reason, or "valid"."""

    def take(self, group: list[Rollout]) -> None:
        """Count one group's completions."""
        self.groups += 1
        self.completions += len(group)
        values = [record["reward"] for record in group]
        rewards = [float(value) for value in values if isinstance(value, int | float)]
        if rewards and max(rewards) - min(rewards) <= NOISE * max(map(abs, rewards)):
            self.alike[rewards[0]] += 1
        for record in group:
            reason = record.get("reason")
            if reason:
                self.reasons[str(reason)] += 1
            kind = str(reason or "valid")
            self.outputs.setdefault(kind, deque(maxlen=SHOWN)).append(record)

    @property
    def invalid(self) -> float:
        """The share of invalid completions."""
        return self.reasons.total() / max(1, self.completions)

    @property
    def form_is_unknown(self) -> bool:
        """Whether what came to its end is invalid throughout, so that more room would not help."""
        finished = self.completions - self.reasons[TRUNCATED]
        return finished > 0 and self.reasons.total() == self.completions

    def examples(self) -> list[Rollout]:
        """An output of each of the most frequent kinds, then further ones of them."""
        ranked = sorted(self.outputs, key=lambda kind: -self.reasons.get(kind, 0))
        rounds = zip_longest(*(reversed(self.outputs[kind]) for kind in ranked))
        return [record for some in rounds for record in some if record is not None][:SHOWN]


def groups_of(records: Iterable[Rollout]) -> Iterator[list[Rollout]]:
    """The records of a rollout file, group by group."""
    number = 0

    def group_number(record: Rollout) -> int:
        nonlocal number
        number += record["sample"] == 0
        return number

    for _, group in groupby(records, group_number):
        yield list(group)


def examine(directory: RunDirectory, steps: Iterable[int]) -> Findings:
    """What the model wrote in `steps`."""
    found = Findings()
    for step in steps:
        for group in groups_of(directory.read_rollouts(step)):
            found.take(group)
    return found


def shares(counts: Counter[str], whole: int) -> str:
    """`name 12.5 %, …`, the most frequent first."""
    return ", ".join(
        f"{name} {100 * count / max(1, whole):.1f} %" for name, count in counts.most_common()
    )


def shortened(text: str) -> str:
    """`text` on one line, quoted, its middle left out where it is long."""
    if len(text) > HEAD + TAIL:
        text = f"{text[:HEAD]} […] {text[-TAIL:]}"
    return json.dumps(text.encode("utf-8", "replace").decode("utf-8"), ensure_ascii=False)


def remedies(found: Findings, config: TrainConfig) -> list[str]:
    """The ways out, the likeliest first."""
    longer = (
        f"let completions be longer: --max-new-tokens above {config.rollout.max_new_tokens} "
        f"({100 * found.reasons[TRUNCATED] / max(1, found.completions):.0f} % were cut off)"
    )
    form = [
        "teach the format first: `srl-grpo sft` on steps of experts, then train from its final/",
        longer,
        f"put the question in another form: --template (now {config.data.template}), in a new run",
    ]
    if found.reasons[TRUNCATED] * 2 > found.reasons.total() and not found.form_is_unknown:
        form[:2] = [form[1], form[0]]
    easier = (
        "make rewards differ: easier data, a larger --group-size, a higher --temperature, "
        "or a lower --eps-std"
    )
    return [*form, easier] if found.invalid > 0.5 else [easier, *form]


def lines(found: Findings, step: int, count: int, config: TrainConfig) -> Iterator[str]:
    """The diagnosis of `count` steps without an update, without the command that resumes."""
    cut = (
        " in a group with a completion that came to its end, as --mask-truncated asks"
        if config.algorithm.mask_truncated
        else ""
    )
    yield (
        f"no update in {count} step{'s' if count > 1 else ''} in a row, up to step {step}: no "
        f"group's rewards differ by {config.rollout.eps_std} or more{cut}, so nothing can be "
        "learned"
    )
    reasons = f": {shares(found.reasons, found.completions)}" if found.reasons else ""
    yield f"  {found.completions} completions, {100 * found.invalid:.1f} % invalid{reasons}"
    values = Counter({f"all {value:g}": number for value, number in found.alike.items()})
    alike = 100 * found.alike.total() / max(1, found.groups)
    rest = f": {shares(values, found.groups)}" if values else ""
    yield f"  {found.groups} groups, {alike:.1f} % with one reward throughout{rest}"
    for record in found.examples():
        kind = record.get("reason") or "valid"
        text = shortened(str(record["completion"]))
        yield f"  reward {record['reward']:g}, {kind}: {text}"
    yield "what may help:"
    yield from (f"  - {remedy}" for remedy in remedies(found, config))


def arguments_to_resume(step: int, config: TrainConfig) -> list[str]:
    """This process's arguments; with as much again where there is nothing left to do."""
    arguments = sys.argv[1:]
    if config.num_epochs is not None:  # where they end depends on the refills
        epochs = str(2 * config.num_epochs)
        return [*without_flags(arguments, ["--num-epochs"]), "--num-epochs", epochs]
    assert config.num_steps is not None, "one of the two is always there"
    if step < config.num_steps:
        return arguments
    return [*without_flags(arguments, ["--num-steps"]), "--num-steps", str(step + config.num_steps)]


def diagnosis(directory: RunDirectory, step: int, count: int, config: TrainConfig) -> str:
    """Several lines: what was seen in the last `count` steps, the ways out, how to resume."""
    steps = range(step - count + 1, step + 1)
    found = examine(directory, steps)
    again = resume_command(directory.path, arguments_to_resume(step, config))
    told = "\n".join(lines(found, step, count, config))
    return f"{told}\nthe checkpoint of step {step} is kept; continue with: {again}"
