"""No valid program fails, no wrong one passes, in any mode of comparison."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier import COMPARE_MODES, CodeVerifier, Status, Verdict, outputs_match
from unusual_programs import VALID, WRONG, Unusual

CASES = [*VALID, *WRONG]

# Nothing that CPython would run, but graders wrap programs in a function.
NOT_FOR_CPYTHON = {"return at the top level"}


def problem(case: Unusual) -> Problem:
    mode = "function" if case.fn_name else "stdin"
    return Problem(case.name, "", tuple(TestCase(*test) for test in case.tests), mode, case.fn_name)


@pytest.fixture(scope="module")
def verdicts() -> Callable[[str], dict[str, Verdict]]:
    """The verdicts in one mode, by the names of the programs."""

    @cache
    def verify(mode: str) -> dict[str, Verdict]:
        with CodeVerifier(compare=mode, time_limit=20) as verifier:
            run = verifier.verify_many(list(map(problem, CASES)), [case.program for case in CASES])
        return {case.name: verdict for case, verdict in zip(CASES, run, strict=True)}

    return verify


def params(cases: list[Unusual]) -> list[object]:
    return [
        pytest.param(case, mode, id=f"{case.name}-{mode}")
        for case in cases
        for mode in COMPARE_MODES
    ]


@pytest.mark.parametrize(("case", "mode"), params(CASES))
def test_a_program_gets_its_verdict(
    case: Unusual, mode: str, verdicts: Callable[[str], dict[str, Verdict]]
) -> None:
    verdict = verdicts(mode)[case.name]
    assert verdict.status == (Status.PASS if mode in case.modes.split() else case.failure), verdict


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(case, id=case.name)
        for case in CASES
        if case.fn_name is None and case.name not in NOT_FOR_CPYTHON
    ],
)
def test_cpython_itself_says_so(case: Unusual, tmp_path: Path) -> None:
    """The expected verdicts are no opinion: the program as a script, then the comparison."""
    program, given = tmp_path / "program.py", tmp_path / "input"
    program.write_text(case.program, encoding="utf-8", newline="")
    options = ["-I", "-X", "utf8", "-X", "int_max_str_digits=0"]
    runs = []
    for text, expected in case.tests:
        given.write_text(text, encoding="utf-8", newline="")
        with open(given) as stdin:
            done = subprocess.run(
                [sys.executable, *options, program],
                stdin=stdin,
                capture_output=True,
                # In the background of a script it is ignored.
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        runs.append((done.returncode, expected, done.stdout.decode("utf-8", "surrogateescape")))
    right = {
        mode
        for mode in COMPARE_MODES
        if all(code == 0 and outputs_match(mode, *texts) for code, *texts in runs)
    }
    assert right == set(case.modes.split()), runs


def test_the_lists_are_as_long_as_they_should_be_and_name_no_program_twice() -> None:
    assert len(VALID) >= 100
    assert len({case.name for case in CASES}) == len(CASES)


def test_every_valid_program_passes_in_some_mode_and_no_wrong_one_in_any() -> None:
    assert all(set(case.modes.split()) & set(COMPARE_MODES) for case in VALID)
    assert not any(case.modes for case in WRONG)
