"""Pass-at-K Policy Optimization: rewards of single samples that add up to the gradient of max@k."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn.functional import pad

from .subsets import as_samples, refuse_k, subset_shares

Baseline = Literal["none", "loo", "loo-1"]


def pkpo_rewards(rewards: Tensor, k: int, baseline: Baseline = "none") -> Tensor:
    """PKPO's transform of the rewards of n samples, for the best of k (arXiv 2505.15201).

    These are the paper's values: `sum_i s_i grad log pi(x_i)` is an unbiased estimate of the
    gradient of `E[max of k rewards]`, which is pass@k for rewards of 0 and 1. A loss that averages
    over the n samples needs n times them. With the rewards g in ascending order, i from 0, and
    `rho_k(g)` the mean over all k-subsets of their maximum (METHOD: section 9):

    - "none": `s_i = [C(i, k-1) g_i + sum_{j>i} C(j-1, k-2) g_j] / C(n, k)`;
    - "loo": `s_i - k/(n-1) rho_k(g without i)`, for k < n;
    - "loo-1": `s_i - k/n rho_{k-1}(g without i)`, for k >= 2; in most cases of the lowest variance,
      never negative, and exactly 0 for the lowest reward.

    Args:
        rewards: (N,) or (P, N), finite, of any range and in any order; NaN marks an unknown reward,
            which takes no part.
        k: samples of which the best one counts.
        baseline: what is subtracted; none of them changes the expected gradient.

    Returns:
        The shape, order and float type given (float32 for other types). 0 for unknown rewards, and
        for all of a row with too few known ones for k.

    Raises:
        ValueError: another shape or baseline, or a k that N samples do not allow.
    """
    rewards_PN, shape, dtype = as_samples(rewards)
    N = shape[-1]
    if baseline not in get_args(Baseline):
        raise ValueError(f"baseline is {baseline!r}; it must be one of {get_args(Baseline)}")
    refuse_k(k, 2 if baseline == "loo-1" else 1, N, f"baseline={baseline!r}", baseline == "loo")

    sorted_PN, order_PN = rewards_PN.sort(-1)  # NaN goes last
    n_P = (~sorted_PN.isnan()).sum(-1)
    n_P1 = n_P.double().unsqueeze(-1)
    places_N = torch.arange(N, device=sorted_PN.device)
    # The maximum of a subset is the lowest reward plus the steps below the subset's highest member.
    # In steps, no terms cancel (where rewards are 0 or more), and equal rewards stay exactly equal.
    steps_PN = sorted_PN.diff(append=sorted_PN[:, -1:])  # from place j to j + 1
    steps_PN = steps_PN.masked_fill(places_N >= n_P1 - 1, 0.0)
    # The share of the subsets of k - 1 others that lie within the first b of them.
    below_PB = subset_shares(k - 1, n_P - 1, N + 1)

    if baseline == "loo-1":
        # i raises the maximum by the step at j < i where all others are at j or below.
        s_PN = _sums_before(steps_PN * below_PB[:, 1:])
    else:
        # The maximum is g_i plus the step at j >= i unless all others are at j or below.
        s_PN = sorted_PN + _sums_from(steps_PN * (1 - below_PB[:, :-1]))
    s_PN = s_PN * (k / n_P1)
    if baseline == "loo":
        below_PB = subset_shares(k, n_P - 1, N + 1)
        rho_PN = (
            sorted_PN[:, :1]
            + _sums_before(steps_PN * (1 - below_PB[:, 1:]))  # i is among the first j + 1
            + _sums_from(steps_PN * (1 - below_PB[:, :-1]))
        )
        s_PN = s_PN - rho_PN * (k / (n_P1 - 1))

    enough_P1 = n_P1 > k if baseline == "loo" else n_P1 >= k
    s_PN = torch.where(enough_P1 & (places_N < n_P1), s_PN, 0.0)
    return torch.zeros_like(s_PN).scatter(-1, order_PN, s_PN).reshape(shape).to(dtype)


def _sums_before(values_PN: Tensor) -> Tensor:
    """Sums of the values before each place."""
    return pad(values_PN.cumsum(-1), (1, -1))


def _sums_from(values_PN: Tensor) -> Tensor:
    """Sums of the values from each place on."""
    return values_PN.flip(-1).cumsum(-1).flip(-1)
