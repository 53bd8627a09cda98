"""Sequence matching beside its peers: one interleaved run, medians and their ratios.

Contenders that still have time left in their class take turns, twenty pairs each, and what counts
is the processor time of the calling thread, less that of an empty call: on a shared machine a long
call waits more often than a short one, and wall time would flatter the quick. A ratio compares
medians over the same pairs. Each value is checked against ours. Texts are English prose and code
from CPython's own help pages, in three relations: two unrelated places, an edited copy, and a text
partly rewritten. Left out: anything but the time of a call; memory is not measured.

    python benchmarks/reward.py --seconds 4 --output docs/benchmarks/reward.md
"""

import argparse
import difflib
import os
import platform
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from itertools import islice
from pathlib import Path
from pydoc_data.topics import topics

import cydifflib
import difflib_fast
from rapidfuzz.distance import Indel

from machine import processor
from srl_reward.sequence import ratio, ratio_batch

Text = str | list[int]
Pair = tuple[Text, Text]
Score = Callable[[Text, Text], float]

PROSE = "\n".join(topics[name] for name in sorted(topics)).encode("ascii", "replace").decode()
TOKENS = {word: 1_000 + 7 * rank for rank, word in enumerate(dict.fromkeys(PROSE.split()))}
MOST_PAIRS = 2_000
TURN = 20
# Beyond this many characters CPython takes from ten seconds to a minute with autojunk off.
PATIENCE = 5_000
ADVERSARIAL_LENGTH = 20_000


@dataclass
class Contender:
    """One way to score a pair, and whether its value must equal difflib's."""

    name: str
    score: Score
    is_exact: bool = True
    times: list[int] = field(default_factory=list)

    def time(self, a: Text, b: Text) -> float:
        """Score one pair and note how long it took."""
        began = time.thread_time_ns()
        value = self.score(a, b)
        self.times.append(max(1, time.thread_time_ns() - began - EMPTY_CALL_NS))
        return value

    @property
    def median_us(self) -> float:
        """Median of the calls so far, in microseconds."""
        return statistics.median(self.times) / 1_000


def empty_call_ns() -> int:
    """Return what timing a call of nothing shows."""
    nothing = Contender("nothing", lambda _a, _b: 0.0)
    for _ in range(10_000):
        nothing.time("", "")
    return int(statistics.median(nothing.times))


EMPTY_CALL_NS = 0  # while it is being measured
EMPTY_CALL_NS = empty_call_ns()


def contenders(autojunk: bool, is_text: bool) -> list[Contender]:
    """Ours first; difflib-fast knows text without autojunk only."""
    peers = [
        Contender("ours", lambda a, b: ratio(a, b, autojunk=autojunk)),
        Contender("CPython", lambda a, b: difflib.SequenceMatcher(None, a, b, autojunk).ratio()),
        Contender(
            "cydifflib", lambda a, b: cydifflib.SequenceMatcher(None, a, b, autojunk).ratio()
        ),
        Contender("rapidfuzz Indel", Indel.normalized_similarity, is_exact=False),
    ]
    if is_text and not autojunk:
        peers.insert(3, Contender("difflib-fast", difflib_fast.ratio))
    return peers


def race(pairs: Sequence[Pair], peers: list[Contender], seconds: float) -> None:
    """Let the contenders take turns; one stops for good when its seconds are spent."""
    values: dict[int, float] = {}
    for start in range(0, len(pairs), TURN):
        turn = start // TURN % len(peers)
        for peer in peers[turn:] + peers[:turn]:
            for at, (a, b) in enumerate(pairs[start : start + TURN], start):
                if sum(peer.times) > seconds * 1e9 or len(peer.times) < at:
                    break
                value = peer.time(a, b)
                if peer.is_exact:
                    assert values.setdefault(at, value) == value, (peer.name, a, b)


def piece(rng: random.Random, length: int) -> str:
    """Return a stretch of prose from anywhere."""
    at = rng.randrange(len(PROSE) - length)
    return PROSE[at : at + length]


def edited(rng: random.Random, text: str, share: float = 0.15) -> str:
    """Drop, replace and repeat a share of the words."""
    words = text.split(" ")
    kept: list[str] = []
    for word in words:
        draw = rng.random()
        if draw > share / 3:
            kept.append(word if draw > 2 * share / 3 else rng.choice(words))
        if draw > 1 - share / 3:
            kept.append(rng.choice(words))
    return " ".join(kept)


def rewritten(rng: random.Random, text: str) -> str:
    """Edit half of the stretches of sixty characters, and write the others anew."""
    parts = [text[at : at + 60] for at in range(0, len(text), 60)]
    return "".join(
        edited(rng, part, 0.3) if rng.random() < 0.5 else piece(rng, len(part)) for part in parts
    )


RELATIONS: dict[str, Callable[[random.Random, str], str]] = {
    "unrelated": lambda rng, text: piece(rng, len(text)),
    "edited": edited,
    "rewritten": rewritten,
}


def texts(rng: random.Random, length: int, relation: str) -> Iterator[Pair]:
    """Pairs of ASCII text."""
    while True:
        text = piece(rng, length)
        yield RELATIONS[relation](rng, text), text


def cjk(rng: random.Random, length: int, relation: str) -> Iterator[Pair]:
    """Pairs of ideographs: a word of the prose becomes one or two of 3,000 code points."""
    for a, b in texts(rng, 6 * length, relation):
        yield tuple(  # type: ignore[misc]
            "".join(chr(0x4E00 + TOKENS.get(word, 0) % 3_000) for word in str(text).split())[
                :length
            ]
            for text in (a, b)
        )


def tokens(rng: random.Random, length: int, relation: str) -> Iterator[Pair]:
    """Pairs of token ids, a word an id."""
    for a, b in texts(rng, 8 * length, relation):
        yield tuple([TOKENS.get(word, 0) for word in str(text).split()][:length] for text in (a, b))  # type: ignore[misc]


def adversarial(rng: random.Random, length: int) -> dict[str, Pair]:
    """Texts made to be hard; model output may be like them."""
    period = "".join(rng.choices("abcdefgh", k=50))
    before, fibonacci = "b", "a"
    while len(fibonacci) < length:
        before, fibonacci = fibonacci, fibonacci + before
    growing = "".join("a" * k + "X" for k in range(1, length))[:length] if length < 300 else ""
    growing = growing or "".join("a" * k + "X" for k in range(1, 300))[:length]

    def drawn(alphabet: str, weights: Sequence[int] | None = None) -> str:
        return "".join(rng.choices(alphabet, weights, k=length))

    def spaced() -> str:
        words = ("x" * rng.randint(1, 3) + " " * rng.randint(1, 60) for _ in range(length))
        return "".join(words)[:length]

    some, other = "a" * (length - 1), "ab" * (length // 2)
    return {
        "one letter": (some, some[:-7]),
        "aᵏb against aᵏc": (some + "b", some + "c"),
        "baᵏ against caᵏ": ("b" + some, "c" + some),
        "period 2 against 3": (other, "aba" * (length // 3)),
        "period 7, last letter differs": ("abacabd" * (length // 7), "abacabe" * (length // 7)),
        "period 50, shifted": (period * (length // 50), period[9:] + period * (length // 50 - 1)),
        "Fibonacci word, reversed": (fibonacci[:length], fibonacci[:length][::-1]),
        "Fibonacci word, letters swapped": (
            fibonacci[:length],
            fibonacci[:length].translate({97: 98, 98: 97}),
        ),
        "random binary": (drawn("ab"), drawn("ab")),
        "random binary, 9 to 1": (drawn("ab", [9, 1]), drawn("ab", [9, 1])),
        "random binary, 99 to 1": (drawn("ab", [99, 1]), drawn("ab", [99, 1])),
        "Thue-Morse, every third": (
            "".join("ab"[k.bit_count() % 2] for k in range(length)),
            "".join("ba"[(3 * k).bit_count() % 2] for k in range(length)),
        ),
        "runs of spaces": (spaced(), spaced()),
        "growing blocks": (growing, growing.replace("X", "Y")),
        "growing blocks, reversed": (growing, growing.replace("X", "Y")[::-1]),
    }


def row(name: str, peers: list[Contender], columns: Sequence[str]) -> str:
    """One line of a table: ours in microseconds, each peer with its ratio to ours."""
    ours, by_name = peers[0], {peer.name: peer for peer in peers}
    cells = [name, str(len(ours.times)), f"{ours.median_us:,.2f}"]
    for column in columns:
        peer = by_name.get(column)
        if peer is None:
            cells.append("–")
            continue
        same = statistics.median(ours.times[: len(peer.times)]) / 1_000
        cells.append(f"{peer.median_us:,.1f} ({peer.median_us / same:,.1f}×)")
    return "| " + " | ".join(cells) + " |"


COLUMNS = ("CPython", "cydifflib", "difflib-fast", "rapidfuzz Indel")
HEAD = (
    "| class | pairs | ours, µs | " + " | ".join(f"{name}, µs" for name in COLUMNS) + " |\n"
    "|---|--:|--:|" + "--:|" * len(COLUMNS)
)


def table(rng: random.Random, autojunk: bool, seconds: float) -> Iterator[str]:
    """All classes of one autojunk mode."""
    yield HEAD
    kinds = [("text", texts, n) for n in (10, 50, 200, 500, 2_000, 20_000)]
    kinds += [("CJK", cjk, n) for n in (200, 500, 2_000)]
    kinds += [("token ids", tokens, n) for n in (200, 2_000)]
    for kind, make, length in kinds:
        for relation in RELATIONS:
            count = min(MOST_PAIRS, max(60, 2_000_000 // length))
            pairs = list(islice(make(rng, length, relation), count))
            peers = contenders(autojunk, is_text=kind != "token ids")
            if length > PATIENCE and not autojunk:
                del peers[1]
            race(pairs, peers, seconds)
            yield row(f"{kind} {length:,}, {relation}", peers, COLUMNS)


def hard_table(rng: random.Random) -> Iterator[str]:
    """Time the adversarial classes: the slowest of three calls, in processor time."""
    characters = f"class, {ADVERSARIAL_LENGTH:,} characters"
    yield f"| {characters}, processor time | autojunk off, ms | on, ms | difflib-fast, off, ms |"
    yield "|---|--:|--:|--:|"
    for name, (a, b) in adversarial(rng, ADVERSARIAL_LENGTH).items():
        slowest = []
        for autojunk in (False, True):
            ours = contenders(autojunk, is_text=True)[0]
            slowest.append(max(processor_ms(ours.score, a, b) for _ in range(3)))
        assert difflib_fast.ratio(a, b) == ratio(a, b, autojunk=False)
        peer = processor_ms(difflib_fast.ratio, a, b)
        yield f"| {name} | {slowest[0]:.1f} | {slowest[1]:.2f} | {peer:,.1f} |"


def processor_ms(score: Score, a: Text, b: Text) -> float:
    """Return the milliseconds of processor time that one call takes."""
    began = time.thread_time_ns()
    score(a, b)
    return (time.thread_time_ns() - began) / 1e6


def batch_table(rng: random.Random) -> Iterator[str]:
    """Throughput of batches on one and two threads."""
    yield "| batch, autojunk off | one thread, pairs/s | two threads, pairs/s | gain |"
    yield "|---|--:|--:|--:|"
    for length in (200, 500, 2_000):
        pairs = list(islice(texts(rng, length, "edited"), 4_000_000 // length))
        a, b = ([str(pair[side]) for pair in pairs] for side in (0, 1))
        times: dict[int, list[float]] = {1: [], 2: []}
        for turn in range(20):
            for threads in (1, 2) if turn % 2 else (2, 1):
                began = time.perf_counter()
                ratio_batch(a, b, autojunk=False, threads=threads)
                times[threads].append(time.perf_counter() - began)
        one, two = (len(a) / statistics.median(times[threads]) for threads in (1, 2))
        batch = f"{len(a):,} of {length:,} characters"
        yield f"| {batch} | {one:,.0f} | {two:,.0f} | {two / one:.2f}× |"


def report(seed: int, seconds: float) -> Iterator[str]:
    """Yield the whole document, line by line."""
    rng = random.Random(seed)
    names = ("cydifflib", "difflib-fast", "rapidfuzz")
    versions = ", ".join(f"{name} {version(name)}" for name in names)
    yield "# Sequence matching beside its peers\n"
    yield (
        f"`{' '.join(['python', 'benchmarks/reward.py', *sys.argv[1:]])}` on {processor()}, "
        f"{os.cpu_count()} cores, CPython {platform.python_version()}, {versions}; seed {seed}. "
        "One interleaved run; medians of processor time over all pairs a contender had time for, "
        "and in brackets how many times ours that is over the same pairs. Other work shared the "
        "machine's caches, so read the ratios. CPython, cydifflib and "
        "difflib-fast give the same floats as ours, which the run checks (CPython is left out at "
        f"more than {PATIENCE:,} characters with autojunk off); rapidfuzz's Indel is "
        "another metric, shown as a yardstick.\n"
    )
    for autojunk in (False, True):
        yield f"## autojunk {'on' if autojunk else 'off'}\n"
        yield from table(rng, autojunk, seconds)
        yield ""
    yield "## Adversarial input\n"
    yield from hard_table(rng)
    yield "\n## Threads\n"
    yield from batch_table(rng)


def main() -> None:
    """Print the report, and write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=4, help="for each contender in a class")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    lines = []
    for line in report(options.seed, options.seconds):
        print(line, flush=True)
        lines.append(line)
    if options.output:
        options.output.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
