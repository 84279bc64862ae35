"""One program on the tests of its problem: what comes of each run, and the verdict from them."""

from __future__ import annotations

import reprlib
import time
from collections.abc import Callable, Sequence
from contextlib import closing

from cppo_trl.problems import Problem, TestCase
from cppo_trl.verifier.compare import outputs_match, parse_json, values_match
from cppo_trl.verifier.engine import CompileError, Engine, ProgramVanished, Run
from cppo_trl.verifier.messages import ASSERTIONS
from cppo_trl.verifier.prepare import Prepared
from cppo_trl.verifier.verdict import Status, Verdict

Checker = Callable[[Problem, TestCase, str], bool | None]

ATTEMPTS = 3
PAUSE = 0.1  # seconds before another attempt, times the attempts made
LONGEST_RESULT = 400  # times the expected one (1e308 has 309 digits); others are not looked at


class Grader:
    """Grades programs; the arguments are those of `CodeVerifier`, `prelude` as its text."""

    def __init__(
        self,
        compare: str,
        tolerance: float,
        checker: Checker | None,
        prelude: str,
        fresh_process: bool,
        all_tests: bool,
    ) -> None:
        self._compare = compare
        self._tolerance = tolerance
        self._checker = checker
        self._prelude = prelude
        self._fresh_process = fresh_process
        self._all_tests = all_tests

    def grade(
        self, engine: Engine, prepared: Prepared, program: str, order: Sequence[int]
    ) -> Verdict:
        """The verdict from running the tests in that order; raises `EngineError`."""
        total, fresh = len(order), self._fresh_process
        cpu = [0.0] * total  # seconds of each test
        statuses: dict[int, Status] = {}
        messages: dict[int, str] = {}
        peak, at, vanished = 0.0, 0, 0
        while at < total and (self._all_tests or not messages):
            start, failure = at, None
            rest = order[start:]
            runs = engine.run(
                program,
                [prepared.inputs[index] for index in rest],
                prepared.limits,
                prepared.fn_name,
                fresh,
                self._prelude,
                prepared.test_code,
            )
            try:
                with closing(runs):
                    for index, run in zip(rest, runs, strict=True):
                        cpu[index], peak = run.cpu_seconds, max(peak, run.peak_memory)
                        failure = self._failure(run, prepared, index)
                        if failure is not None:
                            break
                        statuses[index] = Status.PASS
                        at, vanished = at + 1, 0
            except CompileError as error:
                return self.unrun(Status.COMPILE_ERROR, total, str(error))
            except ProgramVanished as error:
                vanished += 1
                if vanished < ATTEMPTS:  # it may have been someone else's doing
                    time.sleep(PAUSE * vanished)
                    continue
                failure = Status.RUNTIME_ERROR, str(error)
            if failure is None:
                break
            if not (fresh or at == start or vanished):
                # An earlier test in the same process may be to blame, so the failure counts only
                # if it comes again in a fresh one. Memory is measured at the end of a process.
                if failure[0] is Status.MEMORY_LIMIT:
                    at, fresh, peak = start, True, 0.0
                continue
            statuses[order[at]], messages[order[at]] = failure
            at, vanished = at + 1, 0
        passed = sum(status is Status.PASS for status in statuses.values())
        told = tuple(statuses[index] for index in range(total)) if self._all_tests else ()
        if not messages:
            return Verdict(Status.PASS, passed, total, None, sum(cpu), "", peak, told)
        first = min(messages)
        return Verdict(statuses[first], passed, total, first, sum(cpu), messages[first], peak, told)

    def unrun(self, status: Status, total: int, message: str) -> Verdict:
        """The verdict on a program that was run on none of its tests."""
        told = (status,) * total if self._all_tests else ()
        return Verdict(status, 0, total, message=message, test_statuses=told)

    def _failure(self, run: Run, prepared: Prepared, index: int) -> tuple[Status, str] | None:
        """What is wrong with a run on the test of that index, None when nothing is."""
        has_assertions = prepared.fn_name == ASSERTIONS
        if run.failure is not None:
            if has_assertions and run.message.startswith("AssertionError"):
                return Status.WRONG_ANSWER, run.message
            return run.failure, run.message
        output = run.output.decode("utf-8", "surrogateescape")
        expected, is_value = prepared.expected[index], prepared.fn_name is not None
        right = None
        if self._checker is not None and not has_assertions:
            problem = prepared.problem
            right = self._checker(problem, problem.tests[index], output)
            if not isinstance(right, (bool, type(None))):
                raise TypeError(f"checker gave {right!r}; it must give True, False or None")
        if right is None and not is_value:
            right = outputs_match(self._compare, expected, output, self._tolerance)
        elif right is None:
            if len(output) > LONGEST_RESULT * len(prepared.problem.tests[index].output):
                return Status.WRONG_ANSWER, f"the result is {len(output)} characters long"
            try:
                right = values_match(self._compare, expected, parse_json(output))
            except ValueError:
                ended = "before its assertions did" if has_assertions else "without a result"
                return Status.WRONG_ANSWER, run.message or f"the program ended {ended}"
        if right:
            return None
        wanted = reprlib.repr(expected) if is_value else _short(expected)
        return Status.WRONG_ANSWER, f"got {_short(output)}, expected {wanted}"


def _short(value: str) -> str:
    return repr(value if len(value) <= 60 else value[:57] + "...")
