"""How many prompts a round of dynamic sampling draws: what is missing, over the observed keep rate.

The rate is that of recent steps and of the rounds of this one, all of which every rank knows and a
checkpoint holds: a run killed between two rounds draws the same prompts again. Left out: drawing.
"""

import math

from pydantic import BaseModel, ConfigDict

from srl_grpo.rollout.groups import Selection

DECAY = 0.9
"""Weight of a step's groups one step later: a rate moves within some ten steps."""
MARGIN = 0.5
"""Standard deviations of the number of kept groups by which a round is drawn larger."""
LARGEST_ROUND = 2
"""Rollout batches of prompts that a round draws at most."""


class KeepRate(BaseModel):
    """Groups sampled and usable in recent steps, older ones with less weight."""

    model_config = ConfigDict(extra="forbid")
    sampled: float = 0.0
    usable: float = 0.0

    def of(self, selection: Selection) -> float:
        """The share of groups that can be trained on, with `selection`'s; above 0, at first 1.

        One usable group is added to both counts, so that a first round draws a plain batch.
        """
        sampled = self.sampled + len(selection.sampled)
        return (self.usable + selection.usable + 1.0) / (sampled + 1.0)

    def after(self, selection: Selection) -> "KeepRate":
        """The rate once the step that `selection` ends is one of the past."""
        return KeepRate(
            sampled=DECAY * (self.sampled + len(selection.sampled)),
            usable=DECAY * (self.usable + selection.usable),
        )


def prompts_for(missing: int, rate: float, margin: float = MARGIN) -> int:
    """Prompts of which `missing` are likely kept: n with n r - margin sqrt(n r (1-r)) = missing.

    The left side is the mean less `margin` standard deviations of the kept, each with chance r.
    Rounded to the nearest, since one prompt too many at a rate near 1 is lost at every step.
    """
    spread = margin * math.sqrt(1.0 - rate)
    root = (spread + math.sqrt(spread * spread + 4.0 * missing)) / (2.0 * math.sqrt(rate))
    return max(missing, math.floor(root * root + 0.5))


def round_size(selection: Selection, rate: KeepRate, max_rounds: int) -> int:
    """Prompts that the next round draws for `selection`; 0 where it may draw no more.

    All rounds together draw at most `max_rounds` batches, however small some of them were.
    """
    batch = selection.wanted
    left = max_rounds * batch - len(selection.sampled)
    if selection.full or selection.rounds >= max_rounds or left <= 0:
        return 0
    needed = prompts_for(batch - len(selection.kept), rate.of(selection))
    return min(needed, LARGEST_ROUND * batch, left)
