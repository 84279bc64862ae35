"""Tests of significance beside the bootstrap: for single runs, and for many cells of a table."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import binomtest


def mcnemar(first_P: ArrayLike, second_P: ArrayLike) -> float:
    """The p-value of two single runs solving as many problems as each other (McNemar, exact).

    Only problems that one of the two solved tell them apart; under the hypothesis each is as likely
    to be the first one's as the second one's, a binomial test with chance 1/2, two-sided.

    Args:
        first_P, second_P: whether each problem was solved, (P,), of the same problems.

    Raises:
        ValueError: shapes that differ or are not (P,), values other than true and false.
    """
    first_P, second_P = _outcomes("first_P", first_P), _outcomes("second_P", second_P)
    if first_P.shape != second_P.shape:
        raise ValueError(
            f"first_P has {first_P.size} problems and second_P {second_P.size}; they must be "
            "the same problems"
        )
    only_first = int((first_P & ~second_P).sum())
    only_second = int((second_P & ~first_P).sum())
    if not only_first + only_second:
        return 1.0
    return float(binomtest(only_first, only_first + only_second).pvalue)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p-values of several tests, adjusted so that all claims together err as one may (Holm).

    The i-th smallest of m is multiplied by m - i (i from 0), and is never below the one before it;
    reject where the result is at most the level. Valid for tests that depend on each other.

    Raises:
        ValueError: a value outside [0, 1].
    """
    values = np.asarray(p_values, dtype=np.float64)
    if values.ndim != 1 or not ((values >= 0) & (values <= 1)).all():
        raise ValueError(f"p_values is {p_values!r}; it must hold numbers from 0 to 1")
    order = np.argsort(values, kind="stable")
    scaled = values[order] * (len(values) - np.arange(len(values)))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(scaled), 1.0)
    return adjusted.tolist()


def _outcomes(name: str, values: ArrayLike) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must hold one true or false for each problem")
    return array.astype(bool)
