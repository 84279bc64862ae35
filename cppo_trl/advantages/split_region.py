"""Split-region advantages: planner tuples compete within a problem, attempts within their group.

Shape letters: P problems, M planner tuples for each, K strategies in each, L attempts for each
strategy. The formulas are those of arXiv 2605.27000, section 3.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor

from .pkpo import pkpo_rewards

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


def strategy_advantages(contributions_PMK: Tensor) -> Tensor:
    """What the tokens of each strategy get on top of the advantage of their tuple.

    `B[m, i] = c[m, i] - mean_m c[m, i]`: the contribution of the i-th strategy of a tuple against
    those of the i-th strategies of the problem's other tuples. These are drawn independently of the
    m-th tuple, and `E[grad log pi(s_i)] = 0` whatever is written before s_i, so a mean of theirs
    changes the variance of the gradient and not what it is in expectation. The mean taken here
    holds the tuple's own contribution as well: as in GRPO, that scales the expected gradient by
    (M - 1) / M. No std divides it: contributions are shares of R_out, in [0, 1].

    Args:
        contributions_PMK: (P, M, K) of `rewards.strategy_contributions`; NaN marks an unknown one,
            which takes no part in the mean.

    Returns:
        (P, M, K), finite. 0 for unknown contributions, and where the known ones of a place are
        equal up to rounding, or fewer than two.
    """
    return _compare(contributions_PMK.transpose(1, 2), None).transpose(1, 2)


def solver_advantages(
    passed_PMK: Tensor,
    group: SolverGroup = "tuple",
    std: Std = "population",
    pass_k: int | None = None,
) -> Tensor:
    """The solver's advantages: each attempt's verdict against the attempts of its group.

    `A[g] = (V[g] - mean_g V) / std_g V`, over the n attempts g of

    - "tuple": one tuple (K * L of them), the method. They answer different prompts, so the baseline
      mixes the strategies' quality with the solver's skill;
    - "problem": one problem (M * K * L of them);
    - "strategy": one strategy (L of them), the only group in which all answer the same prompt.

    With `pass_k` it is `A[g] = n s_loo-1[g]` of `pkpo_rewards` (METHOD: section 9), what an attempt
    adds to the best of `pass_k` attempts of the group; n times, since the loss is a mean over
    sequences. Where attempts answer different prompts, that is the gradient of the mean over all
    subsets of `pass_k` prompts.

    Args:
        passed_PMK: (P, M, K), or (P, M, K, L) for L attempts a strategy; NaN marks an attempt that
            was not run or whose verdict is unknown, and takes no part in mean and std.
        group: the attempts to compare with; "strategy" needs L >= 2.
        std: as for `planner_advantages`; not used with `pass_k`.
        pass_k: from 2 to the size of a group, or None for the method.

    Returns:
        The shape given, finite, with zeros as in `planner_advantages`, or as in `pkpo_rewards`.
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
    groups = passed_PMK.flatten({"problem": 1, "tuple": 2, "strategy": 3}[group])
    if pass_k is None:
        return _standardise(groups, std).reshape(shape)
    counts = (~groups.isnan()).sum(-1, keepdim=True)
    rewards = pkpo_rewards(groups.flatten(0, -2), pass_k, "loo-1").reshape(groups.shape)
    return (counts * rewards).reshape(shape)


def solver_group_size(group: SolverGroup, tuples: int, strategies: int, attempts: int) -> int:
    """The attempts in a group, for M tuples of K strategies with L attempts at each."""
    return {
        "problem": tuples * strategies * attempts,
        "tuple": strategies * attempts,
        "strategy": attempts,
    }[group]


def _standardise(values: Tensor, std: Std) -> Tensor:
    """`(values - mean) / std` over the last dimension, of the known (not NaN) values."""
    if std not in get_args(Std):
        raise ValueError(f"std is {std!r}; it must be one of {get_args(Std)}")
    return _compare(values, std)


def _compare(values: Tensor, std: Std | None) -> Tensor:
    """As `_standardise`; None divides by nothing."""
    if values.dtype not in (torch.float32, torch.float64):
        values = values.float()
    known = ~torch.isnan(values)
    values = values.masked_fill(~known, 0)
    counts = known.sum(-1, keepdim=True)
    means = values.sum(-1, keepdim=True) / counts.clamp(min=1)
    centred = (values - means).masked_fill(~known, 0)
    freedom = counts - 1 if std == "trl" else counts
    stds = (centred.square().sum(-1, keepdim=True) / freedom.clamp(min=1)).sqrt()
    # Equal rewards such as 0.1 do not have a mean of exactly 0.1: without a tolerance relative to
    # their scale, rounding errors would be blown up to advantages of 1.
    scale = values.abs().amax(-1, keepdim=True)
    varied = (counts >= 2) & (stds > 8 * torch.finfo(values.dtype).eps * scale)
    if std is not None:
        centred = centred / (stds if std == "population" else stds + 1e-4)
    return torch.where(varied, centred, torch.zeros_like(centred))
