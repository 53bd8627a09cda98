"""How sure a held-out change is: 95 % intervals, paired and clustered by problem."""

from collections.abc import Sequence

import numpy as np

from srl_eval.stats import Floats, alike, difference_interval

Interval = tuple[float, float]


def paired_interval(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[str],
    seed: int = 0,
    resamples: int = 2000,
    *,
    is_bounded: bool = True,
) -> Interval | None:
    """95 % interval of the mean difference `after - before`, by bootstrap over clusters.

    Items of one cluster (steps of one problem) are drawn together, since they are not independent.
    Where all clusters changed alike, drawing them again finds no spread: the interval is then
    the exact one of `srl_eval.stats`, and None for values that have no bounds (`is_bounded`, or
    seen outside of -1 to 1).
    """
    _, index_N = np.unique(np.asarray(clusters), return_inverse=True)
    count = int(index_N.max()) + 1
    difference_N = np.asarray(after, dtype=float) - np.asarray(before, dtype=float)
    sums_C = np.bincount(index_N, weights=difference_N, minlength=count)
    sizes_C = np.bincount(index_N, minlength=count)
    if alike(sums_C / sizes_C):
        unit = largest_change([*before, *after]) if is_bounded else None
        return None if unit is None else exact_interval(sums_C / sizes_C, unit)
    draws_RC = np.random.default_rng(seed).integers(count, size=(resamples, count))
    means_R = sums_C[draws_RC].sum(axis=1) / sizes_C[draws_RC].sum(axis=1)
    low, high = np.quantile(means_R, [0.025, 0.975])
    return float(low), float(high)


def exact_interval(change_C: Floats, unit: float) -> Interval:
    """The interval of changes that are all alike; `unit` is the largest one there can be."""
    low, high = difference_interval(change_C / unit, 0, 0)
    return unit * low, unit * high


def largest_change(values: Sequence[float]) -> float | None:
    """1 for shares, 2 for rewards from -1 to 1, None for values beyond."""
    low, high = min(values), max(values)
    if low < -1 or high > 1:
        return None
    return 1.0 if low >= 0 else 2.0
