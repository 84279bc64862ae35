"""The command `cppo-trl audit`: whether joint training has anything to learn from.

    cppo-trl audit --policy runs/warm --problems train.jsonl --judge runs/judge --output runs/audit

Draws tuples for a sample of problems, judges them, solves those that are valid and verifies the
attempts, without an update. Exit status 1 on no-go.
"""

from __future__ import annotations

import argparse
import json
import random

import numpy as np
import torch
from tqdm.auto import tqdm

from cppo_trl.audit import Audit, audit, markdown
from cppo_trl.errors import first_line
from cppo_trl.judges import Judge, JudgeChain, RuleJudge, StrategyTuple
from cppo_trl.judges.saved import AdapterJudge
from cppo_trl.policy import load_policy
from cppo_trl.problems import Problem, read_problems
from cppo_trl.rewards import outcome_rewards, planner_rewards
from cppo_trl.rollouts import Rollout, RolloutPolicy
from cppo_trl.verifier import CodeVerifier, SandboxError

from .outcome import CommandError
from .shared_options import verifier_options


def run(args: argparse.Namespace) -> int:
    """Audits a policy; 1 on no-go."""
    try:
        problems = read_problems(args.problems)
        random.Random(args.seed).shuffle(problems)
        problems = problems[: args.limit]
        judge: Judge = RuleJudge()
        if args.judge is not None:
            learned = AdapterJudge(args.judge, allow_rejected=args.allow_rejected_judge)
            judge = JudgeChain(judge, learned)
        policy = load_policy(args.policy, base_model=args.base_model).rollouts
        with policy.speaker.generator.unwrap() as model:
            judge.attach(model)
        args.output.mkdir(parents=True, exist_ok=True)
        with CodeVerifier(**verifier_options(args)) as verifier:
            found = audit_policy(
                policy, problems, judge, verifier, args.num_generations, args.seed, args.batch_size
            )
    except SandboxError as error:
        raise CommandError(first_line(error), status=1) from error
    except (OSError, ValueError) as error:
        raise CommandError(first_line(error)) from error
    facts = {
        "policy": args.policy,
        "judge": args.judge or "rules",
        "problems": f"{len(problems)} of {args.problems}, seed {args.seed}",
    }
    text = markdown(found, facts)
    (args.output / "audit.md").write_text(text, encoding="utf-8")
    content = json.dumps(found.to_dict() | {"facts": facts}, indent=2)
    (args.output / "audit.json").write_text(content + "\n")
    print(text)
    return 0 if found.is_go else 1


def audit_policy(
    policy: RolloutPolicy,
    problems: list[Problem],
    judge: Judge,
    verifier: CodeVerifier,
    num_generations: int,
    seed: int = 0,
    batch_size: int = 16,
) -> Audit:
    """Draws M tuples for each problem, judges, solves and verifies them, and audits the rewards.

    Args:
        policy: planner and solver.
        problems: the sample.
        judge, verifier: of the training.
        num_generations: M.
        seed: of the sampling.
        batch_size: problems at a time.
    """
    parsed, valid, rewards = [], [], []
    with torch.random.fork_rng(), tqdm(total=len(problems), desc="audit", unit="problem") as bar:
        torch.manual_seed(seed)
        for start in range(0, len(problems), batch_size):
            batch = problems[start : start + batch_size]
            rollouts = policy.plan([p for p in batch for _ in range(num_generations)])
            parsed += [rollout.strategies is not None for rollout in rollouts]
            valid += (verdicts := _judged(judge, rollouts))
            outcomes = _outcomes(policy, verifier, rollouts, verdicts)
            rewards += planner_rewards(torch.tensor([verdicts]), torch.tensor([outcomes]))[
                0
            ].tolist()
            bar.update(len(batch))
    shape = (len(problems), num_generations)
    return audit(*(np.reshape(values, shape) for values in (parsed, valid, rewards)))


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
    policy: RolloutPolicy, verifier: CodeVerifier, rollouts: list[Rollout], valid: list[float]
) -> list[float]:
    """R_out; of an invalid tuple it does not matter, so it is not solved."""
    wanted = [r for r, verdict in zip(rollouts, valid, strict=True) if verdict != 0]
    policy.solve(wanted)
    texts = [(r.problem, turn.text) for r in wanted for turn in r.attempts]
    verdicts = iter(verifier.verify_completions(*zip(*texts, strict=True)) if texts else ())
    outcomes = []
    for rollout in rollouts:
        found = [next(verdicts).reward for _ in rollout.attempts]
        passed = [float("nan") if one is None else one for one in found]
        outcomes.append(float(outcome_rewards(torch.tensor([[passed]]))) if passed else 0.0)
    return outcomes
