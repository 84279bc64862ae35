"""A program's memory is limited while it runs, by a control group or by looking at it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import CodeVerifier, Status
from cppo_trl.verifier.engine import Engine

SUM = Problem("sum", "", (TestCase("1 2\n", "3\n"), TestCase("10 20\n", "30\n")))
RIGHT = "a, b = map(int, input().split())\nprint(a + b)\n"


@pytest.fixture(params=["where groups can be made", "without a group"])
def verifier(request: pytest.FixtureRequest) -> Iterator[CodeVerifier]:
    with CodeVerifier(workers=1, time_limit=3, memory_limit=128) as made:
        if request.param == "without a group":
            made._engine = Engine(without=("cgroup",))
        yield made


def groups(verifier: CodeVerifier) -> list[Path]:
    live = verifier._engine._pool._live
    return [Path(zygote._group) for zygote in live if zygote._group is not None]


def test_too_much_memory_ends_a_program_that_goes_on(verifier: CodeVerifier) -> None:
    start = time.monotonic()
    verdict = verifier.verify(SUM, "x = bytearray(b'1') * (200 << 20)\nwhile True: pass")
    assert verdict.status is Status.MEMORY_LIMIT, verdict
    assert verdict.message == "more than 128 MB of memory"
    assert time.monotonic() - start < 2  # of the three seconds that it has


def test_too_much_memory_ends_a_program_that_sleeps(verifier: CodeVerifier) -> None:
    program = "import time\nx = bytearray(b'1') * (200 << 20)\ntime.sleep(100)"
    assert verifier.verify(SUM, program).status is Status.MEMORY_LIMIT


def test_memory_within_the_limit_is_fine(verifier: CodeVerifier) -> None:
    program = f"x = bytearray(b'1') * (110 << 20)\nimport time\ntime.sleep(0.1)\n{RIGHT}"
    verdict = verifier.verify(SUM, program)
    assert verdict.passed, verdict
    assert 105 < verdict.peak_memory < 128


def test_output_that_is_allowed_counts_as_no_memory(verifier: CodeVerifier) -> None:
    lines = "x" * 99 + "\n"
    problem = Problem("long", "", (TestCase("", lines * 600_000),), memory_limit=64)
    verdict = verifier.verify(
        problem, "for _ in range(600): print(('x' * 99 + '\\n') * 1000, end='')"
    )
    assert verdict.passed, verdict


def test_what_the_zygote_holds_counts_as_no_memory(verifier: CodeVerifier) -> None:
    text = "x" * (16 << 20)
    problem = Problem("long", "", (TestCase(text, str(len(text))),) * 10, memory_limit=48)
    program = "import os\nn = 0\nwhile part := os.read(0, 1 << 16): n += len(part)\nprint(n)"
    verdict = verifier.verify(problem, program)
    assert verdict.passed, verdict


def test_files_that_are_full_are_no_trouble_of_ours(verifier: CodeVerifier) -> None:
    program = (
        "import os\nfor file in range(3):\n  for _ in range(63): os.write(file, bytes(1 << 20))"
    )
    problem = Problem("sum", "", SUM.tests, memory_limit=32)
    assert verifier.verify(problem, program).status is Status.WRONG_ANSWER


def test_one_program_over_the_limit_costs_the_next_nothing(verifier: CodeVerifier) -> None:
    for n in range(3):
        over = f"x = []  # {n}\nwhile True: x.append(bytearray(b'1') * 10**6)"
        assert verifier.verify(SUM, over).status is Status.MEMORY_LIMIT
        assert verifier.verify(SUM, f"{RIGHT}# {n}").passed


def test_groups_go_with_their_zygotes(verifier: CodeVerifier) -> None:
    assert verifier.verify(SUM, RIGHT).passed
    made = groups(verifier)
    assert all(group.is_dir() for group in made)
    verifier.close()
    assert not any(group.exists() for group in made)


HOLD = """
import sys, time
from cppo_trl import CodeVerifier, Problem, TestCase
verifier = CodeVerifier(workers=1)
verifier.verify(Problem("a", "", (TestCase("", "1"),)), "print(1)")
print(*[zygote._group for zygote in verifier._engine._pool._live], flush=True)
time.sleep(60)
"""


def test_groups_of_a_trainer_that_was_killed_are_removed_by_the_next() -> None:
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", HOLD], stdout=subprocess.PIPE, cwd=root) as held:
        path = held.stdout.readline().decode().strip()
        if path == "None":
            held.kill()
            pytest.skip("no control group can be made here")
        os.kill(held.pid, signal.SIGKILL)
    left = Path(path)
    deadline = time.monotonic() + 10
    while left.exists() and time.monotonic() < deadline:
        time.sleep(0.2)  # until the zygote has seen that its trainer is gone
        with CodeVerifier(workers=1) as verifier:
            assert verifier.verify(SUM, RIGHT).passed
    assert not left.exists()
