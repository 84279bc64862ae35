"""Pass@k Training: advantages of single samples, averaged over all groups of k samples."""

from __future__ import annotations

import torch
from torch import Tensor

from .subsets import as_samples, refuse_k, subset_shares


def pass_at_k_training_advantages(rewards: Tensor, k: int) -> Tensor:
    """The analytic advantages of Pass@k Training (arXiv 2508.10751) for rewards of 0 and 1.

    A group of k samples is rewarded with 1 if one of them passes, and compared with all `C(N, k)`
    groups of the problem; a sample's advantage is the mean over the groups that hold it. With
    `Rbar = 1 - C(N_neg, k) / C(N, k)` and `sigma = sqrt(Rbar (1 - Rbar))` (METHOD: section 9):

    - passed: `(1 - Rbar) / sigma`;
    - failed: `(1 - Rbar - C(N_neg - 1, k - 1) / C(N - 1, k - 1)) / sigma`, which is
      `-N_pos / N_neg` times the former: the advantages of a problem sum to 0.

    Args:
        rewards: (N,) or (P, N), in any order; 1 or more passed, what is below failed, and NaN marks
            an unknown one, which takes no part.
        k: size of the groups.

    Returns:
        The shape, order and float type given (float32 for other types). 0 for unknown rewards, and
        for all of a row with sigma = 0 (all groups pass, or none) or with fewer than k known ones.

    Raises:
        ValueError: another shape, or a k that N samples do not allow.
    """
    rewards_PN, shape, dtype = as_samples(rewards)
    N = shape[-1]
    refuse_k(k, 1, N, "a group")
    known_PN = ~rewards_PN.isnan()
    passed_PN = rewards_PN >= 1
    n_P = known_PN.sum(-1)
    failed_P1 = (known_PN & ~passed_PN).sum(-1, keepdim=True)
    all_fail_P1 = subset_shares(k, n_P, N + 1).gather(-1, failed_P1)  # 1 - Rbar

    of_passed_P1 = (all_fail_P1 / (1 - all_fail_P1)).sqrt()  # (1 - Rbar) / sigma
    of_failed_P1 = -of_passed_P1 * passed_PN.sum(-1, keepdim=True) / failed_P1
    varied_P1 = (n_P.unsqueeze(-1) >= k) & (all_fail_P1 > 0) & (all_fail_P1 < 1)
    advantages_PN = torch.where(passed_PN, of_passed_P1, of_failed_P1)
    advantages_PN = torch.where(known_PN & varied_P1, advantages_PN, 0.0)
    return advantages_PN.reshape(shape).to(dtype)
