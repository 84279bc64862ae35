"""Training on rollouts that the test writes down, word by word.

A script lists, for each problem, its M tuples as short texts:

    "pass: pass fail"    the judge passes the plan; the attempt at A passes, the one at B fails
    "fail: lost pass~"   the judge rejects it; A's verdict is lost (None); B passes, but is cut
    "lost~: pass pass"   the judge has no verdict; the plan is cut at the token limit
    "pass: pass/fail lost/pass"    two attempts for each strategy
    "broken"             a plan that does not parse

`ScriptedGenerator` speaks these tuples as prepared token ids, and `judge` and `verifier` are pure
functions of the completions' texts. Nothing is random and nothing is remembered between calls, so
a problem gets the same tuples whenever it comes up.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Sequence, Set
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from transformers import PreTrainedTokenizerBase

from cppo_trl import CPPOConfig, CPPOTrainer, Problem, TestCase
from cppo_trl.generation import Completion, Sampling
from cppo_trl.generation.streams import Streams
from cppo_trl.plans import format_plan
from cppo_trl.roles import PLANNER

REWARDS = {"pass": 1.0, "fail": 0.0, "lost": None}
# Short prompts: the built-in ones take a thousand tokens of the tiny tokenizer.
PLAN_TEMPLATE = "{statement}"
SOLVE_TEMPLATE = "{statement} Follow {strategy}"

# Settings of a trainer on CPU that says and saves nothing but its metrics.
QUIET = {
    "shuffle_dataset": False,
    "lr_scheduler_type": "constant",
    "logging_steps": 1,
    "save_strategy": "no",
    "report_to": "none",
    "disable_tqdm": True,
    "use_cpu": True,
    "bf16": False,
}

Script = Sequence[Sequence[str]]  # one text for each tuple of each problem


@dataclass(frozen=True)
class ScriptedText:
    """What one model call answers, whether it was cut, and what the judge or verifier says."""

    text: str
    cut: bool
    reward: float | None


def scripted_strategies(script: Script, problem: int, m: int) -> tuple[str, ...] | None:
    """The strategies of a problem's m-th tuple, each unlike all others; None for a broken plan.

    A strategy holds the judge's word, its attempts' words and a name of its own, of varied length.
    """
    judged, _, fates = script[problem][m].partition(":")
    if judged == "broken":
        return None
    return tuple(
        f"{judged.rstrip('~')} {fate} way {problem}.{m}.{k}" + " on" * ((problem + 2 * m + k) % 4)
        for k, fate in enumerate(fates.split())
    )


def scripted_plan(script: Script, problem: int, m: int) -> ScriptedText:
    """The planner's m-th answer to a problem."""
    strategies = scripted_strategies(script, problem, m)
    if strategies is None:
        return ScriptedText(f"No plan {problem}.{m}.", cut=False, reward=0.0)
    judged = script[problem][m].partition(":")[0]
    return ScriptedText(format_plan(strategies), judged.endswith("~"), REWARDS[judged.rstrip("~")])


def scripted_attempt(strategy: str, n: int = 0) -> ScriptedText:
    """The solver's n-th answer to a strategy."""
    _, fates, name = strategy.split(maxsplit=2)
    fate = fates.split("/")[n]
    word = fate.rstrip("~")
    return ScriptedText(f"{word} {n} by {name}", fate.endswith("~"), REWARDS[word])


def judge(completions: list, strategies: list[tuple[str, ...]], **_: Any) -> list[float | None]:
    """TRL reward function over plans: the word that the strategies begin with."""
    return [REWARDS[tuple_[0].split()[0]] for tuple_ in strategies]


def verifier(completions: list, strategy: list[str], **_: Any) -> list[float | None]:
    """TRL reward function over attempts: the word that the attempt begins with."""
    return [REWARDS[completion[0]["content"].split()[0]] for completion in completions]


class ScriptedGenerator:
    """A generation backend that answers as the script says.

    Args:
        script: the tuples of each problem of `scripted_problems`.
        tokenizer: gives the token ids; an answer that is not cut ends with its eos token.
        first: the m of the first plan asked for a problem, for a rank that gets its later tuples.
    """

    def __init__(self, script: Script, tokenizer: PreTrainedTokenizerBase, first: int = 0):
        self.script = script
        self.tokenizer = tokenizer
        self.first = first
        self.calls: list[str] = []

    def generate(
        self, prompts: Sequence[list[int]], adapter: str, sampling: Sampling
    ) -> list[Completion]:
        """Answers each prompt; the n-th time that a prompt occurs, with its n-th answer."""
        self.calls.append(adapter)
        seen: Counter[str] = Counter()
        return [self.next_answer(ids, adapter, seen) for ids in prompts]

    def next_answer(self, ids: list[int], adapter: str, seen: Counter[str]) -> Completion:
        """Answers a prompt that was answered `seen` times, and counts it there."""
        prompt = self.tokenizer.decode(ids)
        if adapter == PLANNER:
            problem = int(re.search(r"Problem (\d+)", prompt)[1])
            answer = scripted_plan(self.script, problem, self.first + seen[prompt])
        else:
            answer = scripted_attempt(
                re.search(r"Follow (.*)<\|im_end\|>", prompt)[1], seen[prompt]
            )
        seen[prompt] += 1
        return self.completion(answer)

    def completion(self, answer: ScriptedText) -> Completion:
        """The tokens of an answer."""
        end = [] if answer.cut else [self.tokenizer.eos_token_id]
        return Completion(self.tokenizer(answer.text)["input_ids"] + end, truncated=answer.cut)


class ScriptedStream(Streams):
    """A backend that streams what a `ScriptedGenerator` says: one answer at a time, in an order
    that is drawn.

    `events` lists what happened: (what, role), where what is "submit" or "finish".
    """

    def __init__(self, generator: ScriptedGenerator, seed: int = 0):
        super().__init__()
        self.events: list[tuple[str, str]] = []
        self._generator = generator
        self._draws = random.Random(seed)
        self._seen: Counter[str] = Counter()
        self._tickets = count()
        self._answers: dict[int, tuple[str, Completion]] = {}

    def submit(self, prompt_ids: list[int], adapter: str, sampling: Sampling) -> int:
        if not self._open:  # a new rollout
            self._seen.clear()
        ticket = next(self._tickets)
        answer = self._generator.next_answer(prompt_ids, adapter, self._seen)
        self._answers[ticket] = adapter, answer
        self._open.add(ticket)
        self.events.append(("submit", adapter))
        return ticket

    def _next(self, seconds: float | None) -> dict[int, Completion]:
        ticket = self._draws.choice(sorted(self._open))
        adapter, answer = self._answers.pop(ticket)
        self.events.append(("finish", adapter))
        return {ticket: answer}

    def _give_up(self, tickets: Set[int]) -> None:
        for ticket in tickets:
            del self._answers[ticket]


def scripted_problems(number: int) -> list[Problem]:
    """Problems whose number a `ScriptedGenerator` finds in the prompt."""
    test = TestCase("1", "1")
    return [Problem(id=f"p{i}", statement=f"Problem {i}.", tests=(test,)) for i in range(number)]


def scripted_trainer(
    model: Any,
    script: Script,
    output_dir: str | Path,
    *,
    first: int = 0,
    streams: bool = False,
    functions: Sequence[Any] = (judge, verifier),
    callbacks: Sequence[Any] = (),
    trainer_settings: dict[str, Any] | None = None,
    **settings: Any,
) -> CPPOTrainer:
    """A trainer on the script's problems, in their order, quiet and without clipping.

    Args:
        model: as for `CPPOTrainer`.
        script: every problem has M tuples, every parsable tuple K strategies.
        output_dir: for checkpoints.
        first: as for `ScriptedGenerator`.
        streams: whether the generator streams.
        functions: judge and verifier.
        callbacks, trainer_settings: passed to `CPPOTrainer`.
        settings: of `CPPOConfig`, over the defaults here.
    """
    parsable = next(t for tuples in script for t in tuples if t != "broken")
    defaults = {
        "num_generations": len(script[0]),
        "num_strategies": len(parsable.partition(":")[2].split()),
        "max_plan_length": 128,
        "max_completion_length": 64,
        "plan_template": PLAN_TEMPLATE,
        "solve_template": SOLVE_TEMPLATE,
        "max_grad_norm": 0.0,
        "learning_rate": 1e-2,
        **QUIET,
    }
    trainer = CPPOTrainer(
        str(model) if isinstance(model, Path) else model,
        list(functions),
        CPPOConfig(str(output_dir), **(defaults | settings)),
        scripted_problems(len(script)),
        callbacks=list(callbacks),
        **(trainer_settings or {}),
    )
    generator = ScriptedGenerator(script, trainer.processing_class, first)
    trainer.rollout_policy.speaker.generator = ScriptedStream(generator) if streams else generator
    return trainer
