"""Search over observations before any code is written (PlanSearch, arXiv 2409.03733)."""

from __future__ import annotations

import itertools
import random
import re
from collections.abc import Sequence

from cppo_trl.generation import Turn
from cppo_trl.problems import Problem
from cppo_trl.prompts import DEFAULT_SOLVE, Prompts

from .method import (
    Attempted,
    Voice,
    answer_text,
    at_least_one,
    check_method_template,
    fields,
    follow_plans,
    groups,
)

OBSERVE_TEMPLATE = """\
{statement}

{contract}

Do not solve this problem yet. List {count} observations about it that are true, not obvious, \
and of use to someone who looks for an algorithm. One line each, numbered, nothing else.\
"""
DERIVE_TEMPLATE = """\
{statement}

{contract}

Observations so far:
{observations}

Do not solve the problem yet. List {count} further observations that follow from these taken \
together. One line each, numbered, nothing else.\
"""
PLAN_TEMPLATE = """\
{statement}

{contract}

Observations:
{observations}

Do not write code yet. Devise an algorithm that makes use of all these observations, and \
describe it step by step.\
"""
_NUMBER = re.compile(r"^\s*(?:[-*•]|\(?\d+[.):]|[A-Z][.):](?=\s)|#+)\s*")
LARGEST = 2  # observations in a combination


class PlanSearch:
    """K plans from different combinations of observations, with one program each.

    One call lists observations about the problem. K combinations of up to two of them are drawn,
    all different as long as there are enough; for each, one call derives further observations, one
    turns them into a plan, and one writes the program: 1 + 3 K calls for a problem.

    Args:
        planner, solver: who observes and plans, and who writes the programs.
        num_attempts: K.
        num_observations: asked for in one call.
        observe_template, derive_template, plan_template: may use `{statement}` (required),
            `{contract}` and `{starter_code}`; the first two `{count}`, the last two
            `{observations}` (required).
        solve_template: as `Prompts.solve`; its `{strategy}` is the plan.

    Raises:
        ValueError: a template has a field that it may not have; a number is less than 1.
    """

    def __init__(
        self,
        planner: Voice,
        solver: Voice,
        num_attempts: int,
        num_observations: int = 8,
        observe_template: str = OBSERVE_TEMPLATE,
        derive_template: str = DERIVE_TEMPLATE,
        plan_template: str = PLAN_TEMPLATE,
        solve_template: str = DEFAULT_SOLVE,
    ):
        check_method_template("observe", observe_template)
        check_method_template("derive", derive_template)
        check_method_template("plan_search", plan_template)
        if num_observations < 1:
            raise ValueError(f"num_observations is {num_observations!r}; it must be 1 or more")
        self.planner = planner
        self.solver = solver
        self.num_attempts = at_least_one(num_attempts)
        self.num_observations = num_observations
        self.templates = (observe_template, derive_template, plan_template)
        self.prompts = Prompts(solve=solve_template)

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        """Attempts each problem K times; see `Method`."""
        k, count = self.num_attempts, self.num_observations
        observe, derive, plan = self.templates
        first = self.planner.answer([observe.format(**fields(p), count=count) for p in problems])
        combinations = [
            (problem, chosen)
            for problem, turn in zip(problems, first, strict=True)
            for chosen in combine(listed(turn), k, random.Random(f"{seed} {problem.id}"))
        ]
        second = self.planner.answer(
            [
                derive.format(**fields(problem), count=count, observations=_shown(chosen))
                for problem, chosen in combinations
            ]
        )
        plans = self.planner.answer(
            [
                plan.format(**fields(problem), observations=_shown((*chosen, *listed(turn))))
                for (problem, chosen), turn in zip(combinations, second, strict=True)
            ]
        )
        planning = [
            (turn, *derived, *planned)
            for turn, derived, planned in zip(
                first, groups(second, k), groups(plans, k), strict=True
            )
        ]
        return follow_plans(self.solver, self.prompts, problems, groups(plans, k), planning)


def listed(turn: Turn) -> tuple[str, ...]:
    """The observations of an answer, one a line without its number; a cut one is left out."""
    lines = answer_text(turn).splitlines()
    if turn.completion.truncated:
        lines = lines[:-1]
    found = (_NUMBER.sub("", line).strip() for line in lines)
    return tuple(dict.fromkeys(text for text in found if text))


def combine(observations: Sequence[str], count: int, rng: random.Random) -> list[tuple[str, ...]]:
    """`count` combinations of up to two observations, drawn without repetition while there are any.

    The empty one is among them: a plan that no observation leads.
    """
    sizes = range(min(LARGEST, len(observations)) + 1)
    every = [chosen for size in sizes for chosen in itertools.combinations(observations, size)]
    drawn: list[tuple[str, ...]] = []
    while len(drawn) < count:
        drawn += rng.sample(every, min(len(every), count - len(drawn)))
    return drawn


def _shown(observations: Sequence[str]) -> str:
    return "\n".join(f"- {text}" for text in observations) or "- none"
