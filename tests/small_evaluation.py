"""Evaluations whose model is a script: it plans and programs by drawing numbers, in no time.

The answer to a problem is 0, 1 or 2. Alone, the base guesses; the trained planner names a number
for each attempt, and the solver prints the number that it is told.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from transformers import AutoTokenizer

from cppo_trl import Problem, TestCase
from cppo_trl.evaluation.config import EvaluationConfig
from cppo_trl.evaluation.evaluate import evaluate
from cppo_trl.evaluation.results import Evaluation
from cppo_trl.generation import Completion, Sampling, Speaker
from cppo_trl.problems import write_problems
from cppo_trl.roles import ROLES
from cppo_trl.routing import BASE

K = 3
PROMPTS = {
    "direct": "{statement} DIRECT",
    "plan": "{statement} PLAN",
    "solve": "{statement} PRINT {strategy}",
    "plan_and_solve": "{statement} STEP",
}


class Guesser:
    """A generation backend: base and adapters differ in how they plan."""

    def __init__(self, model_dir: Path):
        self.tokenizer = AutoTokenizer.from_pretrained(model_dir)
        self.asked: list[str] = []  # the adapter of each prompt

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        self.asked += [adapter] * len(prompts)
        texts = [self._answer(self.tokenizer.decode(ids), adapter) for ids in prompts]
        return [Completion(self.tokenizer(text)["input_ids"], truncated=False) for text in texts]

    def _answer(self, prompt: str, adapter: str) -> str:
        drawn = torch.randint(3, (K,)).tolist()
        if " PLAN" in prompt:
            numbers = drawn if adapter == BASE else torch.randperm(3).tolist()
            return "\n".join(f"{label}: {n}" for label, n in zip("ABC", numbers, strict=True))
        if " STEP" in prompt:
            return str(drawn[0])
        told = prompt.partition("PRINT ")[2][:1]
        return f"```python\nprint({told or drawn[0]})\n```"


def write_guesses(path: Path, count: int = 12) -> Path:
    """A file of problems, all of whose answers are 0, 1 or 2."""
    problems = [Problem(f"p{n}", f"Guess {n}.", (TestCase("", f"{n % 3}"),)) for n in range(count)]
    write_problems(problems, path)
    return path


def evaluate_guesses(model_dir: Path, folder: Path, **settings: Any) -> Evaluation:
    """Evaluates direct sampling and CPPO on the problems in `folder`, by a script."""
    if not (folder / "guesses.jsonl").exists():
        write_guesses(folder / "guesses.jsonl")
    for adapters in (folder / "adapters", folder / "others"):  # a script needs no weights
        for role in ROLES:
            LoraConfig(base_model_name_or_path="a-script").save_pretrained(adapters / role)
    config = EvaluationConfig(
        **{
            "model": "a-script",
            "output": folder / "out",
            "benchmarks": str(folder / "guesses.jsonl"),
            "methods": ("direct", "untrained-planner", "cppo"),
            "adapters": (str(folder / "adapters"),),
            "k": K,
            "seeds": 2,
            "prompts": PROMPTS,
            "batch_size": 5,
            **settings,
        }
    )
    guesser = Guesser(model_dir)
    return evaluate(config, speaker=Speaker(guesser, guesser.tokenizer), progress=False)
