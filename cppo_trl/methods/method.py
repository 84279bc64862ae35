"""What every method takes and gives."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from cppo_trl.generation import Message, Sampling, Speaker, Turn
from cppo_trl.problems import Problem
from cppo_trl.prompts import Prompts, check_template, contract, starter_code

FIELDS = ("statement", "contract", "starter_code")  # that every template may use
# Template -> the fields that it has to use beside the statement, and those that it may use.
_OWN_FIELDS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "direct": ((), ()),
    "latent": (("z",), ("k", "label")),
    "plan_and_solve": ((), ()),
    "observe": ((), ("count",)),
    "derive": (("observations",), ("count",)),
    "plan_search": (("observations",), ()),
}


@dataclass(frozen=True)
class Voice:
    """Who is asked, how its tokens are drawn, and what the chat template is told beside."""

    speaker: Speaker
    adapter: str
    sampling: Sampling
    chat_template_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def answer(self, prompts: Sequence[str]) -> list[Turn]:
        """Answers each prompt, a user's only message, once."""
        conversations: list[list[Message]] = [[{"role": "user", "content": p}] for p in prompts]
        return self.speaker.answer(
            conversations, self.adapter, self.sampling, **self.chat_template_kwargs
        )


@dataclass(frozen=True)
class Spent:
    """Model calls and decoded tokens, of plans and of attempts, for one problem."""

    planner_calls: int = 0
    planner_tokens: int = 0
    solver_calls: int = 0
    solver_tokens: int = 0

    @classmethod
    def on(cls, plans: Iterable[Turn] = (), attempts: Iterable[Turn] = ()) -> Spent:
        """What these turns cost."""
        planned = [len(turn.completion.token_ids) for turn in plans]
        solved = [len(turn.completion.token_ids) for turn in attempts]
        return cls(len(planned), sum(planned), len(solved), sum(solved))

    @property
    def tokens(self) -> int:
        """All decoded tokens, the planner's included."""
        return self.planner_tokens + self.solver_tokens


@dataclass(frozen=True)
class Attempted:
    """K attempts at one problem.

    Attributes:
        problem: what was attempted.
        strategies: what each attempt was told to follow; None where attempts follow none, or where
            the plan does not parse.
        completions: of the solver, K; None for an attempt that a plan without strategies used up.
        spent: calls and tokens.
    """

    problem: Problem
    strategies: tuple[str, ...] | None
    completions: tuple[str | None, ...]
    spent: Spent


class Method(Protocol):
    """A way to spend K attempts; `num_attempts` is K."""

    num_attempts: int

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        """Attempts each entry of `problems` K times, all of them batched; in their order.

        `seed` is for what the method itself draws; tokens are drawn by the generation backend.
        """
        ...


def check_method_template(name: str, template: str) -> None:
    """Raises ValueError where the template of that name has other fields than it should."""
    required, allowed = _OWN_FIELDS[name]
    check_template(name, template, (*FIELDS, *required, *allowed), ("statement", *required))


def fields(problem: Problem) -> dict[str, str]:
    """What every template may use of a problem."""
    return {
        "statement": problem.statement,
        "contract": contract(problem),
        "starter_code": starter_code(problem),
    }


def answer_text(turn: Turn) -> str:
    """What a turn says once it has thought; nothing where it was cut while it thought."""
    said = turn.text.rpartition("</think>")[2]
    return said.partition("<think>")[0].strip()


def groups(items: Sequence[Turn], size: int) -> list[Sequence[Turn]]:
    """The items in runs of `size`."""
    return [items[start : start + size] for start in range(0, len(items), size)]


def at_least_one(num_attempts: int) -> int:
    """K itself; raises ValueError where it is none."""
    if type(num_attempts) is not int or num_attempts < 1:
        raise ValueError(f"num_attempts is {num_attempts!r}; it must be a whole number from 1 on")
    return num_attempts


def follow_plans(
    solver: Voice,
    prompts: Prompts,
    problems: Sequence[Problem],
    plans_PK: Sequence[Sequence[Turn]],
    planning_P: Sequence[Sequence[Turn]],
) -> list[Attempted]:
    """Has the solver follow each plan.

    Args:
        solver: writes one program for each plan.
        prompts: of which the SOLVE template is used.
        problems: that the plans are for.
        plans_PK: the turns that are followed, K for each problem.
        planning_P: all turns that led there, which are paid for.
    """
    strategies_PK = [tuple(map(answer_text, plans)) for plans in plans_PK]
    messages = [
        prompts.solve_messages(problem, strategy)
        for problem, strategies in zip(problems, strategies_PK, strict=True)
        for strategy in strategies
    ]
    attempts = solver.speaker.answer(messages, solver.adapter, solver.sampling)
    sizes = [len(strategies) for strategies in strategies_PK]
    turns_PK = groups(attempts, sizes[0]) if sizes else []
    return [
        Attempted(problem, strategies, tuple(t.text for t in turns), Spent.on(planning, turns))
        for problem, strategies, turns, planning in zip(
            problems, strategies_PK, turns_PK, planning_P, strict=True
        )
    ]
