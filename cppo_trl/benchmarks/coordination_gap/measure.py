"""What a policy does on the coordination gap, over all readings that could be the hidden one.

`measure_policy` is for planner and solver, trained or not; `measure_direct` is for the bare base,
which samples K programs from the statement alone. Both give a `Measurement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from cppo_trl.evaluation import pass_at_k
from cppo_trl.generation import Sampling, Speaker, TransformersGenerator
from cppo_trl.plans import normalise_strategy
from cppo_trl.problems import Problem
from cppo_trl.prompts import Prompts
from cppo_trl.roles import SOLVER, add_roles
from cppo_trl.rollouts import RolloutPolicy
from cppo_trl.routing import BASE
from cppo_trl.verifier import CodeVerifier

from .base import DIRECT_TEMPLATE, PLAN_TEMPLATE, SOLVE_TEMPLATE
from .world import NUM_READINGS, belongs, hidden_variants, rule_of

PLANNER_SAMPLING = Sampling(max_new_tokens=48, temperature=1.0)
SOLVER_SAMPLING = Sampling(max_new_tokens=32, temperature=1.0)


@dataclass(frozen=True)
class Tried:
    """K attempts at one problem, and what they came to.

    Attributes:
        problem: whose readings they aim at; which of them is hidden plays no part.
        strategies: of the plan, one for each attempt; None without a plan that parses.
        passed: for each of the K attempts the reading whose tests it passes, or None. An unparsable
            plan uses up its K attempts: they all are None.
        tokens: what was decoded for them, the plan included.
    """

    problem: Problem
    strategies: tuple[str, ...] | None
    passed: tuple[str | None, ...]
    tokens: int


@dataclass(frozen=True)
class Measurement:
    """M times K attempts at each of P problems.

    The shares and means below are over all of them; `pass_at` keeps the problems apart.
    """

    tried_PM: tuple[tuple[Tried, ...], ...]

    def pass_at(self, k: int) -> np.ndarray:
        """pass@k of each problem, (P,), averaged over the hidden readings and the M tuples.

        Unbiased for k attempts out of K (arXiv 2107.03374, equation 1), with k from 1 to K.
        """
        correct_PMR = np.array(
            [
                [[t.passed.count(name) for name in t.problem.metadata["readings"]] for t in tried_M]
                for tried_M in self.tried_PM
            ]
        )
        return pass_at_k(self.attempts, correct_PMR, k).mean((1, 2))

    @property
    def attempts(self) -> int:
        """K, the attempts that are used up for a problem."""
        return len(self.tried_PM[0][0].passed)

    @property
    def tokens(self) -> float:
        """Tokens decoded for K attempts, the plan's included: the mean."""
        return _mean([tried.tokens for tried in self._all])

    @property
    def parse_rate(self) -> float:
        """Share of the plans that parse."""
        return len(self._planned) / len(self._all)

    @property
    def distinct(self) -> float:
        """Different strategies in a plan that parses, 1 to K: the mean; NaN without such plans."""
        return _mean([_different(tried.strategies) for tried in self._planned])

    @property
    def duplicates(self) -> float:
        """Share of the plans that parse in which a strategy is repeated; NaN without such plans."""
        return _mean([_different(t.strategies) < len(t.strategies) for t in self._planned])

    @property
    def admissible(self) -> float:
        """Share of the strategies that are readings of their problem; NaN without strategies."""
        return _mean([belongs(problem, [s]) is None for problem, s, _ in self._attempted])

    @property
    def coordinated(self) -> float:
        """Share of the plans whose K strategies are all admissible and all different."""
        return _mean(
            [
                tried.strategies is not None
                and belongs(tried.problem, tried.strategies) is None
                and _different(tried.strategies) == len(tried.strategies)
                for tried in self._all
            ]
        )

    @property
    def faithful(self) -> float:
        """Share of the attempts at an admissible strategy that pass the tests of that reading."""
        return _mean(
            [
                rule_of(strategy).name == reading
                for problem, strategy, reading in self._attempted
                if belongs(problem, [strategy]) is None
            ]
        )

    @property
    def _all(self) -> list[Tried]:
        return [tried for tried_M in self.tried_PM for tried in tried_M]

    @property
    def _planned(self) -> list[Tried]:
        return [tried for tried in self._all if tried.strategies is not None]

    @property
    def _attempted(self) -> list[tuple[Problem, str, str | None]]:
        return [
            (tried.problem, *attempt)
            for tried in self._planned
            for attempt in zip(tried.strategies, tried.passed, strict=True)
        ]


def untrained_policy(
    checkpoint: str | Path,
    planner: Sampling = PLANNER_SAMPLING,
    solver: Sampling = SOLVER_SAMPLING,
    num_strategies: int = NUM_READINGS,
) -> RolloutPolicy:
    """The base that `train_base` gave with two fresh adapters, which change nothing yet."""
    model = add_roles(AutoModelForCausalLM.from_pretrained(checkpoint)).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    return RolloutPolicy(
        Speaker(TransformersGenerator(model, tokenizer, [tokenizer.eos_token_id]), tokenizer),
        Prompts(PLAN_TEMPLATE, SOLVE_TEMPLATE),
        num_strategies,
        planner,
        solver,
    )


def measure_policy(
    policy: RolloutPolicy,
    problems: Sequence[Problem],
    verifier: CodeVerifier,
    *,
    tuples: int = 1,
    seed: int = 0,
) -> Measurement:
    """Plans each problem `tuples` times, attempts every strategy once, and verifies the attempts.

    `seed` is of the sampling; torch's own stream is left as it was.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        rollouts = policy.plan([problem for problem in problems for _ in range(tuples)])
        policy.solve(rollouts)
    attempts = [(rollout.problem, turn.text) for rollout in rollouts for turn in rollout.attempts]
    passed = iter(passed_readings(*zip(*attempts, strict=True), verifier) if attempts else ())
    nothing = (None,) * policy.num_strategies
    return _measurement(
        [
            Tried(
                rollout.problem,
                rollout.strategies,
                tuple(next(passed) for _ in rollout.attempts) or nothing,
                sum(len(t.completion.token_ids) for t in (rollout.plan, *rollout.attempts)),
            )
            for rollout in rollouts
        ],
        tuples,
    )


def measure_direct(
    policy: RolloutPolicy,
    problems: Sequence[Problem],
    verifier: CodeVerifier,
    *,
    temperature: float = 1.0,
    tuples: int = 1,
    seed: int = 0,
) -> Measurement:
    """Samples K programs from each statement alone, `tuples` times, with the policy's bare base."""
    k = policy.num_strategies
    repeated = [problem for problem in problems for _ in range(tuples * k)]
    conversations = [
        [{"role": "user", "content": DIRECT_TEMPLATE.format(statement=problem.statement)}]
        for problem in repeated
    ]
    sampling = replace(policy.sampling[SOLVER], temperature=temperature)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        turns = policy.speaker.answer(conversations, BASE, sampling)
    tokens = [turn.completion.token_ids for turn in turns]
    texts = [turn.text for turn in turns]
    passed = passed_readings(repeated, texts, verifier)
    return _measurement(
        [
            Tried(
                repeated[first],
                None,
                tuple(passed[first : first + k]),
                sum(map(len, tokens[first : first + k])),
            )
            for first in range(0, len(repeated), k)
        ],
        tuples,
    )


def passed_readings(
    problems: Sequence[Problem], completions: Sequence[str], verifier: CodeVerifier
) -> list[str | None]:
    """For each completion the reading of its problem whose tests its program passes, or None.

    There is one at most: the tests of two readings never agree.
    """
    variants = {problem.id: hidden_variants(problem) for problem in problems}
    pairs = [
        (variant, completion)
        for problem, completion in zip(problems, completions, strict=True)
        for variant in variants[problem.id]
    ]
    verdicts = iter(verifier.verify_completions(*zip(*pairs, strict=True)))
    passed = [
        [v.metadata["hidden"] for v in variants[problem.id] if next(verdicts).passed]
        for problem in problems
    ]
    return [names[0] if names else None for names in passed]


def _measurement(tried: list[Tried], tuples: int) -> Measurement:
    rows = range(0, len(tried), tuples)
    return Measurement(tuple(tuple(tried[first : first + tuples]) for first in rows))


def _different(strategies: Sequence[str]) -> int:
    return len({normalise_strategy(strategy) for strategy in strategies})


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
