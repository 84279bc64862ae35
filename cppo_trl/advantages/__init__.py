"""Rewards -> advantages: pure tensor functions of the method and of its baselines."""

from .pass_at_k_training import pass_at_k_training_advantages
from .pkpo import Baseline, pkpo_rewards
from .split_region import (
    SolverGroup,
    Std,
    planner_advantages,
    solver_advantages,
    solver_group_size,
    strategy_advantages,
)

__all__ = [
    "Baseline",
    "SolverGroup",
    "Std",
    "pass_at_k_training_advantages",
    "pkpo_rewards",
    "planner_advantages",
    "solver_advantages",
    "solver_group_size",
    "strategy_advantages",
]
