"""Similarity of two texts in [0, 1], by name: difflib's ratio, or one of rapidfuzz's measures.

`ratio` is the paper's, computed here in Rust; the others are for comparison.
"""

from collections.abc import Callable, Sequence
from typing import Literal, get_args

from srl_reward.sequence import ratio_batch

Metric = Literal["ratio", "indel", "levenshtein", "token_set"]
METRICS: tuple[Metric, ...] = get_args(Metric)


def similarities(
    metric: Metric,
    a: Sequence[str],
    b: Sequence[str],
    *,
    autojunk: bool = False,
    max_chars: int | None = None,
    threads: int | None = None,
) -> list[float]:
    """Return the similarity of each pair, the model's text first: swapping may change a ratio.

    Past `max_chars` nothing is read, and what isn't read counts as unlike: the value is scaled by
    the read share of both lengths, so a long text gains nothing by its length.
    """
    short_a = [text[:max_chars] for text in a]
    short_b = [text[:max_chars] for text in b]
    if metric == "ratio":
        values = ratio_batch(short_a, short_b, autojunk=autojunk, threads=threads)
    else:
        measure = _measure(metric)
        values = [measure(x, y) for x, y in zip(short_a, short_b, strict=True)]
    if max_chars is None:
        return values
    pairs = zip(a, b, short_a, short_b, strict=True)
    return [value * _read_share(*pair) for value, pair in zip(values, pairs, strict=True)]


def _read_share(a: str, b: str, short_a: str, short_b: str) -> float:
    total = len(a) + len(b)
    return (len(short_a) + len(short_b)) / total if total else 1.0


def _measure(metric: Metric) -> Callable[[str, str], float]:
    # Imported late: the default metric does without.
    from rapidfuzz import fuzz
    from rapidfuzz.distance import Indel, Levenshtein

    if metric == "indel":
        return Indel.normalized_similarity
    if metric == "levenshtein":
        return Levenshtein.normalized_similarity
    return lambda a, b: fuzz.token_set_ratio(a, b) / 100
