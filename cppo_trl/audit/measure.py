"""Draws the tuples of an audit: plans, verdicts of the judge, attempts, verdicts, rewards."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import torch
from accelerate.utils import gather_object
from tqdm.auto import tqdm

from accelerate import PartialState
from cppo_trl.judges import Judge, StrategyTuple
from cppo_trl.problems import Problem
from cppo_trl.rewards import PlannerReward, outcome_rewards, planner_rewards
from cppo_trl.rollouts import Rollout, RolloutPolicy
from cppo_trl.verifier import CodeVerifier

from .criteria import Audit, audit

_Drawn = tuple[bool, float, float]  # parsed, valid, R_plan


def audit_policy(
    policy: RolloutPolicy,
    problems: Sequence[Problem],
    judge: Judge,
    verifier: CodeVerifier,
    num_generations: int,
    seed: int = 0,
    batch_size: int = 16,
    limit: int | None = None,
    planner_reward: PlannerReward = "product",
) -> Audit:
    """Draws M tuples for each problem, judges, solves and verifies them, and audits the rewards.

    On several processes each takes a share of the problems, and all return the same.

    Args:
        policy: planner and solver.
        problems: to draw a sample from.
        judge, verifier: of the training.
        num_generations: M.
        seed: of the sample and of the sampling.
        batch_size: problems at a time.
        limit: problems of the sample; None for all.
        planner_reward: of the training.
    """
    problems = list(problems)
    random.Random(seed).shuffle(problems)
    problems = problems[:limit]
    state = PartialState()
    with (
        state.split_between_processes(problems) as own,
        torch.random.fork_rng(),
        tqdm(
            total=len(own), desc="audit", unit="problem", disable=not state.is_main_process
        ) as bar,
    ):
        torch.manual_seed(seed + state.process_index)
        drawn: list[_Drawn] = []
        for start in range(0, len(own), batch_size):
            batch = own[start : start + batch_size]
            rollouts = policy.plan([p for p in batch for _ in range(num_generations)])
            drawn += _drawn(policy, judge, verifier, rollouts, planner_reward)
            bar.update(len(batch))
    tables = np.array(gather_object(drawn), dtype=np.float64)
    return audit(*np.moveaxis(tables.reshape(-1, num_generations, 3), -1, 0))


def _drawn(
    policy: RolloutPolicy,
    judge: Judge,
    verifier: CodeVerifier,
    rollouts: list[Rollout],
    planner_reward: PlannerReward,
) -> list[_Drawn]:
    valid = _judged(judge, rollouts)
    # With the product, the outcome of an invalid tuple does not matter: it is not solved.
    ruled_out = 0.0 if planner_reward == "product" else None
    outcomes = _outcomes(
        policy,
        verifier,
        rollouts,
        [
            rollout.strategies is not None and verdict != ruled_out
            for rollout, verdict in zip(rollouts, valid, strict=True)
        ],
    )
    rewards = planner_rewards(torch.tensor([valid]), torch.tensor([outcomes]), planner_reward)[0]
    parsed = [rollout.strategies is not None for rollout in rollouts]
    return list(zip(parsed, valid, rewards.tolist(), strict=True))


def _judged(judge: Judge, rollouts: list[Rollout]) -> list[float]:
    """Valid, 1 or 0, NaN where the judge could not tell; 0 for a plan that does not parse."""
    planned = [rollout for rollout in rollouts if rollout.strategies is not None]
    judgements = iter(
        judge.judge_many([StrategyTuple(r.problem, r.strategies, r.plan.text) for r in planned])
        if planned
        else ()
    )
    return [
        0.0
        if rollout.strategies is None
        else (float("nan") if (found := next(judgements).reward) is None else found)
        for rollout in rollouts
    ]


def _outcomes(
    policy: RolloutPolicy,
    verifier: CodeVerifier,
    rollouts: list[Rollout],
    is_wanted: Sequence[bool],
) -> list[float]:
    """R_out of the tuples that are wanted, 0 of the others."""
    wanted = [rollout for rollout, is_own in zip(rollouts, is_wanted, strict=True) if is_own]
    policy.solve(wanted)
    texts = [(r.problem, turn.text) for r in wanted for turn in r.attempts]
    verdicts = iter(verifier.verify_completions(*zip(*texts, strict=True)) if texts else ())
    outcomes = []
    for rollout in rollouts:
        found = [next(verdicts).reward for _ in rollout.attempts]
        passed = [float("nan") if one is None else one for one in found]
        outcomes.append(float(outcome_rewards(torch.tensor([[passed]]))) if passed else 0.0)
    return outcomes
