"""SandboxFusion's copies of CodeContests and LiveCodeBench: their rows -> rows as upstream's.

All its copies have the same columns: `content` (the statement, for LiveCodeBench the whole prompt),
`labels` (JSON text) and `test`.
"""

from __future__ import annotations

from typing import Any

from .benchmark import Row
from .rows import MALFORMED_TESTS, BadRow, parse_json, shown, text_field


def is_copy(row: Row) -> bool:
    """Whether the row is of such a copy."""
    return {"content", "labels", "test"} <= set(row)


def codecontests_row(row: Row) -> dict[str, Any]:
    """As in CodeContests, with all tests as public ones."""
    tests = _parsed(row, "test", list)
    try:
        columns = {
            "input": [test["input"]["stdin"] for test in tests],
            "output": [test["output"]["stdout"] for test in tests],
        }
    except (KeyError, TypeError) as error:
        raise BadRow(MALFORMED_TESTS, f"a test in field 'test' lacks {error}") from None
    labels = _parsed(row, "labels", dict)
    return {**labels, "description": row["content"], "public_tests": columns}


def livecodebench_row(row: Row, tests: Any) -> dict[str, Any]:
    """As in LiveCodeBench, with the decoded field `test`."""
    if isinstance(tests, dict) and isinstance(tests.get("input_output"), str):
        tests = parse_json(tests["input_output"], "field 'test'")
    if not isinstance(tests, dict) or not {"inputs", "outputs"} <= set(tests):
        raise BadRow(MALFORMED_TESTS, f"field 'test' is {shown(tests)}, without inputs and outputs")
    labels = _parsed(row, "labels", dict)
    platform, _, question_id = str(labels.get("task_id", "")).partition("/")
    name = tests.get("fn_name") or None
    kinds = ["stdin" if name is None else "functional"] * len(tests["inputs"])
    statement = text_field(row, "content").partition("### Question:\n")[2]
    return {
        "platform": platform,
        "question_id": question_id,
        "question_content": statement.partition("\n### Format:")[0].strip() or row["content"],
        "difficulty": labels.get("difficulty"),
        "public_test_cases": {
            "input": tests["inputs"],
            "output": tests["outputs"],
            "testtype": kinds,
        },
        "metadata": {"func_name": name},
    }


def _parsed(row: Row, name: str, kind: type) -> Any:
    value = row[name]
    if isinstance(value, str):
        value = parse_json(value, f"field {name!r}")
    if not isinstance(value, kind):
        raise BadRow(MALFORMED_TESTS, f"field {name!r} is {shown(value)}, not a {kind.__name__}")
    return value
