"""Trains each baseline for a step on the processes there are; `torchrun` starts it on two.

With three rows on each of two ranks, and groups of six attempts, a group lies on both.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import torch

from cppo_trl import (
    PassAtKConfig,
    PassAtKTrainer,
    PKPOConfig,
    PKPOTrainer,
    UpSkillConfig,
    UpSkillTrainer,
)
from small_baselines import baseline_trainer, kept_batches

RANK, RANKS = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
CASES = {
    "pkpo": (PKPOTrainer, PKPOConfig, {"pass_k": 3}),
    "pass_at_k": (PassAtKTrainer, PassAtKConfig, {"pass_k": 3}),
    "upskill": (
        *(UpSkillTrainer, UpSkillConfig),
        {"num_latents": 2, "latent_template": "{statement} Route {z}."},
    ),
}
REWARDS = (0.0, 1.0, 0.0, 0.0, 1.0, 0.5)  # of the attempts of a group


def train(name: str, model_dir: Path, output_dir: Path) -> dict[str, Any]:
    """One step; the rewards, latent numbers and advantages of this rank's rows, and the weights."""
    trainer_class, config_class, settings = CASES[name]
    seen: dict[str, Any] = {}

    def graded(prompts, completions, problem, latent=None, **kwargs):
        seen["latent"] = latent
        seen["rewards"] = [REWARDS[(RANK * len(prompts) + i) % 6] for i in range(len(prompts))]
        return seen["rewards"]

    trainer = baseline_trainer(
        *(trainer_class, config_class, model_dir, output_dir, graded),
        attempts=["print(1)"],
        num_generations=6,
        per_device_train_batch_size=6 // RANKS,
        optim="sgd",
        **settings,
    )
    batches = kept_batches(trainer)
    trainer.train()
    seen["advantages"] = batches[0]["advantages"].tolist()
    seen["shown"] = list(trainer._logs["advantages"])
    seen["loss"] = trainer.state.log_history[0]["loss"]
    seen["weights"] = {
        name: parameter.detach().clone()
        for name, parameter in trainer.model.named_parameters()
        if parameter.requires_grad
    }
    return seen


if __name__ == "__main__":
    torch.set_num_threads(1)
    model, output = map(Path, sys.argv[1:])
    results = {name: train(name, model, output) for name in CASES}
    torch.save(results, output / f"rank{RANK}.pt")
