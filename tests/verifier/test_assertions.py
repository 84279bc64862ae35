"""Problems whose tests are assertions: only a program that satisfies all of them passes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cppo_trl.problems import Problem, ProblemError, TestCase
from cppo_trl.verifier import CodeVerifier, Status

TESTS = (
    "assert add(1, 2) == 3",
    "import math\nassert math.isclose(add(1, 0.5), 1.5)",
    "from statistics import mean\nassert mean([add(1, 1)]) == 2",
)
PROBLEM = Problem(
    "add", "", tuple(TestCase("", code) for code in TESTS), io_mode="assertions", fn_name="add"
)


@pytest.fixture(scope="module")
def verifier() -> Iterator[CodeVerifier]:
    with CodeVerifier(workers=1, time_limit=2) as verifier:
        yield verifier


def test_a_program_that_satisfies_all_assertions_passes(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(PROBLEM, "def add(a, b):\n    return a + b")
    assert (verdict.status, verdict.tests_passed) == (Status.PASS, 3)


def test_the_first_assertion_that_fails_is_named(verifier: CodeVerifier) -> None:
    verdict = verifier.verify(PROBLEM, "def add(a, b):\n    return a + round(b)")
    assert (verdict.status, verdict.first_failed) == (Status.WRONG_ANSWER, 1)


# Each would be right if nothing but its exit code and its output counted.
CHEATS = {
    "ends at once": "import sys\nsys.exit(0)",
    "ends hard": "import os\nos._exit(0)",
    "ends in the call": "import os\ndef add(a, b):\n    os._exit(0)",
    "raises SystemExit in the call": "def add(a, b):\n    raise SystemExit",
    "ends in a thread": "from threading import Timer\nimport os\nTimer(0, os._exit, (0,)).start()",
    "ends at exit": "import atexit, os\natexit.register(os._exit, 0)\ndef add(a, b):\n    return 3",
    "replaces exec": "import builtins\nbuiltins.exec = builtins.compile = lambda *a, **k: None",
    "replaces json": "import json\njson.loads = json.dumps = lambda *a, **k: None",
    "reads its input": "import os\nos.write(3, os.pread(3, 99, 0))\nos._exit(0)",
    "guesses": "import os\nos.pwrite(3, b'\"' + b'0' * 32 + b'\"', 0)\nos._exit(0)",
    "says nothing": "def add(a, b):\n    return None",
    "defines nothing": "print('ok')",
    "catches": "import sys\nsys.excepthook = lambda *a: None\ndef add(a, b):\n    return 0",
}


@pytest.mark.parametrize("name", CHEATS)
def test_a_program_that_does_not_reach_the_end_fails(name: str, verifier: CodeVerifier) -> None:
    verdict = verifier.verify(PROBLEM, CHEATS[name])
    assert verdict.status in (Status.WRONG_ANSWER, Status.RUNTIME_ERROR)


def test_what_a_test_defines_is_not_there_in_the_next(verifier: CodeVerifier) -> None:
    codes = ("seen = 1\nassert one() == 1", "assert 'seen' not in globals()\nassert one() == 1")
    tests = tuple(TestCase("", code) for code in codes)
    problem = Problem("one", "", tests, io_mode="assertions", fn_name="one")
    assert verifier.verify(problem, "def one():\n    return 1").passed


def test_code_before_the_program_gives_it_names(verifier: CodeVerifier) -> None:
    before, after = "class Node:\n    value = 7", "assert value_of(Node()) == 7"
    problem = Problem(
        "node", "", (TestCase(before, after),), io_mode="assertions", fn_name="value_of"
    )
    assert verifier.verify(problem, "def value_of(node: Node):\n    return node.value").passed


def test_a_checker_is_not_asked_about_assertions() -> None:
    with CodeVerifier(workers=1, checker=lambda *_: False) as verifier:
        assert verifier.verify(PROBLEM, "def add(a, b):\n    return a + b").passed


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"fn_name": None}, "fn_name"),
        ({"tests": [{"input": "assert add(1, 2) == 3", "output": ""}]}, "output"),
    ],
)
def test_a_problem_of_assertions_is_checked(changed: dict, said: str) -> None:
    with pytest.raises(ProblemError, match=said):
        Problem.from_dict(PROBLEM.to_dict() | changed)


def test_a_problem_of_assertions_comes_back_from_plain_data() -> None:
    assert Problem.from_dict(PROBLEM.to_dict()) == PROBLEM
