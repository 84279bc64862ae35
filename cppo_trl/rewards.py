"""Rewards of planner tuples: did any attempt pass, may the planner be paid for it, and which of its
strategies earned it.

Shape letters: P problems, M planner tuples for each, K strategies in each, L attempts for each
strategy. NaN stands for "unknown": trouble of ours (a dead worker, an unreachable judge), never a
failure of the model.
"""

from __future__ import annotations

import asyncio
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

PlannerReward = Literal["product", "judge", "outcome", "sum"]
StrategyCredit = Literal["none", "leave-one-out", "shapley"]


def outcome_rewards(passed_PMKL: Tensor) -> Tensor:
    """The tuple's outcome R_out: the chance that K attempts, one for each strategy, hold a pass.

    With one attempt for each strategy it is the pass@K indicator `max_k passed` (arXiv 2605.27000,
    section 3). With L attempts it is `1 - prod_k (1 - mean_l passed)`, the mean of that indicator
    over all choices of one attempt for each strategy.

    Args:
        passed_PMKL: (P, M, K, L), or (P, M, K) for L = 1; a value of 1 or more passed, anything
            below failed, NaN is unknown.

    Returns:
        (P, M) in [0, 1]. Unknown attempts are left out of their strategy's mean. NaN where a
        strategy has no known attempt and no other strategy is certain to pass.
    """
    solved_PMK = _solved_shares(passed_PMKL)  # a NaN stays NaN through the product
    any_PM = 1 - (1 - solved_PMK).prod(-1)
    certain_PM = (solved_PMK == 1).any(-1)
    return torch.where(certain_PM, torch.ones_like(any_PM), any_PM)


def strategy_contributions(passed_PMKL: Tensor, kind: StrategyCredit) -> Tensor:
    """What each strategy of a tuple adds to the tuple's outcome R_out.

    With `p_i` the share of the known attempts at strategy i that pass, a set S of strategies has
    the outcome `R_out(S) = 1 - prod_{j in S} (1 - p_j)`: for the whole tuple that of
    `outcome_rewards`. A strategy i adds `p_i prod_{j in S} (1 - p_j)` to a set S without it.

    - "leave-one-out": what i adds to all others, `p_i prod_{j != i} (1 - p_j)`. It is 0 where
      another strategy is certain to pass.
    - "shapley": the mean of what i adds to those before it, over all K! orders of the tuple
      (Shapley, 1953). The contributions of a tuple sum to R_out. With each strategy at a uniform
      time in [0, 1] and i at t, each of the others is before i with chance t, so the mean is the
      integral over t of `p_i prod_{j != i} (1 - t p_j)`: a polynomial of degree K - 1, for which
      K // 2 + 1 points of Gauss-Legendre quadrature are exact.

    Args:
        passed_PMKL: as for `outcome_rewards`.
        kind: "leave-one-out" or "shapley".

    Returns:
        (P, M, K) in [0, 1]; 0 for a strategy whose known attempts all fail. NaN where it depends on
        a strategy without a known attempt.

    Raises:
        ValueError: another shape or kind.
    """
    solved_PMK = _solved_shares(passed_PMKL)
    K = solved_PMK.shape[-1]
    if kind == "leave-one-out":
        t_Q, weights_Q = np.ones(1), np.ones(1)
    elif kind == "shapley":
        nodes_Q, weights_Q = np.polynomial.legendre.leggauss(K // 2 + 1)
        t_Q, weights_Q = (1 + nodes_Q) / 2, weights_Q / 2  # from [-1, 1] to [0, 1]
    else:
        raise ValueError(f"kind is {kind!r}; it must be 'leave-one-out' or 'shapley'")
    solved_PMK = solved_PMK.double()
    itself_KK = torch.eye(K, dtype=torch.bool, device=solved_PMK.device)
    open_PMK = torch.zeros_like(solved_PMK)  # the outcome that the others leave to i
    for t, weight in zip(t_Q, weights_Q, strict=True):
        others_PMKK = (1 - t * solved_PMK).unsqueeze(-2).expand(-1, -1, K, -1)
        others_PMKK = others_PMKK.masked_fill(itself_KK, 1.0)
        certain_PMK = (others_PMKK == 0).any(-1)  # whatever is unknown of the rest
        open_PMK += weight * others_PMKK.prod(-1).masked_fill(certain_PMK, 0.0)
    nothing_PMK = (solved_PMK == 0) | (open_PMK == 0)
    return (solved_PMK * open_PMK).masked_fill(nothing_PMK, 0.0).float()


def planner_rewards(
    valid_PM: Tensor, outcome_PM: Tensor | None, kind: PlannerReward = "product"
) -> Tensor:
    """The planner's reward R_plan of each tuple, from the judge's verdict and the outcome.

    - "product": `valid * outcome`, the method (arXiv 2605.27000, section 3). A known 0 on either
      side gives 0 although the other side is unknown.
    - "judge": `valid` alone, the warm-up, which runs no solver.
    - "outcome": `outcome` alone, without the validity gate.
    - "sum": `valid + outcome`, denser than the product, and pays for valid tuples that fail.

    Args:
        valid_PM: (P, M), the judge's verdict, 1 or 0; 0 for a plan that does not parse, NaN for an
            unknown verdict.
        outcome_PM: (P, M), of `outcome_rewards`; 0 for a plan that does not parse. May be None for
            the kind "judge".

    Returns:
        (P, M), NaN where the reward is unknown.
    """
    if kind not in get_args(PlannerReward):
        raise ValueError(f"kind is {kind!r}; it must be one of {get_args(PlannerReward)}")
    if kind == "judge":
        return valid_PM.clone()
    if outcome_PM is None or outcome_PM.shape != valid_PM.shape:
        shape = None if outcome_PM is None else tuple(outcome_PM.shape)
        raise ValueError(f"outcome_PM has shape {shape}; it must be {tuple(valid_PM.shape)}")
    if kind == "outcome":
        return outcome_PM.clone()
    if kind == "sum":
        return valid_PM + outcome_PM
    product_PM = valid_PM * outcome_PM
    return product_PM.masked_fill((valid_PM == 0) | (outcome_PM == 0), 0)


def _solved_shares(passed_PMKL: Tensor) -> Tensor:
    """Returns (P, M, K), the share of each strategy's known attempts that pass; NaN without any."""
    passed_PMKL = torch.as_tensor(passed_PMKL)
    if passed_PMKL.dim() == 3:
        passed_PMKL = passed_PMKL.unsqueeze(-1)
    if passed_PMKL.dim() != 4:
        shape = tuple(passed_PMKL.shape)
        raise ValueError(f"passed_PMKL has shape {shape}; it must be (P, M, K) or (P, M, K, L)")
    known_PMKL = ~torch.isnan(passed_PMKL)
    return (passed_PMKL >= 1).sum(-1) / known_PMKL.sum(-1)


def call_reward_function(
    function: Callable[..., Any],
    prompts: Sequence[Any],
    completions: Sequence[Any],
    loop: asyncio.AbstractEventLoop | None = None,
    **columns: Any,
) -> list[float]:
    """Calls one TRL reward function, plain or async, and returns one reward for each completion.

    Args:
        function: called with `prompts`, `completions` and the columns, as TRL's `GRPOTrainer` does.
        loop: a running event loop, for async functions.

    Returns:
        One float for each completion; NaN where the function returned None (unknown).

    Raises:
        ValueError: the function returned another number of rewards, or is async without a loop.
    """
    rewards = function(prompts=prompts, completions=completions, **columns)
    if inspect.isawaitable(rewards):
        if loop is None:
            if inspect.iscoroutine(rewards):
                rewards.close()  # else Python warns that nobody awaited it
            raise ValueError(f"the reward function {function!r} is async; give a running `loop`")
        rewards = asyncio.run_coroutine_threadsafe(rewards, loop).result()
    if len(rewards) != len(completions):
        raise ValueError(
            f"the reward function {function!r} returned {len(rewards)} rewards for "
            f"{len(completions)} completions; it must return one for each"
        )
    return [math.nan if reward is None else float(reward) for reward in rewards]
