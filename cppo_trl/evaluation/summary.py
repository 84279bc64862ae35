"""The numbers of a table from the records of its methods."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from cppo_trl.plans import normalise_strategy

from .bootstrap import Comparison, bootstrap_interval, paired_bootstrap
from .diversity import near_duplicate_rate, pass_per_10k_tokens, solved_by_one
from .pass_at_k import pass_at_k
from .records import Record
from .significance import holm

LEVEL = 0.05  # of significance


@dataclass(frozen=True)
class Score:
    """pass@k of one method: the mean and its 95 % interval."""

    k: int
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Summary:
    """What one method did on the problems of a benchmark, means over problems, seeds and tuples.

    Attributes:
        method: its name.
        scores: for each k.
        against: pass@K less that of the baseline on the same problems; None for the baseline. The
            p-value is adjusted for all cells of the table (Holm).
        distinct: different strategies in a plan that parses; None without such plans.
        parse_rate: share of the tuples with strategies; None where none was meant to have any.
        near_duplicates: share of pairs of programs of a tuple that are near-duplicates.
        solved_by_one: share of tuples that exactly one attempt solved.
        planner_calls, solver_calls: of the model, for K attempts.
        planner_tokens, solver_tokens: decoded for K attempts.
        pass_per_10k_tokens: pass@K for 10,000 tokens.
        seconds: of generating K attempts, in batches.
        cpu_seconds: of verifying K attempts.
    """

    method: str
    scores: tuple[Score, ...]
    against: Comparison | None
    distinct: float | None
    parse_rate: float | None
    near_duplicates: float
    solved_by_one: float
    planner_calls: float
    planner_tokens: float
    solver_calls: float
    solver_tokens: float
    pass_per_10k_tokens: float
    seconds: float
    cpu_seconds: float

    @property
    def is_significant(self) -> bool:
        """Whether it differs from the baseline, at a level of 0.05 for the whole table."""
        return self.against is not None and self.against.p_value < LEVEL


def pass_at_k_scores(records: Sequence[Record], k: int) -> np.ndarray:
    """pass@k for each seed and problem, (S, P), problems in the order of the records.

    Unbiased in each case. Up to K (the attempts of a tuple) it is that of k attempts of one tuple,
    averaged over the draws: attempts that know of each other stay together. For m K it is that of m
    tuples out of all, whole ones. For any other k the attempts of all draws are one pool, as in
    METHOD, section 7, and tuples are broken.

    Raises:
        ValueError: k is less than 1, or more than all attempts at a problem; an attempt has no
            verdict.
    """
    if k < 1:
        raise ValueError(f"k is {k!r}; it must be a whole number from 1 on")
    table: dict[tuple[int, str], list[Record]] = {}
    for record in records:
        table.setdefault((record.seed, record.problem_id), []).append(record)
    size = len(records[0].attempts)
    scores: dict[int, list[float]] = {}
    for (seed, problem_id), drawn in table.items():
        correct = [_passes(record) for record in drawn]
        if k <= size:
            score = float(np.mean(pass_at_k(size, np.array(correct), k)))
        elif k <= size * len(drawn) and k % size == 0:
            score = pass_at_k(len(drawn), sum(count > 0 for count in correct), k // size)
        elif k <= size * len(drawn):
            score = pass_at_k(size * len(drawn), sum(correct), k)
        else:
            raise ValueError(
                f"k is {k}; there are {size * len(drawn)} attempts at problem {problem_id!r}: "
                f"{len(drawn)} draws of {size}"
            )
        scores.setdefault(seed, []).append(score)
    return np.array([scores[seed] for seed in sorted(scores)])


def _passes(record: Record) -> int:
    outcomes = [attempt.passed for attempt in record.attempts]
    if None in outcomes:
        raise ValueError(
            f"problem {record.problem_id!r} has attempts without a verdict; run the evaluation "
            "again to verify them, or leave the problem out"
        )
    return sum(outcomes)


def without_unknown(
    methods: Mapping[str, Sequence[Record]],
) -> tuple[dict[str, list[Record]], list[str]]:
    """The records of the problems that have all verdicts, and the ids of the other problems.

    A problem is left out for every method, so that they stay comparable.
    """
    unknown = {
        record.problem_id
        for records in methods.values()
        for record in records
        if any(attempt.passed is None for attempt in record.attempts)
    }
    kept = {
        name: [record for record in records if record.problem_id not in unknown]
        for name, records in methods.items()
    }
    return kept, sorted(unknown)


def summarise(
    benchmarks: Mapping[str, Mapping[str, Sequence[Record]]],
    ks: Sequence[int],
    baseline: str | None = None,
) -> dict[str, list[Summary]]:
    """One summary for each benchmark and method, each tested against the baseline.

    A table has one claim for each of its cells: that pass@K is not the baseline's, with K the
    attempts of a tuple. Their p-values are adjusted together (Holm).

    Args:
        benchmarks: for each benchmark the records by method, all of the same problems and seeds.
        ks: the values of k.
        baseline: the name of the method that the others are tested against; None for the first.

    Raises:
        ValueError: no methods or no records, other problems or seeds, a baseline that is none, and
            what `pass_at_k_scores` refuses.
    """
    tests: dict[tuple[str, str], Comparison] = {}
    for benchmark, methods in benchmarks.items():
        first = _check(methods, baseline)
        scores = {
            name: pass_at_k_scores(records, len(records[0].attempts))
            for name, records in methods.items()
        }
        for name in methods:
            if name != first:
                tests[benchmark, name] = paired_bootstrap(scores[name], scores[first])
    adjusted = holm([found.p_value for found in tests.values()])
    against = {
        cell: replace(found, p_value=p_value)
        for (cell, found), p_value in zip(tests.items(), adjusted, strict=True)
    }
    return {
        benchmark: [
            _summary(name, records, ks, against.get((benchmark, name)))
            for name, records in methods.items()
        ]
        for benchmark, methods in benchmarks.items()
    }


def _check(methods: Mapping[str, Sequence[Record]], baseline: str | None) -> str:
    if not methods or not all(methods.values()):
        raise ValueError("there is nothing to summarise: each method needs records")
    first, *others = methods
    if baseline is not None and baseline not in methods:
        raise ValueError(f"baseline is {baseline!r}; it must be one of {[*methods]}")
    for name in others:
        if [r.key for r in methods[name]] != [r.key for r in methods[first]]:
            raise ValueError(
                f"{name!r} and {first!r} were not run on the same problems, seeds and draws"
            )
    return first if baseline is None else baseline


def _summary(
    name: str, records: Sequence[Record], ks: Sequence[int], against: Comparison | None
) -> Summary:
    planned = [record for record in records if record.strategies is not None]
    plans = any(record.spent["planner_calls"] for record in records)
    spent = {key: _mean(r.spent[key] for r in records) for key in records[0].spent}
    at_size = float(pass_at_k_scores(records, len(records[0].attempts)).mean())
    tokens = spent["planner_tokens"] + spent["solver_tokens"]
    return Summary(
        method=name,
        scores=tuple(Score(k, *bootstrap_interval(pass_at_k_scores(records, k))) for k in ks),
        against=against,
        distinct=_mean(len(set(map(normalise_strategy, r.strategies))) for r in planned)
        if planned
        else None,
        parse_rate=len(planned) / len(records) if plans else None,
        near_duplicates=_mean(
            near_duplicate_rate([a.program for a in r.attempts if a.program]) for r in records
        ),
        solved_by_one=solved_by_one([[bool(a.passed) for a in r.attempts] for r in records]),
        **spent,
        pass_per_10k_tokens=pass_per_10k_tokens(at_size, tokens),
        seconds=_mean(r.seconds for r in records),
        cpu_seconds=_mean(sum(a.cpu_seconds for a in r.attempts) for r in records),
    )


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
