"""Scores of repeated samples, and how sure one can be of them.

Problems are the clusters: samples of one problem are alike, so every error and interval is over
problems. All functions are pure. Where resampling finds no spread, `exact.py` has the interval.
"""

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np
from numpy.typing import NDArray

from srl_eval.exact import binomial_interval, change_interval

Floats = NDArray[np.float64]
_BLOCK = 512  # resamples made at once, which bounds the memory
_ROUNDING = 1e-9  # scores that are nearer to one another are equal


def clustered_stderr(score_P: Floats) -> float:
    """Standard error of the mean of per-problem scores: std(ddof=1)/sqrt(P); 0 for one problem."""
    if len(score_P) < 2:
        return 0.0
    return float(score_P.std(ddof=1) / np.sqrt(len(score_P)))


def alike(score_P: Floats) -> bool:
    """Whether all problems have one score, up to rounding."""
    return bool(np.ptp(score_P) <= _ROUNDING)


def share_interval(share_P: Floats, resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of per-problem shares, each from 0 to 1.

    Problems are resampled; where all scored alike that finds no spread, and the interval is the
    exact binomial one with a problem as a trial, however many samples it has. Of all shares with
    one mean, those of 0 or 1 spread most, so that it is rather too wide than too narrow.
    """
    if alike(share_P):
        return binomial_interval(float(share_P.sum()), len(share_P))
    return bootstrap_interval(share_P, resamples, seed)


def difference_interval(change_P: Floats, resamples: int, seed: int) -> tuple[float, float]:
    """95 % interval of the mean of per-problem differences of shares, each from -1 to 1.

    As `share_interval`: problems resampled, or the exact interval where all differ alike.
    """
    if alike(change_P):
        return change_interval(float(change_P.mean()), len(change_P))
    return bootstrap_interval(change_P, resamples, seed)


def bootstrap_interval(score_P: Floats, resamples: int, seed: int) -> tuple[float, float]:
    """95 % percentile interval of the mean of per-problem scores, problems resampled."""
    rng = np.random.default_rng(seed)
    problems = len(score_P)
    means: list[Floats] = []
    for start in range(0, resamples, _BLOCK):
        count = min(_BLOCK, resamples - start)
        means.append(score_P[rng.integers(0, problems, (count, problems))].mean(axis=1))
    low, high = np.quantile(np.concatenate(means), [0.025, 0.975])
    return float(low), float(high)


def pass_at_k(correct: int, samples: int, k: int) -> float:
    """Chance that k of the samples, drawn without replacement, hold a correct one.

    Unbiased: 1 - C(n-c, k)/C(n, k) (Chen et al. 2021, Codex).
    """
    if not 1 <= k <= samples:
        raise ValueError(f"k is {k}, expected 1 to {samples}")
    return 1.0 - comb(samples - correct, k) / comb(samples, k)


def pass_levels(samples: int) -> list[int]:
    """1, 2, 4, ... and the number of samples itself."""
    levels = [1 << power for power in range(samples.bit_length()) if 1 << power <= samples]
    return levels if levels[-1] == samples else [*levels, samples]


def majority(answers: Sequence[str | None], correct: Sequence[bool]) -> tuple[float, bool]:
    """Score of the most frequent answer of one problem, and whether there was a tie for it.

    Samples without an answer have no vote. Of several most frequent answers one is taken at random,
    so the score is the share of them that is correct. Without any answer the score is 0.
    """
    votes = Counter(answer for answer in answers if answer is not None)
    if not votes:
        return 0.0, False
    top = max(votes.values())
    leaders = [answer for answer, count in votes.items() if count == top]
    right = {answer for answer, good in zip(answers, correct, strict=True) if good}
    return sum(answer in right for answer in leaders) / len(leaders), len(leaders) > 1
