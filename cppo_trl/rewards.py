"""Rewards of planner tuples: did any attempt pass, and may the planner be paid for it.

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

import torch
from torch import Tensor

PlannerReward = Literal["product", "judge", "outcome", "sum"]


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
    passed_PMKL = torch.as_tensor(passed_PMKL)
    if passed_PMKL.dim() == 3:
        passed_PMKL = passed_PMKL.unsqueeze(-1)
    if passed_PMKL.dim() != 4:
        shape = tuple(passed_PMKL.shape)
        raise ValueError(f"passed_PMKL has shape {shape}; it must be (P, M, K) or (P, M, K, L)")
    known_PMKL = ~torch.isnan(passed_PMKL)
    counts_PMK = known_PMKL.sum(-1)
    # 0 / 0 is NaN where a strategy has no known attempt, and stays NaN through the product.
    solved_PMK = (passed_PMKL >= 1).sum(-1) / counts_PMK
    any_PM = 1 - (1 - solved_PMK).prod(-1)
    certain_PM = (solved_PMK == 1).any(-1)
    return torch.where(certain_PM, torch.ones_like(any_PM), any_PM)


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
