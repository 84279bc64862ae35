"""Verdicts -> rewards -> advantages, of all tuples of a batch together.

Shape letters: P problems, M planner tuples for each, K strategies in each, L attempts for each
strategy, F facts of a tuple.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor

from .advantages import SolverGroup, Std, planner_advantages, solver_advantages
from .rewards import PlannerReward, outcome_rewards, planner_rewards


@dataclass(frozen=True)
class Scores:
    """What was found out about the tuples of P problems, and what follows from it.

    `facts_PMF` is of `metrics.rollout_facts`, `valid_PM` the judge's verdicts, `passed_PMKL` the
    verifier's; the others are those of `rewards` and `advantages`. NaN is unknown.
    """

    facts_PMF: Tensor
    valid_PM: Tensor
    passed_PMKL: Tensor
    outcome_PM: Tensor
    rewards_PM: Tensor
    advantages_PM: Tensor
    advantages_PMKL: Tensor

    @classmethod
    def of(
        cls,
        facts_PMF: Tensor,
        valid_PM: Tensor,
        passed_PMKL: Tensor,
        planner_reward: PlannerReward,
        solver_group: SolverGroup,
        std: Std,
    ) -> Scores:
        """Rewards the tuples and compares them (arXiv 2605.27000, section 3)."""
        parsed_PM = facts_PMF[..., 0].bool()
        outcome_PM = outcome_rewards(passed_PMKL).masked_fill(~parsed_PM, 0.0)
        rewards_PM = planner_rewards(valid_PM, outcome_PM, planner_reward)
        return cls(
            facts_PMF,
            valid_PM,
            passed_PMKL,
            outcome_PM,
            rewards_PM,
            planner_advantages(rewards_PM, std),
            solver_advantages(passed_PMKL, solver_group, std),
        )

    def first(self, problems: int) -> Scores:
        """Returns the scores of the first of the problems."""
        return Scores(*(getattr(self, field.name)[:problems] for field in fields(self)))
