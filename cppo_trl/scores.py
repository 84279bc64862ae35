"""Verdicts -> rewards -> advantages, of all tuples of a batch together.

Shape letters: P problems, M planner tuples for each, K strategies in each, L attempts for each
strategy, F facts of a tuple.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .advantages import (
    SolverGroup,
    Std,
    planner_advantages,
    solver_advantages,
    strategy_advantages,
)
from .rewards import (
    PlannerReward,
    StrategyCredit,
    outcome_rewards,
    planner_rewards,
    strategy_contributions,
)


@dataclass(frozen=True)
class Scores:
    """What was found out about the tuples of P problems, and what follows from it.

    `facts_PMF` is of `metrics.rollout_facts`, `valid_PM` the judge's verdicts, `passed_PMKL` the
    verifier's; the others are those of `rewards` and `advantages`. NaN is unknown. `credit_PMK` is
    what the tokens of each strategy get on top of `advantages_PM`: zeros in the method.
    """

    facts_PMF: Tensor
    valid_PM: Tensor
    passed_PMKL: Tensor
    outcome_PM: Tensor
    rewards_PM: Tensor
    advantages_PM: Tensor
    credit_PMK: Tensor
    advantages_PMKL: Tensor
    solver_group: SolverGroup

    @classmethod
    def of(
        cls,
        facts_PMF: Tensor,
        valid_PM: Tensor,
        passed_PMKL: Tensor,
        planner_reward: PlannerReward,
        solver_group: SolverGroup,
        std: Std,
        solver_pass_k: int | None = None,
        strategy_credit: StrategyCredit = "none",
    ) -> Scores:
        """Rewards the tuples and compares them (arXiv 2605.27000, section 3)."""
        parsed_PM = facts_PMF[..., 0].bool()
        outcome_PM = outcome_rewards(passed_PMKL).masked_fill(~parsed_PM, 0.0)
        rewards_PM = planner_rewards(valid_PM, outcome_PM, planner_reward)
        credit_PMK = torch.zeros_like(passed_PMKL[..., 0])
        if strategy_credit != "none":
            earned_PMK = strategy_contributions(passed_PMKL, strategy_credit)
            if planner_reward == "product":  # the planner is paid for them as for the outcome
                valid_PMK = valid_PM.unsqueeze(-1).expand_as(earned_PMK)
                earned_PMK = planner_rewards(valid_PMK, earned_PMK, "product")
            # A plan that does not parse has no strategies to compare others with.
            earned_PMK = earned_PMK.masked_fill(~parsed_PM.unsqueeze(-1), torch.nan)
            credit_PMK = strategy_advantages(earned_PMK)
        return cls(
            facts_PMF,
            valid_PM,
            passed_PMKL,
            outcome_PM,
            rewards_PM,
            planner_advantages(rewards_PM, std),
            credit_PMK,
            solver_advantages(passed_PMKL, solver_group, std, solver_pass_k),
            solver_group,
        )

    def first(self, problems: int) -> Scores:
        """Returns the scores of the first of the problems."""
        tensors = {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
        return replace(self, **{name: value[:problems] for name, value in tensors.items()})
