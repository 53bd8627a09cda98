"""Whether a cut is any good: steps per solution, lengths, and how far steps differ.

A step can teach only if writing it scores better than writing another. The *separation* compares
each true step with another step of its solution, and with the step of the same place in another
solution: the mean similarity (the reward, difflib's exact ratio without its junk rule) that a
wrong step would earn, beside the 1 of the true one. All solutions are counted; similarities are
taken on a seeded sample, so that memory and time stay bounded.
"""

import random
import statistics
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate

from srl_reward import ratio_batch, strip_step_number

SAMPLED = 1000
"""Solutions that are kept for the separation."""
LONGEST_COMPARED = 4000
"""Characters of a step that are compared."""
TOO_LIKE = 0.5
"""Mean similarity of a wrong step from which a cut teaches little."""
TOO_LARGE = 0.7
"""Mean share of a text in its longest step from which the cut is hardly one."""


@dataclass(frozen=True)
class Separation:
    """Mean rewards of wrong steps; the true one's is 1."""

    pairs: int
    within: float
    """Of another step of the same solution."""
    across: float
    """Of the same place's step in another solution."""


@dataclass
class Measures:
    """What is gathered of the solutions that were cut."""

    seed: int = 42
    rules: Counter[str] = field(default_factory=Counter)
    steps: Counter[int] = field(default_factory=Counter)
    """Solutions by how many steps they have."""
    lengths: Counter[int] = field(default_factory=Counter)
    """Steps by how many characters they have without their numbers."""
    shares: "array[float]" = field(default_factory=lambda: array("d"))
    """Share of each text in its longest step."""
    sample: list[list[str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    @property
    def solutions(self) -> int:
        """Solutions that were cut."""
        return self.steps.total()

    def add(self, rule: str, steps: Sequence[str]) -> None:
        """Count one solution, and keep it with the chance that makes the sample even."""
        bodies = [strip_step_number(step) for step in steps]
        sizes = [len(body) for body in bodies]
        self.rules[rule] += 1
        self.steps[len(bodies)] += 1
        self.lengths.update(sizes)
        self.shares.append(max(sizes) / max(sum(sizes), 1))
        place = len(self.sample)
        if place >= SAMPLED:
            place = self._chance.randrange(self.solutions)
        if place < SAMPLED:
            self.sample[place : place + 1] = [bodies]

    def separation(self) -> Separation | None:
        """Of the sampled solutions; None where there are not two."""
        if len(self.sample) < 2:
            return None
        chance = random.Random(self.seed)
        within: list[tuple[str, str]] = []
        across: list[tuple[str, str]] = []
        for place, steps in enumerate(self.sample):
            at = chance.randrange(1, len(steps)) if len(steps) > 1 else 0
            others = [step for index, step in enumerate(steps) if index != at]
            rivals = [chance.randrange(len(self.sample)) for _ in range(8)]
            rival = next((r for r in rivals if r != place and len(self.sample[r]) > at), None)
            if others and rival is not None:
                within.append((chance.choice(others), steps[at]))
                across.append((self.sample[rival][at], steps[at]))
        if not within:
            return None
        return Separation(len(within), mean_ratio(within), mean_ratio(across))

    def warnings(self) -> list[str]:
        """What is wrong with the cut, a line each."""
        found = []
        share = statistics.fmean(self.shares) if self.shares else 0.0
        if share > TOO_LARGE:
            found.append(
                f"the longest step holds {share:.0%} of its text on average: the texts are hardly "
                "cut; try --by sentences or a smaller --max-chars"
            )
        apart = self.separation()
        if apart and max(apart.within, apart.across) > TOO_LIKE:
            found.append(
                f"a wrong step scores {max(apart.within, apart.across):.2f} where the true one "
                "scores 1: steps this alike teach little; try longer steps (--min-chars) or "
                "another --by"
            )
        return found

    def as_json(self) -> dict[str, object]:
        """The measures as they stand in the report file."""
        apart = self.separation()
        return {
            "solutions": self.solutions,
            "rules": dict(self.rules.most_common()),
            "steps_per_solution": quartiles(self.steps),
            "characters_per_step": quartiles(self.lengths),
            "share_of_longest_step": round(statistics.fmean(self.shares), 4)
            if self.shares
            else None,
            "separation": None
            if apart is None
            else {
                "pairs": apart.pairs,
                "another_step_of_the_solution": round(apart.within, 4),
                "same_step_of_another_solution": round(apart.across, 4),
            },
            "warnings": self.warnings(),
        }


def mean_ratio(pairs: Sequence[tuple[str, str]]) -> float:
    """The mean similarity of (written, true) steps."""
    written = [pair[0][:LONGEST_COMPARED] for pair in pairs]
    true = [pair[1][:LONGEST_COMPARED] for pair in pairs]
    return statistics.fmean(ratio_batch(written, true, autojunk=False))


def quartiles(counts: Counter[int]) -> dict[str, float]:
    """Minimum, quartiles, maximum and mean of values that are counted."""
    total = counts.total()
    if not total:
        return {}
    values = sorted(counts)
    ends = list(accumulate(counts[value] for value in values))
    at = {"min": 0.0, "25 %": 0.25, "median": 0.5, "75 %": 0.75, "95 %": 0.95, "max": 1.0}
    places = {name: round(q * (total - 1)) for name, q in at.items()}
    found = {name: float(values[bisect_right(ends, place)]) for name, place in places.items()}
    return {**found, "mean": round(sum(v * n for v, n in counts.items()) / total, 2)}
