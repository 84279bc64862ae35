"""A plan, then a program that follows it; K times, independently (arXiv 2305.04091)."""

from __future__ import annotations

from collections.abc import Sequence

from cppo_trl.problems import Problem
from cppo_trl.prompts import DEFAULT_SOLVE, Prompts

from .method import (
    Attempted,
    Voice,
    at_least_one,
    check_method_template,
    fields,
    follow_plans,
    groups,
)

PLAN_TEMPLATE = """\
{statement}

{contract}

Do not write code yet. First say in your own words what is asked for and what the input can be. \
Then devise a plan for a program that solves the problem, step by step.\
"""


class PlanAndSolve:
    """K independent plans, with one program each.

    A plan that was cut at the token limit is followed as far as it goes, unlike a tuple, whose
    strategies would be missing.

    Args:
        planner, solver: who writes the plans, and the programs.
        num_attempts: K.
        plan_template: may use `{statement}` (required), `{contract}` and `{starter_code}`.
        solve_template: as `Prompts.solve`; its `{strategy}` is the plan.

    Raises:
        ValueError: a template has a field that it may not have, or K is less than 1.
    """

    def __init__(
        self,
        planner: Voice,
        solver: Voice,
        num_attempts: int,
        plan_template: str = PLAN_TEMPLATE,
        solve_template: str = DEFAULT_SOLVE,
    ):
        check_method_template("plan_and_solve", plan_template)
        self.planner = planner
        self.solver = solver
        self.num_attempts = at_least_one(num_attempts)
        self.plan_template = plan_template
        self.prompts = Prompts(solve=solve_template)

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        """Attempts each problem K times; see `Method`."""
        k = self.num_attempts
        repeated = [problem for problem in problems for _ in range(k)]
        plans = self.planner.answer([self.plan_template.format(**fields(p)) for p in repeated])
        plans_PK = groups(plans, k)
        return follow_plans(self.solver, self.prompts, problems, plans_PK, plans_PK)
