"""Scripted training on one process or several; `torchrun distributed_training.py` runs all of it.

Each case is a script and the settings that give the same tuples to an optimizer step on one process
and on two.
"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from cppo_trl import CodeVerifier, Prompts
from cppo_trl.audit import audit_policy
from cppo_trl.generation import Sampling, Speaker
from cppo_trl.judges import Judge, Judgement
from cppo_trl.problems import read_problems
from cppo_trl.roles import ROLES, role_of
from cppo_trl.rollouts import RolloutPolicy
from scripted_rollouts import Script, scripted_problems, scripted_trainer
from small_evaluation import PROMPTS, Guesser, K, write_guesses

AUDITED = (5, 1)  # problems: not as many for each rank, and none for one of them
RANK, RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))  # of torchrun


@dataclass(frozen=True)
class Case:
    """One training: `one` and `two` are the settings on one process and on two.

    `first` is the m of the first plan that the second rank is asked for.
    """

    script: Script
    one: dict[str, Any]
    two: dict[str, Any]
    first: int = 0


GOOD = ("pass: pass fail", "fail: lost pass", "broken", "pass: fail fail~")
OTHER = ("pass~: pass fail", "pass: fail pass", "lost: pass fail", "pass: fail fail")
CREDITED = ("pass: pass fail", "pass: fail pass", "pass: pass pass", "pass: fail fail")
CREDIT = {"strategy_credit": "shapley", "solver_pass_k": 2}
ACCUMULATED = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
ONE_BATCH = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1}

CASES = {
    "a problem for each rank": Case((GOOD, OTHER, OTHER, GOOD), ONE_BATCH, ACCUMULATED),
    "a problem over both ranks": Case(
        (GOOD, OTHER),
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1},
        {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 1},
        first=2,
    ),
    "a rank with unparsable plans only": Case(
        (GOOD, ("broken",) * 4, ("broken",) * 4, OTHER), ONE_BATCH, ACCUMULATED
    ),
    "a rank with nothing to learn from": Case(
        (GOOD, ("pass~: pass fail",) * 4, ("pass~: pass fail",) * 4, OTHER), ONE_BATCH, ACCUMULATED
    ),
    "credit for the strategies of one rank alone": Case(
        (CREDITED, ("broken",) * 4, ("broken",) * 4, CREDITED),
        ONE_BATCH | CREDIT,
        ACCUMULATED | CREDIT,
    ),
}


def train(name: str, model_dir: Path, adapters_dir: Path, output_dir: Path) -> dict[str, Any]:
    """Trains one case on the processes there are; returns what it logged and the weights."""
    case = CASES[name]
    trainer = scripted_trainer(
        model_dir,
        case.script,
        output_dir,
        first=case.first * RANK,
        trainer_settings={"adapters": {role: str(adapters_dir) for role in ROLES}},
        beta=0.1,
        optim="sgd",  # Adam would blow rounding up
        learning_rate=0.05,
        num_train_epochs=1,
        **(case.one if RANKS == 1 else case.two),
    )
    trainer.train()
    return {
        "log": [entry for entry in trainer.state.log_history if "loss" in entry],
        "weights": {
            name: parameter.detach().clone()
            for name, parameter in trainer.model.named_parameters()
            if role_of(name)
        },
        "processes": trainer.accelerator.num_processes,
    }


def evaluate(model_dir: Path, output_dir: Path) -> dict[str, float]:
    """Evaluates three problems, which two ranks cannot share evenly."""
    trainer = scripted_trainer(
        model_dir,
        (GOOD, OTHER, ("broken",) * 4),
        output_dir,
        per_device_train_batch_size=4,
        per_device_eval_batch_size=8 // RANKS,
    )
    return trainer.evaluate(scripted_problems(3))


class Picky(Judge):
    """Takes the tuples of some problems for valid."""

    def judge_many(self, tuples):
        return [Judgement(item.problem.id in ("p0", "p3")) for item in tuples]


def audit(model_dir: Path, output_dir: Path, count: int) -> dict[str, Any]:
    """Audits a script, on problems that two ranks cannot share evenly; all it found."""
    guesser = Guesser(model_dir)
    speaker = Speaker(guesser, guesser.tokenizer)
    prompts = Prompts(PROMPTS["plan"], PROMPTS["solve"])
    policy = RolloutPolicy(speaker, prompts, K, Sampling(64), Sampling(64))
    problems = read_problems(write_guesses(output_dir / f"guesses{RANK}.jsonl", count))
    with CodeVerifier(workers=1) as verifier:
        return audit_policy(policy, problems, Picky(), verifier, num_generations=2).to_dict()


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, adapters, output = map(Path, sys.argv[1:])
    results = {name: train(name, model, adapters, output) for name in CASES}
    results["evaluation"] = evaluate(model, output)
    results["audits"] = [audit(model, output, count) for count in AUDITED]
    torch.save(results, output / f"rank{RANK}.pt")
