"""Bootstrap intervals and paired tests, over problems and seeds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Comparison:
    """The mean difference of two methods, its interval, and the p-value of there being none."""

    difference: float
    low: float
    high: float
    p_value: float


def bootstrap_interval(
    values_SP: ArrayLike, resamples: int = 2000, level: float = 0.95, seed: int = 0
) -> tuple[float, float, float]:
    """The mean of a score and its percentile bootstrap interval, over problems and seeds.

    Every resample draws P problems with replacement, with the scores of all seeds, since all seeds
    answer the same problems; and S seeds, for what sets whole seeds apart. To draw both and cross
    them would count the noise of single scores three times (Owen, The Pigeonhole Bootstrap, Annals
    of Applied Statistics 2007) and make the interval far too wide; so the seeds' part is scaled to
    what that noise does not explain. For the difference of two methods see `paired_bootstrap`.

    With few seeds that differ much the interval is narrow, as every bootstrap over few units is.

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
    values_SP = _scores("values_SP", values_SP)
    means_R = _resampled_means(values_SP, resamples, seed)
    return float(values_SP.mean()), *_interval(means_R, level)


def paired_bootstrap(
    first_SP: ArrayLike,
    second_SP: ArrayLike,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Comparison:
    """Whether the first method scores better or worse than the second on the same problems.

    The resamples are those of `bootstrap_interval`, of the differences by seed and problem. The
    p-value is two-sided, twice the share of resamples on the far side of zero (a tie counts as far,
    and the observed value as one resample more, so it is never 0): it falls below 1 - `level` where
    the interval leaves out zero, but for the rounding of one resample.

    Args:
        first_SP, second_SP: scores, (S, P) for S seeds and P problems or (P,) for one seed; column
            p is the same problem in both. Seeds are paired as well: row s of both is one draw.
        resamples, level, seed: as in `bootstrap_interval`.

    Raises:
        ValueError: shapes that differ; what `bootstrap_interval` refuses.
    """
    first_SP, second_SP = _scores("first_SP", first_SP), _scores("second_SP", second_SP)
    if first_SP.shape != second_SP.shape:
        raise ValueError(
            f"first_SP has shape {first_SP.shape} and second_SP {second_SP.shape}; they must be "
            "of the same seeds and problems"
        )
    differences_SP = first_SP - second_SP
    means_R = _resampled_means(differences_SP, resamples, seed)
    # A sum that is zero but for rounding is a tie.
    tiny = 1e-12 * max(1.0, np.abs(differences_SP).max())
    beyond = min((means_R <= tiny).sum(), (means_R >= -tiny).sum())
    p_value = min(1.0, 2 * (1 + int(beyond)) / (1 + resamples))
    return Comparison(float(differences_SP.mean()), *_interval(means_R, level), p_value)


def _scores(name: str, values_SP: ArrayLike) -> np.ndarray:
    """As (S, P); raises ValueError."""
    values_SP = np.asarray(values_SP, dtype=np.float64)
    shape = values_SP.shape
    if values_SP.ndim == 1:
        values_SP = values_SP[None]
    if values_SP.ndim != 2 or not values_SP.size:
        raise ValueError(f"{name} has shape {shape}; it must be (S, P) or (P,), and not empty")
    if not np.isfinite(values_SP).all():
        place = tuple(int(index) for index in np.argwhere(~np.isfinite(values_SP))[0])
        raise ValueError(
            f"{name} is {values_SP[place]} for seed {place[0]}, problem {place[1]}; every "
            "score must be finite (leave out a problem that could not be scored)"
        )
    return values_SP


def _resampled_means(values_SP: np.ndarray, resamples: int, seed: int) -> np.ndarray:
    if resamples < 1:
        raise ValueError(f"resamples is {resamples!r}; it must be 1 or more")
    rng = np.random.default_rng(seed)
    means_R = _resample(values_SP.mean(0), resamples, rng)
    if len(values_SP) > 1:
        means_R += _resample(_seed_effects(values_SP), resamples, rng)
    return means_R


def _resample(values: np.ndarray, resamples: int, rng: np.random.Generator) -> np.ndarray:
    # How often each unit is drawn says all about a resample.
    size = len(values)
    return rng.multinomial(size, np.full(size, 1 / size), size=resamples) @ values / size


def _seed_effects(values_SP: np.ndarray) -> np.ndarray:
    """How far each seed is from the mean, scaled to have the variance between seeds, (S,).

    That variance is the one of the seeds' means less what the noise of single scores adds to it
    (the estimate from a two-way analysis of variance), and at least 0.
    """
    seeds, problems = values_SP.shape
    effects_S = values_SP.mean(1) - values_SP.mean()
    seen = effects_S.var(ddof=1)
    residual_SP = values_SP - values_SP.mean(0) - effects_S[:, None]
    freedom = (seeds - 1) * (problems - 1)
    noise = (residual_SP**2).sum() / freedom / problems if freedom else 0.0
    if seen <= noise:
        return np.zeros(seeds)
    return effects_S * np.sqrt((seen - noise) / effects_S.var())


def _interval(means_R: np.ndarray, level: float) -> tuple[float, float]:
    if not 0 < level < 1:
        raise ValueError(f"level is {level!r}; it must be between 0 and 1")
    tail = (1 - level) / 2
    low, high = np.quantile(means_R, [tail, 1 - tail])
    return float(low), float(high)
