"""Ours against CPython's difflib over a great many drawn pairs: blocks and ratio, bit for bit.

Pairs come from one seed: alphabets from one letter to 600 ideographs and lone surrogates, even
or skewed; lengths mostly short, some around the popularity limit at 200 and some beyond it;
second sequences drawn anew or edited from the first; every other pair as integers' codes. Left
out: junk functions and bounds, which the property tests cover.

    python benchmarks/exactness.py --pairs 1000000 --seed 1 --processes 2
"""

import argparse
import difflib
import random
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial

from srl_reward.sequence import matching_blocks, ratio

ALPHABETS = (
    "a",
    "ab",
    "abcd",
    "etaoin shrdlu",
    "abcdefghijklmnopqrstuvwxyz ,.\n",
    "".join(map(chr, range(32, 127))),
    "éàüßñ aeiou",
    "".join(map(chr, range(0x4E00, 0x4E00 + 600))),
    "\ud800\udfff𝔸🙂 ab",
)
CHUNK = 1_000


def length(rng: random.Random) -> int:
    """Mostly short; one in ten around the popularity limit, one in a hundred beyond."""
    draw = rng.random()
    if draw < 0.9:
        return rng.randint(0, 80)
    return rng.randint(190, 230) if draw < 0.99 else rng.randint(230, 600)


def pair(rng: random.Random) -> tuple[str, str]:
    """Draw one pair."""
    alphabet = rng.choice(ALPHABETS)
    weights = [1 / (rank + 1) ** rng.choice((0, 1, 2)) for rank in range(len(alphabet))]
    a = rng.choices(alphabet, weights, k=length(rng))
    if rng.random() < 0.5:
        return "".join(a), "".join(rng.choices(alphabet, weights, k=length(rng)))
    b = list(a)
    for _ in range(rng.randint(0, 12)):
        at, size = rng.randrange(len(b) + 1), rng.choice((1, 1, 2, 5, 20))
        b[at : at + rng.choice((0, size))] = rng.choice(([], b[at : at + size] * 2, b[:size]))
    return "".join(a), "".join(b)


def mismatches(seed: int, chunk: int) -> list[str]:
    """Compare one chunk of pairs; returns what differs."""
    rng = random.Random(f"{seed}/{chunk}")
    found = []
    for at in range(CHUNK):
        a, b = pair(rng)
        autojunk = rng.random() < 0.5
        theirs = difflib.SequenceMatcher(None, a, b, autojunk)
        as_ints = at % 2 == 1
        ours = ([ord(c) for c in a], [ord(c) for c in b]) if as_ints else (a, b)
        same = matching_blocks(*ours, autojunk=autojunk) == theirs.get_matching_blocks()
        if not (same and ratio(*ours, autojunk=autojunk) == theirs.ratio()):
            found.append(f"chunk {chunk} pair {at}: {a!r} {b!r} autojunk={autojunk}")
    return found


def main() -> int:
    """Compare, report as it goes, and fail on any mismatch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--processes", type=int, default=2)
    options = parser.parse_args()
    chunks, began, wrong = range(-(-options.pairs // CHUNK)), time.monotonic(), 0
    with ProcessPoolExecutor(options.processes) as pool:
        results = pool.map(partial(mismatches, options.seed), chunks)
        for chunk, found in zip(chunks, results, strict=True):
            wrong += len(found)
            print(*found, sep="\n", end="\n" if found else "")
            if (chunk + 1) % 50 == 0:
                seconds = time.monotonic() - began
                print(
                    f"{(chunk + 1) * CHUNK:,} pairs, {wrong} mismatches, {seconds:.0f} s",
                    flush=True,
                )
    print(f"{len(chunks) * CHUNK:,} pairs, {wrong} mismatches")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
