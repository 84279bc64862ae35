"""Evaluations made of given outcomes, for the tests of their report."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from cppo_trl.evaluation.records import AttemptRecord, Record
from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.evaluation.summary import summarise, without_unknown
from cppo_trl.problems import Problem, TestCase

STATUS = {"+": "pass", "-": "wrong_answer", "?": "infrastructure", "!": "no_code"}


def sample_record(
    outcomes: str, problem: str, seed: int = 0, plans: bool = False, text: str = "print({place})"
) -> Record:
    """One tuple: "+" passes, "-" fails, "?" has no verdict, only "!" is a plan that is none."""
    unparsed = set(outcomes) == {"!"}
    attempts = tuple(
        AttemptRecord(None, None, "no_code", 0, 2, 0.0)
        if unparsed
        else AttemptRecord(
            f"```python\n{text}\n```",
            text.replace("{place}", str(place)),
            STATUS[outcome],
            2 * (outcome == "+"),
            2,
            0.25,
            None if outcome == "+" else 0,
            "" if outcome == "+" else "expected <3>",
        )
        for place, outcome in enumerate(outcomes)
    )
    spent = {
        "planner_calls": int(plans),
        "planner_tokens": 20 * plans,
        "solver_calls": 0 if unparsed else len(outcomes),
        "solver_tokens": 100,
    }
    strategies = tuple(f"route {place} {text}" for place in range(len(outcomes)))
    followed = strategies if plans and not unparsed else None
    return Record(seed, 0, problem, followed, attempts, spent, 0.5)


def sample_evaluation(
    benchmarks: Mapping[str, Mapping[str, Sequence[str]]],
    ks: Sequence[int] = (),
    seeds: int = 1,
    described: str = "all tests",
    text: str = "print({place})",
    statement: str = "Add two numbers.",
    settings: Mapping[str, Any] | None = None,
    command: str = "cppo-trl eval",
) -> Evaluation:
    """An evaluation of the outcomes of each benchmark, method and problem, in every seed the same.

    The first method is the baseline, the others plan. Problems are "p0", "p1" and so on.
    """
    k = len(next(iter(next(iter(benchmarks.values())).values()))[0])
    records = {
        benchmark: {
            method: [
                sample_record(outcomes, f"p{place}", seed, number > 0, text)
                for seed in range(seeds)
                for place, outcomes in enumerate(problems)
            ]
            for number, (method, problems) in enumerate(methods.items())
        }
        for benchmark, methods in benchmarks.items()
    }
    split = {benchmark: without_unknown(methods) for benchmark, methods in records.items()}
    summaries = summarise(
        {benchmark: kept for benchmark, (kept, _) in split.items()}, ks or range(1, k + 1)
    )
    tests = (TestCase("1 2", "3"), TestCase("2 2", "4"))
    results = [
        BenchmarkResult(
            name,
            described,
            [
                Problem(f"p{place}", f"{statement} Number {place}.", tests)
                for place in range(len(next(iter(methods.values()))))
            ],
            records[name],
            summaries[name],
            split[name][1],
        )
        for name, methods in benchmarks.items()
    ]
    baseline = next(iter(next(iter(benchmarks.values()))))
    session = {"started": "2026-01-02T03:04:05+00:00", "command": command, "versions": {"torch": 2}}
    return Evaluation(k, seeds, baseline, results, settings or {"model": "m"}, [session])
