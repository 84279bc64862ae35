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

from cppo_trl.roles import ROLES, role_of
from scripted_rollouts import Script, scripted_problems, scripted_trainer

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


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, adapters, output = map(Path, sys.argv[1:])
    results = {name: train(name, model, adapters, output) for name in CASES}
    results["evaluation"] = evaluate(model, output)
    torch.save(results, output / f"rank{RANK}.pt")
