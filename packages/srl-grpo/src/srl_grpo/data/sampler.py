"""Which training prompt comes next: shuffled epochs without end, addressed by position.

The k-th prompt of a run is a function of (seed, k): the sampler's whole state is its position, and
a resumed run draws what the unbroken one would have drawn, epochs later too.
"""

from dataclasses import dataclass, field

import numpy as np

from srl_eval.generate import seed_for


@dataclass
class PromptSampler:
    """Indices of `size` prompts in seeded random order, a new permutation each epoch."""

    size: int
    seed: int
    position: int = 0
    _epoch: int = field(default=-1, init=False, repr=False)
    _order: list[int] = field(default_factory=list, init=False, repr=False)

    def draw(self, count: int) -> list[int]:
        """The next `count` indices; a batch may cross the border of two epochs."""
        drawn = [self._at(self.position + offset) for offset in range(count)]
        self.position += count
        return drawn

    @property
    def epoch(self) -> float:
        """Passes over the data so far."""
        return self.position / self.size

    def _at(self, position: int) -> int:
        epoch, place = divmod(position, self.size)
        if epoch != self._epoch:
            generator = np.random.default_rng(seed_for(self.seed, "epoch", epoch))
            self._order = generator.permutation(self.size).tolist()
            self._epoch = epoch
        return self._order[place]
