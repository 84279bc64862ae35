"""HumanEval: 164 functions to complete, checked by assertions (Chen et al., arXiv 2107.03374).

A program is graded alone: what the prompt imports and defines beside the function is there before
it runs, so that one with the function only is as good as one that repeats the prompt.
"""

from __future__ import annotations

import ast

from cppo_trl.problems import Problem, TestCase

from .benchmark import ANY, Benchmark, Row
from .rows import NO_TESTS, BadRow, parse_python, text_field


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    prompt, name = text_field(row, "prompt"), text_field(row, "entry_point")
    code = text_field(row, "test", default="")
    if not code.strip():
        raise BadRow(NO_TESTS, "field 'test' is empty")
    return Problem(
        id=text_field(row, "task_id"),
        statement=f"Write the whole of this Python function:\n\n{prompt.strip()}",
        tests=(TestCase(beside(prompt, name), f"{code}\n\ncheck({name})\n"),),
        io_mode="assertions",
        fn_name=name,
    )


def solutions(row: Row) -> list[str]:
    """The prompt, completed."""
    return [text_field(row, "prompt") + text_field(row, "canonical_solution")]


def beside(prompt: str, name: str) -> str:
    """What a prompt imports and defines beside the function of that name."""
    # The prompt ends with a docstring, so it is a program.
    tree = parse_python(prompt, "field 'prompt'")
    kept = [node for node in tree.body if getattr(node, "name", None) != name]
    return "\n".join(map(ast.unparse, kept))


BENCHMARK = Benchmark(
    name="humaneval",
    title="HumanEval",
    hub_id="openai/openai_humaneval",
    files={ANY: {"test": ("openai_humaneval/test-*.parquet",)}},
    to_problem=to_problem,
    solutions=solutions,
    compare="lcb",
)
