"""A problem's tests in the form that the engine runs and the comparison takes."""

from __future__ import annotations

import hashlib
import json
import secrets
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cppo_trl.problems import Problem, ProblemError
from cppo_trl.verifier.compare import parse_json
from cppo_trl.verifier.engine import MB, Limits
from cppo_trl.verifier.messages import ASSERTIONS

# No program gets that far, and in smaller units these still fit the system's own numbers.
MOST_SECONDS, MOST_MB = 1e5, 1 << 30


@dataclass(frozen=True, slots=True)
class Prepared:
    """One problem, ready to run.

    `fn_name` is the function that the engine is to call, or `ASSERTIONS`; `test_code` is the Python
    code in the tests. `digest` tells apart all that a verdict depends on; `failures` counts for
    each test the programs that it failed.
    """

    problem: Problem
    inputs: tuple[bytes, ...]
    expected: tuple[Any, ...]  # text, or for a function values of JSON data
    fn_name: str | None
    test_code: str
    limits: Limits
    digest: bytes
    failures: Counter[int] = field(default_factory=Counter)


def prepare(problem: Problem, defaults: Limits, whole: bool = False) -> Prepared:
    """Encodes and checks the tests.

    Args:
        problem: as it is verified.
        defaults: for the limits that the problem does not set.
        whole: whether a verdict depends on all of the problem, not only on what runs.

    Raises:
        ProblemError: an argument or a result of a function problem is not JSON.
    """
    is_function = problem.io_mode == "function"
    has_assertions = problem.io_mode == "assertions"
    inputs: list[str] = []
    expected: list[Any] = []
    digest = hashlib.blake2b(digest_size=32)
    for index, test in enumerate(problem.tests):
        if is_function:
            for line in filter(str.strip, test.input.split("\n")):
                _json(problem, index, "input", line)
        if has_assertions:
            # Only who runs the code to its end is given this back.
            token = secrets.token_hex(16)
            inputs.append("\n".join(map(json.dumps, (test.input, test.output, token))))
            expected.append(token)
        else:
            inputs.append(test.input)
            expected.append(
                _json(problem, index, "output", test.output) if is_function else test.output
            )
        for text in (test.input, test.output):
            data = text.encode("utf-8", "surrogatepass")
            digest.update(b"%d:" % len(data) + data)
    # Never less output than twice what is asked for.
    output = max(defaults.output, *(2 * len(test.output) // MB + 1 for test in problem.tests))
    limits = Limits(
        time=float(min(problem.time_limit or defaults.time, MOST_SECONDS)),
        memory=min(problem.memory_limit or defaults.memory, MOST_MB),
        output=min(output, MOST_MB),
    )
    digest.update(repr((problem.io_mode, problem.fn_name, limits)).encode())
    if whole:
        digest.update(repr(problem.to_dict()).encode("utf-8", "surrogatepass"))
    return Prepared(
        problem,
        inputs=tuple(text.encode("utf-8", "surrogatepass") for text in inputs),
        expected=tuple(expected),
        fn_name=ASSERTIONS if has_assertions else problem.fn_name,
        test_code="\n".join(f"{test.input}\n{test.output}" for test in problem.tests)
        if has_assertions
        else "",
        limits=limits,
        digest=digest.digest(),
    )


def _json(problem: Problem, index: int, field: str, text: str) -> Any:
    try:
        return parse_json(text)
    except ValueError as error:
        shown = repr(text if len(text) <= 60 else text[:57] + "...")
        raise ProblemError(
            f"problem {problem.id!r}, tests[{index}]: field {field!r} is {shown}; "
            f"it must be JSON, one value a line ({error})"
        ) from None
