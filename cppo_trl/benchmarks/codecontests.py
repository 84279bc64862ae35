"""CodeContests: 13,328 + 117 + 165 problems of contests (Li et al., arXiv 2203.07814).

All tests are used: public, private and generated, in this order. Some of the generated ones are
malformed, and several problems accept more than one output but have no checker, so that right
programs fail: `cppo-trl benchmark check` finds out which.
"""

from __future__ import annotations

from collections.abc import Mapping

from cppo_trl.problems import Problem, TestCase

from . import sandboxfusion
from .benchmark import ANY, Benchmark, Row
from .rows import MALFORMED_TESTS, NO_TESTS, BadRow, records, shown, text_field
from .source_ids import source_id

_SOURCES = (None, "codechef", "codeforces", "hackerearth", "codejam", "atcoder", "aizu")
_DIFFICULTIES = (None, "easy", "medium", "hard", "harder", "hardest", "external")
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUV"  # of Codeforces, from the number 7 on
_PYTHON_3 = 3


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    if sandboxfusion.is_copy(row):
        row = sandboxfusion.codecontests_row(row)
    name = text_field(row, "name")
    tests = []
    for column in ("public_tests", "private_tests", "generated_tests"):
        for test in records(row.get(column), ("input", "output"), f"field {column!r}"):
            if not isinstance(test["input"], str) or not isinstance(test["output"], str):
                raise BadRow(MALFORMED_TESTS, f"a test in {column!r} is {shown(test)}")
            tests.append(TestCase(test["input"], test["output"]))
    if not tests:
        raise BadRow(NO_TESTS, "public, private and generated tests are empty")
    source = _named(row.get("source"), _SOURCES)
    metadata = {"source_id": _source_id(row, name, source), "rating": row.get("cf_rating") or None}
    for column in ("input_file", "output_file"):
        if text_field(row, column, default=""):
            metadata[column] = row[column]
    return Problem(
        id=name,
        statement=text_field(row, "description"),
        tests=tuple(tests),
        time_limit=_seconds(row.get("time_limit")),
        memory_limit=((row.get("memory_limit_bytes") or 0) >> 20) or None,
        difficulty=_named(row.get("difficulty"), (*_DIFFICULTIES, *_LETTERS)),
        source=source,
        metadata=metadata,
    )


def solutions(row: Row) -> list[str]:
    """The Python 3 programs among the right solutions."""
    found = records(row.get("solutions"), ("language", "solution"), "field 'solutions'")
    return [item["solution"] for item in found if item["language"] in (_PYTHON_3, "PYTHON3")]


def _named(value: object, names: tuple[str | None, ...]) -> str | None:
    """The name of an enumeration's number; other data sets give the name itself."""
    if isinstance(value, str):
        return value if value in _LETTERS else value.lower()
    if isinstance(value, int) and 0 <= value < len(names):
        return names[value]
    return None


def _source_id(row: Row, name: str, source: str | None) -> str | None:
    if source is None:
        return None
    return source_id(source, name.partition(". ")[0])  # "1157_C2. Increasing Subsequence"


def _seconds(limit: object) -> float | None:
    """{"seconds", "nanos"}, either of which may be missing; None leaves the verifier's default."""
    if not isinstance(limit, Mapping):
        return None
    return ((limit.get("seconds") or 0) + (limit.get("nanos") or 0) / 1e9) or None


BENCHMARK = Benchmark(
    name="codecontests",
    title="CodeContests",
    hub_id="deepmind/code_contests",
    files={ANY: {split: (f"data/{split}-*.parquet",) for split in ("train", "valid", "test")}},
    to_problem=to_problem,
    solutions=solutions,
    compare="codecontests",
    # More problems accept several outputs; this is the one that is known for certain here.
    errata={"codeforces/1157_c2": "several outputs are right, and one is expected"},
    has_limits=True,
    is_large=True,
)
