"""One plan of K strategies that know of each other, with one program each: the method of CPPO."""

from __future__ import annotations

from collections.abc import Sequence

from cppo_trl.problems import Problem
from cppo_trl.rollouts import RolloutPolicy

from .method import Attempted, Spent


class PlannedTuple:
    """A tuple from the planner, then one attempt at each of its K strategies.

    With the adapters of `RolloutPolicy` it is the untrained planner (base and base), a trained
    planner with the base as solver, or CPPO (both trained). A plan that does not parse uses up its
    K attempts: K failures, of which none is made (METHOD, section 2).

    Args:
        policy: planner and solver.
    """

    def __init__(self, policy: RolloutPolicy):
        self.policy = policy
        self.num_attempts = policy.num_strategies

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        """Attempts each problem K times; see `Method`."""
        rollouts = self.policy.plan(problems)
        self.policy.solve(rollouts)
        nothing = (None,) * self.num_attempts
        return [
            Attempted(
                rollout.problem,
                rollout.strategies,
                tuple(turn.text for turn in rollout.attempts) or nothing,
                Spent.on([rollout.plan], rollout.attempts),
            )
            for rollout in rollouts
        ]
