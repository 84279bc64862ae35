"""Small trainers whose judge, verifier, problems and generator a test chooses.

`scripted_rollouts.scripted_trainer` is for tests of the loss; this one for all that surrounds it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from cppo_trl import CPPOConfig, CPPOTrainer
from cppo_trl.generation import Completion, Generator, Sampling
from scripted_rollouts import (
    PLAN_TEMPLATE,
    QUIET,
    SOLVE_TEMPLATE,
    Script,
    ScriptedGenerator,
    judge,
    scripted_problems,
    verifier,
)
from tiny_adapters import lora_config

# Four problems, M = 2 tuples of K = 2 strategies each, with variance for both roles.
SCRIPT: Script = (
    ("pass: pass fail", "pass: fail fail"),
    ("pass: pass fail", "fail: pass fail"),
    ("fail: fail fail", "pass: fail pass"),
    ("pass: fail pass", "broken"),
)


def make_trainer(
    model: Any,
    output_dir: str | Path,
    script: Script = SCRIPT,
    *,
    judge: Any = judge,
    verifier: Any = verifier,
    train_dataset: Any = None,
    eval_dataset: Any = None,
    trainer_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> CPPOTrainer:
    """A quiet trainer on CPU that speaks the script: one step of the first two problems.

    `settings` go to `CPPOConfig`, `trainer_settings` to `CPPOTrainer`.
    """
    defaults = {
        "num_generations": 2,
        "num_strategies": 2,
        "per_device_train_batch_size": 4,
        "per_device_eval_batch_size": 4,
        "max_steps": 1,
        "max_plan_length": 64,
        "max_completion_length": 8,
        "plan_template": PLAN_TEMPLATE,
        "solve_template": SOLVE_TEMPLATE,
        "learning_rate": 1e-2,
        "gradient_checkpointing": False,
        **QUIET,
    }
    if train_dataset is None:
        train_dataset = scripted_problems(len(script))
    trainer = CPPOTrainer(
        str(model) if isinstance(model, Path) else model,
        args=CPPOConfig(str(output_dir), **(defaults | settings)),
        train_dataset=train_dataset,
        eval_dataset=eval_dataset,
        judge=judge,
        verifier=verifier,
        **({"peft_config": lora_config()} | (trainer_settings or {})),
    )
    trainer.rollout_policy.speaker.generator = ScriptedGenerator(script, trainer.processing_class)
    return trainer


class SampledAttempts:
    """Speaks the planner's lines from a script, and samples the solver's from the model itself.

    The random model rarely ends a completion, so the last token of a cut one is made its end.
    """

    def __init__(self, plans: Generator, solver: Generator, eos_token_id: int):
        self.plans = plans
        self.solver = solver
        self.eos_token_id = eos_token_id

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        if adapter == "planner":
            return self.plans.generate(prompts, adapter, sampling)
        return [
            replace(c, token_ids=[*c.token_ids[:-1], self.eos_token_id], truncated=False)
            for c in self.solver.generate(prompts, adapter, sampling)
        ]


def pass_by_chance(completion_ids: Sequence[list[int]], **_: Any) -> list[float]:
    """A verifier that passes about half of the sampled attempts, by their tokens."""
    return [float(sum(ids) % 2) for ids in completion_ids]


def accept_all(completions: Sequence[Any], **_: Any) -> list[float]:
    """A judge that finds every tuple valid."""
    return [1.0] * len(completions)


def sampling_trainer(model: Any, output_dir: str | Path, **settings: Any) -> CPPOTrainer:
    """A `make_trainer` whose attempts are sampled, so that its run depends on the random state."""
    trainer = make_trainer(model, output_dir, **({"verifier": pass_by_chance} | settings))
    solver = trainer._make_rollout_policy().speaker.generator
    trainer.rollout_policy.speaker.generator = SampledAttempts(
        trainer.rollout_policy.speaker.generator, solver, trainer.processing_class.eos_token_id
    )
    return trainer


def adapter_weights(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """A copy of all LoRA weights, by name."""
    return {n: p.detach().clone() for n, p in model.named_parameters() if "lora_" in n}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    """The names of the weights that differ."""
    return {name for name, weight in after.items() if not torch.equal(weight, before[name])}


def roles_of(names: Iterable[str]) -> set[str]:
    """The roles that parameter names belong to."""
    return {role for role in ("planner", "solver") for name in names if f".{role}." in name}


def training_logs(trainer: CPPOTrainer) -> list[dict[str, float]]:
    """The logged metrics of each training step, without what a clock decides."""
    return [
        {k: v for k, v in log.items() if not k.startswith("seconds/") and k != "step_time"}
        for log in trainer.state.log_history
        if "loss" in log
    ]
