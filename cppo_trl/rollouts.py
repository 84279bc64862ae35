"""Problems -> plans -> attempts: what one problem is turned into before anything is judged or
verified.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from transformers import PreTrainedTokenizerBase

from .generation import Completion, Generator, Sampling
from .plans import parse_plan
from .problems import Problem
from .prompts import Prompts
from .roles import PLANNER, SOLVER


@dataclass(frozen=True)
class Turn:
    """One model call: the prompt's messages and tokens, the completion's tokens and text."""

    messages: list[dict[str, str]]
    prompt_ids: list[int]
    completion: Completion
    text: str


@dataclass
class Rollout:
    """One tuple of a problem: its plan, its strategies, and K x L attempts once it is solved.

    `strategies` is None when the plan does not parse or was cut at the token limit (METHOD: section
    2). `attempts` lists the L attempts of the first strategy, then those of the second, and so on;
    it is empty until solved.
    """

    problem: Problem
    plan: Turn
    strategies: tuple[str, ...] | None
    attempts: list[Turn] = field(default_factory=list)


class RolloutPolicy:
    """The two roles as one policy: `plan` writes a tuple of K strategies, `solve` attempts each of
    them.

    Args:
        generator: speaks as each role.
        tokenizer: renders the chat template, encodes and decodes.
        prompts: the PLAN and SOLVE templates.
        num_strategies: K.
        planner, solver: how the tokens of each role are drawn.
        chat_template_kwargs: passed to the chat template; the planner never thinks (METHOD: section
            4).
    """

    def __init__(
        self,
        generator: Generator,
        tokenizer: PreTrainedTokenizerBase,
        prompts: Prompts,
        num_strategies: int,
        planner: Sampling,
        solver: Sampling,
        chat_template_kwargs: dict | None = None,
    ):
        self.generator = generator
        self.tokenizer = tokenizer
        self.prompts = prompts
        self.num_strategies = num_strategies
        self.sampling = {PLANNER: planner, SOLVER: solver}
        kwargs = chat_template_kwargs or {}
        self.chat_template_kwargs = {PLANNER: {**kwargs, "enable_thinking": False}, SOLVER: kwargs}

    def plan(self, problems: Sequence[Problem]) -> list[Rollout]:
        """Writes one plan for each entry of `problems`; repeat a problem to draw several tuples for
        it.
        """
        messages = [self.prompts.plan_messages(p, self.num_strategies) for p in problems]
        turns = self._speak(PLANNER, messages)
        rollouts = []
        for problem, turn in zip(problems, turns, strict=True):
            complete = not turn.completion.truncated
            strategies = parse_plan(turn.text, self.num_strategies) if complete else None
            rollouts.append(Rollout(problem, turn, strategies))
        return rollouts

    def solve(self, rollouts: Sequence[Rollout], attempts_per_strategy: int = 1) -> None:
        """Attempts each strategy of each rollout, in place; unparsable plans get no attempts."""
        parsed = [rollout for rollout in rollouts if rollout.strategies is not None]
        messages = [
            self.prompts.solve_messages(rollout.problem, strategy)
            for rollout in parsed
            for strategy in rollout.strategies
            for _ in range(attempts_per_strategy)
        ]
        turns = iter(self._speak(SOLVER, messages))
        for rollout in parsed:
            count = self.num_strategies * attempts_per_strategy
            rollout.attempts = [next(turns) for _ in range(count)]

    def _speak(self, role: str, messages: list[list[dict[str, str]]]) -> list[Turn]:
        if not messages:
            return []
        encoded: dict[str, list[int]] = {}  # the M plans of a problem share one prompt
        prompt_ids = []
        for conversation in messages:
            text = self._render(conversation, role)
            if text not in encoded:
                encoded[text] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
            prompt_ids.append(encoded[text])
        completions = self.generator.generate(prompt_ids, role, self.sampling[role])
        texts = self.tokenizer.batch_decode(
            [completion.token_ids for completion in completions], skip_special_tokens=True
        )
        return [Turn(*row) for row in zip(messages, prompt_ids, completions, texts, strict=True)]

    def _render(self, messages: list[dict[str, str]], role: str) -> str:
        if (
            self.tokenizer.chat_template is None
        ):  # a base model without one continues the plain text
            return "\n\n".join(message["content"] for message in messages) + "\n\n"
        return self.tokenizer.apply_chat_template(
            messages,
            tokenize=False,
            add_generation_prompt=True,
            **self.chat_template_kwargs[role],
        )
