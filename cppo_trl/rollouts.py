"""Problems -> plans -> attempts: what one problem is turned into before anything is judged or
verified.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from .generation import Completion, Message, Sampling, Speaker, Turn
from .plans import format_plan, parse_plan
from .problems import Problem
from .prompts import Prompts
from .roles import PLANNER, SOLVER

# The planner never thinks (METHOD: section 4).
_TEMPLATE_KWARGS = {PLANNER: {"enable_thinking": False}, SOLVER: {}}


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
        speaker: answers as each role.
        prompts: the PLAN and SOLVE templates.
        num_strategies: K.
        planner, solver: how the tokens of each role are drawn.
        adapters: the adapter that each role speaks with, where it is not the one of its name; the
            bare base (`routing.BASE`) stands for a role that was not trained.
    """

    def __init__(
        self,
        speaker: Speaker,
        prompts: Prompts,
        num_strategies: int,
        planner: Sampling,
        solver: Sampling,
        adapters: Mapping[str, str] | None = None,
    ):
        self.speaker = speaker
        self.prompts = prompts
        self.num_strategies = num_strategies
        self.sampling = {PLANNER: planner, SOLVER: solver}
        self.adapters = {PLANNER: PLANNER, SOLVER: SOLVER} | dict(adapters or {})

    def plan(self, problems: Sequence[Problem]) -> list[Rollout]:
        """Writes one plan for each entry of `problems`; repeat a problem to draw several tuples for
        it.
        """
        turns = self._answer(PLANNER, [self.plan_messages(problem) for problem in problems])
        return [self.read_plan(*pair) for pair in zip(problems, turns, strict=True)]

    def solve(self, rollouts: Sequence[Rollout], attempts_per_strategy: int = 1) -> None:
        """Attempts each strategy of each rollout, in place; unparsable plans get no attempts."""
        messages = [self.solve_messages(rollout, attempts_per_strategy) for rollout in rollouts]
        turns = iter(self._answer(SOLVER, [one for many in messages for one in many]))
        for rollout, many in zip(rollouts, messages, strict=True):
            rollout.attempts = [next(turns) for _ in many]

    def plan_messages(self, problem: Problem) -> list[Message]:
        """What the planner is asked."""
        return self.prompts.plan_messages(problem, self.num_strategies)

    def solve_messages(
        self, rollout: Rollout, attempts_per_strategy: int = 1
    ) -> list[list[Message]]:
        """What the solver is asked, in the order of a rollout's attempts."""
        return [
            self.prompts.solve_messages(rollout.problem, strategy)
            for strategy in rollout.strategies or ()
            for _ in range(attempts_per_strategy)
        ]

    def read_plan(self, problem: Problem, plan: Turn) -> Rollout:
        """The tuple that the planner's answer stands for."""
        complete = not plan.completion.truncated
        strategies = parse_plan(plan.text, self.num_strategies) if complete else None
        return Rollout(problem, plan, strategies)

    def submit(
        self, role: str, conversations: Sequence[list[Message]]
    ) -> list[tuple[int, Callable[[Completion], Turn]]]:
        """Begins to answer as a role; see `Speaker.submit`."""
        return self.speaker.submit(
            conversations, self.adapters[role], self.sampling[role], **_TEMPLATE_KWARGS[role]
        )

    def plan_tokens(
        self, problem: Problem, strategies: Sequence[str]
    ) -> tuple[list[int], list[int]]:
        """A tuple as the planner would have written it: the tokens of its prompt and its plan."""
        (prompt_ids,) = self.speaker.encode(
            [self.plan_messages(problem)], **_TEMPLATE_KWARGS[PLANNER]
        )
        tokenizer = self.speaker.tokenizer
        plan_ids = tokenizer(format_plan(strategies), add_special_tokens=False)["input_ids"]
        return prompt_ids, [*plan_ids, tokenizer.eos_token_id]

    def _answer(self, role: str, messages: list[list[Message]]) -> list[Turn]:
        return self.speaker.answer(
            messages, self.adapters[role], self.sampling[role], **_TEMPLATE_KWARGS[role]
        )
