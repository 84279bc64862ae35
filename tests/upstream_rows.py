"""Rows in the encodings of the benchmarks, made here: two problems each time, sum and square."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from typing import Any

ADD = "a, b = map(int, input().split())\nprint(a + b)\n"
SQUARE = "class Solution:\n    def square(self, x):\n        return x * x\n"
SQUARE_STARTER = "class Solution:\n    def square(self, x: int) -> int:\n        "


def apps_row(**changed: Any) -> dict[str, Any]:
    tests = {"inputs": ["1 2\n", ["3 4", ""]], "outputs": ["3\n", ["7"]]}
    return {
        "problem_id": 7,
        "question": "Print the sum.",
        "solutions": json.dumps([ADD]),
        "input_output": json.dumps(tests),
        "difficulty": "introductory",
        "url": "https://codeforces.com/contest/1/problem/A",
        "starter_code": "",
    } | changed


def apps_function_row(outputs: list[Any], starter_code: str, **changed: Any) -> dict[str, Any]:
    tests = {"fn_name": "square", "inputs": [[n] for n in range(len(outputs))], "outputs": outputs}
    row = {"problem_id": 8, "starter_code": starter_code, "input_output": json.dumps(tests)}
    return apps_row(solutions=json.dumps([SQUARE]), **row) | changed


def taco_row(**changed: Any) -> dict[str, Any]:
    row = apps_row(difficulty="EASY") | {
        "source": "codeforces",
        "name": None,
        "date": "2019-11-23",
        "time_limit": "2.0 seconds",
        "memory_limit": "256.0 megabytes",
        "raw_tags": "['math']",
    }
    del row["problem_id"]
    return row | changed


def codecontests_row(**changed: Any) -> dict[str, Any]:
    return {
        "name": "1_A. Sum",
        "description": "Print the sum.",
        "public_tests": {"input": ["1 2\n"], "output": ["3\n"]},
        "private_tests": {"input": ["3 4\n"], "output": ["7\n"]},
        "generated_tests": {"input": [], "output": []},
        "source": 2,
        "difficulty": 7,
        "solutions": {"language": [2, 3, 1], "solution": ["int main;", ADD, "print 3"]},
        "incorrect_solutions": {"language": [3], "solution": ["print(3)"]},
        "cf_rating": 800,
        "cf_tags": ["math"],
        "time_limit": {"seconds": 1, "nanos": 500_000_000},
        "memory_limit_bytes": 256_000_000,
        "input_file": "",
        "output_file": "",
    } | changed


def packed(value: object) -> str:
    """As LiveCodeBench packs private tests."""
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def livecodebench_row(**changed: Any) -> dict[str, Any]:
    private = [{"input": "3 4\n", "output": "7\n", "testtype": "stdin"}]
    return {
        "question_title": "Sum",
        "question_content": "Print the sum.",
        "platform": "atcoder",
        "question_id": "abc1_a",
        "contest_id": "abc1",
        "contest_date": "2024-08-31T00:00:00",
        "starter_code": "",
        "difficulty": "easy",
        "public_test_cases": json.dumps([{"input": "1 2", "output": "3", "testtype": "stdin"}]),
        "private_test_cases": packed(json.dumps(private)),
        "metadata": "{}",
    } | changed


def livecodebench_function_row(**changed: Any) -> dict[str, Any]:
    tests = [{"input": "3", "output": "9", "testtype": "functional"}]
    return livecodebench_row(
        question_title="Square",
        platform="leetcode",
        question_id="4242",
        starter_code=SQUARE_STARTER,
        public_test_cases=json.dumps(tests),
        private_test_cases=json.dumps(tests),
        metadata=json.dumps({"func_name": "square"}),
        **changed,
    )


def humaneval_row(**changed: Any) -> dict[str, Any]:
    return {
        "task_id": "HumanEval/9",
        "prompt": "from math import sqrt\n\n"
        "def half(x):\n    return x / 2\n\n"
        'def square(x: float) -> float:\n    """ Give x times x. """\n',
        "entry_point": "square",
        "canonical_solution": "    return x * x\n",
        "test": "def check(candidate):\n    assert candidate(3) == 9\n"
        "    assert sqrt(candidate(4)) == 4\n    assert candidate(half(8)) == 16\n",
    } | changed


def mbpp_row(**changed: Any) -> dict[str, Any]:
    return {
        "task_id": 11,
        "text": "Write a function to square a number.",
        "code": "def twice(x):\n    return 2 * x\n\ndef square(x):\n    return x * x\n",
        "test_setup_code": "three = 3",
        "test_list": ["assert square(2) == 4", "assert square(three) == 9"],
        "challenge_test_list": ["assert square(-1) == 1"],
    } | changed


def leetcode_row(**changed: Any) -> dict[str, Any]:
    return {
        "task_id": "square",
        "question_id": 4242,
        "difficulty": "Easy",
        "problem_description": "Give x times x.",
        "starter_code": SQUARE_STARTER,
        "estimated_date": "2024-07-01",
        "prompt": "from typing import *\n\nclass ListNode:\n    pass\n",
        "completion": "class Solution:\n"
        "    def square(self, x: Optional[ListNode]) -> int:\n        return x * x\n",
        "entry_point": "Solution().square",
        "test": "def check(candidate):\n    assert candidate(x = 3) == 9\n",
    } | changed


def jsonl_row(**changed: Any) -> dict[str, Any]:
    return {
        "id": "sum",
        "statement": "Print the sum.",
        "tests": [{"input": "1 2", "output": "3"}],
        "metadata": {"solutions": [ADD], "date": "2025-01-01"},
    } | changed


ROWS = {
    "apps": apps_row,
    "codecontests": codecontests_row,
    "livecodebench": livecodebench_row,
    "taco": taco_row,
    "humaneval": humaneval_row,
    "mbpp": mbpp_row,
    "leetcode": leetcode_row,
    "jsonl": jsonl_row,
}
