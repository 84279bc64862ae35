"""What the estimators over all k-subsets of a problem's samples share.

Shape letters: P problems, N samples of each, B the numbers 0..width-1.
"""

from __future__ import annotations

import torch
from torch import Tensor


def subset_shares(size: int, whole_P: Tensor, width: int) -> Tensor:
    """The share of the subsets of `whole` samples that lie within the first b of them.

    `C(b, size) / C(whole, size)`, a product of factors in [0, 1], so that nothing overflows.

    Args:
        size: of the subsets, 0 or more.
        whole_P: (P,), whole numbers of `size` or more; the rows of smaller ones mean nothing.
        width: one more than the largest b.

    Returns:
        (P, B) float64, for b = 0..width-1; 1 where b is `whole` or more.
    """
    b_B = torch.arange(width, dtype=torch.float64, device=whole_P.device)
    # C(b - 1, size) / C(b, size) = (b - size) / b: the share of b is the product from b + 1 on.
    factors_B = (b_B - size).clamp(min=0) / b_B.clamp(min=1)
    factors_PB = torch.where(b_B <= whole_P.unsqueeze(-1), factors_B, 1.0)
    factors_PB = torch.cat([factors_PB[:, 1:], torch.ones_like(factors_PB[:, :1])], dim=-1)
    return factors_PB.flip(-1).cumprod(-1).flip(-1)


def as_samples(rewards: Tensor) -> tuple[Tensor, torch.Size, torch.dtype]:
    """Returns (rewards as (P, N) float64, the shape given, the type of the result).

    Raises:
        ValueError: `rewards` has no shape (N,) or (P, N).
    """
    rewards = torch.as_tensor(rewards)
    if rewards.dim() not in (1, 2):
        raise ValueError(f"rewards has shape {tuple(rewards.shape)}; it must be (N,) or (P, N)")
    dtype = rewards.dtype if rewards.dtype.is_floating_point else torch.float32
    return torch.atleast_2d(rewards).double(), rewards.shape, dtype


def refuse_k(k: int, least: int, samples: int, use: str, below: bool = False) -> None:
    """Refuses a k that is no whole number from `least` to the number of samples, or below it.

    Raises:
        ValueError: with k, what it is for (`use`) and what is allowed.
    """
    most = samples - 1 if below else samples
    if isinstance(k, bool) or not isinstance(k, int) or not least <= k <= most:
        allowed = f"a whole number from {least} to {most}"
        if most < least:
            allowed = f"{least} or more, which needs more samples"
        raise ValueError(f"k is {k!r}; {use} with {samples} samples needs {allowed}")
