"""Small trainers of the baselines whose attempts a test writes down; the verifier is real."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import GRPOTrainer

from cppo_trl import Problem, TestCase
from cppo_trl.baselines.attempts import attempt_rows, of_problems
from scripted_rollouts import QUIET
from tiny_adapters import lora_config

TEMPLATE = "{statement}"
PROBLEMS = [
    Problem(id=f"p{i}", statement=f"Print {i}.", tests=(TestCase("", str(i)),)) for i in range(4)
]
# Of the attempts at p0, the first and the last pass; at p1, the second does.
ATTEMPTS = tuple(f"```python\nprint({n})\n```" for n in (0, 1, 2, 0))


def baseline_trainer(
    trainer_class: type[GRPOTrainer],
    config_class: type,
    model: Any,
    output_dir: str | Path,
    reward: Any,
    attempts: Sequence[str] | None = ATTEMPTS,
    *,
    problems: Sequence[Problem] = PROBLEMS,
    **settings: Any,
) -> GRPOTrainer:
    """A quiet trainer on CPU: a step takes the first two problems, with four attempts each.

    Args:
        reward: wants `problem`, as a `CodeVerifier` does.
        attempts: what a group says, over and over; None leaves it to the model.
        settings: of the config.
    """
    defaults = {
        "num_generations": 4,
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "max_steps": 1,
        "max_completion_length": 32,
        "learning_rate": 1e-2,
        "temperature": 1.0,
        "gradient_checkpointing": False,
        "max_grad_norm": 0.0,
        **QUIET,
    }
    if isinstance(model, (str, Path)):
        tokenizer = AutoTokenizer.from_pretrained(model, padding_side="left")
        model = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32)
    else:
        tokenizer = AutoTokenizer.from_pretrained(model.config.name_or_path, padding_side="left")
    trainer = trainer_class(
        model,
        [of_problems(reward)],
        config_class(str(output_dir), **(defaults | settings)),
        train_dataset=attempt_rows(problems, TEMPLATE),
        processing_class=tokenizer,
        peft_config=None if isinstance(model, PeftModel) else lora_config(),
    )
    if attempts is not None:
        says(trainer, attempts)
    return trainer


def says(trainer: GRPOTrainer, attempts: Sequence[str]) -> None:
    """Has a trainer say these attempts, one after the other, instead of what it samples."""
    tokenizer = trainer.processing_class
    spoken = [[*tokenizer(text)["input_ids"], tokenizer.eos_token_id] for text in attempts]

    def speak(prompt_ids: list[list[int]], *_: Any, **__: Any) -> tuple[list[list[int]], None]:
        return [spoken[i % len(spoken)] for i in range(len(prompt_ids))], None

    trainer._generate_single_turn = speak


def kept_batches(trainer: GRPOTrainer) -> list[dict[str, Any]]:
    """A list to which each batch of rollouts is added when it has been scored."""
    batches: list[dict[str, Any]] = []
    score = trainer._generate_and_score_completions

    def keep(inputs: list[dict[str, Any]]) -> dict[str, Any]:
        batches.append(score(inputs))
        return batches[-1]

    trainer._generate_and_score_completions = keep
    return batches
