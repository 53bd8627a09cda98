"""Which of a round's completions are trained on: right ones, no text twice, so many per question.

A function of groups and options; the order of sampling decides. Left out: the training.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from srl_grpo.config.expert import SelectionSection
from srl_grpo.rollout.groups import Group, Scored

Fate = Literal["kept", "wrong", "cut_off", "duplicate", "over_cap"]
"""What became of a completion; `cut_off` is one called right that did not end by itself."""


@dataclass(frozen=True)
class Right:
    """Tells which scored completions are right."""

    min_reward: float | None = None
    """The least reward of one; None asks the rewards that judge."""

    def __call__(self, item: Scored) -> bool:
        """Whether a completion is right."""
        if self.min_reward is not None:
            return item.reward >= self.min_reward
        return bool(item.right)


def fates_of(group: Group, options: SelectionSection) -> list[Fate]:
    """What becomes of each member of a group, in order of sampling."""
    right, seen, kept = Right(options.min_reward), set[str](), 0
    fates: list[Fate] = []
    for member in group.members:
        fate = fate_of(member, right)
        text = member.text.strip()
        if fate == "kept" and options.deduplicate and text in seen:
            fate = "duplicate"
        elif fate == "kept" and options.max_per_question == kept:
            fate = "over_cap"
        seen |= {text} if fate == "kept" else set()
        kept += fate == "kept"
        fates.append(fate)
    return fates


def fate_of(member: Scored, right: Right) -> Fate:
    """A completion by itself: one that was cut off would teach to run on, a blank one silence."""
    if not right(member) or not member.text.strip():
        return "wrong"
    return "kept" if member.completion.finish_reason == "stop" else "cut_off"


@dataclass(frozen=True)
class Sifted:
    """A group, what became of each member, and whether it was asked with a hint."""

    group: Group
    fates: tuple[Fate, ...]
    hinted: bool = False

    @property
    def solved(self) -> bool:
        """Whether any completion was right and whole."""
        return "kept" in self.fates

    def kept(self) -> Iterator[tuple[int, Scored]]:
        """The kept members with their numbers."""
        for number, (member, fate) in enumerate(zip(self.group.members, self.fates, strict=True)):
            if fate == "kept":
                yield number, member


def sift(
    groups: Sequence[Group], options: SelectionSection, *, hinted: bool = False
) -> list[Sifted]:
    """Each group with what becomes of its members."""
    return [Sifted(group, tuple(fates_of(group, options)), hinted) for group in groups]


def counts(sifted: Sequence[Sifted]) -> dict[Fate, int]:
    """Completions by what became of them."""
    fates: tuple[Fate, ...] = ("kept", "wrong", "cut_off", "duplicate", "over_cap")
    found = [fate for item in sifted for fate in item.fates]
    return {fate: found.count(fate) for fate in fates}
