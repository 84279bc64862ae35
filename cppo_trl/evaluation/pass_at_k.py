"""The unbiased estimator of pass@k."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


def pass_at_k(n: ArrayLike, c: ArrayLike, k: ArrayLike) -> np.ndarray | float:
    """The chance that k of n samples, drawn without replacement, hold one of the c correct ones.

    `1 - C(n-c, k) / C(n, k)`, unbiased for pass@k of the distribution that the n samples are from
    (arXiv 2107.03374, equation 1). The ratio is a product of k factors in [0, 1], so nothing
    overflows for any n.

    Args:
        n: samples drawn for a problem, n >= 1.
        c: correct samples among them, 0 <= c <= n.
        k: attempts that are allowed, 1 <= k <= n.
            All three are whole numbers or arrays of them, and are broadcast.

    Returns:
        A float for scalars, else an array of the broadcast shape, in [0, 1].

    Raises:
        ValueError: a value outside its range, or not a whole number.
    """
    n, c, k = np.broadcast_arrays(_whole("n", n), _whole("c", c), _whole("k", k))
    for name, bad, allowed in (
        ("n", n < 1, "1 or more"),
        ("c", (c < 0) | (c > n), "from 0 to n"),
        ("k", (k < 1) | (k > n), "from 1 to n"),
    ):
        if bad.any():
            first = tuple(int(values[bad][0]) for values in (n, c, k))
            raise ValueError(f"{name} must be {allowed}; given n, c, k = {first}")
    all_fail = np.ones(n.shape)
    for drawn in range(int(k.max(initial=0))):
        left = np.maximum(n - drawn, 1)  # 0 only where drawn >= k, where the factor is not used
        factor = np.maximum(n - c - drawn, 0) / left
        all_fail = np.where(drawn < k, all_fail * factor, all_fail)
    result = 1.0 - all_fail
    return float(result) if result.ndim == 0 else result


def _whole(name: str, value: ArrayLike) -> np.ndarray:
    array = np.asarray(value)
    if array.size and array.dtype.kind not in "iu":  # an empty list has the type float
        raise ValueError(f"{name} must hold whole numbers; its type is {array.dtype}")
    return array.astype(np.int64)
