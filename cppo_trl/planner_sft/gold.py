"""Gold tuples, which stage 1 trains the planner on: from solved attempts, or from a large model.

    gold = gold_from_attempts(records, problems, num_strategies=4)
    gold = gold_from_model(problems, 4, Endpoint("my-model", temperature=0.9))
    write_plans(gold.plans, "gold.jsonl")

A gold tuple holds K different strategies, keeps to the rules of `RuleJudge`, and is what
`parse_plan` reads in its own plan text (arXiv 2605.27000, stage 1).
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from cppo_trl.endpoint import AnswerError, Endpoint, Question
from cppo_trl.evaluation.diversity import normalise_program
from cppo_trl.evaluation.records import Record
from cppo_trl.judges.rules import RuleJudge
from cppo_trl.plans import format_plan, normalise_strategy, parse_plan, strategy_labels
from cppo_trl.problems import Problem
from cppo_trl.prompts import Prompts
from cppo_trl.tuples import Plan

TEMPERATURE = 0.9  # of the model that is asked, as the planner's


@dataclass(frozen=True)
class Gold:
    """Gold tuples, in the order of the problems.

    Attributes:
        plans: the tuples; those of one problem differ in their strategies, not only in the order.
        without: why a problem has none, by its id. What follows a colon is a detail.
    """

    plans: list[Plan] = field(default_factory=list)
    without: dict[str, str] = field(default_factory=dict)


def gold_from_attempts(
    records: Iterable[Record],
    problems: Mapping[str, Problem],
    num_strategies: int,
    per_problem: int = 1,
    seed: int = 0,
    max_words: int = 45,
) -> Gold:
    """Tuples of strategies whose attempts passed, drawn at random.

    Strategies of one problem that are the same text (`normalise_strategy`), or that led to the same
    program (`normalise_program`), are one route, of which the first is taken.

    Args:
        records: attempts at strategies, of any number; those that follow no strategies give none.
        problems: by id; of these there are tuples.
        num_strategies: K, from 2 to 26.
        per_problem: most tuples for a problem.
        seed: of the draw, which is each problem's own: others do not change it.
        max_words: of a strategy.

    Raises:
        ValueError: a number out of range, or a record without one strategy for each attempt.
    """
    _check(num_strategies, per_problem)
    rules = RuleJudge(max_words)
    own: dict[str, list[Record]] = {name: [] for name in problems}
    for record in records:
        if record.problem_id in own:
            own[record.problem_id].append(record)
    gold = Gold()
    for name, attempted in own.items():
        found = _routes(problems[name], attempted, num_strategies, rules)
        if isinstance(found, str):
            gold.without[name] = found
            continue
        rng = random.Random(f"{seed} {name}")
        drawn = _draw(found, num_strategies, per_problem, rng)
        gold.plans.extend(Plan(name, strategies) for strategies in drawn)
    return gold


def gold_from_model(
    problems: Sequence[Problem],
    num_strategies: int,
    endpoint: Endpoint,
    per_problem: int = 1,
    tries: int = 3,
    max_words: int = 45,
    prompts: Prompts | None = None,
    progress: bool = False,
) -> Gold:
    """Tuples that a model writes when it is asked what the planner is asked.

    An answer that is no plan, breaks a rule, was cut, or repeats another tuple of its problem is
    asked for anew. What the endpoint cannot answer is left out.

    Args:
        problems: what to plan for.
        num_strategies: K, from 2 to 26.
        endpoint: who is asked.
        per_problem: most tuples for a problem, an answer each.
        tries: times that one answer is asked for.
        max_words: of a strategy.
        prompts: the question; None for the planner's default.
        progress: show a bar.

    Raises:
        EndpointError: the endpoint refuses all questions.
        ValueError: a number out of range; several tuples at a temperature of 0, where all answers
            are the same.
    """
    _check(num_strategies, per_problem)
    if tries < 1:
        raise ValueError(f"tries is {tries!r}; it must be 1 or more")
    if per_problem > 1 and not endpoint.temperature > 0:
        raise ValueError(
            f"temperature is {endpoint.temperature!r}; it must be above 0 for several tuples"
        )
    prompts, rules = prompts or Prompts(), RuleJudge(max_words)
    questions = []
    for problem in problems:
        (message,) = prompts.plan_messages(problem, num_strategies)
        read = _Reader(problem, num_strategies, rules)
        questions += [
            Question(message["content"], read, sample, is_whole=True)
            for sample in range(per_problem)
        ]
    answers = iter(endpoint.ask_many(questions, tries, "gold" if progress else None))
    gold = Gold()
    for problem in problems:
        own = [next(answers) for _ in range(per_problem)]
        found = [Plan(problem.id, answer.value) for answer in own if answer.value is not None]
        gold.plans.extend(found)
        if not found:
            gold.without[problem.id] = own[0].reason
    return gold


class _Reader:
    """Reads the answers for one problem; remembers the tuples, of which each is taken once."""

    def __init__(self, problem: Problem, num_strategies: int, rules: RuleJudge):
        self._problem = problem
        self._num_strategies = num_strategies
        self._rules = rules
        self._taken: set[frozenset[str]] = set()

    def __call__(self, text: str) -> tuple[str, ...]:
        strategies = parse_plan(text, self._num_strategies)
        if strategies is None or not _survives(strategies):
            shown = text.strip()[:80]
            raise AnswerError(f"no plan of {self._num_strategies} strategies: {shown!r}")
        judgement = self._rules.judge(self._problem, strategies, text)
        if not judgement.valid:
            raise AnswerError(f"a plan against the rules: {judgement.reason}")
        key = frozenset(map(normalise_strategy, strategies))
        if key in self._taken:
            raise AnswerError("only plans that repeat another one")
        self._taken.add(key)
        return strategies


def _routes(
    problem: Problem, records: Iterable[Record], num_strategies: int, rules: RuleJudge
) -> list[str] | str:
    """Strategies that passed, one for each route, or why they are fewer than K."""
    attempts = [
        (" ".join(strategy.split()), attempt)
        for record in records
        if record.strategies is not None
        for strategy, attempt in zip(record.strategies, record.attempts, strict=True)
    ]
    if not attempts:
        return "no attempt at a strategy"
    first: dict[str, str] = {}
    programs: dict[str, set[str]] = {}
    unknown = set()
    for strategy, attempt in attempts:
        plain = normalise_strategy(strategy)
        if attempt.passed and attempt.program is not None:
            first.setdefault(plain, strategy)
            programs.setdefault(plain, set()).add(normalise_program(attempt.program))
        elif attempt.passed is None:
            unknown.add(plain)
    k = num_strategies
    if len(first) < k:
        is_open = len(first.keys() | unknown) >= k
        return f"fewer than {k} strategies passed" + is_open * ", and some have no verdict"
    sound = [
        plain
        for plain, strategy in first.items()
        if rules.fault(problem, strategy) is None and _survives((strategy, strategy))
    ]
    if len(sound) < k:
        return f"fewer than {k} of the strategies that passed keep to the rules"
    routes: list[str] = []
    seen: set[str] = set()
    for plain in sound:
        if seen.isdisjoint(programs[plain]):
            seen |= programs[plain]
            routes.append(first[plain])
    if len(routes) < k:
        return f"fewer than {k} of the strategies that passed led to different programs"
    return routes


def _draw(
    routes: Sequence[str], num_strategies: int, per_problem: int, rng: random.Random
) -> list[tuple[str, ...]]:
    """Tuples of K routes, in random order; no two tuples of the same routes."""
    count = min(per_problem, math.comb(len(routes), num_strategies))
    drawn: dict[frozenset[int], tuple[str, ...]] = {}
    while len(drawn) < count:
        places = rng.sample(range(len(routes)), num_strategies)
        drawn.setdefault(frozenset(places), tuple(routes[place] for place in places))
    return list(drawn.values())


def _survives(strategies: tuple[str, ...]) -> bool:
    """Whether the strategies can be read in their own plan text (a literal `</think>` cannot)."""
    if not all(strategy.split() for strategy in strategies):
        return False
    return parse_plan(format_plan(strategies), len(strategies)) == strategies


def _check(num_strategies: int, per_problem: int) -> None:
    try:
        strategy_labels(num_strategies)
    except ValueError:
        raise ValueError(
            f"num_strategies is {num_strategies!r}; a tuple has from 2 to 26 strategies"
        ) from None
    if per_problem < 1:
        raise ValueError(f"per_problem is {per_problem!r}; it must be 1 or more")
