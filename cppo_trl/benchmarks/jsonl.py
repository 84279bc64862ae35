"""A user's own problems, one JSON object a line, as `Problem.from_dict` takes them.

`metadata["solutions"]`, a list of programs known to be right, is what `cppo-trl benchmark check`
runs; `metadata["date"]` ("2024-08-31") is what filters by date look at.
"""

from __future__ import annotations

from collections.abc import Mapping

from cppo_trl.problems import Problem

from .benchmark import Benchmark, Row
from .rows import NO_TESTS, BadRow


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    if isinstance(row, Mapping) and "tests" in row and not row["tests"]:
        raise BadRow(NO_TESTS, "field 'tests' is empty")
    return Problem.from_dict(row)


def solutions(row: Row) -> list[str]:
    """The programs in the metadata."""
    metadata = to_problem(row).metadata
    return [code for code in metadata.get("solutions", ()) if isinstance(code, str)]


BENCHMARK = Benchmark(
    name="jsonl",
    title="a JSONL file of yours",
    to_problem=to_problem,
    solutions=solutions,
    compare="lcb",
    is_dated=True,
)
