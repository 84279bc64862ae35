"""Bootstrap confidence intervals over problems and seeds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def bootstrap_interval(
    values_SP: ArrayLike, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of a score and its percentile bootstrap interval, over problems and seeds.

    Every resample draws P problems and S seeds with replacement and takes the mean of the scores
    at their crossings: all seeds answer the same problems, so a drawn problem is drawn for all of
    them, and a drawn seed for all problems. For the difference of two methods on the same problems
    and seeds, give the differences: the interval is then the paired one.

    With few seeds the interval is a little narrow, as every bootstrap over few units is: S seeds
    show only (S - 1) / S of the variance between seeds.

    Args:
        values_SP: scores, (S, P) for S seeds (training runs) and P problems, or (P,) for one seed,
            which is the plain bootstrap over problems.
        resamples: number of resamples.
        level: coverage of the interval, between 0 and 1.
        seed: seed of the resampling; the same arguments give the same interval.

    Returns:
        The mean of all values, and the lower and upper end of the interval.

    Raises:
        ValueError: a shape other than these, no values, a value that is not finite, `resamples`
            less than 1 or `level` outside (0, 1).
    """
    values_SP = np.asarray(values_SP, dtype=np.float64)
    shape = values_SP.shape
    if values_SP.ndim == 1:
        values_SP = values_SP[None]
    if values_SP.ndim != 2 or not values_SP.size:
        raise ValueError(f"values_SP has shape {shape}; it must be (S, P) or (P,), and not empty")
    if not np.isfinite(values_SP).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(values_SP))[0])
        raise ValueError(
            f"values_SP is {values_SP[place]} for seed {place[0]}, problem {place[1]}; every "
            "score must be finite (leave out a problem that could not be scored)"
        )
    if resamples < 1:
        raise ValueError(f"resamples is {resamples!r}; it must be 1 or more")
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; it must be between 0 and 1")
    seeds, problems = values_SP.shape
    rng = np.random.default_rng(seed)
    # How often each unit is drawn says all about a resample; shares of it weigh the values.
    weights_RS = rng.multinomial(seeds, np.full(seeds, 1 / seeds), size=resamples) / seeds
    weights_RP = rng.multinomial(problems, np.full(problems, 1 / problems), size=resamples)
    means_R = ((weights_RS @ values_SP) * weights_RP).sum(1) / problems
    tail = (1 - level) / 2
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return float(values_SP.mean()), float(low), float(high)
