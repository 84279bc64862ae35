"""What the verifier says about one program."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum


class Status(StrEnum):
    """How a program did; all but `PASS` and `INFRASTRUCTURE` are failures of the program."""

    PASS = "pass"
    WRONG_ANSWER = "wrong_answer"
    RUNTIME_ERROR = "runtime_error"  # an exception, an exit code other than 0, a signal
    TIME_LIMIT = "time_limit"
    MEMORY_LIMIT = "memory_limit"
    OUTPUT_LIMIT = "output_limit"
    COMPILE_ERROR = "compile_error"
    NO_CODE = "no_code"  # nothing that looks like code in the completion
    INFRASTRUCTURE = "infrastructure"  # trouble of ours: says nothing about the program


@dataclass(frozen=True, slots=True)
class Verdict:
    """The outcome of running one program on the tests of one problem.

    A failure stops the remaining tests, so `tests_passed` counts those before `first_failed`
    (counted from 0; None when no test failed by itself: pass, no code, code that does not
    compile, trouble of ours). `cpu_seconds` is the CPU time of the tests that ran, summed.
    `message` says what went wrong, for people to read. `peak_memory` is in MB, above what a process
    that does nothing has; two runs never agree on it, so it takes no part in comparisons.
    `test_statuses` is how each test went, where all were asked for: then `tests_passed` counts all
    that passed, and `first_failed` is the first of those that did not.
    """

    status: Status
    tests_passed: int
    tests_total: int
    first_failed: int | None = None
    cpu_seconds: float = 0.0
    message: str = ""
    peak_memory: float = field(default=0.0, compare=False)
    test_statuses: tuple[Status, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether the program passed all tests."""
        return self.status is Status.PASS

    @property
    def reward(self) -> float | None:
        """1.0 for a pass, 0.0 for a failure, None for trouble of ours."""
        return None if self.status is Status.INFRASTRUCTURE else float(self.passed)
