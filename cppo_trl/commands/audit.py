"""The command `cppo-trl audit`: whether joint training has anything to learn from.

    cppo-trl audit --policy runs/warm --problems train.jsonl --judge runs/judge --output runs/audit

Draws tuples for a sample of problems, judges them, solves those that are valid and verifies the
attempts, without an update. Exit status 1 on no-go.
"""

from __future__ import annotations

import argparse

import torch

from cppo_trl.audit import audit_policy, markdown, write_audit
from cppo_trl.errors import first_line
from cppo_trl.judges import Judge, JudgeChain, RuleJudge
from cppo_trl.judges.saved import AdapterJudge, load_judge
from cppo_trl.policy import load_policy
from cppo_trl.problems import read_problems
from cppo_trl.role_model import nf4
from cppo_trl.verifier import CodeVerifier, SandboxError

from .outcome import CommandError
from .shared_options import verifier_options


def run(args: argparse.Namespace) -> int:
    """Audits a policy; 1 on no-go."""
    try:
        problems = read_problems(args.problems)
        judge: Judge = RuleJudge()
        if args.judge is not None:
            load = load_judge if args.judge_own_base else AdapterJudge
            judge = JudgeChain(judge, load(args.judge, allow_rejected=args.allow_rejected_judge))
        base = {"dtype": args.dtype}
        if args.load_in_4bit:
            base["quantization_config"] = nf4()
        policy = load_policy(
            args.policy, args.base_model, batch_size=args.rollout_batch_size, **base
        ).rollouts
        with policy.speaker.generator.unwrap() as model:
            judge.attach(model)
        args.output.mkdir(parents=True, exist_ok=True)
        with CodeVerifier(**verifier_options(args)) as verifier:
            found = audit_policy(
                policy,
                problems,
                judge,
                verifier,
                args.num_generations,
                args.seed,
                args.batch_size,
                args.limit,
            )
    except SandboxError as error:
        raise CommandError(first_line(error), status=1) from error
    except (OSError, ValueError, torch.OutOfMemoryError) as error:
        raise CommandError(first_line(error)) from error
    facts = {
        "policy": args.policy,
        "judge": args.judge or "rules",
        "problems": f"{found.problems} of {args.problems}, seed {args.seed}",
    }
    write_audit(args.output, found, facts)
    print(markdown(found, facts))
    return 0 if found.is_go else 1
