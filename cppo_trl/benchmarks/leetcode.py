"""LeetCodeDataset: 2,869 problems of LeetCode by date (Xia et al., arXiv 2504.14655).

Checked by assertions on a method of `class Solution`; the imports and classes of the field `prompt`
(`ListNode`, `TreeNode`, ...) are there before a program runs, as on LeetCode.
"""

from __future__ import annotations

from cppo_trl.problems import Problem, TestCase

from .benchmark import ANY, Benchmark, Row
from .rows import NO_TESTS, BadRow, date_field, text_field
from .source_ids import source_id


def to_problem(row: Row, index: int = 0) -> Problem:
    """The problem in one row; raises `BadRow` or `ProblemError`."""
    name, entry_point = text_field(row, "task_id"), text_field(row, "entry_point")
    code = text_field(row, "test", default="")
    if not code.strip():
        raise BadRow(NO_TESTS, "field 'test' is empty")
    return Problem(
        id=name,
        statement=text_field(row, "problem_description"),
        tests=(
            TestCase(text_field(row, "prompt", default=""), f"{code}\n\ncheck({entry_point})\n"),
        ),
        io_mode="assertions",
        fn_name=entry_point.rpartition(".")[2],
        starter_code=text_field(row, "starter_code", default=""),
        difficulty=text_field(row, "difficulty", default="").lower() or None,
        source="leetcode",
        metadata={
            "date": date_field(row, "estimated_date"),
            "source_id": source_id("leetcode", name),
        },
    )


def solutions(row: Row) -> list[str]:
    """The reference program."""
    return [text_field(row, "completion")]


BENCHMARK = Benchmark(
    name="leetcode",
    title="LeetCodeDataset",
    hub_id="newfacade/LeetCodeDataset",
    files={
        ANY: {split: (f"LeetCodeDataset-{split}.jsonl",) for split in ("train", "test")},
    },
    to_problem=to_problem,
    solutions=solutions,
    compare="lcb",
    is_dated=True,
)
