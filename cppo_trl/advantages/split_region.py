"""Split-region advantages: planner tuples compete within a problem, attempts within their group.

Shape letters: P problems, M planner tuples for each, K strategies in each, L attempts for each
strategy. The formulas are those of arXiv 2605.27000, section 3.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

Std = Literal["population", "trl"]
SolverGroup = Literal["tuple", "problem", "strategy"]


def planner_advantages(rewards_PM: Tensor, std: Std = "population") -> Tensor:
    """The planner's advantages: each reward against the M tuples of the same problem.

    `A[m] = (R[m] - mean_m R) / std_m R`.

    Args:
        rewards_PM: (P, M); NaN marks an unknown reward, which takes no part in mean and std.
        std: "population" is the method's; "trl" divides by the sample std plus 1e-4, as TRL's GRPO.

    Returns:
        (P, M), finite. 0 for unknown rewards, for a group whose known rewards are equal up to
        rounding, and for a group with fewer than two known rewards.
    """
    rewards_PM = torch.as_tensor(rewards_PM)
    if rewards_PM.dim() != 2:
        raise ValueError(f"rewards_PM has shape {tuple(rewards_PM.shape)}; it must be (P, M)")
    return _standardise(rewards_PM, std)


def solver_advantages(
    passed_PMK: Tensor, group: SolverGroup = "tuple", std: Std = "population"
) -> Tensor:
    """The solver's advantages: each attempt's verdict against the attempts of its group.

    `A[g] = (V[g] - mean_g V) / std_g V`, over the attempts g of

    - "tuple": one tuple (K * L of them), the method. They answer different prompts, so the baseline
      mixes the strategies' quality with the solver's skill;
    - "problem": one problem (M * K * L of them);
    - "strategy": one strategy (L of them), the only group in which all answer the same prompt.

    Args:
        passed_PMK: (P, M, K), or (P, M, K, L) for L attempts a strategy; NaN marks an attempt that
            was not run or whose verdict is unknown, and takes no part in mean and std.
        group: the attempts to compare with; "strategy" needs L >= 2.
        std: as for `planner_advantages`.

    Returns:
        The shape given, finite, with zeros as in `planner_advantages`.
    """
    passed_PMK = torch.as_tensor(passed_PMK)
    shape = passed_PMK.shape
    if len(shape) not in (3, 4):
        raise ValueError(
            f"passed_PMK has shape {tuple(shape)}; it must be (P, M, K) or (P, M, K, L)"
        )
    if group not in get_args(SolverGroup):
        raise ValueError(f"group is {group!r}; it must be one of {get_args(SolverGroup)}")
    if group == "strategy" and (len(shape) == 3 or shape[3] < 2):
        raise ValueError(
            f"group is 'strategy' and passed_PMK has shape {tuple(shape)}; that group needs "
            "(P, M, K, L) with L >= 2 attempts a strategy"
        )
    kept = {"problem": 1, "tuple": 2, "strategy": 3}[group]
    return _standardise(passed_PMK.flatten(kept), std).reshape(shape)


def _standardise(values: Tensor, std: Std) -> Tensor:
    """`(values - mean) / std` over the last dimension, of the known (not NaN) values."""
    if std not in get_args(Std):
        raise ValueError(f"std is {std!r}; it must be one of {get_args(Std)}")
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    known = ~torch.isnan(values)
    values = values.masked_fill(~known, 0)
    counts = known.sum(-1, keepdim=True)
    means = values.sum(-1, keepdim=True) / counts.clamp(min=1)
    centred = (values - means).masked_fill(~known, 0)
    freedom = counts if std == "population" else counts - 1
    stds = (centred.square().sum(-1, keepdim=True) / freedom.clamp(min=1)).sqrt()
    # Equal rewards such as 0.1 do not have a mean of exactly 0.1: without a tolerance relative to
    # their scale, rounding errors would be blown up to advantages of 1.
    scale = values.abs().amax(-1, keepdim=True)
    varied = (counts >= 2) & (stds > 8 * torch.finfo(values.dtype).eps * scale)
    divisors = stds if std == "population" else stds + 1e-4
    return torch.where(varied, centred / divisors, torch.zeros_like(centred))
