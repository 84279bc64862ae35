"""A CPPO trainer whose sequences all have the lengths that it is told, for benchmarks.

Random weights write no plans and end where they like. So every completion runs to its token limit
and counts as complete, and its text is told: a plan with all strategies, or a program.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftModel
from transformers import PreTrainedTokenizerBase, PrinterCallback

from cppo_trl import CPPOConfig, CPPOTrainer, Problem
from cppo_trl.generation import Completion, Generator, Message, Sampling, Speaker, Turn
from cppo_trl.plans import format_plan
from cppo_trl.problems import TestCase
from cppo_trl.roles import PLANNER

# Of a tiny model whose products of matrices take longer than Python's own work.
MODEL = {
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 32,
    "initializer_range": 0.02,
}
NO_TOKEN = 10**9  # ends no sequence


class FullLength:
    """A generation backend whose completions end at their token limit and count as complete.

    Args:
        generator: of `transformers`; it stops at no token from here on.
    """

    def __init__(self, generator: Any):
        self.generator = generator
        generator.eos_token_ids = [NO_TOKEN]

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        completions = self.generator.generate(prompts, adapter, sampling)
        return [replace(completion, truncated=False) for completion in completions]


class ToldSpeaker(Speaker):
    """Answers with the tokens of its generator, and with the text that it is told.

    Args:
        plan: what the planner says.
        program: what the solver's n-th answer says.
    """

    def __init__(
        self,
        generator: Generator,
        tokenizer: PreTrainedTokenizerBase,
        plan: str,
        program: Callable[[int], str] = str,
    ):
        super().__init__(generator, tokenizer)
        self.plan = plan
        self.program = program
        self.answers = itertools.count()

    def answer(
        self,
        conversations: Sequence[list[Message]],
        adapter: str,
        sampling: Sampling,
        **chat_template_kwargs: Any,
    ) -> list[Turn]:
        turns = super().answer(conversations, adapter, sampling, **chat_template_kwargs)
        if adapter == PLANNER:
            return [replace(turn, text=self.plan) for turn in turns]
        return [replace(turn, text=self.program(next(self.answers))) for turn in turns]


def fixed_length_trainer(
    model: str | Path | PeftModel,
    output_dir: str | Path,
    *,
    problems: int = 4,
    tuples: int = 8,
    strategies: int = 4,
    statement_tokens: int = 160,
    plan_tokens: int = 96,
    attempt_tokens: int = 96,
    steps: int = 3,
    tuples_at_once: int = 4,
    verifier: Any = None,
    program: Callable[[int], str] = str,
    generator: Generator | None = None,
    trainer_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> CPPOTrainer:
    """A quiet trainer of both roles, each step of which has a rollout and one update from it.

    Args:
        model: as for `CPPOTrainer`.
        output_dir: where it would save.
        problems, tuples, strategies: P, M and K: P * M plans and P * M * K attempts a step.
        statement_tokens: of each problem, with a tokenizer that knows bytes and few words.
        plan_tokens, attempt_tokens: of each completion.
        steps: of the training.
        tuples_at_once: of a micro-batch; a tuple is 1 + K sequences.
        verifier: as for `CPPOTrainer`; None says what `passes` says, at no cost.
        program: the text of the n-th attempt.
        generator: in place of the trainer's own, of `transformers`.
        trainer_settings: go to `CPPOTrainer`.
        settings: go to `CPPOConfig`.

    Raises:
        ValueError: the plans of a step do not split into micro-batches.
    """
    plans = problems * tuples
    if plans % tuples_at_once:
        raise ValueError(
            f"tuples_at_once is {tuples_at_once}; it must divide the {plans} tuples of a step"
        )
    attempts = itertools.count()
    defaults = {
        "num_generations": tuples,
        "num_strategies": strategies,
        "per_device_train_batch_size": tuples_at_once,
        "gradient_accumulation_steps": plans // tuples_at_once,
        "max_steps": steps,
        "max_plan_length": plan_tokens,
        "max_completion_length": attempt_tokens,
        "plan_template": "{statement}",
        "solve_template": "{statement}{strategy}",
        "temperature": 1.0,
        "planner_temperature": 1.0,
        "learning_rate": 1e-5,
        "gradient_checkpointing": False,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "save_strategy": "no",
        "logging_steps": 1,
        "disable_tqdm": True,
        "dataloader_pin_memory": False,
    }
    trainer = CPPOTrainer(
        str(model) if isinstance(model, Path) else model,
        judge=lambda completions, **_: [1.0] * len(completions),
        verifier=verifier
        or (lambda completions, **_: [passes(next(attempts), strategies) for _ in completions]),
        args=CPPOConfig(str(output_dir), **(defaults | settings)),
        train_dataset=[
            Problem(str(i), statement(i, statement_tokens), (TestCase("", "done"),))
            for i in range(problems)
        ],
        **({"peft_config": lora()} | (trainer_settings or {})),
    )
    trainer.remove_callback(PrinterCallback)
    labels = [f"strategy {chr(ord('a') + k)}" for k in range(strategies)]
    policy = trainer.rollout_policy
    policy.speaker = ToldSpeaker(
        generator or FullLength(policy.speaker.generator),
        trainer.processing_class,
        format_plan(labels),
        program,
    )
    return trainer


def passes(attempt: int, strategies: int) -> float:
    """Every other attempt of every other tuple passes, so that both roles have advantages."""
    return float(attempt // strategies % 2 == 0 and attempt % 2 == 0)


def lora(rank: int = 16) -> LoraConfig:
    """A LoRA on all linear layers but the head."""
    return LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear")


def statement(number: int, tokens: int) -> str:
    """A text of about as many tokens, whatever the number."""
    return f"Problem {number:4}. ".ljust(tokens, "x")
