"""What the page shows of each problem, packed small: a page may hold 50,000 programs."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Sequence
from typing import Any

from cppo_trl.evaluation.records import AttemptRecord, Record
from cppo_trl.evaluation.results import BenchmarkResult, Evaluation
from cppo_trl.problems import Problem

from .conclusion import best_methods
from .solved import attempt_labels


def packed(value: Any) -> str:
    """JSON, deflated (zlib), as base64: for `DecompressionStream("deflate")`."""
    text = json.dumps(value, separators=(",", ":"), ensure_ascii=True)
    return base64.b64encode(zlib.compress(text.encode(), 9)).decode()


def problem_index(evaluation: Evaluation) -> dict[str, Any]:
    """What the list of problems needs: statements, and passes and attempts for each method."""
    return {
        "labels": attempt_labels(evaluation.k),
        "methods": list(evaluation.benchmarks[0].records),
        "baseline": evaluation.baseline,
        "benchmarks": [
            {"name": benchmark.name, "best": best_methods(benchmark, evaluation.k)[0].method}
            for benchmark in evaluation.benchmarks
        ],
        "problems": [
            {
                "benchmark": place,
                "id": problem.id,
                "statement": problem.statement,
                "unknown": problem.id in unknown,
                "passed": [_passed(records) for records in by_method],
            }
            for place, benchmark in enumerate(evaluation.benchmarks)
            for unknown in [set(benchmark.unknown)]
            for problem, by_method in _with_records(benchmark)
        ],
    }


def problem_pages(evaluation: Evaluation) -> list[str]:
    """One packed page for each problem, in the order of the index."""
    return [
        packed(_page(problem, by_method))
        for benchmark in evaluation.benchmarks
        for problem, by_method in _with_records(benchmark)
    ]


def _with_records(benchmark: BenchmarkResult) -> list[tuple[Problem, list[list[Record]]]]:
    """Each problem with its records by method, in the order of the methods."""
    tables = []
    for records in benchmark.records.values():
        table: dict[str, list[Record]] = {}
        for record in records:
            table.setdefault(record.problem_id, []).append(record)
        tables.append(table)
    return [
        (problem, [table.get(problem.id, []) for table in tables]) for problem in benchmark.problems
    ]


def _passed(records: Sequence[Record]) -> list[int]:
    attempts = [attempt for record in records for attempt in record.attempts]
    return [sum(bool(attempt.passed) for attempt in attempts), len(attempts)]


def _page(problem: Problem, by_method: Sequence[Sequence[Record]]) -> dict[str, Any]:
    texts: dict[str, int] = {}  # equal programs are kept once
    tuples = [[_tuple(record, texts) for record in records] for records in by_method]
    return {
        "facts": _facts(problem),
        "starter": problem.starter_code,
        "texts": list(texts),
        "tuples": tuples,
    }


def _facts(problem: Problem) -> list[list[str]]:
    modes = {
        "stdin": "reads standard input, writes standard output",
        "function": f"the function {problem.fn_name}, called with each test's arguments",
        "assertions": f"the function {problem.fn_name}, checked by each test's code",
    }
    tests, all_tests = len(problem.tests), problem.metadata.get("num_tests")
    time, memory = problem.time_limit, problem.memory_limit
    facts = {
        "Program": modes[problem.io_mode],
        "Tests": f"{tests} of {all_tests}: capped" if all_tests else str(tests),
        "Time limit": f"{time:g} s a test" if time else "the verifier's own",
        "Memory limit": f"{memory} MB" if memory else "the verifier's own",
        "Difficulty": problem.difficulty,
        "Source": problem.source,
    }
    return [[name, value] for name, value in facts.items() if value]


def _tuple(record: Record, texts: dict[str, int]) -> dict[str, Any]:
    attempts = []
    for attempt in record.attempts:
        # Where there is no program, what was said instead tells why.
        text = attempt.completion if attempt.program is None else attempt.program
        attempts.append(
            {
                "text": None if text is None else texts.setdefault(text, len(texts)),
                "code": attempt.program is not None,
                "status": attempt.status,
                "passed": attempt.tests_passed,
                "total": attempt.tests_total,
                "cpu": attempt.cpu_seconds,
                "why": _why(attempt),
            }
        )
    return {
        "seed": record.seed,
        "draw": record.draw,
        "strategies": record.strategies,
        "planned": bool(record.spent.get("planner_calls")),
        "attempts": attempts,
    }


def _why(attempt: AttemptRecord) -> str:
    """Which test failed first, counted from 1 as people do, and how."""
    test = "" if attempt.first_failed is None else f"test {attempt.first_failed + 1}"
    return ": ".join(filter(None, (test, attempt.message)))
