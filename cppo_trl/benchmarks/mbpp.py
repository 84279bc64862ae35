"""MBPP: 974 small functions, checked by assertions (Austin et al., arXiv 2108.07732).

The version `sanitized` is the 427 that were looked over by hand. The function's name is told by the
assertions only, so they stand in the statement, as in the paper.
"""

from __future__ import annotations

import ast

from cppo_trl.problems import Problem, TestCase

from .benchmark import Benchmark, Row
from .rows import (
    INVALID_PROBLEM,
    MALFORMED_TESTS,
    NO_TESTS,
    BadRow,
    id_field,
    parse_python,
    shown,
    text_field,
)

_SPLITS = ("train", "test", "validation", "prompt")


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    shown_tests = _code_list(row, "test_list")
    if not shown_tests:
        raise BadRow(NO_TESTS, "field 'test_list' is empty")
    setup = [*_code_list(row, "test_imports"), text_field(row, "test_setup_code", default="")]
    tests = [
        TestCase("", "\n".join(filter(None, [*setup, code])))
        for code in [*shown_tests, *_code_list(row, "challenge_test_list")]
    ]
    task, assertions = text_field(row, "text", "prompt").strip(), "\n".join(shown_tests)
    return Problem(
        id=id_field(row, "task_id"),
        statement=f"{task}\n\nThese assertions have to hold:\n\n{assertions}",
        tests=tuple(tests),
        io_mode="assertions",
        fn_name=_fn_name(text_field(row, "code"), shown_tests),
    )


def solutions(row: Row) -> list[str]:
    """The reference program."""
    return [text_field(row, "code")]


def _code_list(row: Row, name: str) -> list[str]:
    value = row.get(name)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)) or not all(isinstance(code, str) for code in value):
        raise BadRow(MALFORMED_TESTS, f"field {name!r} is {shown(value)}, not a list of code")
    return list(value)


def _fn_name(code: str, tests: list[str]) -> str:
    """The function of the reference program that the first assertion calls."""
    tree = parse_python(code, "field 'code'")
    defined = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    nodes = ast.walk(parse_python(tests[0], "the first test"))
    for node in nodes:  # outer calls come first
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in defined
        ):
            return node.func.id
    raise BadRow(INVALID_PROBLEM, f"no function of the program is called in {shown(tests[0])}")


BENCHMARK = Benchmark(
    name="mbpp",
    title="MBPP",
    hub_id="google-research-datasets/mbpp",
    files={
        version: {split: (f"{version}/{split}-*.parquet",) for split in _SPLITS}
        for version in ("full", "sanitized")
    },
    default_version="full",
    to_problem=to_problem,
    solutions=solutions,
    compare="lcb",
)
