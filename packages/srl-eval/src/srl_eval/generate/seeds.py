"""Counter-based randomness: a draw depends on its name, not on what was drawn before or beside it.

A row has a 64-bit seed made from a path such as (base, "aime24", document, sample); the uniform of
its token `i` is a function of (seed, i) alone. So a run that was interrupted resumes with the same
draws, and a row draws the same whatever rows share its batch.
"""

from collections.abc import Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_MASK_64 = (1 << 64) - 1


def seed_for(base: int, *path: int | str) -> int:
    """A 64-bit seed for the thing that `path` names, the same in every process and machine.

    `seed_for(0, 1, 23)`, `seed_for(0, 12, 3)`, `seed_for(0, "1", 23)` are unrelated.
    """
    digest = blake2b(digest_size=8, person=b"srl seed")
    for part in (base, *path):
        kind, text = ("s", part) if isinstance(part, str) else ("i", str(int(part)))
        data = text.encode()
        digest.update(f"{kind}{len(data)}:".encode() + data)
    return int.from_bytes(digest.digest(), "little")


def uniforms(seeds: NDArray[np.uint64], start: int, count: int) -> NDArray[np.float64]:
    """Uniforms in [0, 1) for tokens `start .. start + count - 1`: shape (len(seeds), count).

    splitmix64 (Steele, Lea and Flood 2014) at counter `position + 1` of the stream that starts at
    the row's seed. The top 52 bits are kept, so `u * total < total` holds in float64 for every
    total.
    """
    counters = np.arange(start + 1, start + count + 1, dtype=np.uint64)
    z = seeds[:, None] + counters[None, :] * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z = z ^ (z >> np.uint64(31))
    top: NDArray[np.float64] = (z >> np.uint64(12)).astype(np.float64)
    return np.ldexp(top, -52)


def seed_array(seeds: Sequence[int]) -> NDArray[np.uint64]:
    """Python integers as the array that `uniforms` takes; taken modulo 2**64."""
    return np.array([seed & _MASK_64 for seed in seeds], dtype=np.uint64)
