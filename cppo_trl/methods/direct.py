"""K samples from the statement, without a plan."""

from __future__ import annotations

from collections.abc import Sequence

from cppo_trl.plans import strategy_labels
from cppo_trl.problems import Problem

from .method import Attempted, Spent, Voice, at_least_one, check_method_template, fields, groups

DIRECT_TEMPLATE = """\
{statement}

{contract}{starter_code}

Write a complete Python 3 program. Answer with one fenced python block and nothing else.\
"""
# The number comes last, so that all attempts at a problem share a prefix that caches.
LATENT_TEMPLATE = DIRECT_TEMPLATE + "\n\nRoute: {z} of {k}"


def direct_prompt(problem: Problem, template: str = DIRECT_TEMPLATE) -> str:
    """What `Direct` asks, as a user's only message."""
    return template.format(**fields(problem))


def latent_prompt(problem: Problem, z: int, k: int, template: str = LATENT_TEMPLATE) -> str:
    """What `Latent` asks for the route `z` of `k`, as a user's only message."""
    label = strategy_labels(k)[z - 1] if 2 <= k <= 26 else str(z)
    return template.format(**fields(problem), z=z, k=k, label=label)


class Direct:
    """K independent samples.

    Args:
        solver: who writes the programs.
        num_attempts: K.
        template: may use `{statement}` (required), `{contract}` and `{starter_code}`, as `Prompts`
            describes them.

    Raises:
        ValueError: the template has a field that it may not have, or K is less than 1.
    """

    def __init__(self, solver: Voice, num_attempts: int, template: str = DIRECT_TEMPLATE):
        check_method_template("direct", template)
        self.solver = solver
        self.num_attempts = at_least_one(num_attempts)
        self.template = template

    def attempt(self, problems: Sequence[Problem], seed: int = 0) -> list[Attempted]:
        """Attempts each problem K times; see `Method`."""
        prompts = [prompt for problem in problems for prompt in self._prompts(problem)]
        attempts = groups(self.solver.answer(prompts), self.num_attempts)
        return [
            Attempted(problem, None, tuple(turn.text for turn in turns), Spent.on((), turns))
            for problem, turns in zip(problems, attempts, strict=True)
        ]

    def _prompts(self, problem: Problem) -> list[str]:
        return [direct_prompt(problem, self.template)] * self.num_attempts


class Latent(Direct):
    """One sample for each value of a latent number z = 1..K that the prompt names.

    The policy of UpSkill (arXiv 2602.22296) at evaluation; with a solver that was not trained for
    it, a baseline that shows what the number alone does.

    Args:
        solver, num_attempts: as for `Direct`.
        template: as for `Direct`; may use `{k}` and `{label}` (the z-th letter), and has to use
            `{z}`.

    Raises:
        ValueError: as for `Direct`.
    """

    def __init__(self, solver: Voice, num_attempts: int, template: str = LATENT_TEMPLATE):
        check_method_template("latent", template)
        self.solver = solver
        self.num_attempts = at_least_one(num_attempts)
        self.template = template

    def _prompts(self, problem: Problem) -> list[str]:
        k = self.num_attempts
        return [latent_prompt(problem, z, k, self.template) for z in range(1, k + 1)]
